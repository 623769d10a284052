//! Keys by which a retry is told from a new entry.

use std::time::Duration;

use super::log_bounds::LogBounds;

/// The time for which a producer's number of a message that is not logged is remembered. Devices
/// repeat within minutes, and many devices pass through a room.
const TRANSIENT_TTL: Duration = Duration::from_secs(60 * 60);

/// A key by which a retry is told from a new entry. Each log remembers its own keys.
///
/// The digest covers the appended data: the same number or key with another digest is a
/// [`LogError::Conflict`](super::LogError::Conflict).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DedupKey {
    /// A number assigned by a producer, such as a device, to each entry that it appends.
    ///
    /// Numbers rise, and only the last one is remembered: repeating it returns the first result, a
    /// lower one is [`LogError::Stale`](super::LogError::Stale). The producer is forgotten when it has appended nothing for
    /// [`LogBounds::max_age`].
    Producer {
        /// The producer's name, unique within the log.
        name: String,
        /// The number of the entry.
        number: u64,
        /// The digest of the appended data.
        digest: [u8; 16],
    },
    /// A key chosen by the caller.
    Key {
        /// The key, unique within the log.
        key: String,
        /// The time for which the key is remembered, counted from the first append.
        ttl: Duration,
        /// The digest of the appended data.
        digest: [u8; 16],
    },
}

impl DedupKey {
    /// Returns the name of the key's record within its log.
    pub(in crate::cluster) fn record_name(&self) -> String {
        match self {
            Self::Producer { name, .. } => format!("producer:{name}"),
            Self::Key { key, .. } => format!("key:{key}"),
        }
    }

    /// Returns the name of the key's record for a message that is not logged, apart from those of
    /// entries.
    pub(in crate::cluster) fn transient_record_name(&self) -> String {
        format!("live:{}", self.record_name())
    }

    /// Returns the number to compare; always 0 for a key.
    pub(in crate::cluster) fn number(&self) -> u64 {
        match self {
            Self::Producer { number, .. } => *number,
            Self::Key { .. } => 0,
        }
    }

    pub(in crate::cluster) fn digest(&self) -> &[u8; 16] {
        match self {
            Self::Producer { digest, .. } | Self::Key { digest, .. } => digest,
        }
    }

    pub(in crate::cluster) fn ttl(&self, bounds: &LogBounds) -> Duration {
        match self {
            Self::Producer { .. } => bounds.max_age,
            Self::Key { ttl, .. } => *ttl,
        }
    }

    pub(in crate::cluster) fn transient_ttl(&self, bounds: &LogBounds) -> Duration {
        match self {
            Self::Producer { .. } => bounds.max_age.min(TRANSIENT_TTL),
            Self::Key { ttl, .. } => *ttl,
        }
    }
}
