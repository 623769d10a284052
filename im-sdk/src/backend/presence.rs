//! Who is online, who has to go, and where devices may connect.

use std::{collections::HashMap, time::SystemTime};

use prost::Message as _;

use crate::{
    UserPresence,
    backend::{
        im::Im,
        parse_ids::{parse_user, parse_users},
        send::{Freshness, Reach, receipt::UserDevice},
    },
    cluster::{Cluster, LastSeenError, Publication, RoutesError},
    id::{ChannelId, Device, InvalidId, ServerId, Terminal, UserId},
    proto::{
        close::{CloseCode, fit_reason},
        pb,
    },
};

/// A connected device and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OnlineDevice {
    /// Which device.
    pub device: Device,
    /// The server that holds its connection.
    pub server: ServerId,
}

/// The addresses of a live server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerAddresses {
    /// Which server.
    pub server: ServerId,
    /// Its addresses, such as `quic://im1.example.com:7801` and `wss://im1.example.com`.
    pub addresses: Vec<String>,
    /// How many devices it holds.
    pub connections: u32,
}

/// It could not be told who is online.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PresenceError {
    /// A user has no valid id.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The route store did not answer.
    #[error(transparent)]
    Routes(#[from] RoutesError),
    /// The store of last times did not answer.
    #[error(transparent)]
    LastSeen(#[from] LastSeenError),
    /// Servers did not confirm that connections have stopped watching: those may see more. Repeat it to be sure.
    #[error(
        "{connections} connections may still watch the user: their servers did not confirm that they do not"
    )]
    Unconfirmed {
        /// How many connections.
        connections: usize,
    },
}

/// Not everybody is known to be thrown out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KickError {
    /// The user has no valid id.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The route store did not answer. Nobody was thrown out.
    #[error(transparent)]
    Routes(#[from] RoutesError),
    /// Servers did not confirm that they have closed connections: those may be open still. Repeat it to be sure.
    #[error(
        "{connections} connections may still be open: their servers did not confirm that they have closed them"
    )]
    Unconfirmed {
        /// How many connections.
        connections: usize,
        /// How many others are closed.
        closed: usize,
    },
}

impl Im {
    /// The connected devices of each of these users. Users who are offline are not in the answer.
    ///
    /// # Errors
    /// [`PresenceError`] when the route store does not answer.
    pub async fn online<I>(
        &self,
        users: impl IntoIterator<Item = I>,
    ) -> Result<HashMap<UserId, Vec<OnlineDevice>>, PresenceError>
    where
        I: TryInto<UserId, Error: Into<InvalidId>>,
    {
        let users = &parse_users(users)?;
        let mut online: HashMap<UserId, Vec<OnlineDevice>> = HashMap::new();
        for (server, located) in self.locate(users, Freshness::Current, |_| true).await? {
            for located in located {
                let device = OnlineDevice { device: located.owner.device, server: server.clone() };
                online.entry(located.owner.user).or_default().push(device);
            }
        }
        online.values_mut().for_each(|devices| devices.sort_by(|a, b| a.device.cmp(&b.device)));
        Ok(online)
    }

