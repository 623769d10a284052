//! Devices' publishes on their way to the backends, and those that wait for their results.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use im_proto::pb::{self, RefusalKind};
use im_sdk::{
    cluster::{Publication, Subject},
    id::{ConnectionId, ServerId},
};
use prost::Message as _;

use super::{
    byte_queue::Capacity,
    lane::{Encoder, Lane, Outgoing, lane},
    pending::PendingRequests,
    refusal::{self, RETRY_MS},
};
use crate::registry::connection::Connection;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Publishes {
    lane: Lane<pb::UpstreamPublish>,
    pending: PendingRequests,
}

impl Publishes {
    pub(crate) fn new() -> (Self, Outgoing<PublishEncoder>) {
        let (lane, outgoing) = lane();
        (Self { lane, pending: PendingRequests::new(|connection| &connection.pending_publishes) }, outgoing)
    }

    /// Returns whether a publish of this number waits for its result. Then it is the same one, sent again by an impatient device,
    /// and gets the one result. Only the connection's own session may call this.
    pub(crate) fn is_pending(&self, connection: &Connection, number: u64) -> bool {
        self.pending.contains(connection, number)
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
        // The session has checked that this one is new, and that the connection may have one more.
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

    /// Passes a backend's answer on, unless the device was told something else meanwhile.
    pub(crate) fn answered(&self, connection: ConnectionId, answer: pb::PublishAnswer) {
        self.pending.answer(connection, answer.number, answer.frames);
    }

    /// Refuses all pending publishes, because no backend listens.
    ///
    /// The bus does not tell which publish it could not deliver: a server receives on its own subject alone. This may hit one that
    /// a backend has just taken. The device tries again under the same number.
    pub(crate) fn no_backend(&self) {
        self.pending.answer_all(|number| unavailable(number, "no back end is listening"));
    }

    /// Refuses the publishes that have been pending for longer than this.
    pub(crate) fn expire(&self, timeout: Duration) {
        self.pending.answer_older(timeout, |number| unavailable(number, "no back end answered in time"));
    }

    /// Forgets a connection that is gone.
    pub(crate) fn forget(&self, connection: &Connection) {
        self.pending.forget(connection);
    }
}

fn unavailable(number: u64, reason: &str) -> Bytes {
    refusal::of_publish(number, RefusalKind::Unavailable, reason, RETRY_MS)
}

/// Encodes publishes, many at a time. Those that nobody takes come back to `own`.
#[derive(Debug)]
pub(crate) struct PublishEncoder {
    pub(super) server: ServerId,
    pub(super) subject: Subject,
    pub(super) own: Subject,
}

impl Encoder for PublishEncoder {
    type Message = pb::UpstreamPublish;
    const LANE: &'static str = "publish";
    /// As many as are of 1 KiB, fewer of larger ones.
    const CAPACITY: Capacity = Capacity { items: 8192, bytes: 8 * 1024 * 1024 };
    const MAX_BATCH: usize = 512;

    fn encode(&self, messages: impl Iterator<Item = Self::Message>) -> Option<Publication> {
        let upstream = pb::Upstream { server: self.server.to_string(), publishes: messages.collect() };
        Some(Publication {
            subject: self.subject.clone(),
            return_to: Some(self.own.clone()),
            payload: upstream.encode_to_vec().into(),
        })
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
        assert!(publishes.is_pending(connection, fit - 1) && !publishes.is_pending(connection, fit));
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
