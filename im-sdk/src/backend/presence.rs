//! Presence of users, kicks, and the addresses of servers.

use std::{collections::HashMap, sync::Arc};

use crate::{
    UserPresence,
    backend::send::{
        device::Reach,
        dispatch::{Dispatcher, Freshness},
    },
    cluster::{Cluster, LastSeenError, RoutesError},
    id::{ChannelId, Device, InvalidId, ServerId, Terminal, UserId},
    proto::{
        close::{CloseCode, fit_reason},
        pb,
    },
};

/// A connected device and its server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OnlineDevice {
    /// The device.
    pub device: Device,
    /// The server that holds its connection.
    pub server: ServerId,
}

/// The addresses of a live server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerAddresses {
    /// The server.
    pub server: ServerId,
    /// Its addresses, such as `quic://im1.example.com:7801` and `wss://im1.example.com`.
    pub addresses: Vec<String>,
    /// The number of devices that it holds.
    pub connections: u32,
}

/// Presence could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PresenceError {
    /// A user has no valid id.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The route store did not answer.
    #[error(transparent)]
    Routes(#[from] RoutesError),
    /// The store of last-seen times did not answer.
    #[error(transparent)]
    LastSeen(#[from] LastSeenError),
    /// Servers did not confirm that connections have stopped watching: they may see further
    /// changes. Repeat the call to be sure.
    #[error(
        "{connections} connections may still watch the user: their servers did not confirm that they do not"
    )]
    Unconfirmed {
        /// The number of these connections.
        connections: usize,
    },
}

/// Not all connections are known to be closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KickError {
    /// The user has no valid id.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The route store did not answer. No connection was closed.
    #[error(transparent)]
    Routes(#[from] RoutesError),
    /// Servers did not confirm that they have closed connections, which may still be open. Repeat
    /// the call to be sure.
    #[error(
        "{connections} connections may still be open: their servers did not confirm that they have closed them"
    )]
    Unconfirmed {
        /// The number of these connections.
        connections: usize,
        /// The number of connections that are closed.
        closed: usize,
    },
}

/// Finds out which devices are online, and disconnects them.
#[derive(Debug)]
pub(super) struct OnlineDevices {
    cluster: Cluster,
    dispatcher: Arc<Dispatcher>,
}

impl OnlineDevices {
    pub(super) fn new(cluster: Cluster, dispatcher: Arc<Dispatcher>) -> Self {
        Self { cluster, dispatcher }
    }

    /// See [`Im::online`](super::Im::online).
    pub(super) async fn online(
        &self,
        users: &[UserId],
    ) -> Result<HashMap<UserId, Vec<OnlineDevice>>, RoutesError> {
        let mut online: HashMap<UserId, Vec<OnlineDevice>> = HashMap::new();
        for (server, located) in self.dispatcher.locate(users, Freshness::Current, |_| true).await? {
            for located in located {
                let device = OnlineDevice { device: located.owner.device, server: server.clone() };
                online.entry(located.owner.user).or_default().push(device);
            }
        }
        online.values_mut().for_each(|devices| devices.sort_by(|a, b| a.device.cmp(&b.device)));
        Ok(online)
    }

    /// See [`Im::presence`](super::Im::presence).
    pub(super) async fn presence(&self, users: &[UserId]) -> Result<Vec<UserPresence>, PresenceError> {
        let mut online: HashMap<UserId, Vec<Terminal>> = HashMap::new();
        let seen = self.cluster.last_seen().last_seen(users).await?;
        for located in self
            .dispatcher
            .locate(users, Freshness::Current, |_| true)
            .await?
            .into_iter()
            .flat_map(|(_, located)| located)
        {
            online.entry(located.owner.user).or_default().push(located.owner.device.terminal);
        }
        let of = |(user, seen): (&UserId, Vec<(Terminal, u64)>)| {
            UserPresence::new(user.clone(), online.get(user).map_or(&[], Vec::as_slice), &seen)
        };
        Ok(users.iter().zip(seen).map(of).collect())
    }

    /// See [`Im::unwatch`](super::Im::unwatch).
    pub(super) async fn unwatch(&self, watcher: &UserId, user: &UserId) -> Result<(), PresenceError> {
        let channels = vec![ChannelId::presence_of(user).to_string()];
        let watched = pb::Channels { channels, kind: pb::JoinKind::Watch.into(), ..pb::Channels::default() };
        let devices =
            self.dispatcher.locate(std::slice::from_ref(watcher), Freshness::Current, |_| true).await?;
        let left = self.dispatcher.deliver(devices, |_| pb::record::Effect::Leave(watched.clone())).await;
        match left.iter().filter(|(_, reach)| reach.is_unconfirmed()).count() {
            0 => Ok(()),
            connections => Err(PresenceError::Unconfirmed { connections }),
        }
    }

    /// See [`Im::kick`](super::Im::kick).
    pub(super) async fn kick(
        &self,
        user: &UserId,
        device: Option<&Device>,
        reason: &str,
    ) -> Result<usize, KickError> {
        let wanted = |candidate: &Device| device.is_none_or(|device| device == candidate);
        let located = self.dispatcher.locate(std::slice::from_ref(user), Freshness::Current, wanted).await?;
        let kick = pb::Kick { code: CloseCode::Kicked.code().into(), reason: fit_reason(reason).to_owned() };
        let reached = self.dispatcher.deliver(located, |_| pb::record::Effect::Kick(kick.clone())).await;
        let closed = reached.iter().filter(|(_, reach)| *reach == Reach::Reached).count();
        match reached.iter().filter(|(_, reach)| reach.is_unconfirmed()).count() {
            0 => Ok(closed),
            connections => Err(KickError::Unconfirmed { connections, closed }),
        }
    }

    /// See [`Im::endpoints`](super::Im::endpoints).
    pub(super) fn endpoints(&self) -> Vec<ServerAddresses> {
        let live = self.dispatcher.directory().live();
        let open = live.iter().filter(|(_, info)| !info.draining && !info.deaf);
        let mut endpoints: Vec<_> = open
            .map(|(server, info)| ServerAddresses {
                server: server.clone(),
                addresses: info.endpoints.clone(),
                connections: info.connections,
            })
            .collect();
        endpoints.sort_by(|a, b| (a.connections, &a.server).cmp(&(b.connections, &b.server)));
        endpoints
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::test_support::broken_cluster::{connect, deaf_server, impatient, silent_server};

    #[tokio::test]
    async fn a_kick_that_no_server_confirms_is_an_error() {
        let cluster = Cluster::embedded();
        let im = impatient(cluster.clone()).await;
        let bob: UserId = "bob".parse().unwrap();
        assert_eq!(im.kick(&bob, None, "out").await.unwrap(), 0, "nobody is there");
        let (silent, _heard) = silent_server(&cluster, "s1").await;
        let deaf = deaf_server(&cluster, "s2").await;
        connect(&cluster, &silent, "web/tab", 7).await;
        connect(&cluster, &deaf, "ios/phone", 8).await;
        for (device, unconfirmed) in [(None, 2), (Some("web/tab"), 1), (Some("ios/phone"), 1)] {
            let device = device.map(|device| device.parse().unwrap());
            let kicked = im.kick(&bob, device.as_ref(), "out").await;
            let Err(KickError::Unconfirmed { connections, closed: 0 }) = kicked else { panic!("{kicked:?}") };
            assert_eq!(connections, unconfirmed);
        }
        assert_eq!(im.kick(&bob, Some(&"web/other".parse().unwrap()), "out").await.unwrap(), 0);
    }
}