    /// Where each of these users is online, and was last, in their order.
    ///
    /// ```no_run
    /// # async fn example(im: im_sdk::backend::Im) -> Result<(), Box<dyn std::error::Error>> {
    /// for presence in im.presence(["alice", "bob"]).await? {
    ///     println!("{}: {}, last seen {:?}", presence.user, presence.is_online(), presence.last_seen());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PresenceError`].
    pub async fn presence<I>(
        &self,
        users: impl IntoIterator<Item = I>,
    ) -> Result<Vec<UserPresence>, PresenceError>
    where
        I: TryInto<UserId, Error: Into<InvalidId>>,
    {
        let users = &parse_users(users)?;
        let mut online: HashMap<UserId, Vec<Terminal>> = HashMap::new();
        let seen = self.inner.cluster.last_seen().last_seen(users).await?;
        for located in self
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

    /// Ends that a user's devices watch another user: for somebody who is a friend no more. They see nothing further of it, and
    /// are not told. A device that asks again is answered by [`Handler::may_watch`](super::Handler::may_watch), as it is for
    /// devices that this does not reach, within some minutes.
    ///
    /// # Errors
    /// [`PresenceError`]. Repeating it does no harm.
    pub async fn unwatch(
        &self,
        watcher: impl TryInto<UserId, Error = impl Into<InvalidId>>,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
    ) -> Result<(), PresenceError> {
        let (watcher, user) = (&parse_user(watcher)?, &parse_user(user)?);
        let channels = vec![ChannelId::presence_of(user).to_string()];
        let watched = pb::Channels { channels, kind: pb::JoinKind::Watch.into(), ..pb::Channels::default() };
        let devices = self.locate(std::slice::from_ref(watcher), Freshness::Current, |_| true).await?;
        let left = self.deliver(devices, |_| pb::record::Effect::Leave(watched.clone())).await;
        match left.iter().filter(|(_, reach)| reach.is_unconfirmed()).count() {
            0 => Ok(()),
            connections => Err(PresenceError::Unconfirmed { connections }),
        }
    }

    /// Closes the connections of a user's device, or of all its devices with `None`. The devices see the close code
    /// `kicked` and the reason (its first 123 bytes), and stay away. Returns how many connections were closed: 0 says that
    /// there was none.
    ///
    /// A kick does not keep anybody out: refuse a new token for that.
    ///
    /// # Errors
    /// [`KickError`] when it is not known that the connections are closed. Repeating it does no harm.
    #[doc(alias("logout", "log out", "ban", "disconnect", "revoke"))]
    pub async fn kick(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
        device: Option<&Device>,
        reason: &str,
    ) -> Result<usize, KickError> {
        let user = &parse_user(user)?;
        let wanted = |candidate: &Device| device.is_none_or(|device| device == candidate);
        let located = self.locate(std::slice::from_ref(user), Freshness::Current, wanted).await?;
        let kick = pb::Kick { code: CloseCode::Kicked.code().into(), reason: fit_reason(reason).to_owned() };
        let reached = self.deliver(located, |_| pb::record::Effect::Kick(kick.clone())).await;
        let closed = reached.iter().filter(|(_, reach)| *reach == Reach::Reached).count();
        match reached.iter().filter(|(_, reach)| reach.is_unconfirmed()).count() {
            0 => Ok(closed),
            connections => Err(KickError::Unconfirmed { connections, closed }),
        }
    }

    /// The live servers that take new devices, least loaded first. Hand the addresses to devices, in this order.
    ///
    /// It is what this process knows, without asking. Which servers there are is as old as
    /// [`super::ImBuilder::directory_refresh`] at most while the route store answers, and as old as its last answer while it
    /// does not. How many connections each holds is as old as the last renewal of its lease besides, so up to a third of the
    /// lease; that it is about to stop it says at once. A server that has died is in the list until its lease is over.
    pub fn endpoints(&self) -> Vec<ServerAddresses> {
        let live = self.inner.directory.live();
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

/// Tells all back ends that devices are offline whose server did not say so.
pub(super) async fn tell_offline(cluster: &Cluster, gone: Vec<UserDevice>) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let at_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let presence = |gone: &UserDevice| pb::UpstreamPresence {
        user: gone.user.to_string(),
        device: Some((&gone.device).into()),
        online: false,
        at_ms,
    };
    for gone in gone.chunks(OFFLINE_BATCH) {
        let presences = gone.iter().map(presence).collect();
        let publication = Publication {
            subject: cluster.names().upstream_presence(),
            return_to: None,
            payload: pb::UpstreamPresences { presences }.encode_to_vec().into(),
        };
        if let Err(error) = cluster.bus().publish(publication).await {
            tracing::debug!(%error, "cannot tell that devices are offline");
        }
    }
}

/// The most of them in one message to back ends, at some 150 bytes each.
const OFFLINE_BATCH: usize = 1024;

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
