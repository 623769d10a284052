//! What a store is asked, and what it answers.

use super::{HistoryRange, StoredEntry, StoredKey, Words};
use crate::{Filter, cluster::LogId, id::UserId};

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreQuery {
    /// Only entries of the conversation with this user.
    pub peer: Option<UserId>,
    /// From where, and in which direction.
    pub range: HistoryRange,
    /// Only these kinds and times.
    pub filter: Filter,
    /// At most so many.
    pub limit: usize,
}

impl StoreQuery {
    /// Everything in a range.
    pub fn new(range: HistoryRange, limit: usize) -> Self {
        Self { peer: None, range, filter: Filter::new(), limit }
    }

    /// Only the conversation with a user.
    #[must_use]
    pub fn with_peer(self, peer: Option<UserId>) -> Self {
        Self { peer, ..self }
    }

    /// Only some kinds and times.
    #[must_use]
    pub fn with_filter(self, filter: Filter) -> Self {
        Self { filter, ..self }
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

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SearchQuery {
    /// Only in these logs.
    pub logs: Vec<LogId>,
    /// What the text has.
    pub words: Words,
    /// Only entries of the conversation with this user.
    pub peer: Option<UserId>,
    /// Only these kinds and times.
    pub filter: Filter,
    /// Only what this user sent.
    pub from: Option<UserId>,
    /// Only entries before this one, in the order of keys.
    pub before: Option<StoredKey>,
    /// At most so many; 0 counts as 1.
    pub limit: usize,
}

impl SearchQuery {
    /// All with these words in these logs.
    pub fn new(logs: Vec<LogId>, words: Words, limit: usize) -> Self {
        Self { logs, words, peer: None, filter: Filter::new(), from: None, before: None, limit }
    }
}

/// A page of what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPage {
    /// By their keys, the highest first: the newest.
    pub entries: Vec<StoredEntry>,
    /// Where to go on. There can be further ones, also behind a page with fewer than were asked for, or none: a store
    /// looks at so many and no more at once. `None`: that was all.
    pub next: Option<StoredKey>,
}
