//! Searches the message store.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prost::Message as _;
use tokio::{sync::Semaphore, time::timeout};

use super::{HistoryReader, LoggedMessage, channel_of, place_of};
use crate::{
    Conversation, ConversationState, InvalidSearch, Recipient, Search, SearchPlace,
    backend::message_store::{
        MessageStore, MessageStoreError, SearchQuery, StoredEntry, StoredKey, Words, peer,
    },
    cluster::{Cluster, ConversationsError, LogId, MembersError},
    id::{InvalidId, UserId},
    proto::{limits, pb},
};

/// The most messages on one page of a search.
pub const MAX_SEARCH_PAGE: usize = limits::MAX_PAGE;

/// The most channels in one search.
pub const MAX_SEARCH_CHANNELS: usize = limits::MAX_SEARCH_CHANNELS;

/// The number of searches that one backend runs at once, of devices and its own. They take half of
/// the connections to the database, so that archivers and history need not wait.
pub const MAX_SEARCHES: usize = 4;

/// A page of found messages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundPage {
    /// The messages, newest first.
    pub messages: Vec<LoggedMessage>,
    /// The value of [`Search::before`] for the next page. A page may be short or even empty before
    /// the last one. `None` after the last page.
    pub next: Option<SearchPlace>,
}

/// A search was not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The user has no valid id.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// There is no message store.
    #[error(
        "there is nothing to search in: set ImBuilder::message_store, send with Durability::Archived, and run an archiver"
    )]
    NoMessageStore,
    /// The search is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidSearch),
    /// [`MAX_SEARCHES`] are running. For a device also: another search of its user is running, or
    /// too many are waiting.
    #[error("{MAX_SEARCHES} searches are under way in this backend already")]
    Busy,
    /// The user is in too many channels for one search.
    #[error("the user is in more than {MAX_SEARCH_CHANNELS} channels: search one conversation at a time")]
    TooManyChannels,
    /// The user's channels could not be read.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// The store of conversations, which notes what the user has deleted, did not answer.
    #[error(transparent)]
    Conversations(#[from] ConversationsError),
    /// The message store did not answer.
    #[error(transparent)]
    Store(#[from] MessageStoreError),
}

/// The number of users whose devices search or wait, and the time for which they wait.
const MAX_SEARCHERS: usize = 64;
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Searches messages that users may see.
#[derive(Debug)]
pub(in crate::backend) struct MessageSearch {
    cluster: Cluster,
    store: Option<Arc<dyn MessageStore>>,
    history: Arc<HistoryReader>,
    permits: Semaphore,
    /// The users whose devices search, or wait for a permit.
    users: Mutex<HashSet<UserId>>,
}

impl MessageSearch {
    pub(in crate::backend) fn new(
        cluster: Cluster,
        store: Option<Arc<dyn MessageStore>>,
        history: Arc<HistoryReader>,
    ) -> Self {
        let (permits, users) = (Semaphore::new(MAX_SEARCHES), Mutex::default());
        Self { cluster, store, history, permits, users }
    }

    /// Returns `None` if the user searches already, or too many wait.
    fn admit(&self, user: &UserId) -> Option<Searcher<'_>> {
        let mut users = self.lock();
        if users.len() >= MAX_SEARCHERS || !users.insert(user.clone()) {
            return None;
        }
        Some(Searcher { search: self, user: user.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<UserId>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A user whose device searches, until it is dropped.
struct Searcher<'a> {
    search: &'a MessageSearch,
    user: UserId,
}

impl Drop for Searcher<'_> {
    fn drop(&mut self) {
        self.search.lock().remove(&self.user);
    }
}

impl MessageSearch {
    /// Searches for the backend. See [`Im::search`](crate::backend::Im::search).
    pub(in crate::backend) async fn search(
        &self,
        user: &UserId,
        search: &Search,
        limit: usize,
    ) -> Result<FoundPage, SearchError> {
        let _permit = self.permits.try_acquire().map_err(|_| SearchError::Busy)?;
        let page = self.raw_search(user, search, limit).await?;
        let messages =
            page.entries.into_iter().map(|entry| LoggedMessage::of(channel_of(&entry.log), entry.into()));
        Ok(FoundPage { messages: messages.collect(), next: page.next })
    }

    /// Searches for a user's device: one search of a user at a time, in turn with others.
    pub(in crate::backend) async fn search_in_turn(
        &self,
        user: &UserId,
        search: &Search,
        limit: usize,
    ) -> Result<RawFound, SearchError> {
        let _searcher = self.admit(user).ok_or(SearchError::Busy)?;
        let permit = timeout(MAX_WAIT, self.permits.acquire()).await;
        let _permit = permit.ok().and_then(Result::ok).ok_or(SearchError::Busy)?;
        self.raw_search(user, search, limit).await
    }

    /// Returns found entries as they are kept, whoever else searches.
    async fn raw_search(
        &self,
        user: &UserId,
        search: &Search,
        limit: usize,
    ) -> Result<RawFound, SearchError> {
        let store: &dyn MessageStore = self.store.as_deref().ok_or(SearchError::NoMessageStore)?;
        let words = Words::parse(&search.text)?;
        let (logs, peer) = match &search.conversation {
            None => (self.logs_of(user).await?, None),
            Some(conversation) => {
                let (log, peer) = place_of(user, conversation);
                (vec![log], peer)
            }
        };
        let query = SearchQuery {
            peer,
            filter: search.filter.clone(),
            from: search.from.clone(),
            before: search.before.as_ref().map(|place| key(user, place)),
            ..SearchQuery::new(logs, words, limit.clamp(1, MAX_SEARCH_PAGE))
        };
        let page = store.search(&query).await?;
        let next =
            page.next.map(|key| SearchPlace { channel: channel_of(&key.log), message_id: key.message_id });
        let entries = match &search.conversation {
            Some(Conversation::Inbox) => {
                let mut entries = page.entries;
                self.history.leave_out_deleted(user, &mut entries).await?;
                entries
            }
            _ => self.without_deleted(user, page.entries).await?,
        };
        Ok(RawFound { entries, next })
    }

    /// Removes entries that the user has deleted.
    async fn without_deleted(
        &self,
        user: &UserId,
        mut entries: Vec<StoredEntry>,
    ) -> Result<Vec<StoredEntry>, ConversationsError> {
        self.history.leave_out_deleted(user, &mut entries).await?;
        let names: BTreeSet<Recipient> =
            entries.iter().filter_map(|entry| conversation(user, entry)).collect();
        let names: Vec<Recipient> = names.into_iter().collect();
        let states = self.cluster.conversations().states(user, &names).await?;
        let deleted: HashMap<Recipient, u64> =
            names.into_iter().zip(states.iter().map(ConversationState::shown_from)).collect();
        entries.retain(|entry| {
            let deleted = conversation(user, entry).and_then(|name| deleted.get(&name));
            deleted.is_none_or(|deleted| entry.seq > *deleted)
        });
        Ok(entries)
    }

    /// Returns all logs that a user may see.
    async fn logs_of(&self, user: &UserId) -> Result<Vec<LogId>, SearchError> {
        let channels = self.cluster.members().channels(user).await?;
        if channels.len() > MAX_SEARCH_CHANNELS {
            return Err(SearchError::TooManyChannels);
        }
        let inbox = LogId::Inbox(user.clone());
        Ok(std::iter::once(inbox).chain(channels.into_iter().map(LogId::Channel)).collect())
    }
}

/// A page of found entries as they are kept.
#[derive(Debug)]
pub(in crate::backend) struct RawFound {
    pub(in crate::backend) entries: Vec<StoredEntry>,
    pub(in crate::backend) next: Option<SearchPlace>,
}

/// Returns the conversation of an entry, or `None` if it belongs to none.
fn conversation(user: &UserId, entry: &StoredEntry) -> Option<Recipient> {
    if let LogId::Channel(channel) = &entry.log {
        return Some(channel.clone().into());
    }
    let message = pb::Message::decode(entry.message.clone()).ok()?;
    peer(user, &message).map(Recipient::User)
}

fn key(user: &UserId, place: &SearchPlace) -> StoredKey {
    let log = match &place.channel {
        None => LogId::Inbox(user.clone()),
        Some(channel) => LogId::Channel(channel.clone()),
    };
    StoredKey { message_id: place.message_id, log }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Im;

    #[tokio::test]
    async fn a_user_searches_once_at_a_time() {
        let im = Im::with_cluster(Cluster::embedded()).await.unwrap();
        let (searches, user) = (&im.inner.search, |name: &str| UserId::parse(name).unwrap());
        let alice = searches.admit(&user("alice")).unwrap();
        assert!(searches.admit(&user("alice")).is_none());
        let others: Vec<_> =
            (1..MAX_SEARCHERS).map(|n| searches.admit(&user(&format!("u{n}"))).unwrap()).collect();
        assert!(searches.admit(&user("bob")).is_none(), "too many wait");
        drop(others);
        drop(alice);
        assert!(searches.admit(&user("alice")).is_some());
        assert!(searches.lock().is_empty());
    }
}
