//! Who is connected here. Sharded, so that deliveries and logins rarely meet; nothing here awaits.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc, OnceLock, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};

use im_proto::{close::CloseCode, pb::Way};
use im_sdk::id::{ChannelId, ConnectionId, Device, UserId};

use crate::{
    joined::Joined,
    outbox::{Close, Outbox},
    users::{Present, User, Users},
    woken::Flush,
};

/// What the rest of the server knows of a connection.
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) user: UserId,
    pub(crate) device: Device,
    /// What it shares with other connections of its user.
    present: Present,
    pub(crate) outbox: Outbox,
    /// Publishes that wait for their results.
    pub(crate) inflight: AtomicU32,
    /// Requests that wait for their responses.
    pub(crate) asking: AtomicU32,
    /// Its route was registered.
    routed: AtomicBool,
    /// When its token ends, in seconds since the Unix epoch.
    expires_at: u64,
    /// Milliseconds after the registry's start.
    heard_at: AtomicU32,
    /// What writes for its session, once it has begun.
    flush: OnceLock<Weak<dyn Flush>>,
}

impl Connection {
    /// Notes that its route is registered.
    pub(crate) fn set_routed(&self) {
        self.routed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_routed(&self) -> bool {
        self.routed.load(Ordering::Relaxed)
    }

    /// What it shares with other connections of its user.
    pub(crate) fn shared_by_user(&self) -> &Arc<User> {
        &self.present.user
    }

    /// Notes what writes for its session. The first one stays.
    pub(crate) fn set_flush(&self, flush: Weak<dyn Flush>) {
        let _ = self.flush.set(flush);
    }

    /// Has its session write. False: it must be woken.
    pub(crate) fn try_flush(&self, session: &Waker) -> bool {
        self.flush.get().and_then(Weak::upgrade).is_some_and(|flush| flush.try_flush(session))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connection").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Something for each of some connections.
pub(crate) type ByConnection<T> = HashMap<ConnectionId, T, BuildHasherDefault<NumberHasher>>;

/// For the numbers of connections, which this server chooses itself: nobody can make them collide.
#[derive(Debug, Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing; a map looks at both ends of the hash.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Shard = RwLock<ByConnection<Arc<Connection>>>;

/// Enough that two threads rarely want the same one; a power of two.
pub(crate) const SHARDS: usize = 64;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Registry {
    shards: [Shard; SHARDS],
    /// Who has joined which channels.
    pub(crate) joined: Joined,
    pub(crate) users: Users,
    next: AtomicU64,
    count: AtomicUsize,
    capacity: usize,
    started: Instant,
}

impl Registry {
    /// `first` should be random: then a route that outlived its server's id finds no connection even where the id
    /// came back.
    pub(crate) fn new(capacity: usize, first: u64) -> Self {
        Self {
            shards: std::array::from_fn(|_| Shard::default()),
            joined: Joined::default(),
            users: Users::default(),
            next: AtomicU64::new(first),
            count: AtomicUsize::new(0),
            capacity,
            started: Instant::now(),
        }
    }

    /// Registers a connection until the guard is dropped. `None`: as many as may be are there.
    pub(crate) fn register(
        self: &Arc<Self>,
        user: UserId,
        device: Device,
        expires_at: u64,
        outbox: Outbox,
    ) -> Option<Registration> {
        self.admit()?;
        let id = ConnectionId(self.next.fetch_add(1, Ordering::Relaxed));
        let present = self.users.get(&user).enter();
        let connection = Arc::new(Connection {
            id,
            user,
            device,
            present,
            outbox,
            inflight: AtomicU32::new(0),
            asking: AtomicU32::new(0),
            routed: AtomicBool::new(false),
            expires_at,
            heard_at: AtomicU32::new(self.now()),
            flush: OnceLock::new(),
        });
        let shard = self.shard(id);
        shard.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&connection));
        Some(Registration { registry: Arc::clone(self), connection })
    }

    fn admit(&self) -> Option<()> {
        let admit = |count: usize| (count < self.capacity).then_some(count + 1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, admit).ok().map(drop)
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<Arc<Connection>> {
        self.shard(id).read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Does something with a connection that is here, which must not take long: others of its shard wait.
    pub(crate) fn with<R>(&self, id: ConnectionId, act: impl FnOnce(&Arc<Connection>) -> R) -> Option<R> {
        let shard = self.shard(id).read().unwrap_or_else(PoisonError::into_inner);
        shard.get(&id).map(act)
    }

    /// Joins a connection to channels. False: it is gone, or in too many rooms.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn join(&self, id: ConnectionId, channels: &[ChannelId], way: Way) -> bool {
        self.join_in_pass(id, channels, way, 0)
    }

    /// The same as a part of a pass, see [`Joined::end_pass`].
    pub(crate) fn join_in_pass(&self, id: ConnectionId, channels: &[ChannelId], way: Way, pass: u64) -> bool {
        self.joined.join(id, channels, way, pass, || self.get(id))
    }

    /// Takes a connection out of channels. False: it is gone.
    pub(crate) fn leave(&self, id: ConnectionId, channels: &[ChannelId], way: Way) -> bool {
        self.joined.leave(id, channels, way);
        self.get(id).is_some()
    }

    /// Does something for every connection that has joined a channel.
    pub(crate) fn for_each_in(&self, channel: &ChannelId, act: impl FnMut(&Arc<Connection>)) {
        self.joined.for_each(channel, act);
    }

    /// Whether anybody here has joined a channel.
    pub(crate) fn has_joined(&self, channel: &ChannelId) -> bool {
        self.joined.has(channel)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Everybody who is here now.
    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        (0..SHARDS).flat_map(|shard| self.in_shard(shard)).collect()
    }

    /// Those of them who are in one of the shards.
    pub(crate) fn in_shard(&self, shard: usize) -> Vec<Arc<Connection>> {
        let shard = self.shards[shard % SHARDS].read().unwrap_or_else(PoisonError::into_inner);
        shard.values().cloned().collect()
    }

    /// Notes that something came from the device.
    pub(crate) fn heard(&self, connection: &Connection) {
        connection.heard_at.store(self.now(), Ordering::Relaxed);
    }

    /// Closes the connections from which nothing came for longer than this, and those whose tokens ended before a time.
    pub(crate) fn close_overdue(&self, timeout: Duration, expired_before: u64) {
        let timeout = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let now = self.now();
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            for connection in shard.values() {
                let silent = now.wrapping_sub(connection.heard_at.load(Ordering::Relaxed));
                // Another thread may have noted a moment after `now`: that wraps to far beyond any timeout.
                if silent > timeout && silent < u32::MAX / 2 {
                    connection.outbox.close(Close::new(CloseCode::IdleTimeout, "nothing came in time"));
                } else if connection.expires_at < expired_before {
                    connection.outbox.close(Close::new(CloseCode::TokenExpired, "the token has expired"));
                }
            }
        }
    }

    /// Wraps after 49 days, which differences do not mind.
    fn now(&self) -> u32 {
        self.started.elapsed().as_millis() as u32
    }

    fn shard(&self, id: ConnectionId) -> &Shard {
        &self.shards[id.0 as usize % SHARDS]
    }
}

/// A connection's place in the registry; dropping it leaves.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Arc<Registry>,
    pub(crate) connection: Arc<Connection>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let shard = self.registry.shard(self.connection.id);
        shard.write().unwrap_or_else(PoisonError::into_inner).remove(&self.connection.id);
        // After it: a join that still found the connection there is undone here.
        self.registry.joined.forget(self.connection.id);
        self.registry.count.fetch_sub(1, Ordering::Relaxed);
        // Whoever still holds the connection must learn that nothing reaches it any more.
        self.connection.outbox.close(Close::new(CloseCode::ClientClosed, ""));
    }
}

