//! The past: what a log still has, and before that what the message store has.
//!
//! ```text
//!   seq 1 ......... first - 1 | first ............ last
//!      message store          |        log
//! ```
//!
//! The log counts wherever it has something: where it was rolled back and the store has what it lost under the same seqs,
//! that shows only when the log does not reach back to them any more.

pub(super) mod archiver;
pub(super) mod export;
mod marks;
mod place;
mod reading;
pub(super) mod retention;
mod scan;
pub(super) mod search;

use bytes::Bytes;
use prost::Message as _;

pub(super) use self::marks::KnownMarks;
use self::{
    marks::{Looked, MarksError},
    reading::Reading,
};
use crate::{
    CLOCK_TOLERANCE, Content, Conversation, ConversationState, HistoryQuery, HistoryRange, Kind, Recipient,
    backend::{
        im::Im,
        message_store::{MessageStoreError, StoredEntry},
        parse_ids::parse_user,
        send::amend::PageEntry,
    },
    cluster::{ConversationsError, Entry, LogError, LogId, ReadLimit},
    id::{ChannelId, InvalidId, MessageId, UserId},
    proto::pb,
    timeline::Timeline,
};

/// The most entries on one page.
pub const MAX_HISTORY_PAGE: usize = 1000;

/// The most bytes of messages on one page; one that is larger alone is on a page all the same. A page of a thousand usual
/// messages takes a third of it.
pub const MAX_HISTORY_BYTES: usize = 1024 * 1024;

/// How many entries of a log are read at once.
const PAGE: usize = 256;

/// How many entries of a log are looked at for one page: where few of them are wanted, a page ends before it is full.
pub const MAX_HISTORY_SCAN: usize = 16 * PAGE;

/// How many bytes of messages are looked at for one page, where it is less than [`MAX_HISTORY_SCAN`] entries: as many usual
/// messages take less. A request of some bytes must not have the log store send a whole log of large messages.
pub const MAX_HISTORY_SCAN_BYTES: usize = 2 * 1024 * 1024;

/// See [`CLOCK_TOLERANCE`].
const TOLERANCE_MS: u64 = CLOCK_TOLERANCE.as_millis() as u64;

/// A page of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryPage {
    /// In the order of the log, whatever the direction.
    pub entries: Vec<LoggedMessage>,
    /// The reactions to these messages and their pins, also those that stand on newer pages, as far as they are among the
    /// [`MAX_HISTORY_SCAN`] entries ([`MAX_HISTORY_SCAN_BYTES`]) behind. [`HistoryPage::timeline`] puts them together. Empty where
    /// entries are asked for as they are.
    pub changes: Vec<LoggedMessage>,
    /// Where to go on in the direction that was asked for; nothing need be there. A page can be short where messages are large,
    /// and even empty where few entries of many are wanted. `None`: that was all.
    pub next: Option<HistoryRange>,
}

impl HistoryPage {
    /// The messages of the page as a user sees them, with reactions and pins.
    pub fn timeline(&self, user: UserId) -> Timeline {
        let mut timeline = Timeline::new(user);
        self.entries.iter().chain(&self.changes).for_each(|entry| _ = timeline.apply(entry));
        timeline
    }
}

/// A message in a log: as history, searches and lists return it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedMessage {
    /// The channel whose log it is in. `None`: the user's inbox.
    pub channel: Option<ChannelId>,
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
    /// The user has no valid id.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
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
    /// The message is not in the message store (yet), or there is no such store.
    #[error(
        "message {0} is not in the message store: it was not archived, or not yet, or ImBuilder::message_store is not set"
    )]
    NotStored(MessageId),
}

impl From<MarksError> for HistoryError {
    fn from(error: MarksError) -> Self {
        match error {
            MarksError::Log(error) => Self::Log(error),
            MarksError::Store(error) => Self::Store(error),
        }
    }
}

