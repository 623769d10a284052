//! The code of README.md, in both languages, is compiled here as that of the guide is. It is not run: it names servers.

#[doc = include_str!("../../README.md")]
pub struct English;

#[doc = include_str!("../../README.zh-CN.md")]
pub struct Chinese;
