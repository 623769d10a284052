//! Devices' acknowledgements on their way to the back ends.
//!
//! One that is dropped does no harm: the device repeats it when it syncs or connects again, and every later one of that
//! log says the same and more.

use std::sync::Arc;

use bytes::Bytes;
use im_proto::pb;
use im_sdk::cluster::{Cluster, Publication};
use prost::Message as _;

use crate::{
    bounded::{self, Bounds},
    registry::Connection,
    users::QueueShare,
};

/// Acknowledgements that wait to be put onto the bus; most are of some 20 bytes.
const QUEUE: Bounds = Bounds { items: 8192, bytes: 4 * 1024 * 1024 };

/// A connection, its `Ack` byte for byte, and the user's share of the queue.
type Waiting = (Arc<Connection>, Bytes, QueueShare);

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
        let share = connection.shared_by_user().try_queue(bytes);
        let queued =
            share.is_some_and(|share| self.queue.try_send((Arc::clone(connection), ack, share), bytes));
        if !queued {
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

fn upstream((connection, ack, _): Waiting) -> pb::UpstreamAck {
    pb::UpstreamAck { user: connection.user.to_string(), device: Some((&connection.device).into()), ack }
}
