//! Idempotent appends: keys by which a retry is recognised and gets the first result.

use super::{dedup_key::DedupKey, entry::Appended, log_error::LogError};
use crate::id::MessageId;

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
