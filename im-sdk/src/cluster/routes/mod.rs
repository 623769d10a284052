//! Where users' devices and channels' members are, which servers live, and who holds which node number. What an implementation must do is
//! told by its conformance suite.

mod memory;
mod redis;

use std::{str::FromStr, time::Duration};

use async_trait::async_trait;

pub use self::{memory::MemoryRoutes, redis::RedisRoutes};
use crate::{
    cluster::clock::system_ms,
    id::{ChannelId, ConnectionId, Device, NodeId, ServerId, UserId},
    proto::pb::ServerInfo,
};

/// Keeps routes and leases. Every method is one atomic step; those for several users or channels are one for each.
#[async_trait]
pub trait Routes: Send + Sync + std::fmt::Debug + 'static {
    /// Registers a device's route and removes those that the policy gives its place to. A device's own earlier route is
    /// always displaced; the very same route is not, so a claim can be repeated. What cannot be read is removed.
    ///
    /// # Errors
    /// [`RoutesError`]; whether the route is there is unknown then, so release it.
    async fn claim(&self, claim: &Claim) -> Result<Vec<Displaced>, RoutesError>;

    /// Registers a route again that may have got lost. Nobody is displaced: if the policy has given its place to others
    /// meanwhile, nothing changes.
    ///
    /// # Errors
    /// [`RoutesError`]; whether the route is there is unknown then.
    async fn reclaim(&self, claim: &Claim) -> Result<Reclaimed, RoutesError>;

    /// Removes a device's route if it still is this one. True when it was.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn release(&self, user: &UserId, device: &Device, route: &Route) -> Result<bool, RoutesError>;

    /// Each user's devices and their routes, in the order of the users. Routes to dead servers are among them: the
    /// caller knows who lives. What cannot be read is left out.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn locate(&self, users: &[UserId]) -> Result<Vec<Vec<(Device, Route)>>, RoutesError>;

    /// The same, perhaps from what this process has heard before: what others changed is heard of a moment later. Together
    /// with a log on the same connection no later than the answer to an append that came after the change; see
    /// [`super::Cluster::connect`].
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn locate_heard(&self, users: &[UserId]) -> Result<Vec<Vec<(Device, Route)>>, RoutesError> {
        self.locate(users).await
    }

    /// Says that a server holds connections of members of these channels. It may be repeated.
    ///
    /// # Errors
    /// [`RoutesError`]; whether the routes are there is unknown then.
    async fn join_channels(&self, server: &ServerId, channels: &[ChannelId]) -> Result<(), RoutesError>;

    /// Says that it does not any more. Also for a server that has died.
    ///
    /// # Errors
    /// [`RoutesError`]; whether the routes are gone is unknown then.
    async fn leave_channels(&self, server: &ServerId, channels: &[ChannelId]) -> Result<(), RoutesError>;

    /// The servers that hold connections of a channel's members, in any order. Dead servers are among them: the caller
    /// knows who lives. What cannot be read is left out.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn channel_servers(&self, channel: &ChannelId) -> Result<Vec<ServerId>, RoutesError>;

    /// Registers a server or renews its lease for `ttl` from now, and says what it says of itself. `first` is true at the
    /// first call of a server's life. False: the lease ran out before (or, with `first`, the id is taken by a live
    /// server), and nothing was changed; the server needs a new identity.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn lease_server(
        &self,
        server: &ServerId,
        info: &ServerInfo,
        ttl: Duration,
        first: bool,
    ) -> Result<bool, RoutesError>;

    /// Ends a server's lease at once.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn end_server_lease(&self, server: &ServerId) -> Result<(), RoutesError>;

    /// The servers whose leases run; removes what is left of those whose leases ran out.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn live_servers(&self) -> Result<Vec<RegisteredServer>, RoutesError>;

    /// Leases a node number that nobody holds, for `ttl`. `owner` must be unique. `floor_ms` tells the latest time
    /// (Unix, milliseconds) that the holder may use in an id before it renews. Numbers whose own floor is in the future
    /// by the store's clock are not given out: nothing could be issued under them yet.
    /// `None`: there is no such number.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn lease_node(
        &self,
        owner: &str,
        ttl: Duration,
        floor_ms: u64,
    ) -> Result<Option<NodeLease>, RoutesError>;

    /// Renews a node number for `ttl` from now and raises its floor. False: the lease ran out and nothing was changed.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn renew_node(
        &self,
        owner: &str,
        node: NodeId,
        ttl: Duration,
        floor_ms: u64,
    ) -> Result<bool, RoutesError>;

    /// Gives a node number back, if `owner` still holds it.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn release_node(&self, owner: &str, node: NodeId) -> Result<(), RoutesError>;

    /// Which life of the store this is. Another answer than before says that routes may have been forgotten since: the
    /// store was restarted, or a replica that had less took over. Always the same for a store that forgets nothing
    /// while others live.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn incarnation(&self) -> Result<String, RoutesError> {
        Ok(String::new())
    }

    /// The store's time, in milliseconds since the Unix epoch: one clock for all that share the store. The default is
    /// this machine's clock, for stores within one process.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn time(&self) -> Result<u64, RoutesError> {
        Ok(system_ms())
    }
}

/// Where a device is connected. Stored as `<server>:<connection>`, the connection in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The server that holds the connection.
    pub server: ServerId,
    /// Which of its connections.
    pub connection: ConnectionId,
}

impl std::fmt::Display for Route {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.server, self.connection)
    }
}

impl FromStr for Route {
    type Err = RoutesError;
    fn from_str(text: &str) -> Result<Self, RoutesError> {
        let malformed = || RoutesError::Malformed { what: "route", text: text.chars().take(160).collect() };
        let (server, connection) = text.rsplit_once(':').ok_or_else(malformed)?;
        Ok(Self {
            server: server.parse().map_err(|_| malformed())?,
            connection: ConnectionId(u64::from_str_radix(connection, 16).map_err(|_| malformed())?),
        })
    }
}

/// A device's wish to be reachable.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Whose device.
    pub user: UserId,
    /// Which device.
    pub device: Device,
    /// Where it is.
    pub route: Route,
    /// Who has to make way.
    pub policy: LoginPolicy,
}

/// How many devices of one user may be connected at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginPolicy {
    /// One device of each [`crate::id::Terminal`]: a second phone displaces the first, a browser does not.
    #[default]
    OnePerTerminal,
    /// One device in all.
    Single,
    /// Any number.
    Unlimited,
}

/// A route that had to make way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Displaced {
    /// Which device.
    pub device: Device,
    /// Where it was.
    pub route: Route,
}

/// What became of a route that was claimed again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reclaimed {
    /// It was there.
    Held,
    /// It had got lost, and is there again.
    Restored,
    /// These have its place.
    Taken(Vec<Displaced>),
}

/// A live server and what it says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct RegisteredServer {
    /// Its id.
    pub id: ServerId,
    /// What it says.
    pub info: ServerInfo,
}

/// A node number and from when on it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLease {
    /// The number.
    pub node: NodeId,
    /// Ids must carry times later than this (Unix, milliseconds): an earlier holder may have used up to it.
    pub after_ms: u64,
}

/// The route store did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoutesError {
    /// It did not answer, or not in time.
    #[error("the route store could not {action}: {source}")]
    Unavailable {
        /// What was asked.
        action: &'static str,
        /// What the client library says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It holds something that this version cannot read.
    #[error("the route store holds a {what} that cannot be read: {text:?}")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// The beginning of what it is.
        text: String,
    },
}
