//! Devices' syncs on their way to the back ends: a device has connected, or asks for what came after its cursors.
//!
//! One sync of a connection is under way at a time, until a back end says that it is over. Of what the device asks for
//! meanwhile, the latest is passed on then: its cursors say more than those of the ones before.
//!
//! A back end ends a sync early when enough waits for the connection, and says what is left of it. That is kept here and passed on
//! when the connection has taken what waits: back ends hold nothing for devices that read slowly.

use std::{
    collections::hash_map::Entry,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use im_proto::pb;
use im_sdk::{
    cluster::{Cluster, Publication},
    id::{ConnectionId, ServerId},
};
use prost::Message as _;

use crate::{
    back_ends::BackEnds,
    bounded::{self, Bounds},
    registry::{ByConnection, Connection},
    users::QueueShare,
};

/// Syncs that wait to be put onto the bus. A device whose sync finds it full asks again by itself.
const QUEUE: Bounds = Bounds { items: 8192, bytes: 8 * 1024 * 1024 };

/// How long the end of a sync is waited for, before the next one of its connection is passed on all the same: as long as a device
/// waits that hears nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// A sync that is to be put onto the bus.
type Waiting = (Arc<Connection>, UnderWay);

/// What goes onto the bus: the device's `Sync`, byte for byte, and the number of it.
#[derive(Debug)]
pub(crate) struct UnderWay {
    number: u64,
    asked: Asked,
    /// The user's of the queue.
    _share: QueueShare,
}

/// What a back end is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// A device's `Sync`, byte for byte.
    Sync(Bytes),
    /// What was left of one, as the back end gave it.
    Rest(Bytes),
}

impl Asked {
    fn bytes(&self) -> usize {
        let (Self::Sync(bytes) | Self::Rest(bytes)) = self;
        bytes.len()
    }
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Syncs {
    queue: bounded::Sender<Waiting>,
    state: Mutex<State>,
    /// The number of the last sync that was passed on.
    last: AtomicU64,
    /// How many were asked for.
    asked: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    outstanding: ByConnection<Outstanding>,
    /// Those that go on when their connection has taken what waits for it. What its device asks for takes the place.
    paused: ByConnection<(Arc<Connection>, Asked)>,
}

/// The sync of a connection that is under way.
#[derive(Debug)]
struct Outstanding {
    connection: Arc<Connection>,
    number: u64,
    since: Instant,
    /// The one to pass on behind it.
    next: Option<Bytes>,
}

impl Syncs {
    /// The receiver is for [`forward`].
    pub(crate) fn new() -> (Self, bounded::Receiver<Waiting>) {
        let (queue, receiver) = bounded::channel(QUEUE);
        let (state, last, asked) = Default::default();
        (Self { queue, state, last, asked }, receiver)
    }

    /// Queues a device's `Sync` for the back ends, now or behind the one that is under way. Never waits.
    pub(crate) fn try_forward(&self, connection: &Arc<Connection>, sync: Bytes) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        if let Some(outstanding) = state.outstanding.get_mut(&connection.id) {
            outstanding.next = Some(sync);
        } else if let Some((_, paused)) = state.paused.get_mut(&connection.id) {
            *paused = Asked::Sync(sync);
        } else {
            self.pass_on(&mut state, Arc::clone(connection), Asked::Sync(sync));
        }
    }

    /// Where the queue is full, the device asks again.
    fn pass_on(&self, state: &mut State, connection: Arc<Connection>, asked: Asked) {
        let bytes = asked.bytes();
        let share = connection.shared_by_user().try_queue(bytes);
        let Some((place, _share)) = self.queue.try_reserve(bytes).zip(share) else {
            return tracing::debug!(user = %connection.user, "the way to the back ends is full: the device asks again");
        };
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        place.fill((Arc::clone(&connection), UnderWay { number, asked, _share }));
        let since = Instant::now();
        state.outstanding.insert(connection.id, Outstanding { connection, number, since, next: None });
    }

