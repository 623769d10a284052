//! Idempotent appends: keys by which a retry is recognised and gets the first result.

use std::time::Duration;

use super::{
    entry::{Appended, LogBounds},
    log::LogError,
};
use crate::id::MessageId;

/// How long a producer's number is remembered for a message that is not logged. Devices repeat
/// within minutes, and many devices pass through a room.
const TRANSIENT_TTL: Duration = Duration::from_secs(60 * 60);

/// A key by which a retry is told from a new entry. Each log remembers its own keys.
///
/// The digest covers the appended data: the same number or key with another digest is a
/// [`LogError::Conflict`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DedupKey {
    /// A number assigned by a producer, such as a device, to each entry that it appends.
    ///
    /// Numbers rise, and only the last one is remembered: repeating it returns the first result, a
    /// lower one is [`LogError::Stale`]. The producer is forgotten when it has appended nothing for
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
        /// How long the key is remembered, counted from the first append.
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

/// The record of the last append with a given name.
#[derive(Clone, Copy, Debug)]
pub(in crate::cluster) struct Record {
    pub(in crate::cluster) number: u64,
    pub(in crate::cluster) digest: [u8; 16],
    pub(in crate::cluster) seq: u64,
    pub(in crate::cluster) message_id: MessageId,
}

impl Record {
    pub(in crate::cluster) fn new(once: &DedupKey, seq: u64, message_id: MessageId) -> Self {
        Self { number: once.number(), digest: *once.digest(), seq, message_id }
    }

    /// Returns the result of another append with the same name, or `None` if it is a new entry.
    pub(in crate::cluster) fn answer(&self, once: &DedupKey) -> Option<Result<Appended, LogError>> {
        if once.number() > self.number {
            return None;
        }
        Some(if once.number() < self.number {
            Err(LogError::Stale { last: self.number })
        } else if *once.digest() != self.digest {
            Err(LogError::Conflict)
        } else {
            Ok(Appended { seq: self.seq, message_id: self.message_id, repeated: true })
        })
    }
}
