//! What joins back ends and servers: routes, bus, logs, members, conversations and archive.
//!
//! [`Routes`] tells where a user's devices are, [`Bus`] carries envelopes there, [`LogStore`] keeps what must not be lost,
//! [`Membership`] who is in which channel, [`Conversations`] what users have read and set, [`LastSeen`] when they were last connected, and
//! [`Archive`] what is to be kept for good until it is in a database. What they promise with which settings of Redis and NATS stands in
//! [operating](crate::guide::operating).
//!
//! Each is a trait with an implementation for a real cluster (Redis, NATS) and one in process. [`Cluster`] holds those
//! that belong together, so everything above runs the same code in both.

mod addresses;
mod archive;
mod bus;
mod clock;
mod config;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod conversations;
#[cfg(feature = "backend")]
mod disk;
mod log;
mod members;
mod names;
mod redis;
mod routes;
mod seen;
mod versions;
mod watermark;

use std::sync::Arc;

use self::{redis::Redis, watermark::Watermark};
use crate::id::{Device, UserId};
#[cfg(feature = "backend")]
pub use archive::DiskArchive;
pub use archive::{
    Archive, ArchiveConfig, ArchiveError, ArchiveLag, ArchivePlace, ArchiveRecord, Delivery, DeliveryToken,
    JetStreamArchive, MemoryArchive,
};
pub use bus::{
    Bus, BusError, BusEvent, BusMessage, Disruption, MemoryBus, NatsBus, Publication, SUBSCRIPTION_BYTES,
    SUBSCRIPTION_CAPACITY, Source, Subscription,
};
#[cfg(test)]
pub(crate) use clock::tests::SetClocks;
pub use clock::{Clock, MAX_CLOCK_SKEW_MS};
pub use config::{ClusterConfig, ConnectError};
#[cfg(feature = "backend")]
pub use conversations::DiskConversations;
pub use conversations::{
    CONTACT_TTL, ChangedConversation, ChangedPage, ConversationPatch, Conversations, ConversationsError,
    MAX_CONTACTS, MAX_CONVERSATIONS, MAX_DELETED_MESSAGES, MAX_MARKED_SEQ, Made, MemoryConversations,
    Readers, RedisConversations,
};
pub use log::{
    AckQuestion, AckStore, Appended, DeviceAck, Ends, Entry, LogBounds, LogError, LogId, LogStore,
    MAX_ACKED_SEQ, MAX_ACKS_PER_USER, MemoryLog, NewEntry, Once, Page, ReadLimit, RedisLog,
};
#[cfg(feature = "backend")]
pub use log::{DiskLog, OpenLogError};
#[cfg(feature = "backend")]
pub use members::DiskMembers;
pub use members::{MemberTables, MembersError, Membership, MemoryMembers, RedisMembers};
pub use names::{Names, QueueGroup, Subject};
pub use routes::{
    Claim, Displaced, LoginPolicy, MemoryRoutes, NodeLease, Reclaimed, RedisRoutes, RegisteredServer, Route,
    Routes, RoutesError,
};

#[cfg(feature = "backend")]
pub use seen::DiskLastSeen;
pub use seen::{LAST_SEEN_TTL, LastSeen, LastSeenError, MemoryLastSeen, RedisLastSeen, Seen};

/// The routes, the bus, the logs, the members, the conversations and the archive that a back end and its servers share.
/// Cloning is cheap. A server uses
/// the first two alone.
#[derive(Clone, Debug)]
pub struct Cluster {
    routes: Arc<dyn Routes>,
    clock: Clock,
    bus: Arc<dyn Bus>,
    log: Arc<dyn LogStore>,
    archive: Option<Arc<dyn Archive>>,
    members: Arc<dyn Membership>,
    conversations: Arc<dyn Conversations>,
    last_seen: Arc<dyn LastSeen>,
    /// Whether [`Routes::locate_heard`], asked behind an append, knows what was claimed before it.
    routes_follow_log: bool,
    watermark: Arc<Watermark>,
}

