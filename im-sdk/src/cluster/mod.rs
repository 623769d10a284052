//! What joins back ends and servers: [`Routes`] tells where a user's devices are, [`Bus`] carries envelopes there, and
//! [`LogStore`] keeps what must not be lost.
//!
//! Each is a trait with an implementation for a real cluster (Redis, NATS) and one in process. [`Cluster`] holds those
//! that belong together, so everything above runs the same code in both.

mod bus;
mod config;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod log;
mod names;
mod redis;
mod routes;

use std::sync::Arc;

use self::redis::Redis;
pub use bus::{
    Bus, BusError, BusEvent, BusMessage, Disruption, MemoryBus, NatsBus, Publication, SUBSCRIPTION_CAPACITY,
    Source, Subscription,
};
pub use config::{ClusterConfig, ConnectError};
pub use log::{
    AckQuestion, AckStore, Appended, DeviceAck, Ends, Entry, LogBounds, LogError, LogId, LogStore,
    MAX_ACKED_SEQ, MAX_ACKS_PER_USER, MemoryLog, NewEntry, Once, Page, RedisLog,
};
#[cfg(feature = "backend")]
pub use log::{DiskLog, OpenLogError};
pub use names::{Names, QueueGroup, Subject};
pub use routes::{
    Claim, Displaced, LoginPolicy, MemoryRoutes, NodeLease, Reclaimed, RedisRoutes, RegisteredServer, Route,
    Routes, RoutesError,
};

/// The routes, the bus and the logs that a back end and its servers share. Cloning is cheap. A server uses the first two
/// alone.
#[derive(Clone, Debug)]
pub struct Cluster {
    routes: Arc<dyn Routes>,
    bus: Arc<dyn Bus>,
    log: Arc<dyn LogStore>,
}

impl Cluster {
    /// Everything in this process: no service to install, nothing kept over a restart. Clones share it, so give one
    /// clone to the server and one to the back end.
    pub fn embedded() -> Self {
        Self::embedded_with(Arc::new(MemoryLog::new(LogBounds::default())))
    }

    /// The same, with the logs in a file that is there again after a restart or a crash. It is created if it is missing.
    /// For other bounds than the default ones, open a [`DiskLog`] and give it to [`Cluster::new`].
    ///
    /// # Errors
    /// [`OpenLogError`].
    #[cfg(feature = "backend")]
    pub fn embedded_at(path: impl AsRef<std::path::Path>) -> Result<Self, OpenLogError> {
        let log = DiskLog::open(path, LogBounds::default())?;
        Ok(Self::embedded_with(Arc::new(log)))
    }

    /// Connects to Redis (a single server or a Redis Cluster; which one is found out) and NATS.
    ///
    /// # Errors
    /// [`ConnectError`] names the service that could not be reached and why.
    pub async fn connect(config: ClusterConfig) -> Result<Self, ConnectError> {
        let redis = Redis::connect(&config).await?;
        let log = RedisLog::on(redis.clone(), &config).await?;
        let routes = RedisRoutes::on(redis, &config)?;
        let bus = NatsBus::connect(&config).await?;
        Ok(Self::new(Arc::new(routes), Arc::new(bus), Arc::new(log)))
    }

    /// A cluster of your own parts.
    pub fn new(routes: Arc<dyn Routes>, bus: Arc<dyn Bus>, log: Arc<dyn LogStore>) -> Self {
        Self { routes, bus, log }
    }

    fn embedded_with(log: Arc<dyn LogStore>) -> Self {
        Self::new(Arc::new(MemoryRoutes::new()), Arc::new(MemoryBus::new()), log)
    }

    /// Where users' devices are, which servers live.
    pub fn routes(&self) -> &Arc<dyn Routes> {
        &self.routes
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
}
