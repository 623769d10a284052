//! The bus: bounded, fast, and allowed to drop. What it must do is told by its conformance suite.

mod backlog;
mod disruptions;
mod memory;
mod nats;

use std::{future::poll_fn, pin::Pin, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, Stream, future::BoxFuture};
use tokio::task::coop::unconstrained;

pub(super) use self::nats::places;
pub use self::{backlog::SUBSCRIPTION_BYTES, memory::MemoryBus, nats::NatsBus};
use super::names::{Names, QueueGroup, Subject};

/// How many messages wait in one subscription before the bus drops some and says so ([`Disruption::Overflow`]); see
/// [`SUBSCRIPTION_BYTES`] too.
pub const SUBSCRIPTION_CAPACITY: usize = 65_536;

/// Carries messages between back ends and servers. Delivery is at most once and in order per publisher and subject.
#[async_trait]
pub trait Bus: Send + Sync + std::fmt::Debug + 'static {
    /// Receives every message on a subject. What this handle publishes afterwards is among them; what others publish
    /// is from a moment later on.
    ///
    /// # Errors
    /// [`BusError::Closed`].
    async fn subscribe(&self, subject: Subject) -> Result<Subscription, BusError>;

    /// Receives a share of the messages on a subject: each goes to one member of the group.
    ///
    /// # Errors
    /// [`BusError::Closed`].
    async fn queue_subscribe(&self, subject: Subject, group: QueueGroup) -> Result<Subscription, BusError>;

    /// Hands a message to the bus. Ok does not mean that it arrived. Waits a while when the way out is full.
    ///
    /// # Errors
    /// [`BusError::Closed`], [`BusError::TooLarge`], [`BusError::Congested`].
    async fn publish(&self, publication: Publication) -> Result<(), BusError>;

    /// Waits until everything published before has left this process; without a connection, until there is one again.
    ///
    /// # Errors
    /// [`BusError::Closed`].
    async fn flush(&self) -> Result<(), BusError>;

    /// Gives the connection up and makes another one, for whoever sees that it carries nothing any more although it
    /// stands. Returns `false` if there was none to give up. The default does nothing: a bus without a connection cannot
    /// lose one.
    async fn reconnect(&self) -> bool {
        false
    }

    /// Builds the deployment's keys and subjects.
    #[doc(hidden)]
    fn names(&self) -> &Names;
}

/// A message on its way out.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Where it goes.
    pub subject: Subject,
    /// Where the bus says so if nobody is subscribed to `subject`: a subject that the publisher itself is subscribed
    /// to, where it then receives [`BusEvent::Undelivered`].
    pub return_to: Option<Subject>,
    /// What it says.
    pub payload: Bytes,
}

/// What a subscription receives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BusEvent {
    /// A message.
    Message(BusMessage),
    /// Nobody was subscribed to a message that was published with this `return_to`.
    Undelivered(Subject),
    /// Messages may have been lost. It overtakes what is queued, and losses of one kind count once until they are told.
    Disrupted(Disruption),
}

/// A message that came in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BusMessage {
    /// What it says.
    pub payload: Bytes,
}

impl BusMessage {
    /// A message, for implementers of [`Bus`].
    pub fn new(payload: Bytes) -> Self {
        Self { payload }
    }
}

/// Why messages may have been lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disruption {
    /// The connection to the bus was lost and is back.
    Reconnected,
    /// A subscription was full: this one, or on a bus that cannot tell them apart, another one of this handle.
    Overflow,
}

/// What an implementation of [`Bus`] makes a [`Subscription`] of. Dropping it must unsubscribe; its end says that the bus is
/// closed, or that it is drained.
pub trait Source: Stream<Item = BusEvent> + Send + Sync {
    /// Unsubscribes. What was delivered before still comes, and then the end.
    fn drain(self: Pin<&mut Self>) -> BoxFuture<'_, ()>;
}

/// A stream of events; dropping it unsubscribes.
pub struct Subscription {
    // Boxed and not spawned: an implementation's own stream is read directly, without a task and a queue in between.
    source: Pin<Box<dyn Source>>,
}

impl Subscription {
    /// A subscription that reads `source`, for implementers of [`Bus`].
    pub fn new(source: impl Source + 'static) -> Self {
        Self { source: Box::pin(source) }
    }

    /// The next event; `None` when the bus is closed, or when everything was read after [`Subscription::drain`]. Nothing is
    /// lost when the future is dropped.
    pub async fn next(&mut self) -> Option<BusEvent> {
        poll_fn(|context| self.source.as_mut().poll_next(context)).await
    }

    /// The next event if one is there already.
    pub fn try_next(&mut self) -> Option<BusEvent> {
        // Unconstrained: "no budget left" must not look like "nothing there".
        unconstrained(self.next()).now_or_never().flatten()
    }

    /// Receives nothing new: from now on others of the queue group get it. What the bus had for this subscription before is
    /// still to be read, up to the end. Without a connection the end comes with the next one.
    pub async fn drain(&mut self) {
        self.source.as_mut().drain().await;
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Subscription").finish_non_exhaustive()
    }
}

/// The bus did not take a message or a subscription.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// The connection is closed for good.
    #[error("the bus is closed")]
    Closed,
    /// The message is larger than the bus takes.
    #[error("a message of {bytes} bytes is larger than the bus takes ({limit})")]
    TooLarge {
        /// The message's size.
        bytes: usize,
        /// The bus's limit.
        limit: usize,
    },
    /// The way out stayed full, usually because the connection is lost.
    #[error(
        "the way to {bus} was still full after {waited:?}: is it running, and can it be reached from here?"
    )]
    Congested {
        /// Which bus: `NATS at 127.0.0.1:4222`.
        bus: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// What the bus's client library says.
    #[error("{action} failed on the bus: {source}")]
    Failed {
        /// What was being done.
        action: &'static str,
        /// What the client library says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
