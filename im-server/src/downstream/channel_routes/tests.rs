// Needs a backend beside the server.
#[cfg(feature = "dev")]
mod crowd;

use std::future::pending;

use async_trait::async_trait;
use im_sdk::{
    cluster::{
        Claim, Cluster, Displaced, MemoryBus, MemoryLog, MemoryRoutes, NodeLease, Reclaimed,
        RegisteredServer, Route, Routes, RoutesError,
    },
    id::{Device, NodeId, ServerId, UserId},
};

use super::*;
use crate::testing;

/// A route store that never answers requests to join or leave a channel.
#[derive(Debug, Default)]
struct HangingRoutes(MemoryRoutes);

#[async_trait]
impl Routes for HangingRoutes {
    async fn join_channels(&self, _: &ServerId, _: &[ChannelId]) -> Result<(), RoutesError> {
        pending().await
    }

    async fn leave_channels(&self, _: &ServerId, _: &[ChannelId]) -> Result<(), RoutesError> {
        pending().await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Displaced>, RoutesError> {
        self.0.claim(claim).await
    }

    async fn reclaim(&self, claim: &Claim) -> Result<Reclaimed, RoutesError> {
        self.0.reclaim(claim).await
    }

    async fn release(&self, user: &UserId, device: &Device, route: &Route) -> Result<bool, RoutesError> {
        self.0.release(user, device, route).await
    }

    async fn locate(&self, users: &[UserId]) -> Result<Vec<Vec<(Device, Route)>>, RoutesError> {
        self.0.locate(users).await
    }

    async fn channel_servers(&self, channel: &ChannelId) -> Result<Vec<ServerId>, RoutesError> {
        self.0.channel_servers(channel).await
    }

    async fn lease_server(
        &self,
        server: &ServerId,
        info: &pb::ServerInfo,
        ttl: Duration,
        first: bool,
    ) -> Result<bool, RoutesError> {
        self.0.lease_server(server, info, ttl, first).await
    }

    async fn end_server_lease(&self, server: &ServerId) -> Result<(), RoutesError> {
        self.0.end_server_lease(server).await
    }

    async fn live_servers(&self) -> Result<Vec<RegisteredServer>, RoutesError> {
        self.0.live_servers().await
    }

    async fn lease_node(
        &self,
        owner: &str,
        ttl: Duration,
        floor_ms: u64,
    ) -> Result<Option<NodeLease>, RoutesError> {
        self.0.lease_node(owner, ttl, floor_ms).await
    }

    async fn renew_node(
        &self,
        owner: &str,
        node: NodeId,
        ttl: Duration,
        floor_ms: u64,
    ) -> Result<bool, RoutesError> {
        self.0.renew_node(owner, node, ttl, floor_ms).await
    }

    async fn release_node(&self, owner: &str, node: NodeId) -> Result<(), RoutesError> {
        self.0.release_node(owner, node).await
    }

    async fn time(&self) -> Result<u64, RoutesError> {
        self.0.time().await
    }
}

#[tokio::test(start_paused = true)]
async fn joins_do_not_wait_for_ever_for_a_route_store_that_hangs() {
    let routes = Arc::new(HangingRoutes::default());
    let cluster = Cluster::new(routes, Arc::new(MemoryBus::new()), Arc::new(MemoryLog::default()));
    let server = testing::server_on(cluster).await;
    let context = server.context();
    let registration = testing::register(&context.registry);
    let connections = vec![registration.connection.id.0];
    for names in [&["red"][..], &["red", "blue"]] {
        let channels: Vec<ChannelId> = names.iter().map(|name| ChannelId::parse(name).unwrap()).collect();
        let mut table = RouteTable::default();
        let began = tokio::time::Instant::now();
        table.write(&context.downstream, channels.iter().cloned().collect()).await;
        let most = WRITE_TIMEOUT + SINGLE_WRITES_TIMEOUT;
        assert!((WRITE_TIMEOUT..=most + Duration::from_millis(10)).contains(&began.elapsed()), "{began:?}");
        let join = SubscriptionChange {
            record: 7,
            connections: connections.clone(),
            channels: channels.clone(),
            kind: JoinKind::Member,
            pass: 0,
            op: JoinOp::Join,
        };
        let reply = table.apply(&context.downstream, vec![join], pb::Delivered::default());
        assert_eq!(reply.missed, [pb::Missed { record: 7, connections: connections.clone() }]);
        assert_eq!(context.registry.subscriptions.count(&channels[0]), 0, "nobody has joined");
    }
}
