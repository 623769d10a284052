//! Presence events: stored, and announced to the handler and to watching devices.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use prost::Message as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    Handler,
    call::Deadline,
    context::ServiceContext,
    queue::{Job, Limits},
    responder::Responder,
};
use crate::{
    backend::presence::PresenceError,
    cluster::LastSeen,
    id::{ChannelId, Device, UserId},
    log_throttle::throttled,
    proto::{frame, pb},
};

/// The number of batches that are handled at once, and of users' events in one. Each is of another
/// user, so that a user's events stay in order.
const CONCURRENCY: usize = 16;
const BATCH: usize = 256;

/// The number of waiting events of one user.
const WAITING_PER_USER: usize = 64;

/// The time that an event may wait: nobody repeats it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The shortest time between two announcements of a user to watching devices.
const PAUSE: Duration = Duration::from_secs(2);

/// The interval in which ended pauses are looked for.
const TICK: Duration = Duration::from_millis(100);

/// The number of a batch's handler calls and announcements at once.
const PARALLEL: usize = 64;

/// A device has connected or disconnected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresenceEvent {
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: Device,
    /// `true` if the device is connected now. There is an event for every connection, also for one that
    /// replaces another.
    pub online: bool,
    /// The time by the clock of the server.
    pub at: SystemTime,
}

/// Stores and announces presence events.
pub(super) struct Presences<H> {
    context: Arc<ServiceContext>,
    handler: Arc<H>,
    announcements: Mutex<Announcements>,
}

/// The most users whose announcements are delayed. Those of others are made at once.
const MAX_PUT_OFF: usize = 65_536;

/// Limits announcements of a user to one in [`PAUSE`]: the first at once, and one at the end of the
/// pause if there were events meanwhile. That one looks up the present state, so the last
/// announcement is right.
#[derive(Debug, Default)]
struct Announcements {
    /// Users in a pause, and whether there were events in it.
    users: HashMap<UserId, bool>,
    /// The ends of the pauses, in order, since all are equally long.
    ends: VecDeque<(Instant, UserId)>,
}

impl Announcements {
    /// Notes an event. Returns `true` if it is to be announced now, and `false` if at the end of
    /// the pause.
    fn want(&mut self, user: &UserId, now: Instant) -> bool {
        if let Some(again) = self.users.get_mut(user) {
            *again = true;
            return false;
        }
        if self.users.len() < MAX_PUT_OFF {
            self.users.insert(user.clone(), false);
            self.ends.push_back((now + PAUSE, user.clone()));
        }
        true
    }

    /// Returns the users to announce now, and begins their next pause.
    fn due(&mut self, now: Instant) -> Vec<UserId> {
        let mut due = Vec::new();
        while let Some((_, user)) = self.ends.pop_front_if(|(end, _)| *end <= now) {
            match self.users.get_mut(&user) {
                Some(again) if *again => {
                    *again = false;
                    self.ends.push_back((now + PAUSE, user.clone()));
                    due.push(user);
                }
                _ => _ = self.users.remove(&user),
            }
        }
        due
    }

    /// Returns the users with events that were not announced.
    fn rest(&mut self) -> Vec<UserId> {
        self.ends.clear();
        self.users.drain().filter_map(|(user, again)| again.then_some(user)).collect()
    }
}

impl<H: Handler> Responder for Presences<H> {
    type Request = (PresenceEvent, u64);

    const NAME: &'static str = "presence events";

    fn limits(&self) -> Limits {
        Limits {
            concurrency: CONCURRENCY,
            batch: BATCH,
            per_user: 1,
            waiting_per_user: WAITING_PER_USER,
            patience: PATIENCE,
        }
    }

    fn parse(&self, payload: Bytes) -> Vec<Job<(PresenceEvent, u64)>> {
        let Ok(upstream) = pb::UpstreamPresences::decode(payload) else {
            throttled!(warn, "a batch of presence events is not valid and was dropped");
            return Vec::new();
        };
        let job = |(event, at_ms): (PresenceEvent, u64)| Job::new(event.user.clone(), (event, at_ms), 0);
        upstream.presences.into_iter().filter_map(event).map(job).collect()
    }

    async fn handle(self: Arc<Self>, events: Vec<(PresenceEvent, u64)>) {
        let gone = events.iter().filter(|(event, _)| !event.online);
        let gone = gone.map(|(PresenceEvent { user, device, .. }, at_ms)| LastSeen {
            user: user.clone(),
            terminal: device.terminal,
            at_ms: *at_ms,
        });
        let gone: Vec<LastSeen> = gone.collect();
        // Stored first, since the handler and devices may read it.
        if let Err(error) = self.context.cluster.last_seen().note_seen(&gone).await {
            throttled!(warn, %error, "cannot store when devices were last connected");
        }
        let now = Instant::now();
        let users: BTreeSet<UserId> = events.iter().map(|(event, _)| event.user.clone()).collect();
        let users = users.into_iter().filter(|user| self.announcements().want(user, now)).collect();
        let events = events.into_iter().map(|(event, _)| event).collect();
        tokio::join!(self.announce_all(users), self.tell(events));
    }
}

