//! The past: what a log still has, and before that what the message store has.
//!
//! ```text
//!   seq 1 ......... first - 1 | first ............ last
//!      message store          |        log
//! ```
//!
//! The log counts wherever it has something: where it was rolled back and the store has what it lost under the same seqs,
//! that shows only when the log does not reach back to them any more.

mod place;

use bytes::Bytes;
use prost::Message as _;

use super::{
    im::Im,
    store::{MessageStore, MessageStoreError, StoreQuery, StoredEntry, peer},
};
use crate::{
    CLOCK_TOLERANCE, Content, Conversation, HistoryQuery, HistoryRange, Kind, Recipient,
    cluster::{ConversationsError, Entry, LogError, LogId},
    id::{ChannelId, MessageId, UserId},
    proto::pb,
};

/// The most entries on one page.
pub const MAX_HISTORY_PAGE: usize = 1000;

/// How many entries of a log are read at once.
const PAGE: usize = 256;

/// How many entries of a log are looked at for one page: where few of them are wanted, a page ends before it is full.
pub const MAX_HISTORY_SCAN: usize = 16 * PAGE;

/// See [`CLOCK_TOLERANCE`].
const TOLERANCE_MS: u64 = CLOCK_TOLERANCE.as_millis() as u64;

/// A page of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryPage {
    /// In the order of the log, whatever the direction.
    pub entries: Vec<HistoryEntry>,
    /// There are further ones in the direction that was asked for, or there may be: a page can be short, and even empty, where
    /// few entries of many are wanted.
    pub more: bool,
    /// Where to go on. `None`: that was all.
    pub next: Option<HistoryRange>,
}

/// A message in the past.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// Its place in the log.
    pub seq: u64,
    /// Its id, which also says when it was sent.
    pub message_id: MessageId,
    /// Who sent it. `None`: the back end itself.
    pub from: Option<UserId>,
    /// Whom it was addressed to, if that was one user.
    pub to: Option<UserId>,
    /// What it says.
    pub content: Content,
}

