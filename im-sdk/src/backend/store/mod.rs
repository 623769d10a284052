//! Where messages stay: the application's database, written by an [archiver](super::Archiver), read by
//! [history](super::Im::history).

mod entry;
mod memory;
#[cfg(feature = "sql")]
mod sql;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

use std::{fmt, sync::Arc};

use async_trait::async_trait;

pub(super) use self::entry::peer;
#[cfg(feature = "sql")]
pub use self::sql::SqlMessageStore;
pub use self::{
    entry::{NotAMessage, StoredEntry},
    memory::MemoryMessageStore,
};
pub use crate::HistoryRange;
use crate::{cluster::LogId, id::UserId};

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
}

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreQuery {
    /// Only entries of the conversation with this user.
    pub peer: Option<UserId>,
    /// From where, and in which direction.
    pub range: HistoryRange,
    /// At most so many.
    pub limit: usize,
}

impl StoreQuery {
    /// Everything in a range.
    pub fn new(range: HistoryRange, limit: usize) -> Self {
        Self { peer: None, range, limit }
    }

    /// Only the conversation with a user.
    #[must_use]
    pub fn with_peer(self, peer: Option<UserId>) -> Self {
        Self { peer, ..self }
    }
}

/// A page of entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorePage {
    /// In the order of the log, whatever the direction.
    pub entries: Vec<StoredEntry>,
    /// There are further ones in the direction of the range.
    pub more: bool,
}

/// What a library said, shared by all whom it concerns.
type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// The message store did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageStoreError {
    /// It did not answer, or not in time, or refused.
    #[error("the message store could not {action}: {source}")]
    Unavailable {
        /// What was asked.
        action: &'static str,
        /// Why.
        source: Cause,
    },
    /// Its tables were made by a newer version.
    #[error("the message store has version {found} of its tables, this program knows {known}: update it")]
    Newer {
        /// What is there.
        found: i64,
        /// What this version makes.
        known: i64,
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
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable { action, source: source.into().into() }
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
