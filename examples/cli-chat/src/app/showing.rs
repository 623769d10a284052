//! Shows messages, lists and headers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use im_sdk::{
    Recipient,
    client::{ListedConversation, ReceivedMessage, Unread},
    id::MessageId,
    timeline::Timeline,
};

use super::{App, jobs::NOTICES};
use crate::{
    book::is_notice,
    view::{self, Listed, Row, name, sender, summary},
};

impl App {
    /// Shows a message as it is now, for the first time or after a change.
    pub(super) fn show(&mut self, conversation: &Recipient, id: MessageId, is_changed: bool) {
        if self.screen.is_full() {
            return;
        }
        let number = self.book.number(conversation, id);
        let Some(message) = self.book.message(conversation, id) else { return };
        let row = Row {
            message,
            number,
            is_changed,
            elsewhere: Some(conversation).filter(|conversation| !self.is_open(conversation)),
            age: age(id),
        };
        self.screen.print(&self.view.message(&row));
    }

    pub(super) fn show_all(&mut self, conversation: &Recipient, messages: &[MessageId]) {
        for id in messages {
            let is_deleted = self.book.message(conversation, *id).is_none_or(|message| message.is_deleted());
            if !is_deleted {
                self.show(conversation, *id, false);
            }
        }
    }

    /// Shows a message that a search has found.
    pub(super) fn show_found(&mut self, message: &ReceivedMessage) {
        let number = self.book.number_of(message).map(|number| number.to_string()).unwrap_or_default();
        let conversation = message.reference(&self.me).map(|reference| name(&reference.conversation));
        let from = view::sender(message.from.as_ref());
        let (place, text) = (conversation.unwrap_or_default(), summary(&message.content));
        let age = view::age(age(message.id));
        self.screen.print(&format!("{number:>4} [{place}] {from}: {text} · {age}"));
    }

    /// Shows a message of the backend itself, outside of all conversations.
    pub(super) fn show_notice(&self, message: &ReceivedMessage) {
        self.show_notices(std::slice::from_ref(message));
    }

    /// Shows the last of these messages that are from the backend itself, with their changes applied.
    pub(super) fn show_notices(&self, entries: &[ReceivedMessage]) {
        let mut timeline = Timeline::new(self.me.clone());
        entries.iter().for_each(|entry| _ = timeline.apply(entry));
        let notices: Vec<&ReceivedMessage> = entries.iter().filter(|entry| is_notice(entry)).collect();
        if notices.is_empty() {
            self.tell("the back end itself has told you nothing");
        }
        for notice in notices.iter().skip(notices.len().saturating_sub(NOTICES)) {
            if let Some(message) = timeline.get(notice.id).filter(|message| !message.is_deleted()) {
                let age = age(notice.id);
                let row = Row { message, number: None, is_changed: false, elsewhere: None, age };
                self.screen.print(&self.view.message(&row));
            }
        }
    }

    pub(super) fn show_header(&self, conversation: &Recipient, has_more: bool) {
        let mut beside = self.header(conversation);
        beside.extend(has_more.then(|| "/older shows more".to_owned()));
        if !self.screen.is_full() {
            self.screen.print(&self.view.header(conversation, &beside));
        }
    }

    /// Returns the notes beside a conversation's name.
    pub(super) fn header(&self, conversation: &Recipient) -> Vec<String> {
        let presence = conversation.as_user().and_then(|user| self.presences.get(user));
        let listed = self.list.get(conversation);
        let mut beside = Vec::new();
        beside.extend(presence.map(|presence| match presence.last_seen().and_then(|at| at.elapsed().ok()) {
            _ if presence.is_online() => "online".to_owned(),
            Some(ago) => format!("last seen: {}", view::age(ago)),
            None => "offline".to_owned(),
        }));
        if let Some(listed) = listed {
            beside.extend((listed.unread > 0).then(|| format!("{} unread", counted(&listed))));
            beside.extend(listed.state.muted.then(|| "muted".to_owned()));
        }
        beside
    }

    /// Shows all conversations, and the unread total.
    pub(super) fn show_list(&mut self) {
        self.list_wanted = self.list.needs_loading();
        if self.list_wanted && !self.is_connected() {
            return self.tell("the conversations are shown when there is a connection");
        }
        if self.list_wanted || self.screen.is_full() {
            return;
        }
        let listed: Vec<Listed> =
            self.list.conversations().iter().map(|listed| self.listed(listed)).collect();
        for line in self.view.list(&listed, &unread(self.list.unread())) {
            self.screen.print(&line);
        }
        if !self.is_connected() {
            self.tell("not connected: this is what was known before");
        }
    }

    pub(super) fn listed(&self, listed: &ListedConversation) -> Listed {
        let user = listed.state.conversation.as_user();
        let text = |last: &ReceivedMessage| match &listed.last_recalled {
            Some(recalled) => format!("(recalled by {})", sender(recalled.by.as_ref())),
            None => summary(&last.content),
        };
        let last = listed
            .last
            .as_ref()
            .map(|last| (sender(last.from.as_ref()).to_owned(), text(last), age(last.id)));
        Listed {
            name: name(&listed.state.conversation),
            unread: if listed.unread > 0 { counted(listed) } else { String::new() },
            mentioned: !listed.mention_seqs.is_empty(),
            pinned: listed.state.pinned,
            muted: listed.state.muted,
            online: user
                .and_then(|user| self.presences.get(user))
                .is_some_and(|presence| presence.is_online()),
            last,
        }
    }
}

/// Returns the age of a message.
fn age(id: MessageId) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(id.unix_ms()))
}

pub(super) fn unread(unread: Unread) -> String {
    format!("{}{}", unread.count, if unread.more { "+" } else { "" })
}

fn counted(listed: &ListedConversation) -> String {
    format!("{}{}", listed.unread, if listed.unread_more { "+" } else { "" })
}
