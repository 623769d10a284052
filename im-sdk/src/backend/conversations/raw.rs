//! One conversation of the list, put together from entries.

use std::cmp::Reverse;

use prost::Message as _;

use super::count::Unread;
use crate::{
    Content, ConversationState, Recipient,
    backend::history::RawEntry,
    conversation::message::{alters, counts, mentions, stands_alone},
    id::{ChannelId, MessageId, UserId},
    proto::pb,
    timeline::{self, Recalled, ShownMessage, Timeline},
};

/// A conversation, with its last message as it is kept.
#[derive(Debug)]
pub(crate) struct RawConversation {
    pub(crate) state: ConversationState,
    /// With what it says now.
    pub(crate) last: Option<RawEntry>,
    /// The edit by which it says that.
    pub(crate) last_edit: Option<MessageId>,
    pub(crate) last_recalled: Option<Recalled>,
    pub(crate) unread: Unread,
    /// The end of the log that this is of.
    pub(crate) end: u64,
    /// Everything behind this was looked at.
    pub(super) looked_to: u64,
    /// The log has nothing before that.
    pub(super) is_all: bool,
}

/// An entry, read.
pub(super) struct Read {
    pub(super) entry: RawEntry,
    pub(super) from: String,
    pub(super) content: Content,
}

impl Read {
    /// One that cannot be read says nothing that is known.
    pub(super) fn new(entry: impl Into<RawEntry>) -> Self {
        let entry = entry.into();
        let message = pb::Message::decode(entry.message.clone()).unwrap_or_default();
        Self::of(entry, message)
    }

    /// The same of an entry with this message.
    pub(super) fn of(entry: RawEntry, message: pb::Message) -> Self {
        Self { entry, from: message.from, content: message.content.into() }
    }

    /// Whether it can be shown as a message.
    pub(super) fn stands_alone(&self) -> bool {
        stands_alone(&self.content)
    }

    /// Whether a conversation shows it where it has nothing newer.
    pub(super) fn can_be_last(&self, changes: &Timeline) -> bool {
        let done = changes.done_to(self.entry.message_id);
        self.stands_alone() && !done.is_some_and(ShownMessage::is_deleted)
    }

    /// The channel of the message that it changes, where that is in another log.
    pub(super) fn channel(&self) -> Option<&ChannelId> {
        self.content.as_change()?.channel.as_ref()
    }

    /// Notes what it does to another message, if that matters to a list. Changes stand behind what they change, so who goes
    /// through a log newest first meets them first.
    pub(super) fn note_in(&self, changes: &mut Timeline) {
        if self.content.as_change().is_some_and(alters) {
            let from = UserId::parse(&self.from).ok();
            changes.apply(timeline::Entry::new(self.entry.message_id, from.as_ref(), &self.content));
        }
    }
}

impl RawConversation {
    pub(super) fn new(state: ConversationState, end: u64) -> Self {
        Self {
            state,
            last: None,
            last_edit: None,
            last_recalled: None,
            unread: Unread::default(),
            end,
            looked_to: end,
            is_all: false,
        }
    }

    /// Takes the next older entry. What changes another message is none to be shown or counted.
    pub(super) fn add(&mut self, user: &UserId, read: Read, changes: &Timeline) {
        self.count(user, &read, changes);
        if self.last.is_none() && read.entry.seq > self.state.deleted && read.can_be_last(changes) {
            self.last = Some(read.entry);
        }
    }

    /// The same, of one that is too old to be the last one.
    pub(super) fn count(&mut self, user: &UserId, read: &Read, changes: &Timeline) {
        let Read { entry, from, content } = read;
        let done = changes.done_to(entry.message_id);
        let counts = counts(from, content, user) && !done.is_some_and(ShownMessage::is_gone);
        if counts && entry.seq > self.state.read_to() {
            let says = done.and_then(ShownMessage::content).unwrap_or(content);
            self.unread.add(entry.seq, entry.message_id, mentions(says, user));
        }
    }

    /// Nothing older was looked at.
    pub(super) fn finish(&mut self, looked_to: u64, is_all: bool) {
        (self.looked_to, self.is_all) = (looked_to, is_all);
        self.unread.more |= self.state.read_to() < looked_to;
    }

    /// Counts and shows messages as changes have left them, also those whose change stands before them: that can be where
    /// a send had to be repeated.
    pub(super) fn settle(&mut self, changes: &Timeline) {
        self.unread.remove(|id| changes.done_to(id).is_some_and(ShownMessage::is_gone));
        let Some(last) = &mut self.last else { return };
        let Some(done) = changes.done_to(last.message_id) else { return };
        self.last_recalled = done.recalled().cloned();
        self.last_edit = done.edit_id();
        if self.last_recalled.is_some() || self.last_edit.is_some() {
            let message = pb::Message::decode(last.message.clone()).unwrap_or_default();
            let content = done.content().cloned().map(pb::Content::from);
            last.message = pb::Message { content, ..message }.encode_to_vec().into();
        }
    }

    /// Whether it is in the list. What is not, devices get at the end of it: a message may bring it back.
    pub(super) fn is_listed(&self) -> bool {
        self.state.is_listed(self.last.as_ref().map_or(0, |last| last.seq))
    }

    /// Those in the list first; pinned ones first, then by their last messages.
    pub(super) fn rank(&self) -> (Reverse<bool>, Reverse<bool>, Reverse<Option<u64>>, Recipient) {
        let sent = self.last.as_ref().map(|last| last.message_id.as_u64());
        let state = &self.state;
        (Reverse(self.is_listed()), Reverse(state.pinned), Reverse(sent), state.conversation.clone())
    }
}
