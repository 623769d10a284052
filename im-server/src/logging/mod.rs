//! Log lines that others can cause.

pub(crate) mod rejections;
pub(crate) mod throttle;
