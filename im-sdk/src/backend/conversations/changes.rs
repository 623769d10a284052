//! Changes of messages, as far as a list needs them. Of edits their seqs are kept and not their
//! contents, since anybody who may write to a user may fill the inbox with large edits.

use std::collections::HashMap;

use super::entry::Read;
use crate::{
    content::{Change, ChangeKind, Content},
    conversation::message::{alters, mentions},
    id::{MessageId, UserId},
    timeline::{Entry, ShownMessage, Timeline},
};

/// The changes of one log.
pub(super) struct Changes {
    user: UserId,
    done: Timeline,
    /// The seqs of edits, by their message ids.
    edits: HashMap<MessageId, u64>,
}

impl Changes {
    pub(super) fn new(user: &UserId) -> Self {
        Self { user: user.clone(), done: Timeline::new(user.clone()), edits: HashMap::new() }
    }

    /// Notes what an entry changes, if that matters to a list. Changes are logged after their
    /// messages, so a scan from the newest entry meets them first.
    pub(super) fn note(&mut self, read: &Read) {
        let Some(change) = read.content.as_change().filter(|change| alters(change)) else { return };
        let (id, from) = (read.entry.message_id, UserId::parse(&read.from).ok());
        let ChangeKind::Edit(content) = &change.kind else {
            self.done.apply(Entry::new(id, from.as_ref(), &read.content));
            return;
        };
        let says = Content::text("");
        let says = if mentions(content, &self.user) { says.mention(self.user.clone()) } else { says };
        let edit = Change { order: change.order, ..Change::edit(change.message_id, says) };
        let edit = Content::from(edit);
        self.done.apply(Entry::new(id, from.as_ref(), &edit));
        self.edits.insert(id, read.entry.seq);
    }

    /// Returns the changes of a message. The content of an edit is left out, except whether it
    /// mentions the user.
    pub(super) fn done_to(&self, id: MessageId) -> Option<&ShownMessage> {
        self.done.done_to(id)
    }

    /// Returns `true` if an entry can be the last message of a conversation.
    pub(super) fn can_be_last(&self, read: &Read) -> bool {
        let done = self.done_to(read.entry.message_id);
        read.stands_alone() && !done.is_some_and(ShownMessage::is_deleted)
    }

    /// Returns the seq of an edit.
    pub(super) fn place_of(&self, edit: MessageId) -> Option<u64> {
        self.edits.get(&edit).copied()
    }
}
