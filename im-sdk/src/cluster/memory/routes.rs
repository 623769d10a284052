//! Routes inside one process.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{
    cluster::{
        time::unix_ms,
        traits::{
            Claim, Displaced, LoginPolicy, NodeLease, Reclaimed, RegisteredServer, Route, Routes, RoutesError,
        },
    },
    id::{ChannelId, Device, NodeId, ServerId, UserId},
    proto::pb::ServerInfo,
};

/// Routes inside this process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryRoutes {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    users: HashMap<UserId, BTreeMap<Device, Route>>,
    channels: HashMap<ChannelId, HashSet<ServerId>>,
    servers: HashMap<ServerId, ServerLease>,
    nodes: HashMap<NodeId, NodeHolder>,
    /// The floors of node numbers. They outlive the leases: see [`NodeLease::after_ms`].
    floors: HashMap<NodeId, u64>,
    /// The store's clock, if a test has set it.
    time: Option<u64>,
    /// Whether requests for the time fail.
    away: bool,
}

#[derive(Debug)]
struct ServerLease {
    info: ServerInfo,
    ends: Instant,
}

#[derive(Debug)]
struct NodeHolder {
    owner: String,
    ends: Instant,
}

impl MemoryRoutes {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the store's clock to a fixed time.
    #[cfg(test)]
    pub(crate) fn set_time(&self, unix_ms: u64) {
        self.state().time = Some(unix_ms);
    }