/// The past cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The log store did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The message store did not answer.
    #[error(transparent)]
    Store(#[from] MessageStoreError),
    /// The store of conversations, which knows what the user has deleted, did not answer.
    #[error(transparent)]
    Conversations(#[from] ConversationsError),
    /// The message before or after which entries are asked for is not there, or not any more.
    #[error("message {0} is not in this conversation's log: ask from a seq or a time instead")]
    NoSuchMessage(MessageId),
}

impl Im {
    /// A page of what a user sees of a conversation: of the user's inbox, or of a channel. It goes on in
    /// [`super::ImConfig::message_store`] where the log does not reach back any more. `limit` is cut to
    /// [`MAX_HISTORY_PAGE`], and 0 counts as 1; entries that share a seq are never on different pages, so a page can be a
    /// little shorter or longer. What is wanted is a [`HistoryRange`], or a [`HistoryQuery`] for messages of some kinds or of
    /// some time, or around a message. What the user has deleted of a conversation is not shown; the inbox as a whole shows
    /// all.
    ///
    /// It does not ask whether the user is a member of the channel: that is for whoever answers the user.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{
    ///     Content,
    ///     backend::{Conversation, HistoryQuery, Im, Kind, Message, user},
    ///     cluster::Cluster,
    ///     id::UserId,
    /// };
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// im.send(Message::to(user("bob")).from("alice").text("paid?")).await?;
    /// im.send(Message::to(user("bob")).from("alice").content(Content::custom("order.paid", "7"))).await?;
    ///
    /// let (bob, alice) = (UserId::parse("bob")?, Conversation::User(UserId::parse("alice")?));
    /// let mut query = HistoryQuery::newest().kinds([Kind::custom("order.paid")]);
    /// let mut payments = Vec::new();
    /// loop {
    ///     let page = im.history(&bob, &alice, query.clone(), 50).await?;
    ///     payments.splice(0..0, page.entries);
    ///     let Some(next) = page.next else { break };
    ///     query = query.range(next);
    /// }
    /// assert_eq!(payments.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn history(
        &self,
        user: &UserId,
        conversation: &Conversation,
        query: impl Into<HistoryQuery>,
        limit: usize,
    ) -> Result<HistoryPage, HistoryError> {
        let page = self.raw_history(user, conversation, &query.into(), limit).await?;
        let entries = page.entries.into_iter().map(HistoryEntry::from).collect();
        Ok(HistoryPage { entries, more: page.next.is_some(), next: page.next })
    }

    /// A page of what was said in a channel, for whomever.
    pub(super) async fn channel_history(
        &self,
        channel: ChannelId,
        query: &HistoryQuery,
        limit: usize,
    ) -> Result<HistoryPage, HistoryError> {
        let page = self.read_history(LogId::Channel(channel), None, query, limit, 0).await?;
        let entries = page.entries.into_iter().map(HistoryEntry::from).collect();
        Ok(HistoryPage { entries, more: page.next.is_some(), next: page.next })
    }

    /// The same with messages as they are kept.
    pub(super) async fn raw_history(
        &self,
        user: &UserId,
        conversation: &Conversation,
        query: &HistoryQuery,
        limit: usize,
    ) -> Result<RawPage, HistoryError> {
        let deleted = self.deleted(user, conversation).await?;
        let (log, peer) = place_of(user, conversation);
        self.read_history(log, peer.map(|peer| (user, peer)), query, limit, deleted).await
    }

    /// What is behind the entry `deleted`, as far as it is wanted.
    async fn read_history(
        &self,
        log: LogId,
        between: Option<(&UserId, UserId)>,
        query: &HistoryQuery,
        limit: usize,
        deleted: u64,
    ) -> Result<RawPage, HistoryError> {
        let (owner, peer) = between.unzip();
        let range = self.range(&log, query.start).await?;
        let limit = limit.clamp(1, MAX_HISTORY_PAGE);
        let reading = Reading { im: self, owner, log, peer, query, limit };
        let mut page = match range {
            HistoryRange::Newest => reading.back(None).await,
            HistoryRange::Before(seq) => reading.back(Some(seq)).await,
            HistoryRange::After(seq) => return reading.forward(seq.max(deleted)).await,
        }?;
        page.entries.retain(|entry| entry.seq > deleted);
        page.next =
            page.next.filter(|next| !matches!(next, HistoryRange::Before(seq) if *seq <= deleted + 1));
        Ok(page)
    }

    /// Up to where the user has deleted a conversation.
    async fn deleted(&self, user: &UserId, conversation: &Conversation) -> Result<u64, ConversationsError> {
        let name = match conversation {
            Conversation::User(peer) => Recipient::User(peer.clone()),
            Conversation::Channel(channel) => Recipient::Channel(channel.clone()),
            Conversation::Inbox => return Ok(0),
        };
        let states = self.inner.cluster.conversations().states(user, std::slice::from_ref(&name)).await?;
        Ok(states.first().map_or(0, |state| state.deleted))
    }
}

/// The log of a conversation, and whose messages of it are meant.
pub(super) fn place_of(user: &UserId, conversation: &Conversation) -> (LogId, Option<UserId>) {
    match conversation {
        Conversation::User(peer) => (LogId::Inbox(user.clone()), Some(peer.clone())),
        Conversation::Inbox => (LogId::Inbox(user.clone()), None),
        Conversation::Channel(channel) => (LogId::Channel(channel.clone()), None),
    }
}

/// A page with messages as they are kept, in the order of the log.
#[derive(Debug)]
pub(super) struct RawPage {
    pub(super) entries: Vec<RawEntry>,
    /// See [`HistoryPage::next`].
    pub(super) next: Option<HistoryRange>,
}

impl RawPage {
    /// What is before it may follow.
    fn back(entries: Vec<RawEntry>, next: Option<u64>) -> Self {
        Self { entries, next: next.map(HistoryRange::Before) }
    }

