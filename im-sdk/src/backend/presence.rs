//! Who is online, who has to go, and where devices may connect.

use std::collections::HashMap;

use super::{im::Im, send::Reach};
use crate::{
    cluster::RoutesError,
    id::{Device, ServerId, UserId},
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
#[error(transparent)]
pub struct PresenceError(#[from] RoutesError);

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
