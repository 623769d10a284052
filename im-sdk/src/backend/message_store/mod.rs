//! Where messages stay: the application's database, written by an [archiver](super::Archiver), read by
//! [history](super::Im::history).

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

/// Keeps entries of logs for good. What an implementation must do is told by its conformance suite.
#[async_trait]
pub trait MessageStore: Send + Sync + fmt::Debug + 'static {
    /// Writes entries, all or none. One whose log and message id are there already has no effect.
    ///
    /// # Errors
    /// [`MessageStoreError`]: try again.
    async fn write(&self, entries: &[StoredEntry]) -> Result<(), MessageStoreError>;

    /// Reads entries of one log: those of the range that are nearest to where it begins, in the order of the log.
    ///
    /// Several entries can have the same seq, after a log was rolled back: they are in the order of their ids, and never
    /// on different pages, so a page may be shorter than asked for, or longer where one seq alone has so many.
    ///
    /// # Errors
    /// [`MessageStoreError`].
    async fn read(&self, log: &LogId, query: &StoreQuery) -> Result<StorePage, MessageStoreError>;

    /// Looks for entries by their text, in all that was written before. A store that cannot need not.
    ///
    /// # Errors
    /// [`MessageStoreError`].
    async fn search(&self, _query: &SearchQuery) -> Result<SearchPage, MessageStoreError> {
        Err(MessageStoreError::Unsupported { action: "search" })
    }

    /// Up to `limit` entries with this message id, in whatever logs, in an order of the store's own. A store that cannot need not.
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

    /// Removes what these messages say, from every log and from what is searched. Their entries stay, without content. What is
    /// not there yet is not concerned, and writing an entry that is there brings nothing back.
    ///
    /// # Errors
    /// [`MessageStoreError`]: some may be done; try again.
    async fn redact(&self, _ids: &[MessageId]) -> Result<(), MessageStoreError> {
        Err(MessageStoreError::Unsupported { action: "remove what messages say" })
    }

    /// Carries out what recalls and edits make of messages: in every log, in what is searched, and in entries that are written
    /// later, for at least [`AMENDMENTS_KEPT`]. Of several amendments of one part of a message the one with the highest
    /// [rank](Amendment::rank) counts, whichever comes first, and [`Amendment::apply`] says what it makes of an entry. One that
    /// was or is replaced by a higher one leaves its own message to be emptied, see [`Amendment::outranked`].
    ///
    /// The default removes what recalled messages say, as far as they are there, and cannot do anything else.
    ///
    /// # Errors
    /// [`MessageStoreError`]: some may be done; try again.
    async fn amend(&self, amendments: &[Amendment]) -> Result<(), MessageStoreError> {
        let recalled: Vec<MessageId> =
            amendments.iter().filter(|one| one.is_recall()).map(Amendment::message_id).collect();
        if recalled.is_empty() { Ok(()) } else { self.redact(&recalled).await }
    }

    /// Up to `limit` logs that have entries, behind `after` in an order of the store's own, each with the lowest id in it.
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

    /// Deletes up to `limit` entries of a log whose ids are lower than `before`, the lowest first, also from what is searched.
    /// Returns how many; 0: there are none. Several may do it at the same time.
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

/// How long a store knows what was made of a message, by the time in the message's id: an archive brings entries much sooner.
pub const AMENDMENTS_KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Amendments of messages with lower ids are forgotten when one of this message is kept. By the earlier of two clocks, so that a wrong
/// one makes none be forgotten too early.
fn oldest_amended(message: MessageId) -> MessageId {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).min(message.unix_ms());
    MessageId::first_at(now.saturating_sub(u64::try_from(AMENDMENTS_KEPT.as_millis()).unwrap_or(u64::MAX)))
}

/// What a library said, shared by all whom it concerns.
type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// The message store did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageStoreError {
    /// It did not answer, or not in time, or refused.
    #[error("the message store could not {action}: {}", chain(cause))]
    Unavailable {
        /// What was asked.
        action: &'static str,
        /// Why.
        cause: Cause,
    },
    /// Its tables were made by a newer version.
    #[error("the message store has version {found} of its tables, this program knows {known}: update it")]
    Newer {
        /// What is there.
        found: i64,
        /// What this version makes.
        known: i64,
    },
    /// It is not made for this.
    #[error("this message store cannot {action}: use one that can, such as SqlMessageStore")]
    Unsupported {
        /// What was asked.
        action: &'static str,
    },
    /// It holds something that this version cannot read.
    #[error("the message store holds an entry that cannot be read: {place}")]
    Malformed {
        /// Where it is. What it says is nobody's business.
        place: String,
    },
}

impl MessageStoreError {
    /// It did not do something.
    pub fn unavailable(
        action: &'static str,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable { action, cause: cause.into().into() }
    }
}

/// Cuts what was read, nearest first, to a page. `read` has one more than `limit` where there is more; `same` is all that
/// has the seq at the cut, for the case that a page would be empty without.
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

/// What became of a page.
enum Cut {
    /// It is whole.
    Done { more: bool },
    /// This seq alone has more entries than fit: it is to be read whole.
    OneSeq(u64),
}
