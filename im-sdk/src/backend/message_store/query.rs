//! Queries of message stores, and their results.

use super::{HistoryRange, StoredEntry, StoredKey, Words};
use crate::{Filter, cluster::LogId, id::UserId};

/// A query for entries of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreQuery {
    /// Only entries of the conversation with this user.
    pub peer: Option<UserId>,
    /// The range, with its direction.
    pub range: HistoryRange,
    /// Only these kinds and times.
    pub filter: Filter,
    /// The most entries.
    pub limit: usize,
}

impl StoreQuery {
    /// Creates a query for everything in a range.
    pub fn new(range: HistoryRange, limit: usize) -> Self {
        Self { peer: None, range, filter: Filter::new(), limit }
    }

    /// Limits the query to the conversation with a user.
    #[must_use]
    pub fn with_peer(self, peer: Option<UserId>) -> Self {
        Self { peer, ..self }
    }

    /// Limits the query to some kinds and times.
    #[must_use]
    pub fn with_filter(self, filter: Filter) -> Self {
        Self { filter, ..self }
    }
}

/// A page of entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorePage {
    /// The entries, in the order of the log in both directions.
    pub entries: Vec<StoredEntry>,
    /// More entries follow in the direction of the range.
    pub more: bool,
}

/// A search.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SearchQuery {
    /// Only in these logs.
    pub logs: Vec<LogId>,
    /// The words that a text must have.
    pub words: Words,
    /// Only entries of the conversation with this user.
    pub peer: Option<UserId>,
    /// Only these kinds and times.
    pub filter: Filter,
    /// Only messages of this sender.
    pub from: Option<UserId>,
    /// Only entries before this one, in the order of keys.
    pub before: Option<StoredKey>,
    /// The most entries; 0 counts as 1.
    pub limit: usize,
}

impl SearchQuery {
    /// Creates a search for these words in these logs.
    pub fn new(logs: Vec<LogId>, words: Words, limit: usize) -> Self {
        Self { logs, words, peer: None, filter: Filter::new(), from: None, before: None, limit }
    }
}

/// A page of found entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPage {
    /// The entries, newest first by their keys.
    pub entries: Vec<StoredEntry>,
    /// The key to continue before. More entries may follow a short page, or none: a store scans a
    /// limited number at once. `None` after the last page.
    pub next: Option<StoredKey>,
}