impl Im {
    /// A page of the messages of a conversation as a user sees them now: of the user's inbox, or of a channel. What was recalled
    /// is empty, what was edited says what the last edit says ([`Content::amended`] tells of both), what the user has deleted is
    /// not there; reactions and pins are [`HistoryPage::changes`]. [`Im::raw_history`] has the entries themselves. It goes on in
    /// [`super::ImBuilder::message_store`] where the log does not reach back any more. `limit` is cut to
    /// [`MAX_HISTORY_PAGE`], and 0 counts as 1; entries that share a seq are never on different pages, so a page can be a
    /// little shorter or longer. A page ends early at [`MAX_HISTORY_BYTES`], and where [`MAX_HISTORY_SCAN`] entries or
    /// [`MAX_HISTORY_SCAN_BYTES`] have been looked at. What is wanted is a [`HistoryRange`], or a [`HistoryQuery`] for messages of some kinds or of
    /// some time, or around a message. What the user has deleted of a conversation is not shown; the inbox as a whole shows
    /// all.
    ///
    /// It does not ask whether the user is a member of the channel: that is for whoever answers the user.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{
    ///     Conversation, HistoryQuery, Kind,
    ///     backend::{Im, Message, user},
    ///     cluster::Cluster,
    ///     content::Content,
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
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
        conversation: impl Into<Conversation>,
        query: impl Into<HistoryQuery>,
        limit: usize,
    ) -> Result<HistoryPage, HistoryError> {
        let user = &parse_user(user)?;
        let limit = ReadLimit::new(limit).with_bytes(MAX_HISTORY_BYTES);
        let (conversation, query) = (conversation.into(), query.into());
        let page = self.messages_of(user, &conversation, &query, limit).await?;
        Ok(page.of(place_of(user, &conversation).0))
    }

    /// A page of entries as they are in the log: messages, and changes at the places where they were made. [`Im::history`] has put
    /// them together; this is for whoever does that itself, or copies a log. What was recalled or edited is gone here, too.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn raw_history(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
        conversation: impl Into<Conversation>,
        query: impl Into<HistoryQuery>,
        limit: usize,
    ) -> Result<HistoryPage, HistoryError> {
        let user = &parse_user(user)?;
        let limit = ReadLimit::new(limit).with_bytes(MAX_HISTORY_BYTES);
        let (conversation, query) = (conversation.into(), query.into());
        let page = self.read_conversation(user, &conversation, &query, limit, Shows::Entries).await?;
        Ok(page.of(place_of(user, &conversation).0))
    }

    /// A page of what was said in a channel, for whomever.
    pub(super) async fn channel_history(
        &self,
        channel: ChannelId,
        query: &HistoryQuery,
        limit: usize,
    ) -> Result<HistoryPage, HistoryError> {
        let limit = ReadLimit::new(limit).with_bytes(MAX_HISTORY_BYTES);
        let log = LogId::Channel(channel);
        let page = self.read_history(log.clone(), None, query, limit, 0, Shows::Messages).await?;
        Ok(self.with_marks(&log, page).await?.of(log))
    }

    /// The same with messages as they are kept, on a page of at most as many entries and bytes as the limit says.
    pub(super) async fn read_conversation(
        &self,
        user: &UserId,
        conversation: &Conversation,
        query: &HistoryQuery,
        limit: ReadLimit,
        shows: Shows,
    ) -> Result<RawPage, HistoryError> {
        let deleted = self.deleted(user, conversation).await?;
        let (log, peer) = place_of(user, conversation);
        let between = peer.map(|peer| (user, peer));
        let mut page = self.read_history(log, between, query, limit, deleted, shows).await?;
        if shows == Shows::Entries {
            return Ok(page);
        }
        self.leave_out_deleted(user, &mut page.entries).await?;
        Ok(page)
    }

    /// A page of messages as they are now, with their reactions and pins.
    pub(super) async fn messages_of(
        &self,
        user: &UserId,
        conversation: &Conversation,
        query: &HistoryQuery,
        limit: ReadLimit,
    ) -> Result<RawPage, HistoryError> {
        let page = self.read_conversation(user, conversation, query, limit, Shows::Messages).await?;
        self.with_marks(&place_of(user, conversation).0, page).await
    }

    /// Leaves out what a user has deleted for itself, in whatever log it is.
    pub(super) async fn leave_out_deleted<E: PageEntry>(
        &self,
        user: &UserId,
        entries: &mut Vec<E>,
    ) -> Result<(), ConversationsError> {
        let ids: Vec<MessageId> = entries.iter_mut().map(|entry| entry.parts().1).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let deleted = self.inner.cluster.conversations().find_deleted(user, &ids).await?;
        entries.retain_mut(|entry| !deleted.contains(&entry.parts().1));
        Ok(())
    }

    /// The page with the reactions and pins of its messages as its changes.
    async fn with_marks(&self, log: &LogId, page: RawPage) -> Result<RawPage, HistoryError> {
        let changes = self.marks_of(log, &page).await?;
        Ok(RawPage { changes, ..page })
    }

    /// What is behind the entry `deleted`, as far as it is wanted.
    async fn read_history(
        &self,
        log: LogId,
        between: Option<(&UserId, UserId)>,
        query: &HistoryQuery,
        limit: ReadLimit,
        deleted: u64,
        shows: Shows,
    ) -> Result<RawPage, HistoryError> {
        let (owner, peer) = between.unzip();
        let range = self.range(&log, query.start).await?;
        let limit = ReadLimit::new(limit.entries.clamp(1, MAX_HISTORY_PAGE)).with_bytes(limit.bytes);
        let reading = Reading { im: self, owner, log, peer, query, shows, limit };
        let mut page = match range {
            HistoryRange::Newest => reading.back(None).await,
            HistoryRange::Before(seq) => reading.back(Some(seq)).await,
            HistoryRange::After(seq) => reading.forward(seq.max(deleted)).await,
        }?;
        let count = page.entries.len();
        page.entries.append(&mut page.changes);
        self.finish_in(&reading.log, &mut page.entries);
        page.changes = page.entries.split_off(count);
        if shows == Shows::Messages {
            // The message store has changes among its entries.
            page.entries.retain(|entry| Kind::of_message(&entry.message) != Some(Kind::Change));
        }
        if let HistoryRange::After(_) = range {
            return Ok(page);
        }
        page.entries.retain(|entry| entry.seq > deleted);
        page.next = page
            .next
            .filter(|next| !matches!(next, HistoryRange::Before(seq) if *seq <= deleted.saturating_add(1)));
        Ok(page)
    }

    /// Up to where a conversation is not shown to the user.
    async fn deleted(&self, user: &UserId, conversation: &Conversation) -> Result<u64, ConversationsError> {
        let name = match conversation {
            Conversation::User(peer) => Recipient::User(peer.clone()),
            Conversation::Channel(channel) => Recipient::Channel(channel.clone()),
            Conversation::Inbox => return Ok(0),
        };
        let states = self.inner.cluster.conversations().states(user, std::slice::from_ref(&name)).await?;
        Ok(states.first().map_or(0, ConversationState::shown_from))
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

/// The channel that a log is of.
pub(super) fn channel_of(log: &LogId) -> Option<ChannelId> {
    match log {
        LogId::Inbox(_) => None,
        LogId::Channel(channel) => Some(channel.clone()),
    }
}

/// A page with messages as they are kept, in the order of the log.
#[derive(Debug)]
pub(super) struct RawPage {
    pub(super) entries: Vec<RawEntry>,
    /// See [`HistoryPage::next`].
    pub(super) next: Option<HistoryRange>,
    /// See [`HistoryPage::changes`].
    pub(super) changes: Vec<RawEntry>,
    /// Which part of the log was looked at. `None`: the log has nothing of what was asked for.
    pub(super) looked: Option<Looked>,
}

impl RawPage {
    fn of(self, log: LogId) -> HistoryPage {
        let channel = channel_of(&log);
        let shown = |entry| LoggedMessage::of(channel.clone(), entry);
        HistoryPage {
            entries: self.entries.into_iter().map(shown).collect(),
            changes: self.changes.into_iter().map(shown).collect(),
            next: self.next,
        }
    }
}

/// What of a log is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    /// Messages as they are now.
    Messages,
    /// Messages and changes, as they are in the log.
    Entries,
}

#[derive(Debug)]
pub(crate) struct RawEntry {
    pub(crate) seq: u64,
    pub(crate) message_id: MessageId,
    pub(crate) message: Bytes,
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

impl LoggedMessage {
    /// An entry of a channel's log, or of an inbox.
    pub(super) fn of(channel: Option<ChannelId>, entry: RawEntry) -> Self {
        // What cannot be read shows as content that is not known.
        let message = pb::Message::decode(entry.message).unwrap_or_default();
        Self {
            channel,
            seq: entry.seq,
            message_id: entry.message_id,
            from: UserId::parse(&message.from).ok(),
            to: UserId::parse(&message.to).ok(),
            content: message.content.into(),
        }
    }
}

impl<'a> From<&'a LoggedMessage> for crate::timeline::Entry<'a> {
    fn from(entry: &'a LoggedMessage) -> Self {
        let channel = entry.channel.as_ref();
        Self::new(entry.message_id, entry.from.as_ref(), &entry.content).at(channel, entry.seq)
    }
}

#[cfg(test)]
mod tests;
