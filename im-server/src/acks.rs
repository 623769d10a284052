//! Devices' acknowledgements on their way to the back ends.
//!
//! One that is dropped does no harm: the device repeats it when it syncs or connects again, and every later one of that
//! log says the same and more.

use std::sync::Arc;

use bytes::Bytes;
use im_proto::{limits::ACKS_PER_SECOND, pb};
use im_sdk::cluster::{Cluster, Publication};
use prost::Message as _;

use crate::{
    allowance::Rate,
    bounded::{self, Bounds},
    registry::Connection,
};

/// Acknowledgements that wait to be put onto the bus; most are of some 20 bytes.
const QUEUE: Bounds = Bounds { items: 8192, bytes: 4 * 1024 * 1024 };

/// How many acknowledgements a connection may send. A device collects them for 100 ms: this is twice what it needs, and keeps one
/// that does not care from having those of others dropped.
pub(crate) const RATE: Rate = Rate::per_second(ACKS_PER_SECOND);

/// A connection and its `Ack`, byte for byte.
type Waiting = (Arc<Connection>, Bytes);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Acks {
    queue: bounded::Sender<Waiting>,
}

impl Acks {
    /// The receiver is for [`forward`].
    pub(crate) fn new() -> (Self, bounded::Receiver<Waiting>) {
        let (queue, receiver) = bounded::channel(QUEUE);
        (Self { queue }, receiver)
    }

    /// Queues a device's `Ack` for the back ends. Never waits.
    pub(crate) fn try_forward(&self, connection: &Arc<Connection>, ack: Bytes) {
        let bytes = ack.len();
        if !self.queue.try_send((Arc::clone(connection), ack), bytes) {
            tracing::debug!(user = %connection.user, "the way to the back ends is full: an acknowledgement is dropped");
        }
    }
}

/// Puts queued acknowledgements onto the bus, as many at once as have queued up while the last message went out. Ends
/// when every [`Acks`] is gone.
pub(crate) async fn forward(cluster: Cluster, mut queue: bounded::Receiver<Waiting>) {
    while let Some(waiting) = queue.recv_batch().await {
        let acks = waiting.into_iter().map(upstream).collect();
        let publication = Publication {
            subject: cluster.names().upstream_ack(),
            // Where no back end is listening, nobody wants to know.
            return_to: None,
            payload: pb::UpstreamAcks { acks }.encode_to_vec().into(),
        };
        if let Err(error) = cluster.bus().publish(publication).await {
            tracing::warn!(%error, "cannot pass acknowledgements on to the back ends");
        }
    }
}

fn upstream((connection, ack): Waiting) -> pb::UpstreamAck {
    pb::UpstreamAck { user: connection.user.to_string(), device: Some((&connection.device).into()), ack }
}
