//! Puts one conversation of the list together from entries.

use std::cmp::Reverse;

use bytes::Bytes;
use prost::Message as _;

use super::{changes::Changes, count::Unread, entry::Read};
use crate::{
    ConversationState, Recipient,
    backend::message_store::RawEntry,
    content::{ChangeKind, Content},
    conversation::message::{counts, mentions},
    id::UserId,
    proto::pb,
    timeline::{ChangeRank, Recalled, ShownMessage},
};

/// The largest last message that is kept during a scan. Most are smaller; a larger one is read once
/// more, for the page alone.
const MAX_KEPT_BYTES: usize = 512;

/// A conversation, with its last message as it is kept.
#[derive(Debug)]
pub(in crate::backend) struct RawConversation {
    pub(in crate::backend) state: ConversationState,
    /// The last message. On a page it has its present content. Before that it is as it was sent, or
    /// empty, see `is_missing`.
    pub(in crate::backend) last: Option<RawEntry>,
    /// The last message was too large to be kept, and is read once more.
    pub(super) is_missing: bool,
    /// The last edit of the last message.
    pub(in crate::backend) last_edit: Option<ChangeRank>,
    /// The seq of that edit.
    pub(super) edited_at: Option<u64>,
    pub(in crate::backend) last_recalled: Option<Recalled>,
    pub(in crate::backend) unread: Unread,
    /// The end of the conversation's log.
    pub(in crate::backend) end: u64,
    /// All entries behind this seq were scanned.
    pub(super) looked_to: u64,
    /// The log has nothing before that.
    pub(super) is_all: bool,
}

impl RawConversation {
    pub(super) fn new(state: ConversationState, end: u64) -> Self {
        Self {
            state,
            last: None,
            is_missing: false,
            last_edit: None,
            edited_at: None,
            last_recalled: None,
            unread: Unread::default(),
            end,
            looked_to: end,
            is_all: false,
        }
    }

    /// Adds the next older entry. Changes are neither shown nor counted.
    pub(super) fn add(&mut self, user: &UserId, read: Read, changes: &Changes) {
        self.count(user, &read, changes);
        if self.last.is_none() && self.state.shows(read.entry.seq) && changes.can_be_last(&read) {
            self.set_last(read.entry);
        }
    }

    pub(super) fn set_last(&mut self, entry: RawEntry) {
        self.is_missing = entry.message.len() > MAX_KEPT_BYTES;
        let message = if self.is_missing { Bytes::new() } else { entry.message };
        self.last = Some(RawEntry { message, ..entry });
    }

    /// Counts the next older entry, which is not the last message.
    pub(super) fn count(&mut self, user: &UserId, read: &Read, changes: &Changes) {
        let Read { entry, from, content } = read;
        let done = changes.done_to(entry.message_id);
        let counts = counts(from, content, user) && !done.is_some_and(ShownMessage::is_gone);
        if counts && entry.seq > self.state.read_to() && self.state.shows(entry.seq) {
            let says = done.and_then(ShownMessage::content).unwrap_or(content);
            self.unread.add(entry.seq, entry.message_id, mentions(says, user));
        }
    }

    /// Ends the scan.
    pub(super) fn finish(&mut self, looked_to: u64, is_all: bool) {
        (self.looked_to, self.is_all) = (looked_to, is_all);
        self.unread.more |= self.state.read_to() < looked_to;
    }

    /// Applies changes to the counts, including those logged before their message, as a repeated
    /// send may be.
    pub(super) fn settle(&mut self, changes: &Changes) {
        self.unread.remove(|id| changes.done_to(id).is_some_and(ShownMessage::is_gone));
        let Some(done) = self.last.as_ref().and_then(|last| changes.done_to(last.message_id)) else { return };
        self.last_recalled = done.recalled().cloned();
        self.last_edit = done.edit_rank();
        self.edited_at = self.last_edit.and_then(|edit| changes.place_of(edit.change));
    }

    /// Returns the last message as changes have left it, from its first content and its last edit.
    pub(super) fn says_now(&self, message: Bytes, edit: Option<Bytes>) -> Bytes {
        if self.last_recalled.is_none() && self.last_edit.is_none() {
            return message;
        }
        let message = pb::Message::decode(message).unwrap_or_default();
        // If the edit has been trimmed meanwhile, the content is unknown.
        let edit =
            edit.and_then(|edit| pb::Message::decode(edit).ok()).map(|edit| Content::from(edit.content));
        let content = edit.as_ref().and_then(|edit| match &edit.as_change()?.kind {
            ChangeKind::Edit(content) => Some(pb::Content::from((**content).clone())),
            _ => None,
        });
        let amended = self.last_edit.map(|edit| {
            let (change, order) = (edit.change.as_u64(), edit.order);
            Box::new(pb::Amended { change, order, ..pb::Amended::default() })
        });
        let content = content.map(|content| pb::Content { amended, ..content });
        pb::Message { content, ..message }.encode_to_vec().into()
    }

    /// Returns `true` if the conversation is in the list. Others come to devices at its end, since
    /// a message may bring them back.
    pub(super) fn is_listed(&self) -> bool {
        self.state.is_listed(self.last.as_ref().map_or(0, |last| last.seq))
    }

    /// Returns the sort key: listed ones first, then pinned ones, then by last messages.
    pub(super) fn rank(&self) -> (Reverse<bool>, Reverse<bool>, Reverse<Option<u64>>, Recipient) {
        let sent = self.last.as_ref().map(|last| last.message_id.as_u64());
        let state = &self.state;
        (Reverse(self.is_listed()), Reverse(state.pinned), Reverse(sent), state.conversation.clone())
    }
}
