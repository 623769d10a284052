//! A lane to the bus: a bounded queue that is entered without waiting, and the task that publishes the queued messages.
//!
//! All lanes work alike. They differ in their [`Encoder`], which decides how many messages share a publication, and its form.

use std::sync::Arc;

use im_sdk::cluster::{Cluster, Publication};

use super::{
    backend_watch::HandOver,
    byte_queue::{self, Capacity, Permit},
};
use crate::registry::users::{QueueShare, User};

/// Turns the messages of one lane into publications of the bus.
pub(crate) trait Encoder: Send + 'static {
    /// A message in the lane.
    type Message: Send + 'static;

    /// The lane's name in the log.
    const LANE: &'static str;

    /// The capacity of the lane.
    const CAPACITY: Capacity;

    /// The maximum number of messages that share a publication.
    const MAX_BATCH: usize;

    /// Encodes the messages, of which there are at most [`Self::MAX_BATCH`], as one publication.
    ///
    /// Returns `None` if there is nothing to publish.
    fn encode(&self, messages: impl Iterator<Item = Self::Message>) -> Option<Encoded>;
}

/// An encoded publication.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) publication: Publication,
    /// Held until the bus has the publication. `None` if the bus does not return the publication when no backend takes it.
    pub(crate) hand_over: Option<HandOver>,
}

impl From<Publication> for Encoded {
    fn from(publication: Publication) -> Self {
        Self { publication, hand_over: None }
    }
}

/// The sending end of a lane.
#[derive(Debug)]
pub(crate) struct Lane<M> {
    queue: byte_queue::Sender<Queued<M>>,
}

/// The receiving end of a lane.
#[derive(Debug)]
pub(crate) struct Outgoing<E: Encoder> {
    pub(super) queue: byte_queue::Receiver<Queued<E::Message>>,
}

/// A message in a lane, with its sender's share.
#[derive(Debug)]
pub(crate) struct Queued<M> {
    pub(super) message: M,
    /// The user's share of the queues for the bus. Messages of the server itself belong to no user.
    _share: Option<QueueShare>,
}

/// Room for one message. Dropping it unused frees the room.
#[derive(Debug)]
pub(crate) struct LanePermit<'a, M> {
    permit: Permit<'a, Queued<M>>,
    share: QueueShare,
}

/// Creates a lane.
pub(crate) fn lane<E: Encoder>() -> (Lane<E::Message>, Outgoing<E>) {
    let (sender, queue) = byte_queue::channel(E::CAPACITY);
    (Lane { queue: sender }, Outgoing { queue })
}

impl<M> Lane<M> {
    /// Reserves room for a message of this size.
    ///
    /// Returns `None` if the lane is full, or if the user's share of all lanes is used up.
    pub(crate) fn try_reserve(&self, user: &Arc<User>, bytes: usize) -> Option<LanePermit<'_, M>> {
        let share = user.try_queue(bytes)?;
        let permit = self.queue.try_reserve(bytes)?;
        Some(LanePermit { permit, share })
    }

    /// Queues a user's message. Returns `false` if there is no room.
    pub(crate) fn try_send(&self, user: &Arc<User>, message: M, bytes: usize) -> bool {
        self.try_reserve(user, bytes).map(|permit| permit.send(message)).is_some()
    }

    /// Queues a message of the server itself. Returns `false` if there is no room.
    pub(crate) fn try_send_own(&self, message: M, bytes: usize) -> bool {
        self.queue.try_send(Queued { message, _share: None }, bytes)
    }
}

impl<M> LanePermit<'_, M> {
    pub(crate) fn send(self, message: M) {
        self.permit.send(Queued { message, _share: Some(self.share) });
    }
}

impl<E: Encoder> Outgoing<E> {
    /// Publishes queued messages, as many at once as fit. Ends when the lane's sending end is dropped.
    pub(crate) async fn run(mut self, cluster: Cluster, encoder: E) {
        let mut batch = Vec::new();
        while self.queue.recv_batch(&mut batch, E::MAX_BATCH).await {
            let Some(encoded) = encoder.encode(batch.drain(..).map(|queued| queued.message)) else {
                continue;
            };
            let Encoded { publication, hand_over } = encoded;
            if let Err(error) = cluster.bus().publish(publication).await {
                tracing::warn!(lane = E::LANE, %error, "cannot publish to the bus");
            }
            drop(hand_over);
        }
    }

    /// Takes the next publication's messages.
    #[cfg(test)]
    pub(super) async fn next_batch(&mut self) -> Vec<E::Message> {
        let mut batch = Vec::new();
        self.queue.recv_batch(&mut batch, E::MAX_BATCH).await;
        batch.into_iter().map(|queued| queued.message).collect()
    }
}
