//! Devices' syncs on their way to the back ends: a device has connected, or asks for what came after its cursors.
//!
//! One sync of a connection is under way at a time, until a back end says that it is over. Of what the device asks for
//! meanwhile, the latest is passed on then: its cursors say more than those of the ones before.

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
    sync: Bytes,
    /// The user's of the queue.
    _share: QueueShare,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Syncs {
    queue: bounded::Sender<Waiting>,
    outstanding: Mutex<ByConnection<Outstanding>>,
    /// The number of the last sync that was passed on.
    last: AtomicU64,
    /// How many were asked for.
    asked: AtomicU64,
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
        let (outstanding, last, asked) = Default::default();
        (Self { queue, outstanding, last, asked }, receiver)
    }

    /// Queues a device's `Sync` for the back ends, now or behind the one that is under way. Never waits.
    pub(crate) fn try_forward(&self, connection: &Arc<Connection>, sync: Bytes) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.lock().entry(connection.id) {
            Entry::Occupied(mut entry) => entry.get_mut().next = Some(sync),
            Entry::Vacant(entry) => {
                if let Some(number) = self.try_queue(connection, sync) {
                    let (connection, since) = (Arc::clone(connection), Instant::now());
                    entry.insert(Outstanding { connection, number, since, next: None });
                }
            }
        }
    }

    /// The number under which it is under way. `None`: the queue is full, and the device asks again.
    fn try_queue(&self, connection: &Arc<Connection>, sync: Bytes) -> Option<u64> {
        let share = connection.shared_by_user().try_queue(sync.len());
        let Some((place, _share)) = self.queue.try_reserve(sync.len()).zip(share) else {
            tracing::debug!(user = %connection.user, "the way to the back ends is full: the device asks again");
            return None;
        };
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        place.fill((Arc::clone(connection), UnderWay { number, sync, _share }));
        Some(number)
    }

    /// A back end has ended a sync: the next one of its connection goes out.
    pub(crate) fn ended(&self, connection: ConnectionId, number: u64) {
        let mut outstanding = self.lock();
        if let Entry::Occupied(entry) = outstanding.entry(connection)
            && entry.get().number == number
        {
            let Outstanding { connection, next: Some(next), .. } = entry.remove() else { return };
            self.go_on(&mut outstanding, connection, next);
        }
    }

    /// Gives up the syncs whose end did not come.
    pub(crate) fn expire(&self) {
        self.expire_older(PATIENCE);
    }

    fn expire_older(&self, age: Duration) {
        let mut outstanding = self.lock();
        let older: Vec<_> = outstanding.extract_if(|_, sync| sync.since.elapsed() >= age).collect();
        for (_, Outstanding { connection, next, .. }) in older {
            if let Some(next) = next {
                self.go_on(&mut outstanding, connection, next);
            }
        }
    }

    fn go_on(&self, outstanding: &mut ByConnection<Outstanding>, connection: Arc<Connection>, next: Bytes) {
        if let Some(number) = self.try_queue(&connection, next) {
            let since = Instant::now();
            outstanding.insert(connection.id, Outstanding { connection, number, since, next: None });
        }
    }

    /// Forgets a connection that is gone.
    pub(crate) fn forget(&self, connection: &Connection) {
        self.lock().remove(&connection.id);
    }

    /// How many are under way.
    pub(crate) fn outstanding(&self) -> usize {
        self.lock().len()
    }

    /// How many devices have asked for since the server started.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, ByConnection<Outstanding>> {
        self.outstanding.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts queued syncs onto the bus. Ends when every [`Syncs`] is gone.
pub(crate) async fn forward(
    cluster: Cluster,
    server: ServerId,
    back_ends: Arc<BackEnds>,
    mut queue: bounded::Receiver<Waiting>,
) {
    while let Some((connection, UnderWay { number, sync, _share })) = queue.recv().await {
        let request = pb::UpstreamSync {
            server: server.to_string(),
            connection: connection.id.0,
            user: connection.user.to_string(),
            device: Some((&connection.device).into()),
            sync,
            number,
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
    use im_sdk::id::{Device, DeviceId, Terminal, UserId};

    use super::*;
    use crate::{outbox::Outbox, registry::Registry};

    fn connection() -> Arc<Connection> {
        let registry = Arc::new(Registry::new(1, 7));
        let device = Device::new(Terminal::Web, DeviceId::parse("d").unwrap());
        let user = UserId::parse("u").unwrap();
        registry.register(user, device, 0, Outbox::new(1000)).unwrap().connection.clone()
    }

    fn sync(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    /// What goes onto the bus now.
    async fn sent(queue: &mut bounded::Receiver<Waiting>) -> Vec<(u64, Bytes)> {
        let next = tokio::time::timeout(Duration::from_millis(20), queue.recv_batch()).await;
        let batch = next.ok().flatten().unwrap_or_default();
        batch.into_iter().map(|(_, UnderWay { number, sync, .. })| (number, sync)).collect()
    }

    #[tokio::test]
    async fn one_is_under_way_and_the_latest_follows() {
        let (connection, (syncs, mut queue)) = (connection(), Syncs::new());
        for text in ["a", "b", "c"] {
            syncs.try_forward(&connection, sync(text));
        }
        assert_eq!(sent(&mut queue).await, [(1, sync("a"))]);
        assert_eq!((syncs.outstanding(), syncs.asked()), (1, 3));
        syncs.ended(connection.id, 7);
        assert!(sent(&mut queue).await.is_empty(), "that was another one");
        syncs.ended(connection.id, 1);
        syncs.ended(connection.id, 1);
        assert_eq!(sent(&mut queue).await, [(2, sync("c"))]);
        syncs.ended(connection.id, 2);
        assert_eq!(syncs.outstanding(), 0);
        syncs.try_forward(&connection, sync("d"));
        assert_eq!(sent(&mut queue).await, [(3, sync("d"))]);
    }

    #[tokio::test]
    async fn one_whose_end_does_not_come_is_given_up() {
        let (connection, (syncs, mut queue)) = (connection(), Syncs::new());
        syncs.try_forward(&connection, sync("a"));
        syncs.try_forward(&connection, sync("b"));
        syncs.expire();
        assert_eq!(sent(&mut queue).await, [(1, sync("a"))]);
        syncs.expire_older(Duration::ZERO);
        assert_eq!(sent(&mut queue).await, [(2, sync("b"))]);
        syncs.ended(connection.id, 1);
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
        assert_eq!(sent(&mut queue).await, [(1, sync("a"))]);
    }
}
