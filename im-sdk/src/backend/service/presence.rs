//! Who comes and goes: stored, told to the handler, and to the devices that watch.

use std::{
    collections::BTreeSet,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt, stream};
use prost::Message as _;

use super::{Handler, responder::Responder};
use crate::{
    backend::{im::Im, presence::PresenceError},
    cluster::Seen,
    id::{ChannelId, Device, UserId},
    proto::{frame, pb},
};

/// How many batches are handled at once; further ones wait on the bus.
const CONCURRENCY: usize = 16;

/// How many of a batch's handlers and watched users are dealt with at once.
const PARALLEL: usize = 64;

/// A device has come or gone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresenceEvent {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub device: Device,
    /// It is connected now. Told for every connection, also where one takes the place of another.
    pub online: bool,
    /// When, by the clock of the server that saw it.
    pub at: SystemTime,
}

/// Stores and tells who comes and goes.
pub(super) struct Presences<H> {
    pub(super) im: Im,
    pub(super) handler: Arc<H>,
}

impl<H: Handler> Responder for Presences<H> {
    type Request = Vec<(PresenceEvent, u64)>;

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }

    fn parse(&self, payload: Bytes) -> Vec<Vec<(PresenceEvent, u64)>> {
        let Ok(upstream) = pb::UpstreamPresences::decode(payload) else {
            tracing::warn!("a batch of comings and goings is not valid and was dropped");
            return Vec::new();
        };
        vec![upstream.presences.into_iter().filter_map(event).collect()]
    }

    async fn handle(self: Arc<Self>, events: Vec<(PresenceEvent, u64)>) {
        let gone = events.iter().filter(|(event, _)| !event.online);
        let gone = gone.map(|(PresenceEvent { user, device, .. }, at_ms)| Seen {
            user: user.clone(),
            terminal: device.terminal,
            at_ms: *at_ms,
        });
        let gone: Vec<Seen> = gone.collect();
        // Before it is told: who is told may ask.
        if let Err(error) = self.im.inner.cluster.last_seen().note_seen(&gone).await {
            tracing::warn!(%error, "when devices were last connected could not be stored");
        }
        let users: BTreeSet<UserId> = events.iter().map(|(event, _)| event.user.clone()).collect();
        let events = events.into_iter().map(|(event, _)| event).collect();
        tokio::join!(self.announce_all(users), self.tell(events));
    }
}

impl<H: Handler> Presences<H> {
    async fn announce_all(&self, users: BTreeSet<UserId>) {
        let announce = async |user: UserId| {
            if let Err(error) = self.announce(&user).await {
                tracing::warn!(%user, %error, "a presence could not be told to those who watch it");
            }
        };
        stream::iter(users).for_each_concurrent(PARALLEL, announce).await;
    }

    async fn tell(&self, events: Vec<PresenceEvent>) {
        let tell = async |event| {
            if AssertUnwindSafe(self.handler.presence(event)).catch_unwind().await.is_err() {
                tracing::error!("the handler of presence panicked");
            }
        };
        stream::iter(events).for_each_concurrent(PARALLEL, tell).await;
    }

    /// Tells the devices that watch a user. It says where the user stands now, whatever the event was.
    async fn announce(&self, user: &UserId) -> Result<(), PresenceError> {
        let channel = ChannelId::presence_of(user);
        let servers = self.im.servers_of(&channel).await?;
        if servers.is_empty() {
            return Ok(());
        }
        for presence in self.im.presence(std::slice::from_ref(user)).await? {
            let frames = frame::encode(pb::frame::Body::Presence(presence.into()));
            let effect = Some(pb::record::Effect::Frames(frames));
            let record = pb::Record { channel: channel.to_string(), effect, ..pb::Record::default() };
            for server in &servers {
                self.im.inner.publisher.submit_and_forget(server, record.clone()).await;
            }
        }
        Ok(())
    }
}

/// With its time as it is stored. What makes no sense is passed over.
fn event(upstream: pb::UpstreamPresence) -> Option<(PresenceEvent, u64)> {
    let user = UserId::parse(&upstream.user).ok()?;
    let device = Device::try_from(upstream.device?).ok()?;
    let at_ms = u64::try_from(upstream.at_ms).ok()?;
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(at_ms))?;
    Some((PresenceEvent { user, device, online: upstream.online, at }, at_ms))
}
