//! The past: what a log still has, and before that what the message store has.
//!
//! ```text
//!   seq 1 ......... first - 1 | first ............ last
//!      message store          |        log
//! ```
//!
//! The log counts wherever it has something: where it was rolled back and the store has what it lost under the same seqs,
//! that shows only when the log does not reach back to them any more.

use bytes::Bytes;
use prost::Message as _;

use super::{
    im::Im,
    store::{MessageStore, MessageStoreError, StoreQuery, StoredEntry, peer},
};
use crate::{
    Content, Conversation, HistoryRange,
    cluster::{Entry, LogError, LogId},
    id::{ChannelId, MessageId, UserId},
    proto::pb,
};

/// The most entries on one page.
pub const MAX_HISTORY_PAGE: usize = 1000;

/// How many entries of a log are read at once.
const PAGE: usize = 256;

/// A page of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryPage {
    /// In the order of the log, whatever the direction.
    pub entries: Vec<HistoryEntry>,
    /// There are further ones in the direction that was asked for.
    pub more: bool,
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
}

impl Im {
    /// A page of what a user sees of a conversation: of the user's inbox, or of a channel. It goes on in
    /// [`super::ImConfig::message_store`] where the log does not reach back any more. `limit` is cut to
    /// [`MAX_HISTORY_PAGE`], and 0 counts as 1; entries that share a seq are never on different pages, so a page can be a
    /// little shorter or longer.
    ///
    /// It does not ask whether the user is a member of the channel: that is for whoever answers the user.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn history(
        &self,
        user: &UserId,
        conversation: &Conversation,
        range: HistoryRange,
        limit: usize,
    ) -> Result<HistoryPage, HistoryError> {
        let page = self.raw_history(user, conversation, range, limit).await?;
        let entries = page.entries.into_iter().map(HistoryEntry::from).collect();
        Ok(HistoryPage { entries, more: page.more })
    }

    /// A page of what was said in a channel, for whomever.
    pub(super) async fn channel_history(
        &self,
        channel: ChannelId,
        range: HistoryRange,
        limit: usize,
    ) -> Result<HistoryPage, HistoryError> {
        let page = self.read_history(LogId::Channel(channel), None, range, limit).await?;
        let entries = page.entries.into_iter().map(HistoryEntry::from).collect();
        Ok(HistoryPage { entries, more: page.more })
    }

    /// The same with messages as they are kept.
    pub(super) async fn raw_history(
        &self,
        user: &UserId,
        conversation: &Conversation,
        range: HistoryRange,
        limit: usize,
    ) -> Result<RawPage, HistoryError> {
        let (log, peer) = match conversation {
            Conversation::User(peer) => (LogId::Inbox(user.clone()), Some((user, peer.clone()))),
            Conversation::Inbox => (LogId::Inbox(user.clone()), None),
            Conversation::Channel(channel) => (LogId::Channel(channel.clone()), None),
        };
        self.read_history(log, peer, range, limit).await
    }

    async fn read_history(
        &self,
        log: LogId,
        between: Option<(&UserId, UserId)>,
        range: HistoryRange,
        limit: usize,
    ) -> Result<RawPage, HistoryError> {
        let (owner, peer) = between.unzip();
        let reading = Reading { im: self, owner, log, peer, limit: limit.clamp(1, MAX_HISTORY_PAGE) };
        match range {
            HistoryRange::Newest => reading.back(None).await,
            HistoryRange::Before(seq) => reading.back(Some(seq)).await,
            HistoryRange::After(seq) => reading.forward(seq).await,
        }
    }
}

/// A page with messages as they are kept, in the order of the log.
#[derive(Debug)]
pub(super) struct RawPage {
    pub(super) entries: Vec<RawEntry>,
    pub(super) more: bool,
}

#[derive(Debug)]
pub(super) struct RawEntry {
    pub(super) seq: u64,
    pub(super) message_id: MessageId,
    pub(super) message: Bytes,
}

struct Reading<'a> {
    im: &'a Im,
    /// Whose inbox it is, where there is a `peer`.
    owner: Option<&'a UserId>,
    log: LogId,
    peer: Option<UserId>,
    limit: usize,
}

impl Reading<'_> {
    async fn back(&self, before: Option<u64>) -> Result<RawPage, HistoryError> {
        let mut found: Vec<RawEntry> = Vec::new();
        let mut before = before;
        loop {
            let page = self.im.inner.cluster.log().read_back(&self.log, before, PAGE).await?;
            let lowest = page.entries.last().map(|entry| entry.seq);
            found.extend(page.entries.into_iter().filter(|entry| self.wants(entry)).map(RawEntry::from));
            if found.len() > self.limit {
                found.truncate(self.limit);
                found.reverse();
                return Ok(RawPage { entries: found, more: true });
            }
            match lowest {
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
            return Ok(RawPage { entries: newer.collect(), more: false });
        };
        let query = StoreQuery::new(range, self.limit.saturating_sub(newer.len()));
        let page = store.read(&self.log, &query.with_peer(self.peer.clone())).await?;
        let older = page.entries.into_iter().map(RawEntry::from);
        Ok(RawPage { entries: older.chain(newer).collect(), more: page.more })
    }

    async fn forward(&self, after: u64) -> Result<RawPage, HistoryError> {
        let mut found: Vec<RawEntry> = Vec::new();
        let mut after = after;
        loop {
            let page = self.im.inner.cluster.log().read(&self.log, after, PAGE).await?;
            let is_lost = page.last == 0;
            if let Some(store) = self.store()
                && (is_lost || after.saturating_add(1) < page.first)
            {
                let end = if is_lost { u64::MAX } else { page.first };
                let more = self.forward_in_store(store, after, end, &mut found).await?;
                if more || is_lost {
                    return Ok(RawPage { entries: found, more });
                }
                after = page.first.saturating_sub(1);
                continue;
            }
            let highest = page.entries.last().map(|entry| entry.seq);
            found.extend(page.entries.into_iter().filter(|entry| self.wants(entry)).map(RawEntry::from));
            if found.len() > self.limit {
                found.truncate(self.limit);
                return Ok(RawPage { entries: found, more: true });
            }
            match highest {
                Some(seq) if seq < page.last => after = seq,
                _ => return Ok(RawPage { entries: found, more: false }),
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
        let query = StoreQuery::new(HistoryRange::After(after), self.limit.saturating_sub(found.len()));
        let page = store.read(&self.log, &query.with_peer(self.peer.clone())).await?;
        let count = page.entries.len();
        let older: Vec<_> = page.entries.into_iter().filter(|entry| entry.seq < end).collect();
        let reached_the_log = older.len() < count;
        found.extend(older.into_iter().map(RawEntry::from));
        Ok(page.more && !reached_the_log)
    }

    fn store(&self) -> Option<&dyn MessageStore> {
        self.im.inner.config.message_store.as_deref()
    }

    fn wants(&self, entry: &Entry) -> bool {
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