#[cfg(test)]
mod tests {
    use im_sdk::id::{DeviceId, Terminal};

    use super::*;

    fn register(registry: &Arc<Registry>) -> Option<Registration> {
        let device = Device::new(Terminal::Web, DeviceId::parse("d").unwrap());
        registry.register(UserId::parse("u").unwrap(), device, 1_000, Outbox::new(1000))
    }

    #[test]
    fn a_registration_leaves_when_dropped() {
        let registry = Arc::new(Registry::new(10, 7));
        let registration = register(&registry).unwrap();
        let id = registration.connection.id;
        assert!(registry.get(id).is_some());
        assert_eq!((registry.len(), registry.all().len()), (1, 1));
        drop(registration);
        assert!(registry.get(id).is_none());
        assert_eq!(registry.len(), 0);
    }

    #[test]
    fn numbers_that_share_a_shard_are_spread() {
        use std::hash::{BuildHasher as _, BuildHasherDefault};
        let hash = |number: usize| {
            BuildHasherDefault::<NumberHasher>::default().hash_one(ConnectionId((number * SHARDS) as u64))
        };
        let buckets: std::collections::HashSet<u64> = (0..1024).map(|number| hash(number) % 1024).collect();
        assert!(buckets.len() > 512, "{} of 1024", buckets.len());
        let tags: std::collections::HashSet<u64> = (0..1024).map(|number| hash(number) >> 57).collect();
        assert!(tags.len() > 100, "{} of 128", tags.len());
    }

    #[test]
    fn no_more_than_the_capacity_are_admitted() {
        let registry = Arc::new(Registry::new(1, u64::MAX));
        let first = register(&registry).unwrap();
        assert!(register(&registry).is_none());
        drop(first);
        assert!(register(&registry).is_some(), "a place came free, and the number wrapped");
    }

    #[test]
    fn only_silent_connections_are_closed() {
        let registry = Arc::new(Registry::new(10, 0));
        let registration = register(&registry).unwrap();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        registry.close_overdue(Duration::from_secs(60), 0);
        assert_eq!(registration.connection.outbox.poll_close(&mut context), None);
        registration.connection.heard_at.store(registry.now().wrapping_sub(61_000), Ordering::Relaxed);
        registry.close_overdue(Duration::from_secs(60), 0);
        let close = registration.connection.outbox.poll_close(&mut context).unwrap();
        assert_eq!(close.code, CloseCode::IdleTimeout);
    }

    #[test]
    fn only_connections_whose_token_has_ended_are_closed() {
        let registry = Arc::new(Registry::new(10, 0));
        let registration = register(&registry).unwrap();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        for before in [0, 999, 1_000] {
            registry.close_overdue(Duration::from_secs(60), before);
            assert_eq!(registration.connection.outbox.poll_close(&mut context), None);
        }
        registry.close_overdue(Duration::from_secs(60), 1_001);
        let close = registration.connection.outbox.poll_close(&mut context).unwrap();
        assert_eq!(close.code, CloseCode::TokenExpired);
    }
}
