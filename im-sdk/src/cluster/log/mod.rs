//! Logs: ordered, bounded, durable. What an implementation must do is told by its conformance suite.
//!
//! Every entry of a log has a `seq`: 1, 2, 3 and so on, without a gap and never used twice, also after the oldest entries,
//! or all of them, have been trimmed away.

mod acks;
mod clock;
#[cfg(feature = "backend")]
mod disk;
mod entry;
mod live;
mod memory;
mod once;
mod redis;
mod room;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

#[cfg(feature = "backend")]
pub(super) use self::disk::open as disk_file;
#[cfg(feature = "backend")]
pub use self::disk::{DiskLog, OpenLogError};
pub use self::{
    acks::{AckQuestion, AckStore, DeviceAck, MAX_ACKED_SEQ, MAX_ACKS_PER_USER},
    entry::{Appended, Ends, Entry, LogBounds, LogId, NewEntry, Page, ReadLimit},
    memory::MemoryLog,
    once::Once,
    redis::RedisLog,
};
use crate::id::MessageId;

/// Keeps logs, and beside them how far devices have acknowledged them.
#[async_trait]
pub trait LogStore: AckStore + Send + Sync + fmt::Debug + 'static {
    /// Appends an entry. Ok means that it is there, at the durability that the implementation stands for. With
    /// [`NewEntry::once`] a retry gets the first result.
    ///
    /// # Errors
    /// [`LogError`] says what became of the entry. Dropping the future does not take the entry back.
    async fn append(&self, log: &LogId, entry: NewEntry) -> Result<Appended, LogError>;

    /// Appends entries together, each on its own: the results are in their order, and some may fail where others do not.
    /// Entries for the same log get into it in any order.
    async fn append_many(&self, entries: Vec<(LogId, NewEntry)>) -> Vec<Result<Appended, LogError>>;

    /// Whether [`LogStore::append`] would find room for these entries, in their order: for who has to know of several logs
    /// before the first one is written. Entries that a retry finds there, and those without a [`NewEntry::writer`], always have
    /// room.
    ///
    /// The default, for a store that gives writers no shares, finds room for all.
    ///
    /// # Errors
    /// [`LogError::Full`] for the entry that has no room; [`LogError::Unavailable`].
    async fn check_room(&self, entries: &[(LogId, NewEntry)]) -> Vec<Result<(), LogError>> {
        vec![Ok(()); entries.len()]
    }

    /// Remembers the number or key of something that is sent and kept nowhere: a number for an hour, a key for as long as it
    /// says, apart from those of the log's entries. Returns the id that came with it first: `message_id`, if it is new.
    ///
    /// The default remembers nothing. Then what a device has to repeat, in a room for example, can show twice.
    ///
    /// # Errors
    /// [`LogError::Stale`], [`LogError::Conflict`]; with any other it may be remembered or not.
    async fn remember(
        &self,
        _log: &LogId,
        message_id: MessageId,
        _once: &Once,
    ) -> Result<MessageId, LogError> {
        Ok(message_id)
    }

    /// Entries behind a seq, oldest first, as many as the limit allows. A page can be short before the log ends: see
    /// [`ReadLimit`].
    ///
    /// # Errors
    /// [`LogError::Unavailable`], [`LogError::Malformed`].
    async fn read(&self, log: &LogId, after: u64, limit: ReadLimit) -> Result<Page, LogError>;

    /// Entries before a seq, or the last ones, newest first, as many as the limit allows. A page can be short before the log
    /// begins: see [`ReadLimit`].
    ///
    /// # Errors
    /// [`LogError::Unavailable`], [`LogError::Malformed`].
    async fn read_back(&self, log: &LogId, before: Option<u64>, limit: ReadLimit) -> Result<Page, LogError>;

    /// Replaces the payload of an entry: every read from now on brings this one at that seq, under the same message id.
    /// Returns `false` if the log has no entry with that id there (any more). Repeating it does no harm.
    ///
    /// What is known of the entry's append stays as it is: a retry gets the first result.
    ///
    /// # Errors
    /// [`LogError`] says whether the payload may have been replaced.
    async fn replace(
        &self,
        log: &LogId,
        seq: u64,
        message_id: MessageId,
        payload: Bytes,
    ) -> Result<bool, LogError>;

    /// The id of the message at a seq. `None`: it has been trimmed, or is yet to come.
    ///
    /// # Errors
    /// [`LogError::Unavailable`], [`LogError::Malformed`].
    async fn id_at(&self, log: &LogId, seq: u64) -> Result<Option<MessageId>, LogError>;

    /// Where logs begin and end, in their order.
    ///
    /// # Errors
    /// [`LogError::Unavailable`], [`LogError::Malformed`].
    async fn ends(&self, logs: &[LogId]) -> Result<Vec<Ends>, LogError>;
}

/// What a library said, shared by all whom it concerns.
type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// The log store did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The producer has appended with a higher number since. Nothing was appended now.
    #[error("the producer has appended with number {last} already")]
    Stale {
        /// The producer's last number.
        last: u64,
    },
    /// The same number or key came with something else before. Nothing was appended now.
    #[error("the same number or key was used for something else")]
    Conflict,
    /// The writer holds its share of the log already, and what others wrote there is still unread. Nothing was appended.
    #[error("the writer's share of the log is used up; try again in {} s", retry_after.as_secs().max(1))]
    Full {
        /// How long to wait before another attempt.
        retry_after: Duration,
    },
    /// Nothing was appended.
    #[error("nothing was appended: {source}")]
    NotAppended {
        /// Why.
        source: Cause,
    },
    /// The entry may have been appended, or may yet be.
    #[error("it is unknown whether the entry was appended: {source}")]
    OutcomeUnknown {
        /// Why.
        source: Cause,
    },
    /// The entry was appended, but a failure of the store's first server may still lose it.
    #[error("the entry was appended, but only {acknowledged} of {wanted} replicas acknowledged it in time")]
    Unconfirmed {
        /// How many replicas have the entry for certain.
        acknowledged: usize,
        /// How many should.
        wanted: usize,
    },
    /// The store did not answer, or not in time.
    #[error("the log store could not {action}: {source}")]
    Unavailable {
        /// What was asked.
        action: &'static str,
        /// Why.
        source: Cause,
    },
    /// The store holds something that this version cannot read.
    #[error("the log store holds a {what} that cannot be read: {place}")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// Where it is. What it says is nobody's business.
        place: String,
    },
}