impl<H: Handler> Presences<H> {
    pub(super) fn new(context: Arc<ServiceContext>, handler: Arc<H>) -> Arc<Self> {
        Arc::new(Self { context, handler, announcements: Mutex::default() })
    }

    /// Makes delayed announcements until the service stops, and then the remaining ones.
    pub(super) async fn announce_later(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(sleep(TICK)).await.is_some() {
            let due = self.announcements().due(Instant::now());
            self.announce_all(due).await;
        }
        let rest = self.announcements().rest();
        self.announce_all(rest).await;
    }

    fn announcements(&self) -> MutexGuard<'_, Announcements> {
        self.announcements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn announce_all(&self, users: Vec<UserId>) {
        let announce = async |user: UserId| {
            if let Err(error) = self.announce(&user).await {
                throttled!(warn, %user, %error, "cannot announce a presence to watching devices");
                // Otherwise devices would keep the former state.
                self.announcements().want(&user, Instant::now());
            }
        };
        stream::iter(users).for_each_concurrent(PARALLEL, announce).await;
    }

    async fn tell(&self, events: Vec<PresenceEvent>) {
        let tell = async |event: PresenceEvent| {
            let user = event.user.clone();
            let call = Deadline::new(self.context.settings.handler_timeout, "presence", &user);
            // The event is stored, whatever the handler returns. A failure is in the log.
            let _ = call.run(|| self.handler.presence(event)).await;
        };
        stream::iter(events).for_each_concurrent(PARALLEL, tell).await;
    }

    /// Announces a user's present state to watching devices, whatever the event was.
    async fn announce(&self, user: &UserId) -> Result<(), PresenceError> {
        let channel = ChannelId::presence_of(user);
        let servers = self.context.dispatcher.servers_of(&channel).await?;
        if servers.is_empty() {
            return Ok(());
        }
        for presence in self.context.devices.presence(std::slice::from_ref(user)).await? {
            let frames = frame::encode(pb::frame::Body::Presence(presence.into()));
            let effect = Some(pb::record::Effect::Frames(frames));
            // Slow devices get the next one, or ask.
            let priority = pb::Priority::Low.into();
            let record =
                pb::Record { channel: channel.to_string(), effect, priority, ..pb::Record::default() };
            for server in &servers {
                self.context.publisher.submit_and_forget(server, record.clone()).await;
            }
        }
        Ok(())
    }
}

/// Decodes an event, with its time as it is stored. Invalid ones are dropped.
fn event(upstream: pb::UpstreamPresence) -> Option<(PresenceEvent, u64)> {
    let user = UserId::parse(&upstream.user).ok()?;
    let device = Device::try_from(upstream.device?).ok()?;
    let at_ms = u64::try_from(upstream.at_ms).ok()?;
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(at_ms))?;
    Some((PresenceEvent { user, device, online: upstream.online, at }, at_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_announced_at_once_and_then_once_in_a_while() {
        let (mut announcements, start) = (Announcements::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let (flapping, steady) = (UserId::parse("flapping").unwrap(), UserId::parse("steady").unwrap());
        assert!(announcements.want(&steady, at(0)), "at once");
        let mut told = Vec::new();
        for ms in 0..5000 {
            if announcements.want(&flapping, at(ms)) {
                told.push(ms);
            }
            told.extend(announcements.due(at(ms)).iter().map(|user| {
                assert_eq!(*user, flapping);
                ms
            }));
        }
        assert_eq!(told, [0, 2000, 4000]);
        assert_eq!(announcements.due(at(5999)), []);
        assert_eq!(
            announcements.due(at(6000)),
            std::slice::from_ref(&flapping),
            "where it stands in the end"
        );
        assert_eq!(announcements.due(at(8000)), []);
        assert!(announcements.users.is_empty() && announcements.ends.is_empty());
        assert!(announcements.want(&flapping, at(9000)), "after a rest at once");
        assert!(!announcements.want(&flapping, at(9001)));
        assert_eq!(announcements.rest(), [flapping]);
    }

    #[test]
    fn a_crowd_is_announced_without_pauses() {
        let (mut announcements, now) = (Announcements::default(), Instant::now());
        let user = |number: usize| UserId::parse(&format!("u{number}")).unwrap();
        assert!((0..=MAX_PUT_OFF).all(|number| announcements.want(&user(number), now)));
        assert!(announcements.want(&user(MAX_PUT_OFF), now), "for whom there was no room");
        assert_eq!(announcements.users.len(), MAX_PUT_OFF);
    }
}
