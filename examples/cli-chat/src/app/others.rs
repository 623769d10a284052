//! Handles the actions of others: reading, typing, connecting and disconnecting.

use std::time::Duration;

use im_sdk::{
    ConversationState, Recipient, Signal, UserPresence,
    client::{ReadReceipt, ReceivedSignal},
    id::{MessageId, UserId},
};
use tokio::time::Instant;

use super::{App, History};
use crate::book::ReadTo;

impl App {
    pub(super) fn note_states(&mut self, states: &[ConversationState]) {
        for state in states {
            if let (Some(user), Some(read_to)) = (state.conversation.as_user(), state.peer_read) {
                self.tell_read(&state.conversation, user, ReadTo::Message(read_to));
            }
        }
    }

    pub(super) fn note_receipt(&mut self, receipt: &ReadReceipt) {
        let conversation = Recipient::from(receipt.channel.clone());
        self.tell_read(&conversation, &receipt.user, ReadTo::Seq(receipt.seq));
    }

    pub(super) fn tell_read(&mut self, conversation: &Recipient, user: &UserId, read: ReadTo) {
        if let Some(id) = self.has_read(conversation, user, read)
            && let Some(number) = self.book.number(conversation, id)
            && !self.screen.is_full()
        {
            self.tell(&format!("{user} has read {number}"));
        }
    }

    /// Notes how far a user has read the open conversation. Returns the newest own message that is newly read, if there is one.
    fn has_read(&mut self, conversation: &Recipient, user: &UserId, read: ReadTo) -> Option<MessageId> {
        let id = self.book.newest_read(conversation, read)?;
        let open = self.open.as_mut().filter(|open| open.conversation == *conversation)?;
        let before = open.read.insert(user.clone(), id);
        before.is_none_or(|before| before < id).then_some(id)
    }

    /// Shows that a user types, but not for each signal.
    pub(super) fn note_signal(&mut self, signal: &ReceivedSignal) {
        let conversation = match &signal.channel {
            Some(channel) => Recipient::from(channel.clone()),
            None => Recipient::from(signal.from.clone()),
        };
        let Some(open) = self.open.as_mut().filter(|open| open.conversation == conversation) else { return };
        let is_typing = signal.signal == Signal::typing();
        let is_news = open.typing.get(&signal.from).is_none_or(|shown| shown.elapsed() > TYPING_SHOWN);
        if is_typing && (is_news || self.screen.is_full()) {
            open.typing.insert(signal.from.clone(), Instant::now());
        }
        if is_typing && is_news && !self.screen.is_full() {
            self.tell(&format!("{} is typing", signal.from));
        }
    }

    pub(super) fn note_presence(&mut self, presence: UserPresence) {
        let user = presence.user.clone();
        let is_online = presence.is_online();
        let before = self.presences.insert(user.clone(), presence);
        let has_changed = before.map_or(is_online, |before| before.is_online() != is_online);
        let open = self.open.as_ref().filter(|open| open.conversation == user);
        // The header shows it too, once it is there.
        if has_changed && !self.screen.is_full() && open.is_some_and(|open| open.history != History::Coming) {
            self.tell(&format!("{user} is {}", if is_online { "online" } else { "offline" }));
        }
    }

    /// Signals to others that this user types, every few seconds.
    pub(super) async fn tell_typing(&mut self) {
        let Some(open) = &self.open else { return };
        if self.is_connected() && self.typed.is_none_or(|at| at.elapsed() >= TYPING_EVERY) {
            self.typed = Some(Instant::now());
            // A signal has no outcome.
            _ = self.client.signal(open.conversation.clone(), Signal::typing()).await;
        }
    }
}

/// The shortest time between two lines that show one user typing.
const TYPING_SHOWN: Duration = Duration::from_secs(20);

/// The shortest time between two signals. Others show each of them a little longer.
const TYPING_EVERY: Duration = Duration::from_secs(3);