    /// What is after it may follow.
    fn forward(entries: Vec<RawEntry>, next: Option<u64>) -> Self {
        Self { entries, next: next.map(HistoryRange::After) }
    }
}

#[derive(Debug)]
pub(crate) struct RawEntry {
    pub(crate) seq: u64,
    pub(crate) message_id: MessageId,
    pub(crate) message: Bytes,
}

struct Reading<'a> {
    im: &'a Im,
    /// Whose inbox it is, where there is a `peer`.
    owner: Option<&'a UserId>,
    log: LogId,
    peer: Option<UserId>,
    query: &'a HistoryQuery,
    limit: usize,
}

impl Reading<'_> {
    async fn back(&self, before: Option<u64>) -> Result<RawPage, HistoryError> {
        let mut found: Vec<RawEntry> = Vec::new();
        let mut before = before;
        let mut looked_at = 0;
        loop {
            let page = self.im.inner.cluster.log().read_back(&self.log, before, PAGE).await?;
            let lowest = page.entries.last().map(|entry| entry.seq);
            looked_at += page.entries.len();
            let is_past = self.are_too_old(&page.entries);
            found.extend(page.entries.into_iter().filter(|entry| self.wants(entry)).map(RawEntry::from));
            if found.len() > self.limit {
                found.truncate(self.limit);
                found.reverse();
                let next = found.first().map(|entry| entry.seq);
                return Ok(RawPage::back(found, next));
            }
            match lowest {
                Some(seq) if is_past || seq > page.first && looked_at >= MAX_HISTORY_SCAN => {
                    found.reverse();
                    return Ok(RawPage::back(found, (!is_past).then_some(seq)));
                }
                Some(seq) if seq > page.first => before = Some(seq),
                Some(seq) => return self.back_in_store(found, HistoryRange::Before(seq)).await,
                // A log that was never used, or that was lost with all that was in it.
                None if page.last == 0 => {
                    let range = before.map_or(HistoryRange::Newest, HistoryRange::Before);
                    return self.back_in_store(found, range).await;
                }
                None => {
                    let before = before.map_or(page.first, |before| before.min(page.first));
                    return self.back_in_store(found, HistoryRange::Before(before)).await;
                }
            }
        }
    }

    /// What is older than all that the log had, which comes newest first.
    async fn back_in_store(
        &self,
        newest_first: Vec<RawEntry>,
        range: HistoryRange,
    ) -> Result<RawPage, HistoryError> {
        let newer = newest_first.into_iter().rev();
        let Some(store) = self.store() else {
            return Ok(RawPage::back(newer.collect(), None));
        };
        let page = store.read(&self.log, &self.store_query(range, newer.len())).await?;
        let older = page.entries.into_iter().map(RawEntry::from);
        let entries: Vec<_> = older.chain(newer).collect();
        let next = entries.first().map(|entry| entry.seq).filter(|_| page.more);
        Ok(RawPage::back(entries, next))
    }

    async fn forward(&self, after: u64) -> Result<RawPage, HistoryError> {
        let mut found: Vec<RawEntry> = Vec::new();
        let mut after = after;
        let mut looked_at = 0;
        loop {
            let page = self.im.inner.cluster.log().read(&self.log, after, PAGE).await?;
            let is_lost = page.last == 0;
            if let Some(store) = self.store()
                && (is_lost || after.saturating_add(1) < page.first)
            {
                let end = if is_lost { u64::MAX } else { page.first };
                let more = self.forward_in_store(store, after, end, &mut found).await?;
                if more || is_lost {
                    let next = found.last().map(|entry| entry.seq).filter(|_| more);
                    return Ok(RawPage::forward(found, next));
                }
                after = page.first.saturating_sub(1);
                continue;
            }
            let highest = page.entries.last().map(|entry| entry.seq);
            looked_at += page.entries.len();
            let is_past = self.are_too_new(&page.entries);
            found.extend(page.entries.into_iter().filter(|entry| self.wants(entry)).map(RawEntry::from));
            if found.len() > self.limit {
                found.truncate(self.limit);
                let next = found.last().map(|entry| entry.seq);
                return Ok(RawPage::forward(found, next));
            }
            match highest {
                Some(seq) if seq < page.last && !is_past => {
                    if looked_at >= MAX_HISTORY_SCAN {
                        return Ok(RawPage::forward(found, Some(seq)));
                    }
                    after = seq;
                }
                _ => return Ok(RawPage::forward(found, None)),
            }
        }
    }

    /// Adds what the store has between two seqs. True: it has more of it than fits.
    async fn forward_in_store(
        &self,
        store: &dyn MessageStore,
        after: u64,
        end: u64,
        found: &mut Vec<RawEntry>,
    ) -> Result<bool, HistoryError> {
        let page = store.read(&self.log, &self.store_query(HistoryRange::After(after), found.len())).await?;
        let count = page.entries.len();
        let older: Vec<_> = page.entries.into_iter().filter(|entry| entry.seq < end).collect();
        let reached_the_log = older.len() < count;
        found.extend(older.into_iter().map(RawEntry::from));
        Ok(page.more && !reached_the_log)
    }

    fn store(&self) -> Option<&dyn MessageStore> {
        self.im.inner.config.message_store.as_deref()
    }

    fn store_query(&self, range: HistoryRange, found: usize) -> StoreQuery {
        StoreQuery::new(range, self.limit.saturating_sub(found))
            .with_peer(self.peer.clone())
            .with_filter(self.query.filter.clone())
    }

    /// Whether so many entries are older than what is wanted that what is before them is too.
    fn are_too_old(&self, page: &[Entry]) -> bool {
        let Some(since) = self.query.filter.since_ms else { return false };
        page.len() == PAGE && page.iter().all(|entry| entry.message_id.unix_ms() + TOLERANCE_MS < since)
    }

    /// Whether so many entries are newer than what is wanted that what is after them is too.
    fn are_too_new(&self, page: &[Entry]) -> bool {
        let Some(until) = self.query.filter.until_ms else { return false };
        let until = until.saturating_add(TOLERANCE_MS);
        page.len() == PAGE && page.iter().all(|entry| entry.message_id.unix_ms() >= until)
    }

    fn wants(&self, entry: &Entry) -> bool {
        let filter = &self.query.filter;
        filter.has_time(entry.message_id.unix_ms()) && self.is_of_a_kind(entry) && self.is_with_peer(entry)
    }

    /// The kind is looked for only where it matters.
    fn is_of_a_kind(&self, entry: &Entry) -> bool {
        let filter = &self.query.filter;
        filter.kinds.is_empty() || filter.has_kind(Kind::of_message(&entry.payload).as_ref())
    }

    fn is_with_peer(&self, entry: &Entry) -> bool {
        let (Some(owner), Some(wanted)) = (self.owner, &self.peer) else { return true };
        let message = pb::Message::decode(entry.payload.clone());
        message.is_ok_and(|message| peer(owner, &message).as_ref() == Some(wanted))
    }
}

impl From<Entry> for RawEntry {
    fn from(entry: Entry) -> Self {
        Self { seq: entry.seq, message_id: entry.message_id, message: entry.payload }
    }
}

impl From<StoredEntry> for RawEntry {
    fn from(entry: StoredEntry) -> Self {
        Self { seq: entry.seq, message_id: entry.message_id, message: entry.message }
    }
}

impl From<RawEntry> for HistoryEntry {
    fn from(entry: RawEntry) -> Self {
        // What cannot be read shows as content that is not known.
        let message = pb::Message::decode(entry.message).unwrap_or_default();
        Self {
            seq: entry.seq,
            message_id: entry.message_id,
            from: UserId::parse(&message.from).ok(),
            to: UserId::parse(&message.to).ok(),
            content: message.content.into(),
        }
    }
}

#[cfg(test)]
mod tests;
