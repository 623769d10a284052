//! Takes events of the client.

use std::ops::ControlFlow;

use im_sdk::{
    Recipient,
    client::{CloseCode, Event, LocalId, PublishError, ReceivedMessage, ResetReason, SendState, StopCause},
    content::Content,
    id::MessageId,
};
use tokio::time::Instant;

use super::{App, Failed, History, Link, Loading, OVERDUE, Open, Send};
use crate::{
    book::is_notice,
    groups::Request,
    view::{name, summary},
};

impl App {
    /// Takes an event. Breaks when the chat cannot go on.
    pub(super) async fn take(&mut self, event: Event) -> ControlFlow<()> {
        self.list.apply(&event);
        if self.list_loading == Loading::Failed {
            self.list_loading = Loading::Idle;
        }
        match event {
            Event::Connected { user, .. } if user != self.me => {
                let me = &self.me;
                self.fail(&format!("the token is {user}'s, not {me}'s: give the name that it was made for"));
                return ControlFlow::Break(());
            }
            Event::Connected { transport, .. } => {
                self.tell(&format!("connected as {} over {transport}", self.me));
                (self.link, self.unreached) = (Link::CatchingUp, None);
                self.load_history();
            }
            Event::UpToDate => {
                self.link = Link::Up;
                if let Some(missed) = self.missed.replace(0).filter(|missed| *missed > 0) {
                    self.tell(&format!("{missed} elsewhere while you were away: /list shows them"));
                }
                if let missed @ 1.. = std::mem::take(&mut self.missed_notices) {
                    self.tell(&format!(
                        "{missed} from the back end while you were away: /notices shows them"
                    ));
                }
            }
            Event::Disconnected { code, reason, .. } => self.disconnected(code, reason),
            Event::Stopped { cause, reason, .. } => self.stopped(&cause, reason),
            Event::Message(message) => self.arrive(&message).await,
            Event::Reset { position, reason } => {
                self.client.ack(&position);
                self.reset(position.log.channel().cloned().map(Recipient::from), reason);
            }
            Event::ConversationsChanged(states) => self.note_states(&states),
            Event::ChannelRead(receipt) => self.note_receipt(&receipt),
            Event::Signal(signal) => self.note_signal(&signal),
            Event::Presence(presence) => self.note_presence(presence),
            Event::Published { local_id, message_id, .. } => self.published(local_id, message_id),
            Event::PublishFailed { local_id, error, retryable } => {
                self.sends.remove(&local_id);
                self.refused(local_id, &error, retryable).await;
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn disconnected(&mut self, code: Option<CloseCode>, reason: String) {
        if self.link != Link::Down {
            self.tell(&format!("not connected, trying again: {reason}"));
        }
        // A server that has answered is reachable.
        if self.link == Link::Unknown && code.is_none() {
            self.tell(self.advice.unreachable);
        }
        self.down(reason);
    }

    fn stopped(&mut self, cause: &StopCause, reason: String) {
        let advice = if *cause == StopCause::Token { self.advice.no_token } else { "/connect tries again" };
        self.tell(&format!("stopped: {reason}; {advice}"));
        self.down(reason);
    }

    fn down(&mut self, reason: String) {
        self.link = Link::Down;
        self.unreached = self.unreached.take().map(|_| reason);
        self.note_late();
    }

    /// Takes a message, or a change of one.
    async fn arrive(&mut self, message: &ReceivedMessage) {
        if let Some(position) = &message.position {
            self.client.ack(position);
        }
        let is_own = message.from.as_ref() == Some(&self.me);
        if is_own {
            self.note_own(message.id);
        }
        if is_own && Request::is_one(&message.content) {
            return;
        }
        if is_notice(message) {
            return if self.link == Link::Up { self.show_notice(message) } else { self.missed_notices += 1 };
        }
        let Some(noted) = self.book.note(message) else { return };
        let open = self.open.as_ref().filter(|open| open.conversation == noted.conversation);
        let is_shown = match open {
            Some(open) => {
                open.history != History::Coming
                    && (noted.is_new || self.book.given_number(noted.id).is_some())
            }
            // Missed messages are shown in the list.
            None => self.book.given_number(noted.id).is_some() || (noted.is_new && self.link == Link::Up),
        };
        if !is_shown && open.is_none() && noted.is_new && !is_own {
            self.missed = self.missed.map(|missed| missed + 1);
        }
        let is_read = open.is_some() && is_shown && noted.is_new && !is_own;
        if is_shown {
            self.show(&noted.conversation, noted.id, !noted.is_new);
        }
        if is_read {
            self.mark_read(&noted.conversation).await;
        }
        self.watch();
    }

    pub(super) async fn mark_read(&mut self, conversation: &Recipient) {
        let Some(position) = self.book.newest_of_others(conversation) else { return };
        if let Err(error) = self.client.mark_read(conversation.clone(), &position).await {
            self.fail(&format!("what was read could not be marked: {error}"));
        }
    }

    fn reset(&mut self, channel: Option<Recipient>, reason: ResetReason) {
        let place = channel.as_ref().map_or("your inbox".to_owned(), name);
        let is_of_log = |open: &&mut Open| match &channel {
            Some(channel) => open.conversation == *channel,
            None => open.conversation.as_user().is_some(),
        };
        let open = self.open.as_mut().filter(is_of_log);
        match (reason, open) {
            // The device did not follow the log before, so no message that it had is missing.
            (ResetReason::New, _) => {}
            (ResetReason::Left, open) => {
                if open.is_some() {
                    self.open = None;
                }
                self.tell(&format!("you are not in {place} any more"));
            }
            // Some messages did not arrive.
            (_, Some(open)) => {
                open.history = History::Missing;
                self.load_history();
            }
            (_, None) => self.tell(&format!("some of {place} did not arrive: /open shows it")),
        }
    }

    /// Notes that a send was accepted. It is done when its message has come back, which may have been before.
    fn published(&mut self, local_id: LocalId, message_id: Option<MessageId>) {
        match (self.sends.get_mut(&local_id), message_id) {
            (Some(send), Some(id)) if !self.own.contains(&id) => send.taken = Some(id),
            _ => _ = self.sends.remove(&local_id),
        }
    }

    fn note_own(&mut self, id: MessageId) {
        let before = self.sends.len();
        self.sends.retain(|_, send| send.taken != Some(id));
        if self.sends.len() == before {
            self.own.push_back(id);
        }
        if self.own.len() > MAX_OWN {
            self.own.pop_front();
        }
    }

    /// Shows that a send has failed for good.
    async fn refused(&mut self, local_id: LocalId, error: &PublishError, retryable: bool) {
        let queued = self.client.unsettled_sends().await;
        let Some(send) = queued.into_iter().find(|send| send.local_id() == local_id) else { return };
        let advice = if retryable { "; /retry sends it again, /discard forgets it" } else { "" };
        let why = why(error);
        self.fail(&match send.content.as_change() {
            Some(change) => self.with_number(&why, change.message_id) + advice,
            None => format!("not sent to {}: {}: {why}{advice}", name(&send.to), described(&send.content)),
        });
        if !retryable {
            send.handle.discard().await;
        } else if send.content.as_change().is_none() {
            self.failed.drain(..(self.failed.len() + 1).saturating_sub(MAX_FAILED));
            self.failed.push(Failed { to: send.to, text: described(&send.content), why });
        }
    }

    /// Replaces a message's id in a text by its number.
    fn with_number(&self, text: &str, id: MessageId) -> String {
        match self.book.given_number(id) {
            Some(number) => text.replace(&id.to_string(), &number.to_string()),
            None => text.to_owned(),
        }
    }

    /// Notes the sends of earlier runs. Events report the failed ones.
    pub(super) async fn note_queued(&mut self) {
        for queued in self.client.unsettled_sends().await {
            if queued.state != SendState::Failed {
                let since = Instant::now().checked_sub(OVERDUE).unwrap_or_else(Instant::now);
                let text = described(&queued.content);
                self.sends.insert(
                    queued.local_id(),
                    Send { to: queued.to, text, since, taken: None, is_late: false },
                );
            }
        }
    }
}

/// Describes a message or a change in a few words.
pub(super) fn described(content: &Content) -> String {
    match content.as_change() {
        Some(change) => format!("({} of a message)", change.kind.as_str().replace('_', " ")),
        None => summary(content),
    }
}

/// Returns the reason of a failure, for people: that of the backend, if it gave one.
pub(super) fn why(error: &PublishError) -> String {
    match error {
        PublishError::Refused { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

/// Failed sends that are shown among the messages of the full screen.
const MAX_FAILED: usize = 100;

/// Own messages that are remembered: more than are sent at once.
const MAX_OWN: usize = 256;
