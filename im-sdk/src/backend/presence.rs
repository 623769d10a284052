//! Who is online, who has to go, and where devices may connect.

use std::{collections::HashMap, time::SystemTime};

use prost::Message as _;

use super::{im::Im, receipt::UserDevice, send::Reach};
use crate::{
    UserPresence,
    cluster::{Cluster, LastSeenError, Publication, RoutesError},
    id::{Device, ServerId, Terminal, UserId},
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

/// A live server's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Endpoint {
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
    /// The route store did not answer.
    #[error(transparent)]
    Routes(#[from] RoutesError),
    /// The store of last times did not answer.
    #[error(transparent)]
    LastSeen(#[from] LastSeenError),
}

/// Nobody was thrown out.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct KickError(#[from] RoutesError);

impl Im {
    /// The connected devices of each of these users. Users who are offline are not in the answer.
    ///
    /// # Errors
    /// [`PresenceError`] when the route store does not answer.
    pub async fn online(
        &self,
        users: &[UserId],
    ) -> Result<HashMap<UserId, Vec<OnlineDevice>>, PresenceError> {
        let mut online: HashMap<UserId, Vec<OnlineDevice>> = HashMap::new();
        for (server, located) in self.locate(users, |_| true).await? {
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
    /// for presence in im.presence(&["alice".parse()?, "bob".parse()?]).await? {
    ///     println!("{}: {}, last seen {:?}", presence.user, presence.is_online(), presence.last_seen());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PresenceError`].
    pub async fn presence(&self, users: &[UserId]) -> Result<Vec<UserPresence>, PresenceError> {
        let mut online: HashMap<UserId, Vec<Terminal>> = HashMap::new();
        let seen = self.inner.cluster.last_seen().last_seen(users).await?;
        for located in self.locate(users, |_| true).await?.into_iter().flat_map(|(_, located)| located) {
            online.entry(located.owner.user).or_default().push(located.owner.device.terminal);
        }
        let of = |(user, seen): (&UserId, Vec<(Terminal, u64)>)| {
            UserPresence::new(user.clone(), online.get(user).map_or(&[], Vec::as_slice), &seen)
        };
        Ok(users.iter().zip(seen).map(of).collect())
    }

    /// Closes the connections of a user's device, or of all its devices with `None`. The devices see the close code
    /// `kicked` and the reason (its first 123 bytes), and stay away. Returns how many connections were closed.
    ///
    /// A kick does not keep anybody out: refuse a new token for that.
    ///
    /// # Errors
    /// [`KickError`] when the route store does not answer.
    pub async fn kick(
        &self,
        user: &UserId,
        device: Option<&Device>,
        reason: &str,
    ) -> Result<usize, KickError> {
        let wanted = |candidate: &Device| device.is_none_or(|device| device == candidate);
        let located = self.locate(std::slice::from_ref(user), wanted).await?;
        let kick = pb::Kick { code: CloseCode::Kicked.code().into(), reason: fit_reason(reason).to_owned() };
        let reached = self.deliver(located, |_| pb::record::Effect::Kick(kick.clone())).await;
        Ok(reached.iter().filter(|(_, reach)| *reach == Reach::Reached).count())
    }

    /// The live servers that take new devices, least loaded first. Hand the addresses to devices, in this order.
    ///
    /// The answer is as old as [`super::ImConfig::directory_refresh`] at most.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let live = self.inner.directory.live();
        let open = live.iter().filter(|(_, info)| !info.draining);
        let mut endpoints: Vec<_> = open
            .map(|(server, info)| Endpoint {
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
