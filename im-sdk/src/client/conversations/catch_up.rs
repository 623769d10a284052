//! Entries that came after a page was made, or while it was on its way.

use std::collections::HashMap;

use super::list::{ConversationList, Recent};
use crate::{Recipient, client::Log, conversation::message::alters};

impl ConversationList {
    /// Adds the entries that came after the page was made.
    pub(super) fn catch_up(&mut self, name: &Recipient, known_to: u64) {
        let Some(item) = self.items.get_mut(name) else { return };
        let log = log_of(name);
        let mut later =
            self.recent.iter().filter(|recent| recent.log == log && recent.seq > known_to).peekable();
        // A log has no holes: the first of these entries were dropped here.
        self.stale |= later.peek().is_some_and(|first| first.seq > known_to + 1);
        for recent in later.filter(|recent| recent.conversation.as_ref() == Some(name)) {
            let done = self.changes.done_to(recent.message.id);
            item.add(&self.user, recent.seq, &recent.message, done);
        }
    }

    /// Takes changes that came after the page was made, in the conversations of the page.
    pub(super) fn catch_up_with_changes(&mut self, ends: &HashMap<Recipient, u64>, inbox_end: u64) {
        let is_later = |recent: &&Recent| match recent.log.channel() {
            None => recent.seq > inbox_end,
            Some(channel) => {
                ends.get(&Recipient::Channel(channel.clone())).is_some_and(|end| recent.seq > *end)
            }
        };
        let is_change = |recent: &&Recent| recent.message.content.as_change().is_some_and(alters);
        let later: Vec<Recent> = self.recent.iter().filter(is_change).filter(is_later).cloned().collect();
        for Recent { log, conversation, message, .. } in later {
            self.take_change(&log, conversation.as_ref(), &message, |name| ends.contains_key(name));
        }
    }

    pub(super) fn catch_up_with_new(&mut self) {
        let known_to = self.inbox_end;
        let is_new = |recent: &&Recent| {
            recent.conversation.as_ref().is_some_and(|name| !self.items.contains_key(name))
        };
        let new: Vec<Recent> = self.recent.iter().filter(is_new).cloned().collect();
        for recent in new {
            if let Some(name) = &recent.conversation {
                self.add(name, recent.seq, &recent.message, known_to);
            }
        }
    }
}

fn log_of(conversation: &Recipient) -> Log {
    conversation.as_channel().map_or(Log::Inbox, |channel| Log::Channel(channel.clone()))
}
