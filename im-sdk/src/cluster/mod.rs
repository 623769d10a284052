//! The parts that connect backends and servers: routes, bus, logs, members, conversations and
//! archive.
//!
//! [`Routes`] finds the devices of users, and [`Bus`] carries envelopes to them. [`LogStore`]
//! stores messages durably, [`MemberStore`] the members of channels, [`ConversationStore`] the
//! per-user state of conversations, [`LastSeenStore`] when users were last connected.
//! [`ArchiveQueue`] queues messages until they are in a database. Their guarantees with each
//! setting of Redis and NATS are in [operating](crate::guide::operating).
//!
//! Each part is a trait with an implementation for a real cluster (Redis, NATS) and one inside the
//! process. A [`Cluster`] is a set of them, so that everything above runs the same code in both.

mod backlog;
mod clock;
mod config;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod dedup;
mod diagnostics;
#[cfg(feature = "backend")]
mod disk;
mod disruptions;
mod leases;
mod log_id;
mod memory;
mod names;
mod nats;
mod quota;
mod redis;
mod time;
mod traits;
mod trim_clock;

use std::sync::Arc;

use self::redis::{Redis, Watermark};
use crate::id::{Device, UserId};
pub use backlog::SUBSCRIPTION_BYTES;
#[cfg(test)]
pub(crate) use clock::tests::SetClocks;
pub use clock::{Clock, MAX_CLOCK_SKEW_MS};
pub use config::{ClusterConfig, ConnectError};
#[cfg(feature = "backend")]
pub use disk::{DiskArchiveQueue, DiskConversations, DiskLastSeen, DiskLog, DiskMembers, OpenLogError};
pub use log_id::LogId;
pub use memory::{
    MemoryArchiveQueue, MemoryBus, MemoryConversations, MemoryLastSeen, MemoryLog, MemoryMembers,
    MemoryRoutes,
};
pub use names::{Names, QueueGroup, Subject};
pub use nats::{JetStreamArchiveQueue, NatsBus};
pub use redis::{RedisConversations, RedisLastSeen, RedisLog, RedisMembers, RedisRoutes};
pub use traits::{
    AckQuery, AckStore, Appended, ArchiveConfig, ArchiveDelivery, ArchiveError, ArchiveLag, ArchiveQueue,
    ArchiveRecord, Bus, BusError, BusEvent, BusMessage, CONTACT_TTL, ChangeOrigin, ChangedConversation,
    ChangedPage, Claim, ConversationPatch, ConversationStore, ConversationsError, DedupKey, DeliveryToken,
    DeviceAck, Displaced, Disruption, Entry, LAST_SEEN_TTL, LastSeen, LastSeenError, LastSeenStore,
    LogBounds, LogEnds, LogError, LogPosition, LogStore, LoginPolicy, MAX_ACKED_SEQ, MAX_ACKS_PER_USER,
    MAX_CONTACTS, MAX_CONVERSATIONS, MAX_DELETED_MESSAGES, MAX_MARKED_SEQ, MemberStore, MemberTables,
    MembersError, NewEntry, NodeLease, Page, Publication, ReadLimit, Readers, Reclaimed, RegisteredServer,
    Route, Routes, RoutesError, SUBSCRIPTION_CAPACITY, Source, Subscription,
};

/// The routes, the bus, the logs, the members, the conversations and the archive that a backend
/// and its servers share. Cloning is cheap. A server uses only the routes and the bus.
#[derive(Clone, Debug)]
pub struct Cluster {
    routes: Arc<dyn Routes>,
    clock: Clock,
    bus: Arc<dyn Bus>,
    log: Arc<dyn LogStore>,
    archive: Option<Arc<dyn ArchiveQueue>>,
    members: Arc<dyn MemberStore>,
    conversations: Arc<dyn ConversationStore>,
    last_seen: Arc<dyn LastSeenStore>,
    /// Whether [`Routes::locate_cached`] after an append includes every route claimed before it.
    routes_follow_log: bool,
    watermark: Arc<Watermark>,
}

