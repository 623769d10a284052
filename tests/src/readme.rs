//! Compiles the examples of README.md in both languages. They are not run, since they name servers.

#[doc = include_str!("../../README.md")]
pub struct English;

#[doc = include_str!("../../README.zh-CN.md")]
pub struct Chinese;
