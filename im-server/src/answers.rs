//! Answers to envelopes on their way back to the publishers. A queue of its own: deliveries never wait for the bus.
//!
//! One that is dropped makes its publisher's sends `unconfirmed`.

use im_proto::pb;
use im_sdk::cluster::{Cluster, Publication, Subject};
use prost::Message as _;

use crate::bounded::{self, Bounds};

/// Answers that wait to be put onto the bus. Most are of some 20 bytes; one that names many gone connections is large.
const QUEUE: Bounds = Bounds { items: 8192, bytes: 8 * 1024 * 1024 };

/// Where an answer goes, and what it says.
type Waiting = (Subject, pb::Delivered);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Answers {
    queue: bounded::Sender<Waiting>,
}

impl Answers {
    /// The receiver is for [`forward`].
    pub(crate) fn new() -> (Self, bounded::Receiver<Waiting>) {
        let (queue, receiver) = bounded::channel(QUEUE);
        (Self { queue }, receiver)
    }

    /// Queues an answer. Never waits.
    pub(crate) fn try_send(&self, subject: Subject, answer: pb::Delivered) {
        let bytes = answer.encoded_len();
        if !self.queue.try_send((subject, answer), bytes) {
            tracing::debug!("the way to the bus is full: an answer to an envelope is dropped");
        }
    }
}

/// Puts queued answers onto the bus; they travel together as far as the bus's client has more than one. Ends when every
/// [`Answers`] is gone.
pub(crate) async fn forward(cluster: Cluster, mut queue: bounded::Receiver<Waiting>) {
    while let Some((subject, answer)) = queue.recv().await {
        let publication = Publication { subject, return_to: None, payload: answer.encode_to_vec().into() };
        if let Err(error) = cluster.bus().publish(publication).await {
            tracing::warn!(%error, "cannot answer an envelope");
        }
    }
}