/// The size of an archive queue in memory, which is for tests and for messages that may be lost.
const MEMORY_ARCHIVE_BYTES: u64 = 64 * 1024 * 1024;

impl Cluster {
    /// Creates a cluster inside this process: no service to install, nothing survives a restart.
    /// Clones share it: give one to the server and one to the backend.
    ///
    /// ```
    /// use im_sdk::cluster::Cluster;
    ///
    /// let cluster = Cluster::embedded();
    /// let for_the_server = cluster.clone();
    /// ```
    pub fn embedded() -> Self {
        let archive = ArchiveConfig { max_bytes: MEMORY_ARCHIVE_BYTES, ..ArchiveConfig::default() };
        Self::embedded_with(Arc::new(MemoryLog::new(LogBounds::default())))
            .with_archive(Arc::new(MemoryArchiveQueue::new(archive)))
    }

    /// Opens a cluster inside this process that stores logs, members and conversations in a file,
    /// and the archive's queue in a second file, whose name has `.archive` at its end. Missing
    /// files are created.
    ///
    /// For other bounds than the defaults, open a [`DiskLog`] and pass it to [`Cluster::new`].
    ///
    /// ```no_run
    /// use im_sdk::cluster::Cluster;
    ///
    /// let cluster = Cluster::embedded_at("/var/lib/my-app/im.redb")?;
    /// # Ok::<(), im_sdk::cluster::OpenLogError>(())
    /// ```
    ///
    /// # Errors
    /// [`OpenLogError`].
    #[cfg(feature = "backend")]
    pub fn embedded_at(path: impl AsRef<std::path::Path>) -> Result<Self, OpenLogError> {
        let path = path.as_ref();
        let log = DiskLog::open(path, LogBounds::default())?;
        let (members, conversations) = (Arc::new(log.members()), Arc::new(log.conversations()));
        let mut beside = path.as_os_str().to_owned();
        beside.push(".archive");
        let archive = DiskArchiveQueue::open(beside, ArchiveConfig::default())?;
        let seen = Arc::new(log.last_seen_store());
        let cluster = Self::embedded_with(Arc::new(log)).with_members(members).with_last_seen(seen);
        let cluster = cluster.with_conversations(conversations);
        Ok(cluster.with_archive(Arc::new(archive)))
    }

    /// Connects to Redis (a single server or a Redis Cluster, which is detected) and NATS.
    ///
    /// On a single Redis without `min_replicas` and without `routes_redis`, routes are cached until
    /// Redis reports that they have changed ([`Routes::locate_cached`]).
    ///
    /// ```no_run
    /// use im_sdk::cluster::{Cluster, ClusterConfig};
    ///
    /// # async fn example() -> Result<(), im_sdk::cluster::ConnectError> {
    /// let config = ClusterConfig::new(["redis://redis:6379"], ["nats://nats:4222"]);
    /// let cluster = Cluster::connect(config).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`] names the service that could not be reached and the cause.
    pub async fn connect(config: ClusterConfig) -> Result<Self, ConnectError> {
        let redis = Redis::connect(&config).await?;
        redis.warn_of_eviction().await;
        let routes = match config.of_routes_alone() {
            Some(apart) => RedisRoutes::apart(&apart, &config).await?,
            None => RedisRoutes::on(redis.clone(), &config)?,
        };
        // The log's replies and invalidations of routes then come on one connection, in the order
        // of events.
        let routes_follow_log =
            redis.pipelined().is_some() && config.min_replicas == 0 && config.routes_redis.is_empty();
        let watermark = Arc::new(Watermark::new(redis.clone(), config.watermark_percent));
        let routes: Arc<dyn Routes> = Arc::new(routes);
        let clock = Clock::new(Arc::clone(&routes));
        let log = RedisLog::on(redis.clone(), &config).await?.trimmed_by(clock.clone());
        let members = RedisMembers::on(redis.clone(), &config)?;
        let conversations = RedisConversations::on(redis.clone(), &config)?;
        let seen = RedisLastSeen::on(redis, &config)?;
        let bus = NatsBus::connect(&config).await?;
        let archive = JetStreamArchiveQueue::of(&bus, &config).await?;
        let cluster = Self::new(routes, Arc::new(bus), Arc::new(log)).with_members(Arc::new(members));
        let cluster = cluster.with_conversations(Arc::new(conversations));
        let cluster = Self { clock, routes_follow_log, watermark, ..cluster.with_last_seen(Arc::new(seen)) };
        Ok(match archive {
            Some(archive) => cluster.with_archive(Arc::new(archive)),
            None => cluster,
        })
    }

