//! What joins back ends and servers: [`Routes`] tells where a user's devices are, [`Bus`] carries envelopes there.
//!
//! Each is a trait with an implementation for a real cluster (Redis, NATS) and one in process. [`Cluster`] holds the
//! pair that belongs together, so everything above runs the same code in both.

mod bus;
mod config;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod names;
mod redis;
mod routes;

use std::sync::Arc;

pub use bus::{
    Bus, BusError, BusEvent, BusMessage, Disruption, MemoryBus, NatsBus, Publication, SUBSCRIPTION_CAPACITY,
    Subscription,
};
pub use config::{ClusterConfig, ConnectError};
pub use names::{Names, QueueGroup, Subject};
pub use routes::{
    Claim, Displaced, LoginPolicy, MemoryRoutes, NodeLease, RedisRoutes, RegisteredServer, Route, Routes,
    RoutesError,
};

/// The routes and the bus that a back end and its servers share. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Cluster {
    routes: Arc<dyn Routes>,
    bus: Arc<dyn Bus>,
}

impl Cluster {
    /// Everything in this process: no service to install, nothing kept over a restart. Clones share it, so give one
    /// clone to the server and one to the back end.
    pub fn embedded() -> Self {
        Self::new(Arc::new(MemoryRoutes::new()), Arc::new(MemoryBus::new()))
    }

    /// Connects to Redis (a single server or a Redis Cluster; which one is found out) and NATS.
    ///
    /// # Errors
    /// [`ConnectError`] names the service that could not be reached and why.
    pub async fn connect(config: ClusterConfig) -> Result<Self, ConnectError> {
        let routes = RedisRoutes::connect(&config).await?;
        let bus = NatsBus::connect(&config).await?;
        Ok(Self::new(Arc::new(routes), Arc::new(bus)))
    }

    /// A cluster of your own parts.
    pub fn new(routes: Arc<dyn Routes>, bus: Arc<dyn Bus>) -> Self {
        Self { routes, bus }
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
}
