//! Devices' requests on their way to the back ends, and which of them still wait for their responses.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use im_proto::{frame, limits::MAX_INFLIGHT_REQUESTS, pb, pb::RefusalKind};
use im_sdk::{
    cluster::{Cluster, Publication},
    id::{ConnectionId, ServerId},
};
use prost::Message as _;

use crate::{
    bounded::{self, Bounds, Place},
    registry::Connection,
    users::QueueShare,
    waiting::{AllWaiting, RETRY_MS, Unfit},
};

/// Requests that wait to be put onto the bus; at some hundred bytes each, but a device may fill a frame.
const QUEUE: Bounds = Bounds { items: 8192, bytes: 8 * 1024 * 1024 };

/// A request, and the user's share of the queue.
type Waiting = (pb::UpstreamRequest, QueueShare);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Requests {
    queue: bounded::Sender<Waiting>,
    server: String,
    waiting: AllWaiting,
}

/// A place in the queue, and the user's share of it.
type Admitted<'a> = (Place<'a, Waiting>, QueueShare);

impl Requests {
    /// The receiver is for [`forward`].
    pub(crate) fn new(server: &ServerId) -> (Self, bounded::Receiver<Waiting>) {
        let (queue, receiver) = bounded::channel(QUEUE);
        let waiting = AllWaiting::new(|connection| &connection.asking);
        (Self { queue, server: server.to_string(), waiting }, receiver)
    }

    /// Queues a device's `Request` for the back ends, or tells the device why not. Never waits. One with a number that
    /// waits already is the same one again, of a device that has lost patience: it gets the one response.
    pub(crate) fn try_forward(&self, connection: &Arc<Connection>, number: u64, request: Bytes) {
        match self.admit(connection, number, request.len()) {
            Ok(Some((place, share))) => {
                let request = pb::UpstreamRequest {
                    server: self.server.clone(),
                    connection: connection.id.0,
                    user: connection.user.to_string(),
                    device: Some((&connection.device).into()),
                    request,
                };
                place.fill((request, share));
            }
            Ok(None) => {}
            Err((kind, reason)) => drop(connection.outbox.try_push(refusal(number, kind, reason))),
        }
    }

    fn admit(
        &self,
        connection: &Arc<Connection>,
        number: u64,
        bytes: usize,
    ) -> Result<Option<Admitted<'_>>, (RefusalKind, &'static str)> {
        // First: a repetition must not be refused while the first one may yet be answered.
        if self.waiting.has(connection, number) {
            return Ok(None);
        }
        let full = (RefusalKind::Unavailable, "the way to the back ends is full");
        let share = connection.shared_by_user().try_queue(bytes).ok_or(full)?;
        let place = self.queue.try_reserve(bytes).ok_or(full)?;
        match self.waiting.admit(connection, number, MAX_INFLIGHT_REQUESTS as u32) {
            Ok(()) => Ok(Some((place, share))),
            Err(Unfit::Repeated) => Ok(None),
            Err(Unfit::TooMany) => Err((RefusalKind::TooMany, "too many requests wait for their responses")),
        }
    }

    /// Whether a request of this number waits for its response: then it is the same one again. To be called by the connection's own
    /// session alone.
    pub(crate) fn is_waiting(&self, connection: &Connection, number: u64) -> bool {
        self.waiting.has(connection, number)
    }

    /// Tells a device that its user asks too often.
    pub(crate) fn refuse(&self, connection: &Connection, number: u64, retry_after_ms: u32) {
        let reason = "the user's devices ask too often, or for too much";
        let refused = refusal_after(number, RefusalKind::TooMany, reason, retry_after_ms);
        connection.outbox.try_push(refused);
    }

    /// Passes a back end's response on, unless the device was told something else meanwhile.
    pub(crate) fn answered(&self, connection: ConnectionId, answer: pb::RequestAnswer) {
        self.waiting.answered(connection, answer.number, answer.frames);
    }

    /// No back end is listening: tells every device that waits. As with publishes, the bus does not say which one it could
    /// not deliver; a device that is hit without need asks again.
    pub(crate) fn unavailable(&self) {
        self.waiting.answer_all(|number| unavailable(number, "no back end is listening"));
    }

    /// Tells the devices whose requests have waited for longer than this.
    pub(crate) fn expire(&self, timeout: Duration) {
        self.waiting.answer_older(timeout, |number| unavailable(number, "no back end answered in time"));
    }

    /// Forgets a connection that is gone.
    pub(crate) fn forget(&self, connection: &Connection) {
        self.waiting.forget(connection);
    }
}

fn unavailable(number: u64, reason: &str) -> Bytes {
    refusal(number, RefusalKind::Unavailable, reason)
}

/// A `Response` that says no, for now.
fn refusal(number: u64, kind: RefusalKind, reason: &str) -> Bytes {
    refusal_after(number, kind, reason, RETRY_MS)
}

fn refusal_after(number: u64, kind: RefusalKind, reason: &str, retry_after_ms: u32) -> Bytes {
    let refused = pb::Refused { kind: kind.into(), reason: reason.to_owned(), code: 0, retry_after_ms };
    let outcome = Some(pb::response::Outcome::Refused(refused));
    frame::encode(pb::frame::Body::Response(pb::Response { number, outcome }))
}

/// Puts queued requests onto the bus. Ends when every [`Requests`] is gone.
pub(crate) async fn forward(cluster: Cluster, server: ServerId, mut queue: bounded::Receiver<Waiting>) {
    let own = cluster.names().server(&server);
    while let Some((request, _share)) = queue.recv().await {
        let publication = Publication {
            subject: cluster.names().upstream_request(),
            return_to: Some(own.clone()),
            payload: request.encode_to_vec().into(),
        };
        // The device is told when its time is over.
        if let Err(error) = cluster.bus().publish(publication).await {
            tracing::warn!(%error, "cannot pass a request on to the back ends");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use im_sdk::id::{Device, DeviceId, Terminal, UserId};

    use super::*;
    use crate::{batch::Batch, outbox::Outbox, registry::Registry};

    #[test]
    fn a_request_that_waits_is_not_refused_when_it_comes_again() {
        const LARGE: usize = 64 * 1024;
        let registry = Arc::new(Registry::new(1, 1));
        let device = Device::new(Terminal::Web, DeviceId::parse("d").unwrap());
        let registration =
            registry.register(UserId::parse("u").unwrap(), device, 0, Outbox::new(1000)).unwrap();
        let connection = &registration.connection;
        let (requests, _queue) = Requests::new(&ServerId::parse("s1").unwrap());
        requests.try_forward(connection, 1, Bytes::from(vec![0; LARGE]));
        let shares: Vec<_> = std::iter::from_fn(|| connection.shared_by_user().try_queue(LARGE)).collect();
        assert!(!shares.is_empty());
        let was_refused = || {
            let mut batch = Batch::default();
            let taken = connection.outbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut batch);
            matches!(taken, Poll::Ready(_))
        };
        requests.try_forward(connection, 1, Bytes::from(vec![0; LARGE]));
        assert!(!was_refused(), "it gets the one response");
        requests.try_forward(connection, 2, Bytes::from(vec![0; LARGE]));
        assert!(was_refused(), "the user has its share of the queue");
        drop(shares);
        requests.try_forward(connection, 3, Bytes::from(vec![0; LARGE]));
        assert!(!was_refused());
    }
}
