//! Clusters with failures, for tests: servers that receive everything and answer nothing, and routes that cannot
//! be read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    backend::Im,
    cluster::{
        Claim, Cluster, Displaced, LoginPolicy, MemoryBus, MemoryLog, MemoryRoutes, NodeLease, Reclaimed,
        RegisteredServer, Route, Routes, RoutesError, Subscription,
    },
    id::{ChannelId, ConnectionId, Device, NodeId, ServerId, UserId},
    proto::pb::ServerInfo,
};

/// Routes that can be read, unless a test hides them.
#[derive(Debug, Default)]
pub(in crate::backend) struct FlakyRoutes {
    routes: MemoryRoutes,
    hidden: AtomicBool,
}

impl FlakyRoutes {
    /// Makes the routes unreadable, or readable again.
    pub(in crate::backend) fn hide(&self, hidden: bool) {
        self.hidden.store(hidden, Ordering::Relaxed);
    }

    /// Creates a cluster with such routes.
    pub(in crate::backend) fn cluster() -> (Arc<Self>, Cluster) {
        let routes = Arc::new(Self::default());
        let cluster =
            Cluster::new(routes.clone(), Arc::new(MemoryBus::new()), Arc::new(MemoryLog::default()));
        (routes, cluster)
    }

    fn check(&self) -> Result<(), RoutesError> {
        let away = || RoutesError::Unavailable { action: "locate", source: "it is away".into() };
        if self.hidden.load(Ordering::Relaxed) { Err(away()) } else { Ok(()) }
    }
}

/// Starts a backend with a short time limit.
pub(in crate::backend) async fn impatient(cluster: Cluster) -> Im {
    let config = Im::builder().send_timeout(Duration::from_millis(50));
    config.start(cluster).await.unwrap()
}

/// Adds a live server that receives records, as long as the subscription is held, and does not answer.
pub(in crate::backend) async fn silent_server(cluster: &Cluster, name: &str) -> (ServerId, Subscription) {
    let server = deaf_server(cluster, name).await;
    let heard = cluster.bus().subscribe(cluster.names().server(&server)).await.unwrap();
    (server, heard)
}

/// Adds a live server that receives nothing.
pub(in crate::backend) async fn deaf_server(cluster: &Cluster, name: &str) -> ServerId {
    let server = ServerId::parse(name).unwrap();
    let lease = Duration::from_secs(60);
    assert!(cluster.routes().lease_server(&server, &ServerInfo::default(), lease, true).await.unwrap());
    server
}

/// Connects a device of bob.
pub(in crate::backend) async fn connect(cluster: &Cluster, server: &ServerId, device: &str, connection: u64) {
    let route = Route { server: server.clone(), connection: ConnectionId(connection) };
    let (user, device) = ("bob".parse().unwrap(), device.parse().unwrap());
    let claim = Claim { user, device, route, policy: LoginPolicy::Unlimited };
    cluster.routes().claim(&claim).await.unwrap();
}

#[async_trait]
impl Routes for FlakyRoutes {
    async fn claim(&self, claim: &Claim) -> Result<Vec<Displaced>, RoutesError> {
        self.routes.claim(claim).await
    }

    async fn reclaim(&self, claim: &Claim) -> Result<Reclaimed, RoutesError> {
        self.routes.reclaim(claim).await
    }

    async fn release(&self, user: &UserId, device: &Device, route: &Route) -> Result<bool, RoutesError> {
        self.routes.release(user, device, route).await
    }

    async fn locate(&self, users: &[UserId]) -> Result<Vec<Vec<(Device, Route)>>, RoutesError> {
        self.check()?;
        self.routes.locate(users).await
    }

    async fn join_channels(&self, server: &ServerId, channels: &[ChannelId]) -> Result<(), RoutesError> {
        self.routes.join_channels(server, channels).await
    }

    async fn leave_channels(&self, server: &ServerId, channels: &[ChannelId]) -> Result<(), RoutesError> {
        self.routes.leave_channels(server, channels).await
    }

    async fn channel_servers(&self, channel: &ChannelId) -> Result<Vec<ServerId>, RoutesError> {
        self.check()?;
        self.routes.channel_servers(channel).await
    }

    async fn lease_server(
        &self,
        server: &ServerId,
        info: &ServerInfo,
        ttl: Duration,
        first: bool,
    ) -> Result<bool, RoutesError> {
        self.routes.lease_server(server, info, ttl, first).await
    }

    async fn end_server_lease(&self, server: &ServerId) -> Result<(), RoutesError> {
        self.routes.end_server_lease(server).await
    }

    async fn live_servers(&self) -> Result<Vec<RegisteredServer>, RoutesError> {
        self.routes.live_servers().await
    }

    async fn lease_node(
        &self,
        owner: &str,
        ttl: Duration,
        floor_ms: u64,
    ) -> Result<Option<NodeLease>, RoutesError> {
        self.routes.lease_node(owner, ttl, floor_ms).await
    }

    async fn renew_node(
        &self,
        owner: &str,
        node: NodeId,
        ttl: Duration,
        floor_ms: u64,
    ) -> Result<bool, RoutesError> {
        self.routes.renew_node(owner, node, ttl, floor_ms).await
    }

    async fn release_node(&self, owner: &str, node: NodeId) -> Result<(), RoutesError> {
        self.routes.release_node(owner, node).await
    }

    async fn time(&self) -> Result<u64, RoutesError> {
        self.routes.time().await
    }
}
