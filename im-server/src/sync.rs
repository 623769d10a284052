//! Devices' syncs on their way to the back ends: a device has connected, or asks for what came after its cursors.

use std::sync::Arc;

use bytes::Bytes;
use im_proto::{limits::SYNCS_PER_SECOND, pb};
use im_sdk::{
    cluster::{Cluster, Publication},
    id::ServerId,
};
use prost::Message as _;

use crate::{
    allowance::Rate,
    back_ends::BackEnds,
    bounded::{self, Bounds},
    registry::Connection,
};

/// Syncs that wait to be put onto the bus. A device whose sync finds it full asks again by itself.
const QUEUE: Bounds = Bounds { items: 8192, bytes: 8 * 1024 * 1024 };

/// How many syncs a connection may ask for. A device asks for one at a time, and for the next when it has something: this is far
/// more than it needs, and keeps one that does not care from taking all that back ends can do.
pub(crate) const RATE: Rate = Rate::per_second(SYNCS_PER_SECOND);

/// A connection and its `Sync`, byte for byte.
type Waiting = (Arc<Connection>, Bytes);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Syncs {
    queue: bounded::Sender<Waiting>,
}

impl Syncs {
    /// The receiver is for [`forward`].
    pub(crate) fn new() -> (Self, bounded::Receiver<Waiting>) {
        let (queue, receiver) = bounded::channel(QUEUE);
        (Self { queue }, receiver)
    }

    /// Queues a device's `Sync` for the back ends. Never waits.
    pub(crate) fn try_forward(&self, connection: &Arc<Connection>, sync: Bytes) {
        let bytes = sync.len();
        if !self.queue.try_send((Arc::clone(connection), sync), bytes) {
            tracing::debug!(user = %connection.user, "the way to the back ends is full: the device asks again");
        }
    }
}

/// Puts queued syncs onto the bus. Ends when every [`Syncs`] is gone.
pub(crate) async fn forward(
    cluster: Cluster,
    server: ServerId,
    back_ends: Arc<BackEnds>,
    mut queue: bounded::Receiver<Waiting>,
) {
    while let Some((connection, sync)) = queue.recv().await {
        let request = pb::UpstreamSync {
            server: server.to_string(),
            connection: connection.id.0,
            user: connection.user.to_string(),
            device: Some((&connection.device).into()),
            sync,
        };
        let publication = Publication {
            subject: cluster.names().upstream_sync(),
            // Where no back end is listening, the device asks again by itself. It would count for a publish that was not
            // taken, since the bus does not say what it brings back.
            return_to: None,
            payload: request.encode_to_vec().into(),
        };
        if let Err(error) = cluster.bus().publish(publication).await {
            tracing::warn!(%error, "cannot pass a sync on to the back ends");
        }
        back_ends.wonder();
    }
}
