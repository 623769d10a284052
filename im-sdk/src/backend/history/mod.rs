//! History: what a log still has, and before that what the message store has.
//!
//! ```text
//!   seq 1 ......... first - 1 | first ............ last
//!      message store          |        log
//! ```
//!
//! The log takes precedence wherever it has entries. After a rollback the message store still has the entries that the
//! log lost, under the same seqs; they show only when the log does not reach back to these seqs any more.

pub(super) mod archiver;
pub(super) mod export;
mod marks;
mod reading;
pub(super) mod retention;
mod scan;
pub(super) mod search;

use std::sync::Arc;

use prost::Message as _;

use self::{
    marks::{KnownMarks, Looked},
    reading::Reading,
};
use crate::{
    CLOCK_TOLERANCE, Conversation, ConversationState, HistoryQuery, HistoryRange, Kind, Recipient,
    backend::{
        amend::{Amender, PageEntry},
        lookup::{LookupError, MessageLookup},
        message_store::{MessageStoreError, RawEntry},
    },
    cluster::{ConversationStore, ConversationsError, LogError, LogId, ReadLimit},
    content::Content,
    history::HistoryStart,
    id::{ChannelId, InvalidId, MessageId, UserId},
    proto::pb,
    timeline::Timeline,
};

/// The most entries on one page.
pub const MAX_HISTORY_PAGE: usize = 1000;

/// The most bytes of messages on one page, except for a single larger message. A page of a thousand
/// usual messages takes a third of it.
pub const MAX_HISTORY_BYTES: usize = 1024 * 1024;

/// The number of entries in one read of a log.
const PAGE: usize = 256;

/// The number of entries of a log that are scanned for one page. If few of them match, the page
/// ends before it is full.
pub const MAX_HISTORY_SCAN: usize = 16 * PAGE;

/// The bytes of messages that are scanned for one page. [`MAX_HISTORY_SCAN`] usual messages take
/// less. A small request must not make the log store send a whole log of large messages.
pub const MAX_HISTORY_SCAN_BYTES: usize = 2 * 1024 * 1024;

/// See [`CLOCK_TOLERANCE`].
const TOLERANCE_MS: u64 = CLOCK_TOLERANCE.as_millis() as u64;

/// A page of history.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryPage {
    /// The messages, in the order of the log in both directions.
    pub messages: Vec<LoggedMessage>,
    /// The reactions to these messages and their pins, also from newer pages, if they are among the
    /// [`MAX_HISTORY_SCAN`] entries ([`MAX_HISTORY_SCAN_BYTES`]) behind the messages.
    /// [`HistoryPage::timeline`] puts them together. Empty for
    /// [`Im::raw_history`](super::Im::raw_history).
    pub changes: Vec<LoggedMessage>,
    /// The range of the next page in the same direction, which may be empty. A page may be short if
    /// messages are large, and even empty if few entries of many match. `None` after the last page.
    pub next: Option<HistoryRange>,
}

impl HistoryPage {
    /// Returns the messages of the page as a user sees them, with reactions and pins.
    pub fn timeline(&self, user: UserId) -> Timeline {
        let mut timeline = Timeline::new(user);
        self.messages.iter().chain(&self.changes).for_each(|entry| _ = timeline.apply(entry));
        timeline
    }
}

/// A message in a log, as history, searches and lists return it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedMessage {
    /// The channel, or `None` for the user's inbox.
    pub channel: Option<ChannelId>,
    /// The message's seq in the log.
    pub seq: u64,
    /// The message's id, which contains the time of sending.
    pub message_id: MessageId,
    /// The sender, or `None` for the backend itself.
    pub from: Option<UserId>,
    /// The recipient, if it is one user.
    pub to: Option<UserId>,
    /// The content.
    pub content: Content,
}

/// History could not be read.
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
    /// The store of conversations, which notes what the user has deleted, did not answer.
    #[error(transparent)]
    Conversations(#[from] ConversationsError),
    /// The message at which the page should begin or end is not there, or not any more.
    #[error("message {0} is not in this conversation's log: ask from a seq or a time instead")]
    NoSuchMessage(MessageId),
    /// The message is not in the message store, or not yet, or there is no message store.
    #[error(
        "message {0} is not in the message store: it was not archived, or not yet, or ImBuilder::message_store is not set"
    )]
    NotStored(MessageId),
}

