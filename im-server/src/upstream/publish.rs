//! Forwards devices' publishes to the backends, and tracks those that wait for their results.

use std::sync::Arc;

use bytes::Bytes;
use im_proto::pb::{self, RefusalKind};
use im_sdk::{
    cluster::{Publication, Subject},
    id::{ConnectionId, ServerId},
};
use prost::Message as _;

use super::{
    backend_watch::BackendWatch,
    byte_queue::Capacity,
    lane::{Encoded, Encoder, Lane, Outgoing, lane},
    pending::PendingRequests,
    refusal,
};
use crate::registry::connection::Connection;

/// The entrance of the lane, and the pending publishes.
#[derive(Debug)]
pub(crate) struct Publishes {
    lane: Lane<pb::UpstreamPublish>,
    pub(crate) pending: Arc<PendingRequests>,
}

impl Publishes {
    pub(crate) fn new() -> (Self, Outgoing<PublishEncoder>) {
        let (lane, outgoing) = lane();
        let pending = PendingRequests::new(
            |connection| &connection.pending_publishes,
            refusal::of_publish,
            RefusalKind::NoBackend,
        );
        (Self { lane, pending: Arc::new(pending) }, outgoing)
    }

    /// Queues a publish that is not pending yet. Never waits. Returns `false` if there is no room.
    pub(crate) fn try_forward(
        &self,
        connection: &Arc<Connection>,
        number: u64,
        publish: Bytes,
        in_room: bool,
    ) -> bool {
        let Some(permit) = self.lane.try_reserve(connection.user_state(), publish.len()) else {
            return false;
        };
        let span = tracing::debug_span!(
            "publish",
            user = %connection.user,
            terminal = ?connection.device.terminal,
            connection = %connection.id,
            number
        );
        // The session has checked that this number is new, and that the connection may have one more publish.
        if self.pending.admit(connection, number, u32::MAX, span).is_err() {
            return true;
        }
        permit.send(pb::UpstreamPublish {
            connection: connection.id.0,
            user: connection.user.to_string(),
            device: Some((&connection.device).into()),
            number,
            publish,
            in_room,
        });
        true
    }
}

/// Encodes publishes, many at a time. The bus returns those that no backend takes to `own`.
#[derive(Debug)]
pub(crate) struct PublishEncoder {
    pub(super) server: ServerId,
    pub(super) subject: Subject,
    pub(super) own: Subject,
    pub(super) pending: Arc<PendingRequests>,
    pub(super) backends: Arc<BackendWatch>,
}

impl Encoder for PublishEncoder {
    type Message = pb::UpstreamPublish;
    const LANE: &'static str = "publish";
    /// Room for 8192 publishes of 1 KiB, and for fewer larger ones.
    const CAPACITY: Capacity = Capacity { items: 8192, bytes: 8 * 1024 * 1024 };
    const MAX_BATCH: usize = 512;

    fn encode(&self, messages: impl Iterator<Item = Self::Message>) -> Option<Encoded> {
        let publishes: Vec<_> = messages.collect();
        let hand_over = self.backends.hand_over();
        let numbers = publishes.iter().map(|publish| (ConnectionId(publish.connection), publish.number));
        self.pending.note_publication(hand_over.publication, numbers);
        let upstream = pb::Upstream { server: self.server.to_string(), publishes };
        let publication = Publication {
            subject: self.subject.clone(),
            return_to: Some(self.own.clone()),
            payload: upstream.encode_to_vec().into(),
        };
        Some(Encoded { publication, hand_over: Some(hand_over) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn large_publishes_fill_the_queue_sooner() {
        const LARGE: usize = 64 * 1024;
        let registration = testing::connection();
        let connection = &registration.connection;
        let (publishes, mut outgoing) = Publishes::new();
        let large = Bytes::from(vec![0; LARGE]);
        let fit =
            (0..).find(|number| !publishes.try_forward(connection, *number, large.clone(), false)).unwrap();
        let most = (PublishEncoder::CAPACITY.bytes / LARGE / 8) as u64;
        assert!((1..=most).contains(&fit), "one user gets an eighth: {fit}");
        assert!(!publishes.try_forward(connection, fit, large.clone(), false), "the queue is full");
        assert!(
            publishes.pending.contains(connection, fit - 1) && !publishes.pending.contains(connection, fit)
        );
        let pending = connection.pending_publishes.load(Ordering::Relaxed);
        assert_eq!(pending as u64, fit, "the refused one is not pending");
        assert!(!outgoing.next_batch().await.is_empty());
        // A pending number takes no room.
        for _ in 0..3 {
            assert!(publishes.try_forward(connection, 1, large.clone(), false));
        }
        assert!(publishes.try_forward(connection, fit, large, false), "there is room again");
    }
}