/// How much an archive in memory holds: it is for tests and for what may be lost.
const MEMORY_ARCHIVE_BYTES: u64 = 64 * 1024 * 1024;

impl Cluster {
    /// Everything in this process: no service to install, nothing kept over a restart. Clones share it, so give one
    /// clone to the server and one to the back end.
    pub fn embedded() -> Self {
        let archive = ArchiveConfig { max_bytes: MEMORY_ARCHIVE_BYTES, ..ArchiveConfig::default() };
        Self::embedded_with(Arc::new(MemoryLog::new(LogBounds::default())))
            .with_archive(Arc::new(MemoryArchive::new(archive)))
    }

    /// The same, with logs, members and conversations in a file that is there again after a restart or a crash, and the archive in another one
    /// beside it, whose name has `.archive` at its end. Both are created if they are missing. For other bounds than the
    /// default ones, open a [`DiskLog`] and give it to [`Cluster::new`].
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
        let archive = DiskArchive::open(beside, ArchiveConfig::default())?;
        let seen = Arc::new(log.last_seen_store());
        let cluster = Self::embedded_with(Arc::new(log)).with_members(members).with_last_seen(seen);
        let cluster = cluster.with_conversations(conversations);
        Ok(cluster.with_archive(Arc::new(archive)))
    }

    /// Connects to Redis (a single server or a Redis Cluster; which one is found out) and NATS.
    ///
    /// On a single Redis without `min_replicas` and without `routes_redis`, routes that were read are kept until Redis says
    /// that they have changed ([`Routes::locate_heard`]).
    ///
    /// # Errors
    /// [`ConnectError`] names the service that could not be reached and why.
    pub async fn connect(config: ClusterConfig) -> Result<Self, ConnectError> {
        let redis = Redis::connect(&config).await?;
        redis.warn_of_eviction().await;
        let routes = match config.of_routes_alone() {
            Some(apart) => RedisRoutes::apart(&apart, &config).await?,
            None => RedisRoutes::on(redis.clone(), &config)?,
        };
        // Then the log's answers and what Redis says of routes come on one connection, in the order in which things happened.
        let routes_follow_log =
            redis.batches().is_some() && config.min_replicas == 0 && config.routes_redis.is_empty();
        let watermark = Arc::new(Watermark::new(redis.clone(), config.watermark_percent));
        let routes: Arc<dyn Routes> = Arc::new(routes);
        let clock = Clock::new(Arc::clone(&routes));
        let log = RedisLog::on(redis.clone(), &config).await?.trimmed_by(clock.clone());
        let members = RedisMembers::on(redis.clone(), &config)?;
        let conversations = RedisConversations::on(redis.clone(), &config)?;
        let seen = RedisLastSeen::on(redis, &config)?;
        let bus = NatsBus::connect(&config).await?;
        let archive = JetStreamArchive::of(&bus, &config).await?;
        let cluster = Self::new(routes, Arc::new(bus), Arc::new(log)).with_members(Arc::new(members));
        let cluster = cluster.with_conversations(Arc::new(conversations));
        let cluster = Self { clock, routes_follow_log, watermark, ..cluster.with_last_seen(Arc::new(seen)) };
        Ok(match archive {
            Some(archive) => cluster.with_archive(Arc::new(archive)),
            None => cluster,
        })
    }

    /// Connects to what a server needs: routes and bus. Its logs, members and conversations are empty ones in this process.
    ///
    /// With [`ClusterConfig::routes_redis`] the Redis of the logs need not be there.
    ///
    /// # Errors
    /// [`ConnectError`] names the service that could not be reached and why.
    pub async fn connect_server(config: ClusterConfig) -> Result<Self, ConnectError> {
        config.check()?;
        let routes = match config.of_routes_alone() {
            Some(apart) => RedisRoutes::apart(&apart, &config).await?,
            None => RedisRoutes::connect(&config).await?,
        };
        let bus = NatsBus::connect(&config).await?;
        Ok(Self::new(Arc::new(routes), Arc::new(bus), Arc::new(MemoryLog::new(config.log_bounds))))
    }

    /// A cluster of your own parts, without an archive. Members, conversations, and when users were last connected, are kept
    /// in this process: see [`Cluster::with_members`], [`Cluster::with_conversations`] and [`Cluster::with_last_seen`].
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

    /// The same with another store of members, such as your own tables. All back ends must see the same.
    #[must_use]
    pub fn with_members(self, members: Arc<dyn Membership>) -> Self {
        Self { members, ..self }
    }

    /// The same with members in the application's own tables, which are read alone: see [`MemberTables`]. All back ends must
    /// see the same.
    #[must_use]
    pub fn with_member_tables(self, tables: Arc<dyn MemberTables>) -> Self {
        self.with_members(Arc::new(members::ReadOnlyMembers(tables)))
    }

    /// The same with another store of conversations. All back ends must see the same.
    #[must_use]
    pub fn with_conversations(self, conversations: Arc<dyn Conversations>) -> Self {
        Self { conversations, ..self }
    }

    /// The same with another store of when users were last connected.
    #[must_use]
    pub fn with_last_seen(self, last_seen: Arc<dyn LastSeen>) -> Self {
        Self { last_seen, ..self }
    }

    /// The same with an archive.
    #[must_use]
    pub fn with_archive(self, archive: Arc<dyn Archive>) -> Self {
        Self { archive: Some(archive), ..self }
    }

    /// The same with other routes, and a clock that may not be this machine's.
    #[cfg(test)]
    pub(crate) fn with_routes(self, routes: Arc<dyn Routes>, clock: Clock) -> Self {
        Self { routes, clock, ..self }
    }

    fn embedded_with(log: Arc<dyn LogStore>) -> Self {
        Self::new(Arc::new(MemoryRoutes::new()), Arc::new(MemoryBus::new()), log)
    }

    /// Where users' devices are, which servers live.
    pub fn routes(&self) -> &Arc<dyn Routes> {
        &self.routes
    }

    /// The cluster's time, which all processes agree on.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Whether the store of logs is fuller than [`ClusterConfig::watermark_percent`], as it was found within the last
    /// seconds. Devices' messages are refused then.
    pub fn is_nearly_full(&self) -> bool {
        self.watermark.is_nearly_full()
    }

    /// Asks how full the store of logs is. A back end does so as often as it asks which servers live.
    #[cfg(feature = "backend")]
    pub(crate) async fn look_how_full(&self) {
        self.watermark.look().await;
    }

    /// The routes of users whose logs something was just appended to: with all that were claimed before.
    ///
    /// # Errors
    /// [`RoutesError`].
    pub async fn locate_behind_append(
        &self,
        users: &[UserId],
    ) -> Result<Vec<Vec<(Device, Route)>>, RoutesError> {
        if self.routes_follow_log {
            self.routes.locate_heard(users).await
        } else {
            self.routes.locate(users).await
        }
    }

    /// What builds this deployment's keys and subjects.
    pub fn names(&self) -> &Names {
        self.bus.names()
    }

    /// What carries envelopes.
    pub fn bus(&self) -> &Arc<dyn Bus> {
        &self.bus
    }

    /// What keeps the logs.
    pub fn log(&self) -> &Arc<dyn LogStore> {
        &self.log
    }

    /// Who is in which channel.
    pub fn members(&self) -> &Arc<dyn Membership> {
        &self.members
    }

    /// What users have read and set in their conversations.
    pub fn conversations(&self) -> &Arc<dyn Conversations> {
        &self.conversations
    }

    /// When users were last connected.
    pub fn last_seen(&self) -> &Arc<dyn LastSeen> {
        &self.last_seen
    }

    /// What keeps messages until they are in a database; `None` where [`ClusterConfig::archive`] was not set.
    pub fn archive(&self) -> Option<&Arc<dyn Archive>> {
        self.archive.as_ref()
    }
}