impl From<LookupError> for HistoryError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Log(error) => Self::Log(error),
            LookupError::Store(error) => Self::Store(error),
        }
    }
}

/// Reads conversations of users and logs of channels.
#[derive(Debug)]
pub(super) struct HistoryReader {
    lookup: Arc<MessageLookup>,
    conversations: Arc<dyn ConversationStore>,
    amender: Arc<Amender>,
    marks: KnownMarks,
}

impl HistoryReader {
    pub(super) fn new(
        lookup: Arc<MessageLookup>,
        conversations: Arc<dyn ConversationStore>,
        amender: Arc<Amender>,
    ) -> Self {
        Self { lookup, conversations, amender, marks: KnownMarks::default() }
    }

    /// Reads a page of a user's conversation. See [`Im::history`](super::Im::history).
    pub(super) async fn page(
        &self,
        user: &UserId,
        conversation: &Conversation,
        query: &HistoryQuery,
        limit: usize,
    ) -> Result<HistoryPage, HistoryError> {
        let limit = ReadLimit::new(limit).with_bytes(MAX_HISTORY_BYTES);
        let page = self.messages_of(user, conversation, query, limit).await?;
        Ok(page.of(place_of(user, conversation).0))
    }

    /// Reads a page with changes among the messages. See [`Im::raw_history`](super::Im::raw_history).
    pub(super) async fn raw_page(
        &self,
        user: &UserId,
        conversation: &Conversation,
        query: &HistoryQuery,
        limit: usize,
    ) -> Result<HistoryPage, HistoryError> {
        let limit = ReadLimit::new(limit).with_bytes(MAX_HISTORY_BYTES);
        let page = self.read_conversation(user, conversation, query, limit, Shows::Entries).await?;
        Ok(page.of(place_of(user, conversation).0))
    }

    /// Returns a message by its id, from the message store. See [`Im::message`](super::Im::message).
    pub(super) async fn message(&self, id: MessageId) -> Result<LoggedMessage, HistoryError> {
        let found = self.lookup.stored_entries(id, 1).await?;
        let entry = found.into_iter().next().ok_or(HistoryError::NotStored(id))?;
        Ok(LoggedMessage::of(channel_of(&entry.log), entry.into()))
    }

    /// Returns a message of a user's conversation. See [`Im::message_in`](super::Im::message_in).
    pub(super) async fn message_in(
        &self,
        user: &UserId,
        conversation: &Recipient,
        id: MessageId,
    ) -> Result<LoggedMessage, HistoryError> {
        let log = match conversation {
            Recipient::User(_) => LogId::Inbox(user.clone()),
            Recipient::Channel(channel) => LogId::Channel(channel.clone()),
        };
        let no_such_message = || HistoryError::NoSuchMessage(id);
        let seq = self.lookup.seq_of(&log, id).await?.ok_or_else(no_such_message)?;
        let entry = self.message_at(&log, seq, id).await?.ok_or_else(no_such_message)?;
        let peer = if entry.from.as_ref() == Some(user) { &entry.to } else { &entry.from };
        let is_theirs = match conversation {
            Recipient::User(other) => peer.as_ref() == Some(other),
            Recipient::Channel(_) => true,
        };
        if is_theirs { Ok(entry) } else { Err(no_such_message()) }
    }

    /// Returns the message with this seq and this id, as it is now.
    pub(super) async fn message_at(
        &self,
        log: &LogId,
        seq: u64,
        id: MessageId,
    ) -> Result<Option<LoggedMessage>, HistoryError> {
        Ok(self.entry_at(log, seq, id).await?.map(|entry| LoggedMessage::of(channel_of(log), entry)))
    }

    /// Returns the entry with this seq and this id, as it is kept.
    pub(super) async fn entry_at(
        &self,
        log: &LogId,
        seq: u64,
        id: MessageId,
    ) -> Result<Option<RawEntry>, HistoryError> {
        Ok(self.lookup.entry_at(log, seq, id).await?)
    }

    /// Reads a page of a channel. It does not depend on the reader.
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

    /// Reads a page of entries as they are kept, within a limit of entries and bytes.
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

    /// Reads a page of messages as they are now, with their reactions and pins.
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