    /// A back end has ended a sync: the next one of its connection goes out, or what is `rest` of this one, as soon as the
    /// connection has taken what waits.
    pub(crate) fn ended(&self, connection: ConnectionId, number: u64, rest: Bytes) {
        let mut state = self.lock();
        if let Entry::Occupied(entry) = state.outstanding.entry(connection)
            && entry.get().number == number
        {
            let Outstanding { connection, next, .. } = entry.remove();
            // The device knows best how far it has come.
            let rest = (!rest.is_empty()).then_some(Asked::Rest(rest));
            match (next.map(Asked::Sync), rest) {
                (Some(next), None) => self.pass_on(&mut state, connection, next),
                (next, Some(rest)) => self.go_on_later(&mut state, connection, next.unwrap_or(rest)),
                (None, None) => {}
            }
        }
    }

    fn go_on_later(&self, state: &mut State, connection: Arc<Connection>, asked: Asked) {
        if connection.outbox.may_sync_go_on() {
            self.pass_on(state, connection, asked);
        } else {
            state.paused.insert(connection.id, (connection, asked));
        }
    }

    /// A connection has taken what waited for it.
    pub(crate) fn go_on_with(&self, connection: ConnectionId) {
        let mut state = self.lock();
        if let Some((connection, asked)) = state.paused.remove(&connection) {
            self.pass_on(&mut state, connection, asked);
        }
    }

    /// Gives up the syncs whose end did not come.
    pub(crate) fn expire(&self) {
        self.expire_older(PATIENCE);
    }

    fn expire_older(&self, age: Duration) {
        let mut state = self.lock();
        let older: Vec<_> = state.outstanding.extract_if(|_, sync| sync.since.elapsed() >= age).collect();
        for (_, Outstanding { connection, next, .. }) in older {
            if let Some(next) = next {
                self.pass_on(&mut state, connection, Asked::Sync(next));
            }
        }
    }

    /// Forgets a connection that is gone.
    pub(crate) fn forget(&self, connection: &Connection) {
        let mut state = self.lock();
        state.outstanding.remove(&connection.id);
        state.paused.remove(&connection.id);
    }

    /// How many back ends are at.
    pub(crate) fn outstanding(&self) -> usize {
        self.lock().outstanding.len()
    }

