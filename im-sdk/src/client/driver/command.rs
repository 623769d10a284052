//! Commands of the application.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::TrackedSend;
use crate::{
    Conversation, ConversationChange, HistoryQuery, Recipient, Search, Signal,
    client::{
        LocalId, MarkError, RequestError, SendError,
        core::{Answer, Outcome, Unsettled},
    },
    content::Content,
    id::{ChannelId, Device, UserId},
    proto::pb,
};

/// A command on its way to the driver.
pub(in crate::client) enum Command {
    /// Sends a message, and answers with the outcome.
    Publish { to: Recipient, content: Content, within: Option<Duration>, outcome: oneshot::Sender<Outcome> },
    /// Sends a message, and answers when it is saved.
    Send { to: Recipient, content: Content, within: Option<Duration>, taken: oneshot::Sender<TakenSend> },
    /// Retries a failed send. Answers with `None` if it has not failed, and otherwise with a receiver for the
    /// new one.
    Retry(LocalId, oneshot::Sender<Option<oneshot::Receiver<TakenSend>>>),
    /// Joins a room.
    JoinRoom { channel: ChannelId, data: Bytes, answer: oneshot::Sender<Answer> },
    /// Leaves a room.
    LeaveRoom { channel: ChannelId, answer: oneshot::Sender<Answer> },
    /// Watches these users.
    Watch { users: Vec<UserId>, answer: oneshot::Sender<Answer> },
    /// Sends a signal. Answers with `true` if it is sent.
    Signal { to: Recipient, device: Option<Device>, signal: Signal, goes: oneshot::Sender<bool> },
    /// Requests a page of history.
    History {
        conversation: Conversation,
        query: HistoryQuery,
        limit: u32,
        messages: bool,
        answer: oneshot::Sender<Answer>,
    },
    /// Searches messages.
    Search { search: Search, limit: u32, answer: oneshot::Sender<Answer> },
    /// Makes any other request.
    Ask { question: pb::request::Question, answer: oneshot::Sender<Answer> },
    /// Sets a mark of a conversation, and answers when the core has it.
    Mark {
        conversation: Recipient,
        change: ConversationChange,
        taken: oneshot::Sender<Result<(), MarkError>>,
    },
    /// Lists the unsettled sends.
    ListSends(oneshot::Sender<Vec<(Unsettled, TrackedSend)>>),
    /// Forgets a send.
    Discard(LocalId, oneshot::Sender<bool>),
}

impl Command {
    /// Answers with an error.
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

/// The result of taking a send, with a way to learn its outcome.
pub(in crate::client) type TakenSend = Result<TrackedSend, SendError>;

/// The receiver of the core's answer.
pub(super) enum ReplyTo {
    Outcome(oneshot::Sender<Outcome>),
    Taken(oneshot::Sender<TakenSend>),
    Answer(oneshot::Sender<Answer>),
}

impl ReplyTo {
    /// Passes on the outcome of a publish.
    pub(super) fn resolve(self, outcome: Outcome) {
        if let Self::Outcome(waiter) = self {
            _ = waiter.send(outcome);
        }
    }

    /// Passes on the answer to a question.
    pub(super) fn answer(self, answer: Answer) {
        if let Self::Answer(waiter) = self {
            _ = waiter.send(answer);
        }
    }

    /// Passes on whether a send was taken. Returns `false` if nobody waits for that any more.
    pub(super) fn take(self, taken: TakenSend) -> bool {
        match self {
            Self::Taken(waiter) => waiter.send(taken).is_ok(),
            _ => false,
        }
    }
}