    /// Removes the messages that a user has deleted, in whatever log they are.
    pub(super) async fn leave_out_deleted<E: PageEntry>(
        &self,
        user: &UserId,
        entries: &mut Vec<E>,
    ) -> Result<(), ConversationsError> {
        let ids: Vec<MessageId> = entries.iter_mut().map(|entry| entry.parts().1).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let deleted = self.conversations.find_deleted(user, &ids).await?;
        entries.retain_mut(|entry| !deleted.contains(&entry.parts().1));
        Ok(())
    }

    /// Adds the reactions and pins of a page's messages.
    async fn with_marks(&self, log: &LogId, page: RawPage) -> Result<RawPage, HistoryError> {
        let changes = self.marks.of_page(&self.lookup, log, &page).await?;
        Ok(RawPage { changes, ..page })
    }

    /// Reads a page behind the entry `deleted`.
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
        let reading = Reading { lookup: &self.lookup, owner, log, peer, query, shows, limit };
        let mut page = match range {
            HistoryRange::Newest => reading.back(None).await,
            HistoryRange::Before(seq) => reading.back(Some(seq)).await,
            HistoryRange::After(seq) => reading.forward(seq.max(deleted)).await,
        }?;
        let count = page.entries.len();
        page.entries.append(&mut page.changes);
        self.amender.finish_in(&reading.log, &mut page.entries);
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

    /// Returns the range that begins where a query starts.
    async fn range(&self, log: &LogId, start: HistoryStart) -> Result<HistoryRange, HistoryError> {
        let seq_of = async |id| self.lookup.seq_of(log, id).await?.ok_or(HistoryError::NoSuchMessage(id));
        match start {
            HistoryStart::Range(range) => Ok(range),
            HistoryStart::BeforeMessage(id) => Ok(HistoryRange::Before(seq_of(id).await?)),
            HistoryStart::AfterMessage(id) => Ok(HistoryRange::After(seq_of(id).await?)),
        }
    }

    /// Returns the seq up to which the user does not see a conversation.
    async fn deleted(&self, user: &UserId, conversation: &Conversation) -> Result<u64, ConversationsError> {
        let name = match conversation {
            Conversation::User(peer) => Recipient::User(peer.clone()),
            Conversation::Channel(channel) => Recipient::Channel(channel.clone()),
            Conversation::Inbox => return Ok(0),
        };
        let states = self.conversations.states(user, std::slice::from_ref(&name)).await?;
        Ok(states.first().map_or(0, ConversationState::shown_from))
    }
}

/// Returns the log of a conversation, and the peer if the conversation is a part of the log.
pub(super) fn place_of(user: &UserId, conversation: &Conversation) -> (LogId, Option<UserId>) {
    match conversation {
        Conversation::User(peer) => (LogId::Inbox(user.clone()), Some(peer.clone())),
        Conversation::Inbox => (LogId::Inbox(user.clone()), None),
        Conversation::Channel(channel) => (LogId::Channel(channel.clone()), None),
    }
}

/// Returns the channel of a log.
pub(super) fn channel_of(log: &LogId) -> Option<ChannelId> {
    match log {
        LogId::Inbox(_) => None,
        LogId::Channel(channel) => Some(channel.clone()),
    }
}

/// A page of entries as they are kept, in the order of the log.
#[derive(Debug)]
pub(super) struct RawPage {
    pub(super) entries: Vec<RawEntry>,
    /// See [`HistoryPage::next`].
    pub(super) next: Option<HistoryRange>,
    /// See [`HistoryPage::changes`].
    pub(super) changes: Vec<RawEntry>,
    /// The part of the log that was scanned. `None` if the log has nothing of the requested range.
    pub(super) looked: Option<Looked>,
}

impl RawPage {
    fn of(self, log: LogId) -> HistoryPage {
        let channel = channel_of(&log);
        let shown = |entry| LoggedMessage::of(channel.clone(), entry);
        HistoryPage {
            messages: self.entries.into_iter().map(shown).collect(),
            changes: self.changes.into_iter().map(shown).collect(),
            next: self.next,
        }
    }
}

/// The entries that a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    /// Messages as they are now.
    Messages,
    /// Messages and changes, as they are in the log.
    Entries,
}

impl LoggedMessage {
    /// Decodes an entry of a channel's log, or of an inbox.
    pub(super) fn of(channel: Option<ChannelId>, entry: RawEntry) -> Self {
        // An entry that cannot be decoded has unknown content.
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
