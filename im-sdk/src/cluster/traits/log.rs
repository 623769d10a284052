//! Logs: ordered, bounded, durable. The conformance suite states what an implementation must do.
//!
//! Every entry of a log has a sequence number, its `seq`: 1, 2, 3 and so on, without a gap. No
//! number is used twice, even after the oldest entries, or all of them, have been trimmed.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    acks::AckStore,
    dedup_key::DedupKey,
    entry::{Appended, LogEnds, NewEntry, Page, ReadLimit},
    log_error::LogError,
};
use crate::{cluster::log_id::LogId, id::MessageId};

/// Stores logs, and the acknowledgements of devices beside them.
#[async_trait]
pub trait LogStore: AckStore + Send + Sync + fmt::Debug + 'static {
    /// Appends an entry. `Ok` means that the entry is stored, at the durability of the
    /// implementation. With a [`NewEntry::dedup_key`], a retry returns the first result.
    ///
    /// # Errors
    /// [`LogError`] tells whether the entry was appended. Dropping the future does not take the
    /// entry back.
    async fn append(&self, log: &LogId, entry: NewEntry) -> Result<Appended, LogError>;

    /// Appends entries together, each on its own: the results are in the order of the entries, and
    /// some may fail where others do not. Entries for the same log are appended in any order.
    async fn append_many(&self, entries: Vec<(LogId, NewEntry)>) -> Vec<Result<Appended, LogError>>;

    /// Checks whether [`LogStore::append`] would find room for these entries, in their order.
    /// Serves a caller that writes to several logs and must know before the first write.
    ///
    /// A retry of a stored entry always has room, and so does an entry without a
    /// [`NewEntry::writer`]. The default, for a store without shares for writers, finds room for
    /// all.
    ///
    /// # Errors
    /// [`LogError::Full`] for an entry that has no room; [`LogError::Unavailable`].
    async fn check_room(&self, entries: &[(LogId, NewEntry)]) -> Vec<Result<(), LogError>> {
        vec![Ok(()); entries.len()]
    }

    /// Deduplicates a message that is not logged. Returns the message id that came first with this
    /// key: `message_id`, if the key is new.
    ///
    /// A producer's number is remembered for an hour, a key for as long as it says, apart from
    /// those of the log's entries. The default remembers nothing: a message that a device repeats,
    /// in a room for example, may then show twice.
    ///
    /// # Errors
    /// [`LogError::Stale`], [`LogError::Conflict`]. After any other error, the key may have been
    /// remembered.
    async fn deduplicate(
        &self,
        _log: &LogId,
        message_id: MessageId,
        _once: &DedupKey,
    ) -> Result<MessageId, LogError> {
        Ok(message_id)
    }

    /// Reads entries behind a seq, oldest first, as many as the limit allows. A short page does not
    /// mean that the log ends there: see [`ReadLimit`].
    ///
    /// # Errors
    /// [`LogError::Unavailable`], [`LogError::Malformed`].
    async fn read(&self, log: &LogId, after: u64, limit: ReadLimit) -> Result<Page, LogError>;

    /// Reads entries before a seq, or the last ones, newest first, as many as the limit allows. A
    /// short page does not mean that the log begins there: see [`ReadLimit`].
    ///
    /// # Errors
    /// [`LogError::Unavailable`], [`LogError::Malformed`].
    async fn read_back(&self, log: &LogId, before: Option<u64>, limit: ReadLimit) -> Result<Page, LogError>;

    /// Replaces the payload of an entry. Every later read returns the new payload at that seq,
    /// under the same message id. Returns `false` if the log has no entry with that id there (any
    /// more). May be repeated.
    ///
    /// The record of the entry's append is unchanged: a retry of it returns the first result.
    ///
    /// # Errors
    /// [`LogError`] tells whether the payload may have been replaced.
    async fn replace(
        &self,
        log: &LogId,
        seq: u64,
        message_id: MessageId,
        payload: Bytes,
    ) -> Result<bool, LogError>;

    /// Returns the id of the message at a seq, or `None` if it was trimmed or does not exist yet.
    ///
    /// # Errors
    /// [`LogError::Unavailable`], [`LogError::Malformed`].
    async fn id_at(&self, log: &LogId, seq: u64) -> Result<Option<MessageId>, LogError>;

    /// Returns the first and last seq of each log, in the order of the logs.
    ///
    /// # Errors
    /// [`LogError::Unavailable`], [`LogError::Malformed`].
    async fn ends(&self, logs: &[LogId]) -> Result<Vec<LogEnds>, LogError>;
}
