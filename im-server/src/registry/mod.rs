//! The connections of this server. Sharded, so that deliveries and logins rarely contend; nothing here awaits.

pub(crate) mod admission;
pub(crate) mod connection;
pub(crate) mod frame_batch;
pub(crate) mod outbox;
pub(crate) mod rate_limit;
pub(crate) mod subscriptions;
pub(crate) mod users;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use im_proto::{close::CloseCode, pb::JoinKind};
use im_sdk::id::{ChannelId, ConnectionId, Device, UserId};
use parking_lot::RwLock;

use self::{
    connection::{ByConnection, Connection},
    outbox::{Close, Outbox},
    subscriptions::Subscriptions,
    users::Users,
};

type Shard = RwLock<ByConnection<Arc<Connection>>>;

/// The number of shards: enough that two threads rarely want the same one; a power of two.
pub(crate) const SHARDS: usize = 64;

/// The connections of this server, by number.
#[derive(Debug)]
pub(crate) struct Registry {
    shards: [Shard; SHARDS],
    pub(crate) subscriptions: Subscriptions,
    pub(crate) users: Users,
    next: AtomicU64,
    count: AtomicUsize,
    capacity: usize,
    started: Instant,
}

impl Registry {
    /// Creates a registry. `first`, the first connection's number, should be random: a route that outlived its server then finds no
    /// connection even if the server's id is used again.
    pub(crate) fn new(capacity: usize, first: u64) -> Self {
        Self {
            shards: std::array::from_fn(|_| Shard::default()),
            subscriptions: Subscriptions::default(),
            users: Users::default(),
            next: AtomicU64::new(first),
            count: AtomicUsize::new(0),
            capacity,
            started: Instant::now(),
        }
    }

    /// Registers a connection until the guard is dropped. Returns `None` if the server is full.
    pub(crate) fn register(
        self: &Arc<Self>,
        user: UserId,
        device: Device,
        expires_at: u64,
        outbox: Outbox,
    ) -> Option<Registration> {
        self.admit()?;
        let id = ConnectionId(self.next.fetch_add(1, Ordering::Relaxed));
        let guard = self.users.get(&user).enter();
        let connection = Arc::new(Connection {
            id,
            user,
            device,
            guard,
            outbox,
            pending_publishes: AtomicU32::new(0),
            has_open_outcomes: AtomicBool::new(false),
            pending_requests: AtomicU32::new(0),
            routed: AtomicBool::new(false),
            expires_at,
            heard_at: AtomicU32::new(self.now()),
            inline_writer: OnceLock::new(),
        });
        let shard = self.shard(id);
        shard.write().insert(id, Arc::clone(&connection));
        Some(Registration { registry: Arc::clone(self), connection })
    }

    fn admit(&self) -> Option<()> {
        let admit = |count: usize| (count < self.capacity).then_some(count + 1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, admit).ok().map(drop)
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<Arc<Connection>> {
        self.shard(id).read().get(&id).cloned()
    }

    /// Runs `act` on a connection. It must not take long: other users of the shard wait.
    pub(crate) fn with<R>(&self, id: ConnectionId, act: impl FnOnce(&Arc<Connection>) -> R) -> Option<R> {
        let shard = self.shard(id).read();
        shard.get(&id).map(act)
    }

    /// Joins a connection to channels. Returns `false` if it is gone, or in too many rooms.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn join(&self, id: ConnectionId, channels: &[ChannelId], kind: JoinKind) -> bool {
        self.join_in_pass(id, channels, kind, 0)
    }

    /// Joins a connection to channels as a part of a pass, see [`Subscriptions::end_pass`].
    pub(crate) fn join_in_pass(
        &self,
        id: ConnectionId,
        channels: &[ChannelId],
        kind: JoinKind,
        pass: u64,
    ) -> bool {
        self.subscriptions.join(id, channels, kind, pass, || self.get(id))
    }

    /// Takes a connection out of channels. Returns `false` if it is gone.
    pub(crate) fn leave(&self, id: ConnectionId, channels: &[ChannelId], kind: JoinKind) -> bool {
        self.subscriptions.leave(id, channels, kind);
        self.get(id).is_some()
    }

    /// Runs `act` on every connection that has joined a channel.
    pub(crate) fn for_each_in(&self, channel: &ChannelId, act: impl FnMut(&Arc<Connection>)) {
        self.subscriptions.for_each(channel, act);
    }

    /// Returns whether any connection here has joined a channel.
    pub(crate) fn has_joined(&self, channel: &ChannelId) -> bool {
        self.subscriptions.has(channel)
    }

    /// Returns the number of connections.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns all connections.
    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        (0..SHARDS).flat_map(|shard| self.in_shard(shard)).collect()
    }

    /// Returns the connections of one shard.
    pub(crate) fn in_shard(&self, shard: usize) -> Vec<Arc<Connection>> {
        let shard = self.shards[shard % SHARDS].read();
        shard.values().cloned().collect()
    }

    /// Notes that the device has sent something.
    pub(crate) fn heard(&self, connection: &Connection) {
        connection.heard_at.store(self.now(), Ordering::Relaxed);
    }

    /// Closes the connections that were silent for longer than `timeout`, and those whose tokens ended before `expired_before`.
    pub(crate) fn close_overdue(&self, timeout: Duration, expired_before: u64) {
        let timeout = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let now = self.now();
        for shard in &self.shards {
            let shard = shard.read();
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

    /// Returns the milliseconds since the start. They wrap after 49 days, which does not affect differences.
    fn now(&self) -> u32 {
        self.started.elapsed().as_millis() as u32
    }

    fn shard(&self, id: ConnectionId) -> &Shard {
        &self.shards[id.0 as usize % SHARDS]
    }
}

/// A connection's entry in the registry. Dropping it removes the connection.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Arc<Registry>,
    pub(crate) connection: Arc<Connection>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let shard = self.registry.shard(self.connection.id);
        shard.write().remove(&self.connection.id);
        // After the removal: a join that still found the connection is undone here.
        self.registry.subscriptions.forget(self.connection.id);
        self.registry.count.fetch_sub(1, Ordering::Relaxed);
        // Closes the outbox, so that other holders of the connection no longer count frames as queued.
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
            BuildHasherDefault::<connection::NumberHasher>::default()
                .hash_one(ConnectionId((number * SHARDS) as u64))
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
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        registry.close_overdue(Duration::from_secs(60), 0);
        assert_eq!(registration.connection.outbox.poll_close(&mut cx), None);
        registration.connection.heard_at.store(registry.now().wrapping_sub(61_000), Ordering::Relaxed);
        registry.close_overdue(Duration::from_secs(60), 0);
        let close = registration.connection.outbox.poll_close(&mut cx).unwrap();
        assert_eq!(close.code, CloseCode::IdleTimeout);
    }

    #[test]
    fn only_connections_whose_token_has_ended_are_closed() {
        let registry = Arc::new(Registry::new(10, 0));
        let registration = register(&registry).unwrap();
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        for before in [0, 999, 1_000] {
            registry.close_overdue(Duration::from_secs(60), before);
            assert_eq!(registration.connection.outbox.poll_close(&mut cx), None);
        }
        registry.close_overdue(Duration::from_secs(60), 1_001);
        let close = registration.connection.outbox.poll_close(&mut cx).unwrap();
        assert_eq!(close.code, CloseCode::TokenExpired);
    }
}
