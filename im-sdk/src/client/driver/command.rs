//! What the application asks for and waits for.

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    Content, Conversation, ConversationChange, HistoryQuery, Recipient, Search, Signal,
    client::{
        LocalId, MarkError, QueuedSend, RequestError, SendError,
        core::{Answer, Outcome, Taken},
    },
    id::{ChannelId, Device, UserId},
    proto::pb,
};

/// On its way to the driver.
pub(in crate::client) enum Command {
    /// Send, and answer with the outcome.
    Publish { to: Recipient, content: Content, outcome: oneshot::Sender<Outcome> },
    /// Send, and answer when it is saved.
    Send { to: Recipient, content: Content, taken: oneshot::Sender<Taken> },
    /// Go into a room.
    JoinRoom { channel: ChannelId, data: Bytes, answer: oneshot::Sender<Answer> },
    /// Leave one.
    LeaveRoom { channel: ChannelId, answer: oneshot::Sender<Answer> },
    /// Watch these users.
    Watch { users: Vec<UserId>, answer: oneshot::Sender<Answer> },
    /// Signal something; the answer is whether it goes anywhere.
    Signal { to: Recipient, device: Option<Device>, signal: Signal, goes: oneshot::Sender<bool> },
    /// Ask for a page of the past.
    History {
        conversation: Conversation,
        query: HistoryQuery,
        limit: u32,
        messages: bool,
        answer: oneshot::Sender<Answer>,
    },
    /// Look for messages.
    Search { search: Search, limit: u32, answer: oneshot::Sender<Answer> },
    /// Ask something else.
    Ask { question: pb::request::Question, answer: oneshot::Sender<Answer> },
    /// Set something in a conversation, and answer when that is taken.
    Mark {
        conversation: Recipient,
        change: ConversationChange,
        taken: oneshot::Sender<Result<(), MarkError>>,
    },
    /// Tell what is not settled.
    Queued(oneshot::Sender<Vec<QueuedSend>>),
    /// Forget a send.
    Discard(LocalId, oneshot::Sender<bool>),
}

impl Command {
    /// Answers without doing anything. Whoever does not wait for the answer does not need it.
    pub(super) fn refuse(self, error: &SendError) {
        match self {
            Self::Publish { outcome, .. } => _ = outcome.send(Err(error.clone().into())),
            Self::Send { taken, .. } => _ = taken.send(Err(error.clone())),
            Self::Signal { goes, .. } => _ = goes.send(false),
            Self::Mark { taken, .. } => _ = taken.send(Err(MarkError::Closed)),
            Self::History { answer, .. }
            | Self::Search { answer, .. }
            | Self::JoinRoom { answer, .. }
            | Self::LeaveRoom { answer, .. }
            | Self::Watch { answer, .. }
            | Self::Ask { answer, .. } => _ = answer.send(Err(refused(error))),
            Self::Queued(list) => _ = list.send(Vec::new()),
            Self::Discard(_, done) => _ = done.send(false),
        }
    }
}

/// A question needs no store, but a client that has none yet does not get to asking.
fn refused(error: &SendError) -> RequestError {
    match error {
        SendError::Closed => RequestError::Closed,
        error => RequestError::Stopped { reason: error.to_string() },
    }
}

/// Where the core's answer goes.
pub(super) enum Ticket {
    Outcome(oneshot::Sender<Outcome>),
    Taken(oneshot::Sender<Taken>),
    Answer(oneshot::Sender<Answer>),
}

impl Ticket {
    /// Tells the outcome of a publish.
    pub(super) fn resolve(self, outcome: Outcome) {
        if let Self::Outcome(waiter) = self {
            _ = waiter.send(outcome);
        }
    }

    /// Tells the answer to a question.
    pub(super) fn answer(self, answer: Answer) {
        if let Self::Answer(waiter) = self {
            _ = waiter.send(answer);
        }
    }

    /// Tells whether a send was taken.
    pub(super) fn take(self, taken: Taken) {
        if let Self::Taken(waiter) = self {
            _ = waiter.send(taken);
        }
    }
}
