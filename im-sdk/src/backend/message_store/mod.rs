//! Message stores: the application's database, written by an [archiver](super::Archiver) and read
//! by [history](super::Im::history).

mod amendment;
mod entry;
mod memory;
mod query;
#[cfg(feature = "postgres")]
mod sql;
mod words;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;

pub(super) use self::entry::{RawEntry, peer};
#[cfg(feature = "postgres")]
pub use self::sql::SqlMessageStore;
pub use self::{
    amendment::{AmendedPart, Amendment},
    entry::{NotAMessage, StoredEntry, StoredKey},
    memory::MemoryMessageStore,
    query::{SearchPage, SearchQuery, StorePage, StoreQuery},
    words::Words,
};
use crate::{HistoryRange, backend::error_chain::chain, cluster::LogId, id::MessageId};

/// Stores entries of logs for good. The conformance suite states what an implementation must do.
#[async_trait]
pub trait MessageStore: Send + Sync + fmt::Debug + 'static {
    /// Writes entries, all or none. An entry whose log and message id exist already has no effect.
    ///
    /// # Errors
    /// [`MessageStoreError`]: try again.
    async fn write(&self, entries: &[StoredEntry]) -> Result<(), MessageStoreError>;

    /// Reads entries of one log: those at the start of the range, in the order of the log.
    ///
    /// Entries with the same seq, which exist after a rollback of a log, are in the order of their ids. They are never
    /// split over pages, so a page may be shorter than asked for, or longer if one seq alone has more entries.
    ///
    /// # Errors
    /// [`MessageStoreError`].
    async fn read(&self, log: &LogId, query: &StoreQuery) -> Result<StorePage, MessageStoreError>;

    /// Searches entries by their text, in everything that was written before. A store need not
    /// support it.
    ///
    /// # Errors
    /// [`MessageStoreError`].
    async fn search(&self, _query: &SearchQuery) -> Result<SearchPage, MessageStoreError> {
        Err(MessageStoreError::Unsupported { action: "search" })
    }

    /// Returns up to `limit` entries with this message id, from any logs, in an order of the
    /// store's own. A store need not support it.
    ///
    /// # Errors
    /// [`MessageStoreError`].
    async fn find_message(
        &self,
        _id: MessageId,
        _limit: usize,
    ) -> Result<Vec<StoredEntry>, MessageStoreError> {
        Err(MessageStoreError::Unsupported { action: "find a message by its id" })
    }

    /// Removes the content of these messages from every log and from the search index. Their
    /// entries stay. Messages that are not there yet are not affected, and writing an existing
    /// entry restores nothing.
    ///
    /// # Errors
    /// [`MessageStoreError`]: some may be done; try again.
    async fn redact(&self, _ids: &[MessageId]) -> Result<(), MessageStoreError> {
        Err(MessageStoreError::Unsupported { action: "remove what messages say" })
    }

    /// Applies recalls and edits to messages: in every log, in the search index, and in entries
    /// that are written later, for at least [`AMENDMENTS_KEPT`]. Of several amendments of one part
    /// of a message the one with the highest [rank](Amendment::rank) counts, whichever comes first,
    /// and [`Amendment::apply`] returns the new entry. The own message of an amendment with a lower
    /// rank is to be emptied, see [`Amendment::outranked`].
    ///
    /// By default removes the content of recalled messages that are in the store, and does nothing else.
    ///
    /// # Errors
    /// [`MessageStoreError`]: some may be done; try again.
    async fn amend(&self, amendments: &[Amendment]) -> Result<(), MessageStoreError> {
        let recalled: Vec<MessageId> =
            amendments.iter().filter(|one| one.is_recall()).map(Amendment::message_id).collect();
        if recalled.is_empty() { Ok(()) } else { self.redact(&recalled).await }
    }

    /// Returns up to `limit` logs that have entries, behind `after` in an order of the store's own,
    /// each with its lowest id.
    ///
    /// # Errors
    /// [`MessageStoreError`].
    async fn logs(
        &self,
        _after: Option<&LogId>,
        _limit: usize,
    ) -> Result<Vec<(LogId, MessageId)>, MessageStoreError> {
        Err(MessageStoreError::Unsupported { action: "list its logs" })
    }

    /// Deletes up to `limit` entries of a log whose ids are lower than `before`, the lowest first,
    /// also from the search index. Returns their number, which is 0 if there are none. Several
    /// callers may delete at the same time.
    ///
    /// # Errors
    /// [`MessageStoreError`]: some may be deleted; try again.
    async fn trim(
        &self,
        _log: &LogId,
        _before: MessageId,
        _limit: usize,
    ) -> Result<usize, MessageStoreError> {
        Err(MessageStoreError::Unsupported { action: "delete entries" })
    }
}

/// The time for which a store remembers amendments of a message, by the time in the message's id.
/// An archive brings entries much sooner.
pub const AMENDMENTS_KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Returns the lowest id of messages whose amendments are still remembered when one of this message
/// is noted. It uses the earlier of two clocks, so that a wrong one forgets none too early.
fn oldest_amended(message: MessageId) -> MessageId {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).min(message.unix_ms());
    MessageId::first_at(now.saturating_sub(u64::try_from(AMENDMENTS_KEPT.as_millis()).unwrap_or(u64::MAX)))
}

/// The error of a library.
type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// The message store failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageStoreError {
    /// It did not answer, or not in time, or refused.
    #[error("the message store could not {action}: {}", chain(cause))]
    Unavailable {
        /// The requested action.
        action: &'static str,
        /// The cause.
        cause: Cause,
    },
    /// Its tables were made by a newer version.
    #[error("the message store has version {found} of its tables, this program knows {known}: update it")]
    Newer {
        /// The version of the tables.
        found: i64,
        /// The version that this one makes.
        known: i64,
    },
    /// It does not support the action.
    #[error("this message store cannot {action}: use one that can, such as SqlMessageStore")]
    Unsupported {
        /// The requested action.
        action: &'static str,
    },
    /// It holds an entry that this version cannot read.
    #[error("the message store holds an entry that cannot be read: {place}")]
    Malformed {
        /// The location of the entry. Its content is private.
        place: String,
    },
}

impl MessageStoreError {
    /// Builds the error of a failed action.
    pub fn unavailable(
        action: &'static str,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable { action, cause: cause.into().into() }
    }
}

/// Cuts entries, nearest first, to a page. `read` has one more than `limit` if there are more.
fn cut(read: &mut Vec<StoredEntry>, limit: usize) -> Cut {
    if read.len() <= limit {
        return Cut::Done { more: false };
    }
    let Some(seq) = read.get(limit).map(|entry| entry.seq) else { return Cut::Done { more: false } };
    read.truncate(limit);
    while read.last().is_some_and(|entry| entry.seq == seq) {
        read.pop();
    }
    if read.is_empty() && limit > 0 { Cut::OneSeq(seq) } else { Cut::Done { more: true } }
}

/// The result of a cut.
enum Cut {
    /// The page is complete.
    Done { more: bool },
    /// This seq alone has more entries than fit, and has to be read as a whole.
    OneSeq(u64),
}
