//! Commands of the application.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    Conversation, ConversationChange, HistoryQuery, Recipient, Search, Signal,
    client::{
        LocalId, MarkError, RequestError, SendError,
        core::{Answer, Outcome, Unsettled},
        send::TrackedSend,
    },
    content::Content,
    id::{ChannelId, Device, UserId},
    proto::pb,
};

/// A command on its way to the driver.
pub(in crate::client) enum Command {
    /// Send, and answer with the outcome.
    Publish { to: Recipient, content: Content, within: Option<Duration>, outcome: oneshot::Sender<Outcome> },
    /// Send, and answer when it is saved.
    Send { to: Recipient, content: Content, within: Option<Duration>, taken: oneshot::Sender<TakenSend> },
    /// Send anew what has failed. `None`: it has not. Else the answer follows when the new one is saved.
    Retry(LocalId, oneshot::Sender<Option<oneshot::Receiver<TakenSend>>>),
    /// Join a room.
    JoinRoom { channel: ChannelId, data: Bytes, answer: oneshot::Sender<Answer> },
    /// Leave one.
    LeaveRoom { channel: ChannelId, answer: oneshot::Sender<Answer> },
    /// Watch these users.
    Watch { users: Vec<UserId>, answer: oneshot::Sender<Answer> },
    /// Signal something; the answer is whether it is sent.
    Signal { to: Recipient, device: Option<Device>, signal: Signal, goes: oneshot::Sender<bool> },
    /// Ask for a page of the past.
    History {
        conversation: Conversation,
        query: HistoryQuery,
        limit: u32,
        messages: bool,
        answer: oneshot::Sender<Answer>,
    },
    /// Search for messages.
    Search { search: Search, limit: u32, answer: oneshot::Sender<Answer> },
    /// Make any other request.
    Ask { question: pb::request::Question, answer: oneshot::Sender<Answer> },
    /// Set something in a conversation, and answer when that is taken.
    Mark {
        conversation: Recipient,
        change: ConversationChange,
        taken: oneshot::Sender<Result<(), MarkError>>,
    },
    /// List the sends that are not settled.
    ListSends(oneshot::Sender<Vec<(Unsettled, TrackedSend)>>),
    /// Forget a send.
    Discard(LocalId, oneshot::Sender<bool>),
}

impl Command {
    /// Answers without doing anything.
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
            Self::ListSends(list) => _ = list.send(Vec::new()),
            Self::Retry(_, accepted) => _ = accepted.send(refused_retry(error)),
            Self::Discard(_, done) => _ = done.send(false),
        }
    }
}

fn refused_retry(error: &SendError) -> Option<oneshot::Receiver<TakenSend>> {
    let (taken, answer) = oneshot::channel();
    _ = taken.send(Err(error.clone()));
    Some(answer)
}

/// Returns the error of a request to a client whose store could not be loaded. A request needs no store, but such a client never
/// connects.
fn refused(error: &SendError) -> RequestError {
    match error {
        SendError::Closed => RequestError::Closed,
        error => RequestError::Stopped { reason: error.to_string() },
    }
}

/// Whether a send was taken, and then how to learn its outcome.
pub(in crate::client) type TakenSend = Result<TrackedSend, SendError>;

/// The receiver of the core's answer.
pub(super) enum ReplyTo {
    Outcome(oneshot::Sender<Outcome>),
    Taken(oneshot::Sender<TakenSend>),
    Answer(oneshot::Sender<Answer>),
}

impl ReplyTo {
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

    /// Tells whether a send was taken. Returns `false` if nobody waits for that any more.
    pub(super) fn take(self, taken: TakenSend) -> bool {
        match self {
            Self::Taken(waiter) => waiter.send(taken).is_ok(),
            _ => false,
        }
    }
}