    /// Connects to the parts that a server needs: routes and bus. Its other parts are empty ones
    /// inside this process.
    ///
    /// With [`ClusterConfig::routes_redis`], the Redis of the logs need not be available.
    ///
    /// ```no_run
    /// use im_sdk::cluster::{Cluster, ClusterConfig};
    ///
    /// # async fn example() -> Result<(), im_sdk::cluster::ConnectError> {
    /// let config = ClusterConfig::new(["redis://redis:6379"], ["nats://nats:4222"]);
    /// let cluster = Cluster::connect_server(config).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`] names the service that could not be reached and the cause.
    pub async fn connect_server(config: ClusterConfig) -> Result<Self, ConnectError> {
        config.check()?;
        let routes = match config.of_routes_alone() {
            Some(apart) => RedisRoutes::apart(&apart, &config).await?,
            None => RedisRoutes::connect(&config).await?,
        };
        let bus = NatsBus::connect(&config).await?;
        Ok(Self::new(Arc::new(routes), Arc::new(bus), Arc::new(MemoryLog::new(config.log_bounds))))
    }

    /// Creates a cluster of your own parts, without an archive. Members, conversations and
    /// last-seen times are kept inside this process: see [`Cluster::with_members`],
    /// [`Cluster::with_conversations`] and [`Cluster::with_last_seen`].
    ///
    /// ```
    /// use std::sync::Arc;
    /// use im_sdk::cluster::{Cluster, LogBounds, MemoryBus, MemoryLog, MemoryRoutes};
    ///
    /// let log = MemoryLog::new(LogBounds::default());
    /// let cluster = Cluster::new(Arc::new(MemoryRoutes::new()), Arc::new(MemoryBus::new()), Arc::new(log));
    /// ```
    pub fn new(routes: Arc<dyn Routes>, bus: Arc<dyn Bus>, log: Arc<dyn LogStore>) -> Self {
        Self {
            clock: Clock::new(Arc::clone(&routes)),
            routes,
            bus,
            log,
            members: Arc::new(MemoryMembers::new()),
            conversations: Arc::new(MemoryConversations::new()),
            last_seen: Arc::new(MemoryLastSeen::new()),
            archive: None,
            routes_follow_log: false,
            watermark: Arc::new(Watermark::none()),
        }
    }

    /// Sets the store of members, such as your own tables. All backends must see the same members.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use im_sdk::cluster::{Cluster, MemoryMembers};
    ///
    /// let cluster = Cluster::embedded().with_members(Arc::new(MemoryMembers::new()));
    /// ```
    #[must_use]
    pub fn with_members(self, members: Arc<dyn MemberStore>) -> Self {
        Self { members, ..self }
    }

    /// Uses the application's own tables as a read-only store of members: see [`MemberTables`]. All
    /// backends must see the same members.
    #[must_use]
    pub fn with_member_tables(self, tables: Arc<dyn MemberTables>) -> Self {
        self.with_members(Arc::new(traits::member_tables::ReadOnlyMembers(tables)))
    }

