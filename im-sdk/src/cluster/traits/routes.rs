//! Routes and leases: the connections of devices, the servers of channels, live servers, node
//! numbers.
//!
//! The conformance suite states what an implementation must do.

use std::{str::FromStr, time::Duration};

use async_trait::async_trait;

use crate::{
    cluster::time::unix_ms,
    id::{ChannelId, ConnectionId, Device, NodeId, ServerId, UserId},
    proto::pb::ServerInfo,
};

/// Stores routes and leases. Every method is one atomic step; a method for several users or
/// channels is one step for each.
#[async_trait]
pub trait Routes: Send + Sync + std::fmt::Debug + 'static {
    /// Registers a device's route and removes the routes that the login policy displaces.
    ///
    /// An earlier route of the same device is always displaced; the very same route is not, so a
    /// claim can be repeated. Stored routes that cannot be read are removed.
    ///
    /// # Errors
    /// [`RoutesError`]; the route may have been registered, so release it.
    async fn claim(&self, claim: &Claim) -> Result<Vec<Displaced>, RoutesError>;

    /// Restores a route that may have been lost. Displaces no device: if other devices hold its place
    /// under the policy, nothing changes.
    ///
    /// # Errors
    /// [`RoutesError`]; the route may have been registered.
    async fn reclaim(&self, claim: &Claim) -> Result<Reclaimed, RoutesError>;

    /// Removes a device's route if it is still this one. Returns whether it was.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn release(&self, user: &UserId, device: &Device, route: &Route) -> Result<bool, RoutesError>;

    /// Returns each user's devices with their routes, in the order of the users.
    ///
    /// Routes to dead servers are included: the caller knows which servers live. Routes that cannot
    /// be read are left out.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn locate(&self, users: &[UserId]) -> Result<Vec<Vec<(Device, Route)>>, RoutesError>;

    /// Returns routes as [`Routes::locate`] does, possibly from a cache of this process.
    ///
    /// A change by another process reaches the cache a moment later. If the log is on the same
    /// connection, the change arrives before the answer to any append that came after it; see
    /// [`Cluster::connect`](super::super::Cluster::connect).
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn locate_cached(&self, users: &[UserId]) -> Result<Vec<Vec<(Device, Route)>>, RoutesError> {
        self.locate(users).await
    }

    /// Registers a server for channels whose members it holds connections of. May be repeated.
    ///
    /// # Errors
    /// [`RoutesError`]; the server may have been registered.
    async fn join_channels(&self, server: &ServerId, channels: &[ChannelId]) -> Result<(), RoutesError>;

    /// Removes a server from channels, also one that has died.
    ///
    /// # Errors
    /// [`RoutesError`]; the server may have been removed.
    async fn leave_channels(&self, server: &ServerId, channels: &[ChannelId]) -> Result<(), RoutesError>;

    /// Returns the servers that hold connections of a channel's members, in any order.
    ///
    /// Dead servers are included: the caller knows which servers live. Ids that cannot be read are
    /// left out.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn channel_servers(&self, channel: &ChannelId) -> Result<Vec<ServerId>, RoutesError>;

    /// Registers a server, or renews its lease for `ttl` from now, together with its description of
    /// itself. `first` is `true` at the first call of a server's life.
    ///
    /// Returns `false` and changes nothing if the lease has expired or, with `first`, if a live
    /// server has the id. The server then needs a new identity.
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

    /// Returns the servers with unexpired leases, and removes what expired ones left behind.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn live_servers(&self) -> Result<Vec<RegisteredServer>, RoutesError>;

    /// Leases a free node number for `ttl`. `owner` must be unique. Returns `None` if no number is
    /// free.
    ///
    /// `floor_ms` is the latest time (Unix, milliseconds) that the holder may put into an id before
    /// it renews the lease. A number whose floor lies in the future by the store's clock is not
    /// given out: no id could be issued under it yet.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn lease_node(
        &self,
        owner: &str,
        ttl: Duration,
        floor_ms: u64,
    ) -> Result<Option<NodeLease>, RoutesError>;

    /// Renews the lease of a node number for `ttl` from now and raises its floor. Returns `false`
    /// and changes nothing if the lease has expired.
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

    /// Releases a node number if `owner` still holds it.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn release_node(&self, owner: &str, node: NodeId) -> Result<(), RoutesError>;

    /// Returns an identifier of the store's current life.
    ///
    /// A different answer than before means that routes may have been lost in between: the store
    /// was restarted, or a replica with less data took over. A store that loses nothing while
    /// others live always returns the same.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn incarnation(&self) -> Result<String, RoutesError> {
        Ok(String::new())
    }

    /// Returns the store's time in milliseconds since the Unix epoch: one clock for all that share
    /// the store. The default is this machine's clock, for stores within one process.
    ///
    /// # Errors
    /// [`RoutesError`].
    async fn time(&self) -> Result<u64, RoutesError> {
        Ok(unix_ms())
    }
}

/// The connection of a device. Stored as `<server>:<connection>`, the connection in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The server that holds the connection.
    pub server: ServerId,
    /// The connection on that server.
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

/// A device's request to be reachable at a route.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The owner of the device.
    pub user: UserId,
    /// The device.
    pub device: Device,
    /// The route at which it is connected.
    pub route: Route,
    /// The policy that decides which other routes are displaced.
    pub policy: LoginPolicy,
}

/// The number of devices of one user that may be connected at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginPolicy {
    /// One device of each [`Terminal`](crate::id::Terminal): a second phone displaces the first, a
    /// browser does not.
    #[default]
    OnePerTerminal,
    /// One device in all.
    Single,
    /// Any number of devices.
    Unlimited,
}

/// A route that was displaced by a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Displaced {
    /// The displaced device.
    pub device: Device,
    /// The route that it had.
    pub route: Route,
}

/// The outcome of restoring a route.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reclaimed {
    /// The route was still registered.
    Held,
    /// The route had been lost, and is registered again.
    Restored,
    /// These routes hold its place; nothing was changed.
    Taken(Vec<Displaced>),
}

/// A live server with its description of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct RegisteredServer {
    /// The server's id.
    pub id: ServerId,
    /// The server's description of itself.
    pub info: ServerInfo,
}

/// A lease of a node number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLease {
    /// The leased number.
    pub node: NodeId,
    /// Ids must carry times later than this (Unix, milliseconds): an earlier holder may have used
    /// times up to it.
    pub after_ms: u64,
}

/// An error of the route store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoutesError {
    /// The store did not answer, or not in time.
    #[error("the route store could not {action}: {source}")]
    Unavailable {
        /// The requested action.
        action: &'static str,
        /// The error of the client library.
        r#source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store holds a value that this version cannot read.
    #[error("the route store holds a {what} that cannot be read: {text:?}")]
    Malformed {
        /// The expected kind of value.
        what: &'static str,
        /// The beginning of the stored value.
        text: String,
    },
}
