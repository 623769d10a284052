//! The messages of this run, with their changes, and the numbers by which users refer to them.

use std::collections::{HashMap, VecDeque};

use im_sdk::{
    Recipient,
    client::{Log, MessageRef, Position, ReceivedMessage},
    id::{MessageId, UserId},
    timeline::{ShownMessage, Timeline},
};

/// The messages of one conversation.
struct Past {
    timeline: Timeline,
    /// Their seqs in the log.
    seqs: HashMap<MessageId, u64>,
}

/// Messages by conversation, and their numbers.
pub(crate) struct Book {
    me: UserId,
    past: HashMap<Recipient, Past>,
    numbers: HashMap<MessageId, u32>,
    /// The messages with numbers, in the order of the numbers.
    numbered: VecDeque<MessageRef>,
    next: u32,
}

/// The effect of an entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) conversation: Recipient,
    /// The message that looks different now.
    pub(crate) id: MessageId,
    /// Set if the message is new.
    pub(crate) is_new: bool,
}

impl Book {
    pub(crate) fn new(me: UserId) -> Self {
        Self { me, past: HashMap::new(), numbers: HashMap::new(), numbered: VecDeque::new(), next: 1 }
    }

    /// Forgets the messages of a conversation before its history is read again.
    pub(crate) fn begin(&mut self, conversation: &Recipient) {
        self.past.remove(conversation);
    }

    /// Takes an entry, in any order. Returns `None` if nothing looks different.
    pub(crate) fn note(&mut self, message: &ReceivedMessage) -> Option<Noted> {
        if let Some(conversation) = conversation_of(message, &self.me) {
            return self.note_in(conversation, message);
        }
        // A change by the backend does not name the conversation of its message.
        message.content.as_change()?;
        let everywhere: Vec<Recipient> = self.past.keys().cloned().collect();
        let mut noted = None;
        for conversation in everywhere {
            noted = self.note_in(conversation, message).or(noted);
        }
        noted
    }

    /// Takes an entry of a conversation's history.
    pub(crate) fn note_past(&mut self, conversation: &Recipient, message: &ReceivedMessage) {
        let named = conversation_of(message, &self.me);
        self.note_in(named.unwrap_or_else(|| conversation.clone()), message);
    }

    fn note_in(&mut self, conversation: Recipient, message: &ReceivedMessage) -> Option<Noted> {
        let new = || Past { timeline: Timeline::new(self.me.clone()), seqs: HashMap::new() };
        let past = self.past.entry(conversation.clone()).or_insert_with(new);
        let is_new = message.content.as_change().is_none();
        if let Some(position) = message.position.as_ref().filter(|_| is_new) {
            past.seqs.insert(message.id, position.seq);
        }
        let id = past.timeline.apply(message)?;
        past.limit();
        Some(Noted { conversation, id, is_new })
    }

    /// Returns all messages of a conversation that are to be shown, in order.
    pub(crate) fn messages(
        &self,
        conversation: &Recipient,
    ) -> impl DoubleEndedIterator<Item = &ShownMessage> {
        let messages = self.past.get(conversation).into_iter().flat_map(|past| past.timeline.messages());
        messages.filter(|message| !message.is_deleted())
    }

    /// Returns a message as it is now.
    pub(crate) fn message(&self, conversation: &Recipient, id: MessageId) -> Option<&ShownMessage> {
        self.past.get(conversation)?.timeline.get(id)
    }

    /// Returns `true` if no more messages of this conversation are kept.
    pub(crate) fn is_full(&self, conversation: &Recipient) -> bool {
        self.messages(conversation).count() >= MAX_MESSAGES / 2
    }

    /// Returns the number of a message, which it gets at the first call, or `None` if it is in no log.
    pub(crate) fn number(&mut self, conversation: &Recipient, id: MessageId) -> Option<u32> {
        if let Some(number) = self.given_number(id) {
            return Some(number);
        }
        let seq = *self.past.get(conversation)?.seqs.get(&id)?;
        Some(self.give_number(MessageRef::new(conversation.clone(), id, seq)))
    }

