//! What was done to messages, as far as a list needs it: of edits not what they say, but where they stand. Whoever may write
//! to a user may fill the inbox with large edits.

use std::collections::HashMap;

use super::assemble::Read;
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
    /// Where edits stand, by their message ids.
    edits: HashMap<MessageId, u64>,
}

impl Changes {
    pub(super) fn new(user: &UserId) -> Self {
        Self { user: user.clone(), done: Timeline::new(user.clone()), edits: HashMap::new() }
    }

    /// Notes what an entry does to another message, if that matters to a list. Changes stand behind what they change, so who
    /// goes through a log newest first meets them first.
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

    /// What was done to a message. What an edit says is left out, but for whether it mentions the user.
    pub(super) fn done_to(&self, id: MessageId) -> Option<&ShownMessage> {
        self.done.done_to(id)
    }

    /// Where an edit stands.
    pub(super) fn place_of(&self, edit: MessageId) -> Option<u64> {
        self.edits.get(&edit).copied()
    }
}
