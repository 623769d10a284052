//! Who comes and goes, on its way to the back ends.

use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use im_proto::pb;
use im_sdk::{
    cluster::{Cluster, Publication},
    id::{Device, UserId},
};
use prost::Message as _;

use crate::bounded::{self, Bounds};

/// Comings and goings that wait to be put onto the bus, of at most some 150 bytes each: those of a storm of some seconds.
const QUEUE: Bounds = Bounds { items: 65_536, bytes: 16 * 1024 * 1024 };

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Presences {
    /// `None` once closed.
    queue: Mutex<Option<bounded::Sender<pb::UpstreamPresence>>>,
}

impl Presences {
    /// The receiver is for [`forward`].
    pub(crate) fn new() -> (Self, bounded::Receiver<pb::UpstreamPresence>) {
        let (queue, receiver) = bounded::channel(QUEUE);
        (Self { queue: Mutex::new(Some(queue)) }, receiver)
    }

    /// Queues that a device has come or gone. Never waits.
    pub(crate) fn try_tell(&self, user: &UserId, device: &Device, online: bool) {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let presence = pb::UpstreamPresence {
            user: user.to_string(),
            device: Some(device.into()),
            online,
            at_ms: i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX),
        };
        let bytes = presence.encoded_len();
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if !queue.as_ref().is_some_and(|queue| queue.try_send(presence, bytes)) {
            tracing::debug!(%user, online, "the way to the back ends is full: a device's coming or going is dropped");
        }
    }

    /// Takes no more: [`forward`] ends after what is queued.
    pub(crate) fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Puts what is queued onto the bus, as many at once as have queued up while the last message went out. Ends after
/// [`Presences::close`].
pub(crate) async fn forward(cluster: Cluster, mut queue: bounded::Receiver<pb::UpstreamPresence>) {
    while let Some(presences) = queue.recv_batch().await {
        let publication = Publication {
            subject: cluster.names().upstream_presence(),
            // Where no back end is listening, nobody wants to know.
            return_to: None,
            payload: pb::UpstreamPresences { presences }.encode_to_vec().into(),
        };
        if let Err(error) = cluster.bus().publish(publication).await {
            tracing::warn!(%error, "cannot tell the back ends who came and went");
        }
    }
}
