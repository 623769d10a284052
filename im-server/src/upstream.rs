//! Devices' publishes on their way to the back ends, and which of them still wait for their results.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use im_proto::{frame, pb};
use im_sdk::{
    cluster::{Cluster, Publication},
    id::{ConnectionId, ServerId},
};
use prost::Message as _;

use crate::{
    bounded::{self, Bounds},
    registry::Connection,
    users::QueueShare,
    waiting::{AllWaiting, RETRY_MS},
};

/// Publishes that wait to be put onto the bus: as many as are of 1 KiB, fewer of larger ones.
const QUEUE: Bounds = Bounds { items: 8192, bytes: 8 * 1024 * 1024 };

/// A publish, and the user's share of the queue.
type Waiting = (pb::UpstreamPublish, QueueShare);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Upstream {
    queue: bounded::Sender<Waiting>,
    waiting: AllWaiting,
}

impl Upstream {
    /// The receiver is for [`forward`].
    pub(crate) fn new() -> (Self, bounded::Receiver<Waiting>) {
        let (queue, receiver) = bounded::channel(QUEUE);
        (Self { queue, waiting: AllWaiting::new(|connection| &connection.inflight) }, receiver)
    }

    /// Whether a publish of this number waits for its result: then it is the same one again, of a device that has lost
    /// patience, and gets the one result. To be called by the connection's own session alone.
    pub(crate) fn is_waiting(&self, connection: &Connection, number: u64) -> bool {
        self.waiting.has(connection, number)
    }

    /// Queues a publish that does not wait yet for the back ends. Never waits. False: the queue is full.
    pub(crate) fn try_forward(
        &self,
        connection: &Arc<Connection>,
        number: u64,
        publish: Bytes,
        in_room: bool,
    ) -> bool {
        let Some(share) = connection.shared_by_user().try_queue(publish.len()) else { return false };
        let Some(place) = self.queue.try_reserve(publish.len()) else { return false };
        // How many may wait, and whether this one does, the session has looked at.
        if self.waiting.admit(connection, number, u32::MAX).is_err() {
            return true;
        }
        let publish = pb::UpstreamPublish {
            connection: connection.id.0,
            user: connection.user.to_string(),
            device: Some((&connection.device).into()),
            number,
            publish,
            in_room,
        };
        place.fill((publish, share));
        true
    }

    /// Passes a back end's answer on, unless the device was told something else meanwhile.
    pub(crate) fn answered(&self, connection: ConnectionId, answer: pb::PublishAnswer) {
        self.waiting.answered(connection, answer.number, answer.frames);
    }

    /// No back end is listening: tells every device whose publish waits.
    ///
    /// The bus does not say which publish it could not deliver (a server may receive on no subject but its own), so this
    /// may hit one that a back end has just taken. The device tries again under the same number.
    pub(crate) fn unavailable(&self) {
        self.waiting.answer_all(|number| unavailable(number, "no back end is listening"));
    }

    /// Tells the devices whose publishes have waited for longer than this.
    pub(crate) fn expire(&self, timeout: Duration) {
        self.waiting.answer_older(timeout, |number| unavailable(number, "no back end answered in time"));
    }

    /// Forgets a connection that is gone.
    pub(crate) fn forget(&self, connection: &Connection) {
        self.waiting.forget(connection);
    }
}

/// A `PublishResult` that says no.
pub(crate) fn refusal(
    number: u64,
    kind: pb::RefusalKind,
    reason: String,
    retry_after_ms: u32,
) -> pb::frame::Body {
    let refused = pb::Refused { kind: kind.into(), reason, code: 0, retry_after_ms };
    pb::frame::Body::PublishResult(pb::PublishResult {
        number,
        outcome: Some(pb::publish_result::Outcome::Refused(refused)),
    })
}

fn unavailable(number: u64, reason: &str) -> Bytes {
    let kind = pb::RefusalKind::Unavailable;
    frame::encode(refusal(number, kind, reason.to_owned(), RETRY_MS))
}

/// Puts queued publishes onto the bus, as many at once as have queued up while the last message went out. Ends when
/// every [`Upstream`] is gone.
pub(crate) async fn forward(cluster: Cluster, server: ServerId, mut queue: bounded::Receiver<Waiting>) {
    let own = cluster.names().server(&server);
    while let Some(waiting) = queue.recv_batch().await {
        let publishes = waiting.into_iter().map(|(publish, _)| publish).collect();
        let upstream = pb::Upstream { server: server.to_string(), publishes };
        let publication = Publication {
            subject: cluster.names().upstream_publish(),
            return_to: Some(own.clone()),
            payload: upstream.encode_to_vec().into(),
        };
        // The devices are told when their time is over.
        if let Err(error) = cluster.bus().publish(publication).await {
            tracing::warn!(%error, "cannot pass publishes on to the back ends");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use im_sdk::id::{Device, DeviceId, Terminal, UserId};

    use super::*;
    use crate::{outbox::Outbox, registry::Registry};

    #[tokio::test]
    async fn large_publishes_fill_the_queue_sooner() {
        const LARGE: usize = 64 * 1024;
        let registry = Arc::new(Registry::new(1, 1));
        let device = Device::new(Terminal::Web, DeviceId::parse("d").unwrap());
        let registration =
            registry.register(UserId::parse("u").unwrap(), device, 0, Outbox::new(1000)).unwrap();
        let connection = &registration.connection;
        let (upstream, mut queue) = Upstream::new();
        let large = Bytes::from(vec![0; LARGE]);
        let fit =
            (0..).find(|number| !upstream.try_forward(connection, *number, large.clone(), false)).unwrap();
        assert!((1..=(QUEUE.bytes / LARGE / 8) as u64).contains(&fit), "an eighth is one user's: {fit}");
        assert!(!upstream.try_forward(connection, fit, large.clone(), false), "the queue is full");
        assert!(upstream.is_waiting(connection, fit - 1) && !upstream.is_waiting(connection, fit));
        assert_eq!(connection.inflight.load(Ordering::Relaxed) as u64, fit, "it does not wait for a result");
        assert!(queue.recv().await.is_some());
        // A number that waits already takes no place.
        for _ in 0..3 {
            assert!(upstream.try_forward(connection, 1, large.clone(), false));
        }
        assert!(upstream.try_forward(connection, fit, large, false), "a place came free");
    }
}
