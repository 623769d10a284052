//! What unit tests of the backend share: clusters that fail, and logs with hooks.

pub(super) mod broken_cluster;
pub(super) mod hooked_log;
pub(super) mod metered_log;
