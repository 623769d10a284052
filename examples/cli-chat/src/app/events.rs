//! What arrives: events of the client, and answers to what was asked.

use std::ops::ControlFlow;

use im_sdk::{
    Content, Recipient, Signal,
    client::{
        ConversationList, ConversationState, Event, LocalId, PublishError, ReadReceipt, ReceivedMessage,
        ReceivedSignal, RefusalKind, RequestError, ResetReason, SendState, UserPresence,
    },
    id::{MessageId, UserId},
};
use tokio::time::Instant;

use super::{
    App, History, Link, OVERDUE, Send,
    jobs::{Answer, Past},
};
use crate::{
    book::ReadTo,
    groups::Request,
    view::{self, name, summary},
};

impl App {
    /// Takes an event. Break: there is nothing more to be done.
    pub(super) async fn take(&mut self, event: Event) -> ControlFlow<()> {
        self.list.apply(&event);
        match event {
            Event::Connected { user, .. } if user != self.me => {
                let me = &self.me;
                self.fail(&format!("the token is {user}'s, not {me}'s: give the name that it was made for"));
                return ControlFlow::Break(());
            }
            Event::Connected { transport, .. } => {
                self.tell(&format!("connected as {} over {transport}", self.me));
                self.link = Link::CatchingUp;
                self.watched.clear();
                self.load_history();
            }
            Event::UpToDate => self.link = Link::Up,
            Event::Disconnected { reason, .. } => self.disconnected(&reason),
            Event::Stopped { reason, .. } => {
                self.link = Link::Down;
                self.tell(&format!("stopped: {reason}; /connect tries again"));
                self.note_late();
            }
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

    /// Takes the answer to something that was asked.
    pub(super) async fn take_answer(&mut self, answer: Answer) {
        match answer {
            Answer::Conversations(Ok(pages)) => {
                pages.into_iter().for_each(|page| self.list.load(page));
                self.watch();
                if !std::mem::replace(&mut self.list_shown, true) {
                    self.show_list();
                }
            }
            Answer::Conversations(Err(error)) => {
                // It is not known any more: the next time that something arrives it is asked for again.
                self.list = ConversationList::new(self.me.clone());
                self.complain("show the conversations", &error);
            }
            Answer::Past { conversation, is_older, outcome } => {
                self.take_past(&conversation, is_older, outcome).await;
            }
            Answer::Found(Ok(page)) => {
                if page.messages.is_empty() {
                    self.tell("nothing was found");
                }
                for message in page.messages.iter().rev() {
                    self.show_found(message);
                }
            }
            Answer::Found(Err(error)) => self.complain("search", &error),
            Answer::Presences(Ok(presences)) => {
                presences.into_iter().for_each(|presence| self.note_presence(presence));
            }
            Answer::Presences(Err(_)) => self.watched.clear(),
            Answer::Readers(number, Ok(readers)) => {
                let users: Vec<&str> = readers.users.iter().map(UserId::as_str).collect();
                let by = if users.is_empty() { "nobody".to_owned() } else { users.join(", ") };
                self.tell(&format!("{number} was read by {by} ({} in all)", readers.count));
            }
            Answer::Readers(number, Err(error)) => {
                self.complain(&format!("tell who has read {number}"), &error)
            }
            Answer::Group(request, Ok(published)) => {
                self.tell(&String::from_utf8_lossy(&published.answer));
                if let Request::Add(group, _) = request {
                    self.open(group.into());
                }
            }
            Answer::Group(_, Err(error)) => self.fail(&format!("the group was left as it was: {error}")),
        }
    }

    fn disconnected(&mut self, reason: &str) {
        if self.link != Link::Down {
            self.tell(&format!("not connected ({reason}): trying again; what you write is sent then"));
        }
        self.link = Link::Down;
        self.note_late();
    }

    /// A message, or a change of one.
    async fn arrive(&mut self, message: &ReceivedMessage) {
        if let Some(position) = &message.position {
            self.client.ack(position);
        }
        let is_own = message.from.as_ref() == Some(&self.me);
        if is_own {
            self.note_own(message.id);
        }
        let Some(noted) = self.book.note(message) else { return };
        let open = self.open.as_ref().filter(|open| open.conversation == noted.conversation);
        let is_shown = match open {
            Some(open) => {
                open.history != History::Coming
                    && (noted.is_new || self.book.given_number(noted.id).is_some())
            }
            // What was missed is in the list.
            None => self.book.given_number(noted.id).is_some() || (noted.is_new && self.link == Link::Up),
        };
        let is_read = open.is_some() && is_shown && noted.is_new && !is_own;
        if is_shown {
            self.show(&noted.conversation, noted.id);
        }
        if is_read {
            self.mark_read(&noted.conversation).await;
        }
        self.watch();
    }

    async fn mark_read(&mut self, conversation: &Recipient) {
        let Some(position) = self.book.newest_of_others(conversation) else { return };
        if let Err(error) = self.client.mark_read(conversation.clone(), &position).await {
            self.fail(&format!("what was read could not be marked: {error}"));
        }
    }

    async fn take_past(
        &mut self,
        conversation: &Recipient,
        is_older: bool,
        outcome: Result<Past, RequestError>,
    ) {
        let past = match outcome {
            Ok(past) => past,
            Err(error) => {
                if is_refused(&error) && self.is_open(conversation) {
                    self.open = None;
                }
                self.set_history(conversation, History::Missing);
                return self.complain(&format!("show what was said in {}", name(conversation)), &error);
            }
        };
        for entry in &past.entries {
            self.book.note(entry);
        }
        self.set_history(conversation, History::Back(past.next));
        if is_older {
            let messages = past.entries.iter().filter(|entry| entry.content.as_change().is_none());
            let messages: Vec<MessageId> = messages.map(|message| message.id).collect();
            self.show_all(conversation, &messages);
        } else {
            self.show_header(conversation);
            let messages: Vec<MessageId> =
                self.book.messages(conversation).map(|message| message.id()).collect();
            self.show_all(conversation, &messages);
            let peer_read = self.list.get(conversation).and_then(|listed| listed.state.peer_read);
            if let (Some(user), Some(read_to)) = (conversation.as_user(), peer_read) {
                self.has_read(conversation, user, ReadTo::Message(read_to));
            }
            self.mark_read(conversation).await;
        }
        if past.next.is_some() {
            self.tell("/older shows what was said before");
        }
    }

    fn set_history(&mut self, conversation: &Recipient, history: History) {
        if let Some(open) = self.open.as_mut().filter(|open| open.conversation == *conversation) {
            open.history = history;
        }
    }

    fn show_all(&mut self, conversation: &Recipient, messages: &[MessageId]) {
        for id in messages {
            let is_deleted = self.book.message(conversation, *id).is_none_or(|message| message.is_deleted());
            if !is_deleted {
                self.show(conversation, *id);
            }
        }
    }

    /// What was found may have been changed since, which is known only of what is loaded.
    fn show_found(&mut self, message: &ReceivedMessage) {
        let number = self.book.number_of(message).map(|number| number.to_string()).unwrap_or_default();
        let conversation = message.reference(&self.me).map(|reference| name(&reference.conversation));
        let from = view::sender(message.from.as_ref());
        let (place, text) = (conversation.unwrap_or_default(), summary(&message.content));
        let age = view::age(super::age(message.id));
        self.screen.print(&format!("{number:>4} [{place}] {from}: {text} · {age}"));
    }

    fn reset(&mut self, channel: Option<Recipient>, reason: ResetReason) {
        let place = channel.as_ref().map_or("your inbox".to_owned(), name);
        match reason {
            // Nothing is missing that was here before.
            ResetReason::New => {}
            ResetReason::Left => {
                self.tell(&format!("you are not in {place} any more"));
                if channel.is_some_and(|channel| self.is_open(&channel)) {
                    self.open = None;
                }
            }
            _ => self.tell(&format!("some of {place} did not arrive: /open shows it again")),
        }
    }

    fn note_states(&mut self, states: &[ConversationState]) {
        for state in states {
            if let (Some(user), Some(read_to)) = (state.conversation.as_user(), state.peer_read) {
                self.tell_read(&state.conversation, user, ReadTo::Message(read_to));
            }
        }
    }

    fn note_receipt(&mut self, receipt: &ReadReceipt) {
        let conversation = Recipient::from(receipt.channel.clone());
        self.tell_read(&conversation, &receipt.user, ReadTo::Seq(receipt.seq));
    }

    fn tell_read(&mut self, conversation: &Recipient, user: &UserId, read: ReadTo) {
        if let Some(id) = self.has_read(conversation, user, read)
            && let Some(number) = self.book.number(conversation, id)
        {
            self.tell(&format!("{user} has read {number}"));
        }
    }

    /// Notes how far somebody has read the open conversation. The newest message of one's own, if that is news.
    fn has_read(&mut self, conversation: &Recipient, user: &UserId, read: ReadTo) -> Option<MessageId> {
        let id = self.book.newest_read(conversation, read)?;
        let open = self.open.as_mut().filter(|open| open.conversation == *conversation)?;
        let before = open.read.insert(user.clone(), id);
        before.is_none_or(|before| before < id).then_some(id)
    }

    /// Somebody types: it is shown, but not before each of their messages.
    fn note_signal(&mut self, signal: &ReceivedSignal) {
        let conversation = match &signal.channel {
            Some(channel) => Recipient::from(channel.clone()),
            None => Recipient::from(signal.from.clone()),
        };
        let Some(open) = self.open.as_mut().filter(|open| open.conversation == conversation) else { return };
        let is_typing = signal.signal == Signal::typing();
        let is_news = open.typing.get(&signal.from).is_none_or(|shown| shown.elapsed() > TYPING_SHOWN);
        if is_typing && is_news {
            open.typing.insert(signal.from.clone(), Instant::now());
            self.tell(&format!("{} is typing", signal.from));
        }
    }

    fn note_presence(&mut self, presence: UserPresence) {
        let user = presence.user.clone();
        let is_online = presence.is_online();
        let before = self.presences.insert(user.clone(), presence);
        let has_changed = before.is_some_and(|before| before.is_online() != is_online);
        if has_changed && self.is_open(&user.clone().into()) {
            self.tell(&format!("{user} is {}", if is_online { "online" } else { "offline" }));
        }
    }

    /// Something that was sent is taken. It is done when it has come back, which may have been before.
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

    /// Something that was sent failed for good.
    async fn refused(&mut self, local_id: LocalId, error: &PublishError, retryable: bool) {
        let queued = self.client.queued().await;
        let Some(send) = queued.into_iter().find(|send| send.local_id == local_id) else { return };
        let advice = if retryable { "; /retry sends it again, /discard forgets it" } else { "" };
        let why = match error {
            PublishError::Refused { reason, .. } => reason.clone(),
            other => other.to_string(),
        };
        self.fail(&match send.content.as_change() {
            Some(change) => self.with_number(&why, change.message_id) + advice,
            None => format!("not sent to {}: {}: {why}{advice}", name(&send.to), described(&send.content)),
        });
        if !retryable {
            self.client.discard(local_id).await;
        }
    }

    /// A back end names a message by its id, people by its number.
    fn with_number(&self, text: &str, id: MessageId) -> String {
        match self.book.given_number(id) {
            Some(number) => text.replace(&id.to_string(), &number.to_string()),
            None => text.to_owned(),
        }
    }

    /// What an earlier run has left behind. What failed is told by events.
    pub(super) async fn note_queued(&mut self) {
        for queued in self.client.queued().await {
            if queued.state != SendState::Failed {
                let since = Instant::now().checked_sub(OVERDUE).unwrap_or_else(Instant::now);
                let text = described(&queued.content);
                self.sends.insert(
                    queued.local_id,
                    Send { to: queued.to, text, since, taken: None, is_late: false },
                );
            }
        }
    }

    fn complain(&mut self, what: &str, error: &RequestError) {
        self.fail(&format!("cannot {what}: {error}"));
    }
}

/// What somebody has sent, in a few words.
pub(super) fn described(content: &Content) -> String {
    match content.as_change() {
        Some(change) => format!("({} of a message)", change.kind.as_str().replace('_', " ")),
        None => summary(content),
    }
}

fn is_refused(error: &RequestError) -> bool {
    matches!(error, RequestError::Refused { kind: RefusalKind::Rule | RefusalKind::Invalid, .. })
}

/// Typing is shown at most so often of each user.
const TYPING_SHOWN: std::time::Duration = std::time::Duration::from_secs(20);

/// More than are sent at once.
const MAX_OWN: usize = 256;
