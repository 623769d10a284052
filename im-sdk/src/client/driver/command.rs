//! What the application asks for and waits for.

use tokio::sync::oneshot;

use crate::{
    Content, Recipient,
    client::{
        LocalId, QueuedSend, SendError,
        core::{Outcome, Taken},
    },
};

/// On its way to the driver.
pub(in crate::client) enum Command {
    /// Send, and answer with the outcome.
    Publish { to: Recipient, content: Content, outcome: oneshot::Sender<Outcome> },
    /// Send, and answer when it is saved.
    Send { to: Recipient, content: Content, taken: oneshot::Sender<Taken> },
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
            Self::Queued(list) => _ = list.send(Vec::new()),
            Self::Discard(_, done) => _ = done.send(false),
        }
    }
}

/// Where the core's answer goes.
pub(super) enum Ticket {
    Outcome(oneshot::Sender<Outcome>),
    Taken(oneshot::Sender<Taken>),
}

impl Ticket {
    /// Tells the outcome of a publish.
    pub(super) fn resolve(self, outcome: Outcome) {
        if let Self::Outcome(waiter) = self {
            _ = waiter.send(outcome);
        }
    }

    /// Tells whether a send was taken.
    pub(super) fn take(self, taken: Taken) {
        if let Self::Taken(waiter) = self {
            _ = waiter.send(taken);
        }
    }
}
