//! Settings of the archive's queue.

use std::time::Duration;

/// Settings of the archive's queue.
///
/// JetStream takes them when its stream and consumer are created. Existing ones are left as they
/// are; change them with NATS's own tools.
///
/// ```
/// use im_sdk::cluster::ArchiveConfig;
/// let config = ArchiveConfig { replicas: 3, ..ArchiveConfig::default() };
/// assert_eq!(config.redeliver_after.as_secs(), 30);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveConfig {
    /// The number of NATS servers that store each record, 1 to 5. Default 1: if that machine fails
    /// for good, records that were not yet passed to an archiver are lost. 3 servers survive the
    /// loss of one.
    pub replicas: usize,
    /// The maximum size of the queue in bytes. A full queue refuses records
    /// ([`ArchiveError::Full`](super::ArchiveError::Full)), so that nothing is dropped silently.
    /// Default 1 GiB. JetStream reserves it.
    pub max_bytes: u64,
    /// The time after which a fetched record that was not acknowledged is delivered again. Default
    /// 30 s: longer than a write to a database takes.
    pub redeliver_after: Duration,
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        Self { replicas: 1, max_bytes: 1024 * 1024 * 1024, redeliver_after: Duration::from_secs(30) }
    }
}