    /// Returns the number of a message that a search has found.
    pub(crate) fn number_of(&mut self, message: &ReceivedMessage) -> Option<u32> {
        let reference = message.reference(&self.me)?;
        Some(self.given_number(message.id).unwrap_or_else(|| self.give_number(reference)))
    }

    /// Returns the number of a message, if it has one.
    pub(crate) fn given_number(&self, id: MessageId) -> Option<u32> {
        self.numbers.get(&id).copied()
    }

    /// Returns the message with a number.
    ///
    /// # Errors
    /// The text that there is no such message, for people.
    pub(crate) fn find(&self, number: u32) -> Result<&MessageRef, String> {
        let first = self.next - u32::try_from(self.numbered.len()).unwrap_or(0);
        let found = number.checked_sub(first).and_then(|index| self.numbered.get(index as usize));
        found.ok_or_else(|| format!("there is no message {number}: the number stands before a message"))
    }

    /// Returns the position of the newest message of somebody else, to mark it as read.
    pub(crate) fn newest_of_others(&self, conversation: &Recipient) -> Option<Position> {
        let newest = self.messages(conversation).rev().find(|message| message.from() != Some(&self.me))?;
        let seq = *self.past.get(conversation)?.seqs.get(&newest.id())?;
        let log = conversation.as_channel().map_or(Log::Inbox, |channel| Log::Channel(channel.clone()));
        Some(Position { log, seq, id: Some(newest.id()) })
    }

    /// Returns the user's newest own message that another user has read, who has read up to `read`.
    pub(crate) fn newest_read(&self, conversation: &Recipient, read: ReadTo) -> Option<MessageId> {
        let past = self.past.get(conversation)?;
        let is_read = |message: &&ShownMessage| match read {
            ReadTo::Message(id) => past.timeline.is_read(message.id(), id),
            ReadTo::Seq(seq) => past.seqs.get(&message.id()).is_some_and(|at| *at <= seq),
        };
        let mut own = self.messages(conversation).rev().filter(|message| message.from() == Some(&self.me));
        own.find(is_read).map(ShownMessage::id)
    }

    fn give_number(&mut self, reference: MessageRef) -> u32 {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        self.numbers.insert(reference.id, number);
        self.numbered.push_back(reference);
        if self.numbered.len() > MAX_NUMBERED
            && let Some(oldest) = self.numbered.pop_front()
        {
            self.numbers.remove(&oldest.id);
        }
        number
    }
}

/// The progress of a reader: up to a message in a conversation with a user, up to a seq in a group's log.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ReadTo {
    Message(MessageId),
    Seq(u64),
}

impl Past {
    /// Keeps the newest half, for a user who chats for weeks without opening the conversation again.
    fn limit(&mut self) {
        let messages = self.timeline.messages().count();
        if messages <= MAX_MESSAGES {
            return;
        }
        let Some(last) = self.timeline.messages().nth(messages / 2).map(ShownMessage::id) else { return };
        self.timeline.forget_through(last);
        self.seqs.retain(|id, _| *id > last);
    }
}

/// Returns the conversation of an entry. A deletion for oneself is in the inbox, and names its channel. `None` if the entry is
/// from the backend itself and belongs to no conversation.
fn conversation_of(message: &ReceivedMessage, me: &UserId) -> Option<Recipient> {
    let changed = message.content.as_change().and_then(|change| change.channel.as_ref());
    if let Some(channel) = message.channel.as_ref().or(changed) {
        return Some(channel.clone().into());
    }
    let from = message.from.as_ref()?;
    let other = if from == me { message.to.as_ref().unwrap_or(me) } else { from };
    Some(other.clone().into())
}

/// Returns `true` if a message is from the backend itself and belongs to no conversation: no list shows or counts
/// it.
pub(crate) fn is_notice(message: &ReceivedMessage) -> bool {
    message.from.is_none() && message.channel.is_none() && message.content.as_change().is_none()
}

/// The most messages of a conversation that are kept.
const MAX_MESSAGES: usize = 2000;

/// The most messages with a number. The oldest lose theirs.
const MAX_NUMBERED: usize = 10_000;
