//! The message bus: bounded, fast, and allowed to drop.
//!
//! The conformance suite states what an implementation must do.

use std::{future::poll_fn, pin::Pin, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, Stream, future::BoxFuture};
use tokio::task::coop::unconstrained;

use crate::cluster::names::{Names, QueueGroup, Subject};

/// The number of messages that a subscription queues before the bus drops some and reports
/// [`Disruption::Overflow`]. See also [`SUBSCRIPTION_BYTES`](super::super::SUBSCRIPTION_BYTES).
pub const SUBSCRIPTION_CAPACITY: usize = 65_536;

/// Carries messages between backends and servers: at most once, in order per publisher and
/// subject.
#[async_trait]
pub trait Bus: Send + Sync + std::fmt::Debug + 'static {
    /// Subscribes to every message on a subject. Messages that this handle publishes afterwards are
    /// included; those of others are from a moment later on.
    ///
    /// # Errors
    /// [`BusError::Closed`].
    async fn subscribe(&self, subject: Subject) -> Result<Subscription, BusError>;

    /// Subscribes to a share of the messages on a subject: each message goes to one member of the
    /// group.
    ///
    /// # Errors
    /// [`BusError::Closed`].
    async fn queue_subscribe(&self, subject: Subject, group: QueueGroup) -> Result<Subscription, BusError>;

    /// Hands a message to the bus. Waits a while if the send queue is full. `Ok` does not mean that
    /// the message arrived.
    ///
    /// # Errors
    /// [`BusError::Closed`], [`BusError::TooLarge`], [`BusError::Congested`].
    async fn publish(&self, publication: Publication) -> Result<(), BusError>;

    /// Waits until everything published before has left this process; without a connection, until
    /// there is one again.
    ///
    /// # Errors
    /// [`BusError::Closed`].
    async fn flush(&self) -> Result<(), BusError>;

    /// Drops the connection and opens another, for a caller that sees that the current one carries
    /// nothing. Returns `false` if there was no connection to drop. The default does nothing, for a
    /// bus without a connection.
    async fn reconnect(&self) -> bool {
        false
    }

    /// Returns the builder of the deployment's keys and subjects.
    #[doc(hidden)]
    fn names(&self) -> &Names;
}

/// A message to be published.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The subject to publish on.
    pub subject: Subject,
    /// The subject on which the bus reports that `subject` has no subscriber. The publisher itself
    /// must be subscribed to it; it then receives [`BusEvent::Undelivered`].
    pub return_to: Option<Subject>,
    /// The payload of the message.
    pub payload: Bytes,
}

/// An event of a subscription.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BusEvent {
    /// A message.
    Message(BusMessage),
    /// A message published with this `return_to` had no subscriber.
    Undelivered(Subject),
    /// Messages may have been lost. The event overtakes queued messages; losses of one kind count
    /// once until they are reported.
    Disrupted(Disruption),
}

/// A received message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BusMessage {
    /// The payload of the message.
    pub payload: Bytes,
}

impl BusMessage {
    /// Creates a message, for implementers of [`Bus`].
    pub fn new(payload: Bytes) -> Self {
        Self { payload }
    }
}

/// A reason why messages may have been lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disruption {
    /// The connection to the bus was lost and is back.
    Reconnected,
    /// A subscription was full: this one or, on a bus that cannot tell them apart, another one of
    /// this handle.
    Overflow,
}

/// The source of a [`Subscription`], provided by an implementation of [`Bus`].
///
/// Dropping it must unsubscribe. Its end means that the bus is closed, or that it is drained.
pub trait Source: Stream<Item = BusEvent> + Send + Sync {
    /// Unsubscribes. Messages that were delivered before are still received, and then the stream
    /// ends.
    fn drain(self: Pin<&mut Self>) -> BoxFuture<'_, ()>;
}

/// A stream of events; dropping it unsubscribes.
pub struct Subscription {
    // Boxed and not spawned: an implementation's own stream is read directly, without a task and a
    // queue in between.
    source: Pin<Box<dyn Source>>,
}

impl Subscription {
    /// Creates a subscription that reads `source`, for implementers of [`Bus`].
    pub fn new(source: impl Source + 'static) -> Self {
        Self { source: Box::pin(source) }
    }

    /// Returns the next event, or `None` when the bus is closed or everything was read after
    /// [`Subscription::drain`]. Cancel-safe: dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<BusEvent> {
        poll_fn(|context| self.source.as_mut().poll_next(context)).await
    }

    /// Returns the next event if one is queued.
    pub fn try_next(&mut self) -> Option<BusEvent> {
        // Unconstrained: an exhausted task budget must not look like an empty queue.
        unconstrained(self.next()).now_or_never().flatten()
    }

    /// Stops receiving new messages: from now on other members of the queue group get them.
    /// Messages that the bus already had for this subscription are still read, up to the end.
    /// Without a connection, the end comes with the next one.
    pub async fn drain(&mut self) {
        self.source.as_mut().drain().await;
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Subscription").finish_non_exhaustive()
    }
}

/// An error of the bus.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// The connection is closed for good.
    #[error("the bus is closed")]
    Closed,
    /// The message is larger than the bus accepts.
    #[error("a message of {bytes} bytes exceeds the bus's limit of {limit}")]
    TooLarge {
        /// The size of the message.
        bytes: usize,
        /// The limit of the bus.
        limit: usize,
    },
    /// The send queue stayed full, usually because the connection is lost.
    #[error("{bus}: send queue still full after {waited:?}; check that it is running and reachable")]
    Congested {
        /// The bus, such as `NATS at 127.0.0.1:4222`.
        bus: String,
        /// The time spent waiting.
        waited: Duration,
    },
    /// The client library reported an error.
    #[error("{action} failed on the bus: {source}")]
    Failed {
        /// The failed action.
        action: &'static str,
        /// The error of the client library.
        r#source: Box<dyn std::error::Error + Send + Sync>,
    },
}
