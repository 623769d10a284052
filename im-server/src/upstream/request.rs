//! Forwards devices' requests to the backends, and tracks those that wait for their responses.

use std::sync::Arc;

use bytes::Bytes;
use im_proto::{
    limits::MAX_INFLIGHT_REQUESTS,
    pb::{self, RefusalKind},
};
use im_sdk::{
    cluster::{Publication, Subject},
    id::ServerId,
};
use prost::Message as _;

use super::{
    backend_watch::BackendWatch,
    byte_queue::Capacity,
    lane::{Encoded, Encoder, Lane, LanePermit, Outgoing, lane},
    pending::{AdmitError, PendingRequests},
    refusal::{self, RETRY_MS},
};
use crate::registry::connection::Connection;

/// The entrance of the lane, and the pending requests.
#[derive(Debug)]
pub(crate) struct Requests {
    lane: Lane<QueuedRequest>,
    pub(crate) pending: Arc<PendingRequests>,
}

/// A request in the lane.
#[derive(Debug)]
pub(crate) struct QueuedRequest {
    connection: Arc<Connection>,
    number: u64,
    request: Bytes,
}

type Permit<'a> = LanePermit<'a, QueuedRequest>;

impl Requests {
    pub(crate) fn new() -> (Self, Outgoing<RequestEncoder>) {
        let (lane, outgoing) = lane();
        let pending = PendingRequests::new(
            |connection| &connection.pending_requests,
            refusal::of_request,
            // A request may be carried out twice, so its fate need not be certain.
            RefusalKind::Unavailable,
        );
        (Self { lane, pending: Arc::new(pending) }, outgoing)
    }

    /// Queues a device's `Request`, or refuses it. Never waits.
    ///
    /// A number that is already pending is the same request, repeated by an impatient device: it shares the response.
    pub(crate) fn try_forward(&self, connection: &Arc<Connection>, number: u64, request: Bytes) {
        match self.admit(connection, number, request.len()) {
            Ok(Some(permit)) => {
                permit.send(QueuedRequest { connection: Arc::clone(connection), number, request });
            }
            Ok(None) => {}
            Err((kind, reason)) => {
                connection.outbox.try_push(refusal::of_request(number, kind, reason, RETRY_MS));
            }
        }
    }

    /// Admits a request. Returns `None` if it is already pending.
    fn admit(
        &self,
        connection: &Arc<Connection>,
        number: u64,
        bytes: usize,
    ) -> Result<Option<Permit<'_>>, (RefusalKind, &'static str)> {
        // First: a repetition must not be refused while the original may yet be answered.
        if self.pending.contains(connection, number) {
            return Ok(None);
        }
        let full = (RefusalKind::Unavailable, "the way to the back ends is full");
        let permit = self.lane.try_reserve(connection.user_state(), bytes).ok_or(full)?;
        let span = tracing::debug_span!(
            "request",
            user = %connection.user,
            terminal = ?connection.device.terminal,
            connection = %connection.id,
            number
        );
        match self.pending.admit(connection, number, MAX_INFLIGHT_REQUESTS as u32, span) {
            Ok(()) => Ok(Some(permit)),
            Err(AdmitError::Duplicate) => Ok(None),
            Err(AdmitError::TooMany) => {
                Err((RefusalKind::TooMany, "too many requests wait for their responses"))
            }
        }
    }

    /// Refuses a request because its user asks too often.
    pub(crate) fn refuse(&self, connection: &Connection, number: u64, retry_after_ms: u32) {
        let reason = "the user's devices ask too often, or for too much";
        connection.outbox.try_push(refusal::of_request(number, RefusalKind::TooMany, reason, retry_after_ms));
    }
}

/// Encodes requests, one at a time. The bus returns those that no backend takes to `own`.
#[derive(Debug)]
pub(crate) struct RequestEncoder {
    pub(super) server: ServerId,
    pub(super) subject: Subject,
    pub(super) own: Subject,
    pub(super) pending: Arc<PendingRequests>,
    pub(super) backends: Arc<BackendWatch>,
}

impl Encoder for RequestEncoder {
    type Message = QueuedRequest;
    const LANE: &'static str = "request";
    /// Most take some hundred bytes, but a request may fill a frame.
    const CAPACITY: Capacity = Capacity { items: 8192, bytes: 8 * 1024 * 1024 };
    const MAX_BATCH: usize = 1;

    fn encode(&self, mut messages: impl Iterator<Item = Self::Message>) -> Option<Encoded> {
        let QueuedRequest { connection, number, request } = messages.next()?;
        let hand_over = self.backends.hand_over();
        self.pending.note_publication(hand_over.publication, std::iter::once((connection.id, number)));
        let request = pb::UpstreamRequest {
            server: self.server.to_string(),
            connection: connection.id.0,
            user: connection.user.to_string(),
            device: Some((&connection.device).into()),
            request,
        };
        let publication = Publication {
            subject: self.subject.clone(),
            return_to: Some(self.own.clone()),
            payload: request.encode_to_vec().into(),
        };
        Some(Encoded { publication, hand_over: Some(hand_over) })
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::{registry::frame_batch::FrameBatch, testing};

    #[test]
    fn a_request_that_waits_is_not_refused_when_it_comes_again() {
        const LARGE: usize = 64 * 1024;
        let registration = testing::connection();
        let connection = &registration.connection;
        let (requests, _outgoing) = Requests::new();
        requests.try_forward(connection, 1, Bytes::from(vec![0; LARGE]));
        let shares: Vec<_> = std::iter::from_fn(|| connection.user_state().try_queue(LARGE)).collect();
        assert!(!shares.is_empty());
        let was_refused = || {
            let mut batch = FrameBatch::default();
            let taken = connection.outbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut batch);
            matches!(taken, Poll::Ready(_))
        };
        requests.try_forward(connection, 1, Bytes::from(vec![0; LARGE]));
        assert!(!was_refused(), "it gets the one response");
        requests.try_forward(connection, 2, Bytes::from(vec![0; LARGE]));
        assert!(was_refused(), "the user has used up its share of the queue");
        drop(shares);
        requests.try_forward(connection, 3, Bytes::from(vec![0; LARGE]));
        assert!(!was_refused());
    }
}
