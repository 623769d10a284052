//! Shared support of the backend's unit tests: clusters that fail, and logs with hooks.

pub(super) mod broken_cluster;
pub(super) mod hooked_log;
pub(super) mod metered_log;