    /// Makes requests for the time fail, or succeed again.
    #[cfg(test)]
    pub(crate) fn set_away(&self, away: bool) {
        self.state().away = away;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Routes for MemoryRoutes {
    async fn claim(&self, claim: &Claim) -> Result<Vec<Displaced>, RoutesError> {
        Ok(self.state().claim(claim))
    }

    async fn reclaim(&self, claim: &Claim) -> Result<Reclaimed, RoutesError> {
        Ok(self.state().reclaim(claim))
    }

    async fn release(&self, user: &UserId, device: &Device, route: &Route) -> Result<bool, RoutesError> {
        Ok(self.state().release(user, device, route))
    }

    async fn locate(&self, users: &[UserId]) -> Result<Vec<Vec<(Device, Route)>>, RoutesError> {
        let state = self.state();
        Ok(users.iter().map(|user| state.locate(user)).collect())
    }

    async fn join_channels(&self, server: &ServerId, channels: &[ChannelId]) -> Result<(), RoutesError> {
        let mut state = self.state();
        for channel in channels {
            state.channels.entry(channel.clone()).or_default().insert(server.clone());
        }
        Ok(())
    }

    async fn leave_channels(&self, server: &ServerId, channels: &[ChannelId]) -> Result<(), RoutesError> {
        let mut state = self.state();
        channels.iter().for_each(|channel| state.leave_channel(server, channel));
        Ok(())
    }

    async fn channel_servers(&self, channel: &ChannelId) -> Result<Vec<ServerId>, RoutesError> {
        Ok(self.state().channels.get(channel).into_iter().flatten().cloned().collect())
    }

    async fn lease_server(
        &self,
        server: &ServerId,
        info: &ServerInfo,
        ttl: Duration,
        first: bool,
    ) -> Result<bool, RoutesError> {
        Ok(self.state().lease_server(server, info, ttl, first))
    }

    async fn end_server_lease(&self, server: &ServerId) -> Result<(), RoutesError> {
        self.state().servers.remove(server);
        Ok(())
    }

    async fn live_servers(&self) -> Result<Vec<RegisteredServer>, RoutesError> {
        Ok(self.state().live_servers())
    }

    async fn lease_node(
        &self,
        owner: &str,
        ttl: Duration,
        floor_ms: u64,
    ) -> Result<Option<NodeLease>, RoutesError> {
        Ok(self.state().lease_node(owner, ttl, floor_ms))
    }

    async fn renew_node(
        &self,
        owner: &str,
        node: NodeId,
        ttl: Duration,
        floor_ms: u64,
    ) -> Result<bool, RoutesError> {
        Ok(self.state().renew_node(owner, node, ttl, floor_ms))
    }

    async fn release_node(&self, owner: &str, node: NodeId) -> Result<(), RoutesError> {
        let mut state = self.state();
        if state.nodes.get(&node).is_some_and(|holder| holder.owner == owner) {
            state.nodes.remove(&node);
        }
        Ok(())
    }

    async fn time(&self) -> Result<u64, RoutesError> {
        let state = self.state();
        if state.away {
            return Err(RoutesError::Unavailable { action: "tell the time", source: "it is away".into() });
        }
        Ok(state.time())
    }
}

impl State {
    fn claim(&mut self, claim: &Claim) -> Vec<Displaced> {
        let devices = self.users.entry(claim.user.clone()).or_default();
        let makes_way = |device: &Device| makes_way(claim, device);
        let displaced = devices.extract_if(.., |device, _| makes_way(device));
        let displaced = displaced
            .filter(|(device, route)| *device != claim.device || *route != claim.route)
            .map(|(device, route)| Displaced { device, route })
            .collect();
        devices.insert(claim.device.clone(), claim.route.clone());
        displaced
    }

    fn reclaim(&mut self, claim: &Claim) -> Reclaimed {
        let devices = self.users.entry(claim.user.clone()).or_default();
        if devices.get(&claim.device) == Some(&claim.route) {
            return Reclaimed::Held;
        }
        let taken = devices.iter().filter(|(device, _)| makes_way(claim, device));
        let taken: Vec<Displaced> =
            taken.map(|(device, route)| Displaced { device: device.clone(), route: route.clone() }).collect();
        if !taken.is_empty() {
            return Reclaimed::Taken(taken);
        }
        devices.insert(claim.device.clone(), claim.route.clone());
        Reclaimed::Restored
    }

    fn release(&mut self, user: &UserId, device: &Device, route: &Route) -> bool {
        let Some(devices) = self.users.get_mut(user) else {
            return false;
        };
        let released = devices.get(device) == Some(route);
        if released {
            devices.remove(device);
        }
        if devices.is_empty() {
            self.users.remove(user);
        }
        released
    }

    fn locate(&self, user: &UserId) -> Vec<(Device, Route)> {
        let devices = self.users.get(user).into_iter().flatten();
        devices.map(|(device, route)| (device.clone(), route.clone())).collect()
    }

    fn leave_channel(&mut self, server: &ServerId, channel: &ChannelId) {
        if let Some(servers) = self.channels.get_mut(channel) {
            servers.remove(server);
            if servers.is_empty() {
                self.channels.remove(channel);
            }
        }
    }

    fn lease_server(&mut self, server: &ServerId, info: &ServerInfo, ttl: Duration, first: bool) -> bool {
        let now = Instant::now();
        let live = self.servers.get(server).is_some_and(|lease| lease.ends > now);
        if live == first {
            return false;
        }
        self.servers.insert(server.clone(), ServerLease { info: info.clone(), ends: now + ttl });
        true
    }

    fn live_servers(&mut self) -> Vec<RegisteredServer> {
        let now = Instant::now();
        self.servers.retain(|_, lease| lease.ends > now);
        let servers = self.servers.iter();
        servers.map(|(id, lease)| RegisteredServer { id: id.clone(), info: lease.info.clone() }).collect()
    }

    fn lease_node(&mut self, owner: &str, ttl: Duration, floor_ms: u64) -> Option<NodeLease> {
        let now = Instant::now();
        let node = self.free_node(now)?;
        self.nodes.insert(node, NodeHolder { owner: owner.into(), ends: now + ttl });
        let after_ms = self.floors.get(&node).copied().unwrap_or_default();
        self.raise_floor(node, floor_ms);
        Some(NodeLease { node, after_ms })
    }

    /// Finds a free node number, from a random one on, so that a number is not used again right
    /// after its holder died.
    fn free_node(&self, now: Instant) -> Option<NodeId> {
        let start = rand::random_range(0..NodeId::COUNT);
        let numbers = (start..NodeId::COUNT).chain(0..start);
        let held = |node: &NodeId| self.nodes.get(node).is_some_and(|holder| holder.ends > now);
        let time = self.time();
        let is_ahead = |node: &NodeId| self.floors.get(node).is_some_and(|floor| *floor > time);
        numbers.filter_map(NodeId::new).find(|node| !held(node) && !is_ahead(node))
    }

    fn time(&self) -> u64 {
        self.time.unwrap_or_else(unix_ms)
    }

    fn renew_node(&mut self, owner: &str, node: NodeId, ttl: Duration, floor_ms: u64) -> bool {
        let now = Instant::now();
        let Some(holder) = self.nodes.get_mut(&node) else {
            return false;
        };
        if holder.owner != owner || holder.ends <= now {
            return false;
        }
        holder.ends = now + ttl;
        self.raise_floor(node, floor_ms);
        true
    }

    fn raise_floor(&mut self, node: NodeId, floor_ms: u64) {
        let floor = self.floors.entry(node).or_default();
        *floor = floor_ms.max(*floor);
    }
}

/// Returns whether granting the claim displaces the device's route.
fn makes_way(claim: &Claim, device: &Device) -> bool {
    let same_device = *device == claim.device;
    match claim.policy {
        LoginPolicy::OnePerTerminal => same_device || device.terminal == claim.device.terminal,
        LoginPolicy::Single => true,
        LoginPolicy::Unlimited => same_device,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::conformance::check_routes;

    #[tokio::test]
    async fn conforms() {
        check_routes(&MemoryRoutes::new()).await;
    }
}