    /// Sets the store of conversations. All backends must see the same conversations.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use im_sdk::cluster::{Cluster, MemoryConversations};
    ///
    /// let cluster = Cluster::embedded().with_conversations(Arc::new(MemoryConversations::new()));
    /// ```
    #[must_use]
    pub fn with_conversations(self, conversations: Arc<dyn ConversationStore>) -> Self {
        Self { conversations, ..self }
    }

    /// Sets the store of last-seen times.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use im_sdk::cluster::{Cluster, MemoryLastSeen};
    ///
    /// let cluster = Cluster::embedded().with_last_seen(Arc::new(MemoryLastSeen::new()));
    /// ```
    #[must_use]
    pub fn with_last_seen(self, last_seen: Arc<dyn LastSeenStore>) -> Self {
        Self { last_seen, ..self }
    }

    /// Sets the archive's queue.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use im_sdk::cluster::{ArchiveConfig, Cluster, MemoryArchiveQueue};
    ///
    /// let queue = MemoryArchiveQueue::new(ArchiveConfig::default());
    /// let cluster = Cluster::embedded().with_archive(Arc::new(queue));
    /// ```
    #[must_use]
    pub fn with_archive(self, archive: Arc<dyn ArchiveQueue>) -> Self {
        Self { archive: Some(archive), ..self }
    }

    /// Sets the routes, and a clock that may not be this machine's.
    #[cfg(test)]
    pub(crate) fn with_routes(self, routes: Arc<dyn Routes>, clock: Clock) -> Self {
        Self { routes, clock, ..self }
    }

    fn embedded_with(log: Arc<dyn LogStore>) -> Self {
        Self::new(Arc::new(MemoryRoutes::new()), Arc::new(MemoryBus::new()), log)
    }

    /// Returns the routes.
    pub fn routes(&self) -> &Arc<dyn Routes> {
        &self.routes
    }

    /// Returns the cluster's clock, on which all processes agree.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns whether the store of logs is fuller than [`ClusterConfig::watermark_percent`], as of
    /// the last few seconds. Devices' messages are then refused.
    pub fn is_nearly_full(&self) -> bool {
        self.watermark.is_nearly_full()
    }

    /// Updates the fill state of the store of logs. A backend calls it as often as it lists live
    /// servers.
    #[cfg(feature = "backend")]
    pub(crate) async fn look_how_full(&self) {
        self.watermark.look().await;
    }

    /// Returns the routes of users to whose logs an entry was just appended, including every route
    /// claimed before the append.
    ///
    /// # Errors
    /// [`RoutesError`].
    pub async fn locate_behind_append(
        &self,
        users: &[UserId],
    ) -> Result<Vec<Vec<(Device, Route)>>, RoutesError> {
        if self.routes_follow_log {
            self.routes.locate_cached(users).await
        } else {
            self.routes.locate(users).await
        }
    }

    /// Returns the builder of this deployment's keys and subjects.
    pub fn names(&self) -> &Names {
        self.bus.names()
    }

    /// Returns the bus.
    pub fn bus(&self) -> &Arc<dyn Bus> {
        &self.bus
    }

    /// Returns the store of logs.
    pub fn log(&self) -> &Arc<dyn LogStore> {
        &self.log
    }

    /// Returns the store of members.
    pub fn members(&self) -> &Arc<dyn MemberStore> {
        &self.members
    }

    /// Returns the store of conversations.
    pub fn conversations(&self) -> &Arc<dyn ConversationStore> {
        &self.conversations
    }

    /// Returns the store of last-seen times.
    pub fn last_seen(&self) -> &Arc<dyn LastSeenStore> {
        &self.last_seen
    }

    /// Returns the archive's queue; `None` if [`ClusterConfig::archive`] was not set.
    pub fn archive(&self) -> Option<&Arc<dyn ArchiveQueue>> {
        self.archive.as_ref()
    }
}
