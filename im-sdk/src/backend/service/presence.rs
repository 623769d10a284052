//! Who comes and goes: stored, told to the handler, and to the devices that watch.

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

/// How many batches are handled at once, and how many users' events are in one: one of each user, so that those of one follow
/// each other.
const CONCURRENCY: usize = 16;
const BATCH: usize = 256;

/// How many events of one user wait.
const WAITING_PER_USER: usize = 64;

/// How long they wait: nobody says them again.
const PATIENCE: Duration = Duration::from_secs(60);

/// A user is announced once in this time to those who watch it.
const PAUSE: Duration = Duration::from_secs(2);

/// How often it is looked whose pause is over.
const TICK: Duration = Duration::from_millis(100);

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
    context: Arc<ServiceContext>,
    handler: Arc<H>,
    announcements: Mutex<Announcements>,
}

/// How many users' announcements are put off at most. Those of others are made at once.
const MAX_PUT_OFF: usize = 65_536;

/// Announces a user once in [`PAUSE`], however often it comes and goes: at once after a rest, and what comes meanwhile at the end of
/// the pause, when it is looked up where the user stands. So what is told last is right.
#[derive(Debug, Default)]
struct Announcements {
    /// Those who were announced lately, and whether something has happened since.
    users: HashMap<UserId, bool>,
    /// The ends of their pauses, in order, since all are equally long.
    ends: VecDeque<(Instant, UserId)>,
}

impl Announcements {
    /// Something has happened. Returns whether it is to be announced now; if not, it will be [`Announcements::due`].
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

    /// Those who are to be announced now. Their next pause begins.
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

    /// Those who have not been announced since something has happened.
    fn rest(&mut self) -> Vec<UserId> {
        self.ends.clear();
        self.users.drain().filter_map(|(user, again)| again.then_some(user)).collect()
    }
}

impl<H: Handler> Responder for Presences<H> {
    type Request = (PresenceEvent, u64);

    const NAME: &'static str = "comings and goings";

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
            throttled!(warn, "a batch of comings and goings is not valid and was dropped");
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
        // Before it is told: who is told may ask.
        if let Err(error) = self.context.cluster.last_seen().note_seen(&gone).await {
            throttled!(warn, %error, "when devices were last connected could not be stored");
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

    /// Makes the announcements that were put off, until the service stops; then those that wait still.
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
                throttled!(warn, %user, %error, "a presence could not be told to those who watch it");
                // Else they would go on seeing what was told before.
                self.announcements().want(&user, Instant::now());
            }
        };
        stream::iter(users).for_each_concurrent(PARALLEL, announce).await;
    }

    async fn tell(&self, events: Vec<PresenceEvent>) {
        let tell = async |event: PresenceEvent| {
            let user = event.user.clone();
            let call = Deadline::new(self.context.settings.handler_timeout, "presence", &user);
            // Nothing depends on it: what failed is in the log.
            let _ = call.run(|| self.handler.presence(event)).await;
        };
        stream::iter(events).for_each_concurrent(PARALLEL, tell).await;
    }

    /// Tells the devices that watch a user. It says where the user stands now, whatever the event was.
    async fn announce(&self, user: &UserId) -> Result<(), PresenceError> {
        let channel = ChannelId::presence_of(user);
        let servers = self.context.dispatcher.servers_of(&channel).await?;
        if servers.is_empty() {
            return Ok(());
        }
        for presence in self.context.devices.presence(std::slice::from_ref(user)).await? {
            let frames = frame::encode(pb::frame::Body::Presence(presence.into()));
            let effect = Some(pb::record::Effect::Frames(frames));
            // Who reads slowly is told with the next one, or asks.
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

/// With its time as it is stored. What makes no sense is passed over.
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