    /// How many devices have asked for since the server started.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts queued syncs onto the bus. Ends when every [`Syncs`] is gone.
pub(crate) async fn forward(
    cluster: Cluster,
    server: ServerId,
    back_ends: Arc<BackEnds>,
    mut queue: bounded::Receiver<Waiting>,
) {
    while let Some((connection, UnderWay { number, asked, _share })) = queue.recv().await {
        let (sync, rest) = match asked {
            Asked::Sync(sync) => (sync, Bytes::new()),
            Asked::Rest(rest) => (Bytes::new(), rest),
        };
        let request = pb::UpstreamSync {
            server: server.to_string(),
            connection: connection.id.0,
            user: connection.user.to_string(),
            device: Some((&connection.device).into()),
            sync,
            number,
            rest,
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

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use im_sdk::id::{Device, DeviceId, Terminal, UserId};

    use super::*;
    use crate::{outbox::Outbox, registry::Registry};

    fn connection() -> Arc<Connection> {
        let registry = Arc::new(Registry::new(1, 7));
        let device = Device::new(Terminal::Web, DeviceId::parse("d").unwrap());
        let user = UserId::parse("u").unwrap();
        let registration = registry.register(user, device, 0, Outbox::new(1000)).unwrap();
        // Dropped, it would close the connection.
        Arc::clone(&Box::leak(Box::new(registration)).connection)
    }

    fn sync(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    /// What goes onto the bus now.
    async fn sent(queue: &mut bounded::Receiver<Waiting>) -> Vec<(u64, Asked)> {
        let next = tokio::time::timeout(Duration::from_millis(20), queue.recv_batch()).await;
        let batch = next.ok().flatten().unwrap_or_default();
        batch.into_iter().map(|(_, UnderWay { number, asked, .. })| (number, asked)).collect()
    }

    #[tokio::test]
    async fn one_is_under_way_and_the_latest_follows() {
        let (connection, (syncs, mut queue)) = (connection(), Syncs::new());
        for text in ["a", "b", "c"] {
            syncs.try_forward(&connection, sync(text));
        }
        assert_eq!(sent(&mut queue).await, [(1, Asked::Sync(sync("a")))]);
        assert_eq!((syncs.outstanding(), syncs.asked()), (1, 3));
        syncs.ended(connection.id, 7, Bytes::new());
        assert!(sent(&mut queue).await.is_empty(), "that was another one");
        syncs.ended(connection.id, 1, Bytes::new());
        syncs.ended(connection.id, 1, Bytes::new());
        assert_eq!(sent(&mut queue).await, [(2, Asked::Sync(sync("c")))]);
        syncs.ended(connection.id, 2, Bytes::new());
        assert_eq!(syncs.outstanding(), 0);
        syncs.try_forward(&connection, sync("d"));
        assert_eq!(sent(&mut queue).await, [(3, Asked::Sync(sync("d")))]);
    }

    #[tokio::test]
    async fn one_whose_end_does_not_come_is_given_up() {
        let (connection, (syncs, mut queue)) = (connection(), Syncs::new());
        syncs.try_forward(&connection, sync("a"));
        syncs.try_forward(&connection, sync("b"));
        syncs.expire();
        assert_eq!(sent(&mut queue).await, [(1, Asked::Sync(sync("a")))]);
        syncs.expire_older(Duration::ZERO);
        assert_eq!(sent(&mut queue).await, [(2, Asked::Sync(sync("b")))]);
        syncs.ended(connection.id, 1, Bytes::new());
        assert_eq!(syncs.outstanding(), 1, "a late end is not that of the next one");
        syncs.forget(&connection);
        assert_eq!(syncs.outstanding(), 0);
    }

    #[tokio::test]
    async fn one_that_finds_no_room_holds_up_no_other() {
        let (connection, (syncs, mut queue)) = (connection(), Syncs::new());
        syncs.try_forward(&connection, Bytes::from(vec![0; QUEUE.bytes + 1]));
        assert_eq!(syncs.outstanding(), 0);
        syncs.try_forward(&connection, sync("a"));
        assert_eq!(sent(&mut queue).await, [(1, Asked::Sync(sync("a")))]);
    }

    #[tokio::test]
    async fn what_is_left_goes_on_when_the_connection_has_taken_what_waits() {
        let (connection, (syncs, mut queue)) = (connection(), Syncs::new());
        let take = || {
            let mut batch = crate::batch::Batch::default();
            let _ = connection.outbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut batch);
            if connection.outbox.take_goes_on() {
                syncs.go_on_with(connection.id);
            }
        };
        syncs.try_forward(&connection, sync("a"));
        connection.outbox.try_push_paced(Bytes::from_static(&[0; 900]));
        syncs.ended(connection.id, 1, sync("rest"));
        assert_eq!(sent(&mut queue).await, [(1, Asked::Sync(sync("a")))]);
        assert_eq!(syncs.outstanding(), 0, "no back end is at it");
        take();
        assert_eq!(sent(&mut queue).await, [(2, Asked::Rest(sync("rest")))]);
        // It was quicker than the back end.
        connection.outbox.try_push_paced(Bytes::from_static(&[0; 900]));
        take();
        syncs.ended(connection.id, 2, sync("more"));
        assert_eq!(sent(&mut queue).await, [(3, Asked::Rest(sync("more")))]);
        // What the device asks for takes the place of the rest, before and behind the end of the part.
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
            assert_eq!(sent(&mut queue).await, [(number + 1, Asked::Sync(sync("b")))]);
        }
    }
}
