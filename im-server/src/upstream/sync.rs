//! Forwards devices' syncs to the backends: a device has connected, or requests the entries after its cursors.
//!
//! Each connection has at most one sync in flight, until a backend reports its end. Of the syncs that the device requests
//! meanwhile, only the latest follows: its cursors are ahead of the earlier ones.
//!
//! A backend ends a sync early when enough is queued for the connection, and hands back the rest. The rest is stored here and goes
//! out when the connection has taken the queued frames, so that backends hold nothing for devices that read slowly.

use std::{
    collections::hash_map::Entry,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use im_proto::pb;
use im_sdk::{
    cluster::{Publication, Subject},
    id::{ConnectionId, ServerId},
};
use parking_lot::{Mutex, MutexGuard};
use prost::Message as _;

use super::{
    backend_watch::BackendWatch,
    byte_queue::Capacity,
    lane::{Encoded, Encoder, Lane, Outgoing, lane},
};
use crate::registry::connection::{ByConnection, Connection};

/// The time limit for the end of a sync, after which the connection's next one goes out nevertheless: as long as a device waits
/// without an answer.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// A sync in the lane.
#[derive(Debug)]
pub(crate) struct QueuedSync {
    connection: Arc<Connection>,
    number: u64,
    body: SyncBody,
}

/// The content of a sync.
#[derive(Debug, PartialEq, Eq)]
enum SyncBody {
    /// A device's `Sync`, byte for byte.
    Sync(Bytes),
    /// The rest of an earlier sync, as the backend handed it back.
    Rest(Bytes),
}

impl SyncBody {
    fn len(&self) -> usize {
        let (Self::Sync(bytes) | Self::Rest(bytes)) = self;
        bytes.len()
    }
}

/// The syncs of all connections.
#[derive(Debug)]
pub(crate) struct Syncs {
    lane: Lane<QueuedSync>,
    state: Mutex<State>,
    /// The number of the last forwarded sync.
    last_number: AtomicU64,
    /// The number of syncs that devices have requested.
    requested: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    in_flight: ByConnection<InFlight>,
    /// Syncs that continue when their connection has taken its queued frames. A later sync of the device replaces them.
    paused: ByConnection<(Arc<Connection>, SyncBody)>,
}

/// The sync of a connection that a backend is working on.
#[derive(Debug)]
struct InFlight {
    connection: Arc<Connection>,
    number: u64,
    since: Instant,
    /// The sync that follows it.
    next: Option<Bytes>,
}

impl Syncs {
    pub(crate) fn new() -> (Self, Outgoing<SyncEncoder>) {
        let (lane, outgoing) = lane();
        let (state, last_number, requested) = Default::default();
        (Self { lane, state, last_number, requested }, outgoing)
    }

    /// Queues a device's `Sync`, now or behind the one in flight. Never waits.
    pub(crate) fn try_forward(&self, connection: &Arc<Connection>, sync: Bytes) {
        self.requested.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        if let Some(in_flight) = state.in_flight.get_mut(&connection.id) {
            in_flight.next = Some(sync);
        } else if let Some((_, paused)) = state.paused.get_mut(&connection.id) {
            *paused = SyncBody::Sync(sync);
        } else {
            self.pass_on(&mut state, Arc::clone(connection), SyncBody::Sync(sync));
        }
    }

    /// Puts a sync into the lane. If the lane is full, the device asks again.
    fn pass_on(&self, state: &mut State, connection: Arc<Connection>, body: SyncBody) {
        let Some(permit) = self.lane.try_reserve(connection.user_state(), body.len()) else {
            return tracing::debug!(user = %connection.user, "sync dropped: queue full");
        };
        let number = self.last_number.fetch_add(1, Ordering::Relaxed) + 1;
        permit.send(QueuedSync { connection: Arc::clone(&connection), number, body });
        let since = Instant::now();
        state.in_flight.insert(connection.id, InFlight { connection, number, since, next: None });
    }

    /// Handles the end of a sync. The connection's next one goes out, or the `rest` of this one as soon as the connection has taken
    /// its queued frames.
    pub(crate) fn ended(&self, connection: ConnectionId, number: u64, rest: Bytes) {
        let mut state = self.lock();
        if let Entry::Occupied(entry) = state.in_flight.entry(connection)
            && entry.get().number == number
        {
            let InFlight { connection, next, .. } = entry.remove();
            // A sync of the device replaces the rest: the device knows best how far it has come.
            let rest = (!rest.is_empty()).then_some(SyncBody::Rest(rest));
            match (next.map(SyncBody::Sync), rest) {
                (Some(next), None) => self.pass_on(&mut state, connection, next),
                (next, Some(rest)) => self.pass_on_paced(&mut state, connection, next.unwrap_or(rest)),
                (None, None) => {}
            }
        }
    }

    fn pass_on_paced(&self, state: &mut State, connection: Arc<Connection>, body: SyncBody) {
        if connection.outbox.may_sync_go_on() {
            self.pass_on(state, connection, body);
        } else {
            state.paused.insert(connection.id, (connection, body));
        }
    }

    /// Resumes the paused sync of a connection that has taken its queued frames.
    pub(crate) fn resume(&self, connection: ConnectionId) {
        let mut state = self.lock();
        if let Some((connection, body)) = state.paused.remove(&connection) {
            self.pass_on(&mut state, connection, body);
        }
    }

    /// Gives up syncs whose end did not come in time.
    pub(crate) fn expire(&self) {
        self.expire_older(END_TIMEOUT);
    }

    fn expire_older(&self, age: Duration) {
        let mut state = self.lock();
        let older: Vec<_> = state.in_flight.extract_if(|_, sync| sync.since.elapsed() >= age).collect();
        for (_, InFlight { connection, next, .. }) in older {
            if let Some(next) = next {
                self.pass_on(&mut state, connection, SyncBody::Sync(next));
            }
        }
    }

    /// Forgets a connection that has ended.
    pub(crate) fn forget(&self, connection: &Connection) {
        let mut state = self.lock();
        state.in_flight.remove(&connection.id);
        state.paused.remove(&connection.id);
    }

    /// Returns the number of syncs that backends are working on.
    pub(crate) fn in_flight(&self) -> usize {
        self.lock().in_flight.len()
    }

    /// Returns the number of syncs that devices have requested since the server started.
    pub(crate) fn requested(&self) -> u64 {
        self.requested.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Encodes syncs, one at a time.
///
/// If no backend listens, the device asks again by itself. A returned sync would count as a returned publish, since the bus does
/// not name what it returns. So syncs are published without a return subject, and the watch probes soon instead.
#[derive(Debug)]
pub(crate) struct SyncEncoder {
    pub(super) server: ServerId,
    pub(super) subject: Subject,
    pub(super) backends: Arc<BackendWatch>,
}

impl Encoder for SyncEncoder {
    type Message = QueuedSync;
    const LANE: &'static str = "sync";
    /// A device whose sync finds no room asks again by itself.
    const CAPACITY: Capacity = Capacity { items: 8192, bytes: 8 * 1024 * 1024 };
    const MAX_BATCH: usize = 1;

    fn encode(&self, mut messages: impl Iterator<Item = Self::Message>) -> Option<Encoded> {
        let QueuedSync { connection, number, body } = messages.next()?;
        self.backends.probe_soon();
        let (sync, rest) = match body {
            SyncBody::Sync(sync) => (sync, Bytes::new()),
            SyncBody::Rest(rest) => (Bytes::new(), rest),
        };
        let request = pb::UpstreamSync {
            server: self.server.to_string(),
            connection: connection.id.0,
            user: connection.user.to_string(),
            device: Some((&connection.device).into()),
            sync,
            number,
            rest,
        };
        let payload = request.encode_to_vec().into();
        Some(Publication { subject: self.subject.clone(), return_to: None, payload }.into())
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::{registry::frame_batch::FrameBatch, testing};

    fn connection() -> Arc<Connection> {
        // The registration is leaked: dropping it would close the connection.
        Arc::clone(&Box::leak(Box::new(testing::connection())).connection)
    }

    fn sync(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    /// Takes the messages that go onto the bus now.
    async fn sent(outgoing: &mut Outgoing<SyncEncoder>) -> Vec<(u64, SyncBody)> {
        let next = tokio::time::timeout(Duration::from_millis(20), outgoing.next_batch()).await;
        next.unwrap_or_default().into_iter().map(|queued| (queued.number, queued.body)).collect()
    }

    #[tokio::test]
    async fn one_is_under_way_and_the_latest_follows() {
        let (connection, (syncs, mut queue)) = (connection(), Syncs::new());
        for text in ["a", "b", "c"] {
            syncs.try_forward(&connection, sync(text));
        }
        assert_eq!(sent(&mut queue).await, [(1, SyncBody::Sync(sync("a")))]);
        assert_eq!((syncs.in_flight(), syncs.requested()), (1, 3));
        syncs.ended(connection.id, 7, Bytes::new());
        assert!(sent(&mut queue).await.is_empty(), "that was another one");
        syncs.ended(connection.id, 1, Bytes::new());
        syncs.ended(connection.id, 1, Bytes::new());
        assert_eq!(sent(&mut queue).await, [(2, SyncBody::Sync(sync("c")))]);
        syncs.ended(connection.id, 2, Bytes::new());
        assert_eq!(syncs.in_flight(), 0);
        syncs.try_forward(&connection, sync("d"));
        assert_eq!(sent(&mut queue).await, [(3, SyncBody::Sync(sync("d")))]);
    }

    #[tokio::test]
    async fn one_whose_end_does_not_come_is_given_up() {
        let (connection, (syncs, mut queue)) = (connection(), Syncs::new());
        syncs.try_forward(&connection, sync("a"));
        syncs.try_forward(&connection, sync("b"));
        syncs.expire();
        assert_eq!(sent(&mut queue).await, [(1, SyncBody::Sync(sync("a")))]);
        syncs.expire_older(Duration::ZERO);
        assert_eq!(sent(&mut queue).await, [(2, SyncBody::Sync(sync("b")))]);
        syncs.ended(connection.id, 1, Bytes::new());
        assert_eq!(syncs.in_flight(), 1, "a late end is not that of the next one");
        syncs.forget(&connection);
        assert_eq!(syncs.in_flight(), 0);
    }

    #[tokio::test]
    async fn one_that_finds_no_room_holds_up_no_other() {
        let (connection, (syncs, mut queue)) = (connection(), Syncs::new());
        syncs.try_forward(&connection, Bytes::from(vec![0; SyncEncoder::CAPACITY.bytes + 1]));
        assert_eq!(syncs.in_flight(), 0);
        syncs.try_forward(&connection, sync("a"));
        assert_eq!(sent(&mut queue).await, [(1, SyncBody::Sync(sync("a")))]);
    }

    #[tokio::test]
    async fn what_is_left_goes_on_when_the_connection_has_taken_what_waits() {
        let (connection, (syncs, mut queue)) = (connection(), Syncs::new());
        let take = || {
            let mut batch = FrameBatch::default();
            let _ = connection.outbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut batch);
            if connection.outbox.take_sync_resumable() {
                syncs.resume(connection.id);
            }
        };
        syncs.try_forward(&connection, sync("a"));
        connection.outbox.try_push_paced(Bytes::from_static(&[0; 900]));
        syncs.ended(connection.id, 1, sync("rest"));
        assert_eq!(sent(&mut queue).await, [(1, SyncBody::Sync(sync("a")))]);
        assert_eq!(syncs.in_flight(), 0, "no back end is at it");
        take();
        assert_eq!(sent(&mut queue).await, [(2, SyncBody::Rest(sync("rest")))]);
        // The device was quicker than the backend.
        connection.outbox.try_push_paced(Bytes::from_static(&[0; 900]));
        take();
        syncs.ended(connection.id, 2, sync("more"));
        assert_eq!(sent(&mut queue).await, [(3, SyncBody::Rest(sync("more")))]);
        // A sync of the device replaces the rest, before and after the end of the part.
        for (number, before) in [(3, true), (4, false)] {
            connection.outbox.try_push_paced(Bytes::from_static(&[0; 900]));
            if before {
                syncs.try_forward(&connection, sync("b"));
            }
            syncs.ended(connection.id, number, sync("old"));
            if !before {
                syncs.try_forward(&connection, sync("b"));
            }
            assert!(sent(&mut queue).await.is_empty(), "as much waits as should");
            take();
            assert_eq!(sent(&mut queue).await, [(number + 1, SyncBody::Sync(sync("b")))]);
        }
    }
}
