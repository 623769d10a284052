//! How much the archive holds, and for how long.

use std::time::Duration;

/// Settings of the archive's queue. JetStream takes them when its stream and consumer are created: those that are there
/// stay as they are, and are changed with NATS's own tools.
///
/// ```
/// use im_sdk::cluster::ArchiveConfig;
/// let config = ArchiveConfig { replicas: 3, ..ArchiveConfig::default() };
/// assert_eq!(config.redeliver_after.as_secs(), 30);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveConfig {
    /// On how many NATS servers each record lies, 1 to 5. Default 1: what a machine that fails for good had not passed
    /// on to an archiver is then gone; 3 survive the loss of one.
    pub replicas: usize,
    /// How much may lie there, in bytes. Then [`super::ArchiveError::Full`], so that nothing is dropped in silence.
    /// Default 1 GiB. JetStream reserves it.
    pub max_bytes: u64,
    /// When a record that was taken out and not acknowledged is given to somebody else. Default 30 s: longer than a
    /// write to a database takes.
    pub redeliver_after: Duration,
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        Self { replicas: 1, max_bytes: 1024 * 1024 * 1024, redeliver_after: Duration::from_secs(30) }
    }
}
