//! What the application asks for and waits for.

use tokio::sync::oneshot;

use crate::{
    Content, Conversation, HistoryQuery, Recipient, Search,
    client::{
        HistoryError, LocalId, QueuedSend, SendError,
        core::{Answer, Outcome, Taken},
    },
};

/// On its way to the driver.
pub(in crate::client) enum Command {
    /// Send, and answer with the outcome.
    Publish { to: Recipient, content: Content, outcome: oneshot::Sender<Outcome> },
    /// Send, and answer when it is saved.
    Send { to: Recipient, content: Content, taken: oneshot::Sender<Taken> },
    /// Ask for a page of the past.
    History { conversation: Conversation, query: HistoryQuery, limit: u32, answer: oneshot::Sender<Answer> },
    /// Look for messages.
    Search { search: Search, limit: u32, answer: oneshot::Sender<Answer> },
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
            Self::History { answer, .. } | Self::Search { answer, .. } => {
                _ = answer.send(Err(refused(error)))
            }
            Self::Queued(list) => _ = list.send(Vec::new()),
            Self::Discard(_, done) => _ = done.send(false),
        }
    }
}

/// A question needs no store, but a client that has none yet does not get to asking.
fn refused(error: &SendError) -> HistoryError {
    if matches!(error, SendError::Closed) { HistoryError::Closed } else { HistoryError::Stopped }
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
