//! Log messages that clients can cause.

pub(crate) mod rejections;
pub(crate) mod throttle;
