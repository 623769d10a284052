//! What makes a retry return the first result.

use std::time::Duration;

use super::{Appended, LogBounds, LogError};
use crate::id::MessageId;

/// How long a number is remembered under which something was sent that is kept nowhere: devices repeat within minutes, and
/// many pass through a room.
const LIVE_NUMBER: Duration = Duration::from_secs(60 * 60);

/// What tells a retry from something new. Each log remembers its own.
///
/// The digest is of what is appended: the same number or key with another digest is [`LogError::Conflict`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Once {
    /// The number that a producer, such as a device, gave to what it appends. Its numbers rise, and only the last one
    /// is remembered: repeating it gets the first result, a lower one [`LogError::Stale`]. Forgotten when the producer
    /// has appended nothing for [`LogBounds::max_age`].
    Producer {
        /// The producer's name, unique within the log.
        name: String,
        /// Its number.
        number: u64,
        /// Of what is appended.
        digest: [u8; 16],
    },
    /// A key that the caller chose.
    Key {
        /// The key, unique within the log.
        key: String,
        /// How long it is remembered, from the first append on.
        ttl: Duration,
        /// Of what is appended.
        digest: [u8; 16],
    },
}

impl Once {
    /// What the record of it is called within its log.
    pub(super) fn record_name(&self) -> String {
        match self {
            Self::Producer { name, .. } => format!("producer:{name}"),
            Self::Key { key, .. } => format!("key:{key}"),
        }
    }

    /// The same for what is kept nowhere, which a log remembers apart from its entries.
    pub(super) fn live_record_name(&self) -> String {
        format!("live:{}", self.record_name())
    }

    /// The number that is compared; a key has only one.
    pub(super) fn number(&self) -> u64 {
        match self {
            Self::Producer { number, .. } => *number,
            Self::Key { .. } => 0,
        }
    }

    pub(super) fn digest(&self) -> &[u8; 16] {
        match self {
            Self::Producer { digest, .. } | Self::Key { digest, .. } => digest,
        }
    }

    pub(super) fn remembered_for(&self, bounds: &LogBounds) -> Duration {
        match self {
            Self::Producer { .. } => bounds.max_age,
            Self::Key { ttl, .. } => *ttl,
        }
    }

    pub(super) fn remembered_live_for(&self, bounds: &LogBounds) -> Duration {
        match self {
            Self::Producer { .. } => bounds.max_age.min(LIVE_NUMBER),
            Self::Key { ttl, .. } => *ttl,
        }
    }
}

/// What is remembered of the last append with a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) number: u64,
    pub(super) digest: [u8; 16],
    pub(super) seq: u64,
    pub(super) message_id: MessageId,
}

impl Record {
    pub(super) fn new(once: &Once, seq: u64, message_id: MessageId) -> Self {
        Self { number: once.number(), digest: *once.digest(), seq, message_id }
    }

    /// What another append with that name gets. `None`: it is a new one.
    pub(super) fn answer(&self, once: &Once) -> Option<Result<Appended, LogError>> {
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
