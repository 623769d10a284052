//! Reports devices that connect and disconnect to the backends.
//!
//! A device that connects is reported at once. One that disconnects is reported after a delay, unless it has reconnected by then,
//! here or elsewhere. One that has reconnected is reported when it has stayed. Each user is reported at most once in
//! [`USER_PAUSE`]. An unstable link, or a client that reconnects again and again, therefore causes few messages.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use im_proto::pb;
use im_sdk::{
    cluster::{Cluster, Publication},
    id::{Device, UserId},
};
use parking_lot::{Mutex, MutexGuard};
use prost::Message as _;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

/// The maximum number of queued changes, of at most some 300 bytes each. When a server loses its network, all of its devices
/// disconnect within moments.
const MAX_CHANGES: usize = 262_144;

/// The time between two reports about one user.
const USER_PAUSE: Duration = Duration::from_secs(2);

/// The interval at which the queue is searched for due changes.
const SCAN_INTERVAL: Duration = Duration::from_millis(250);

/// The maximum number of changes in one bus message.
const MAX_BATCH: usize = 512;

/// The time limit for finding out whether disconnected devices are connected elsewhere.
const LOCATE_TIMEOUT: Duration = Duration::from_secs(1);

/// The sending end of the queue of changes.
#[derive(Debug)]
pub(crate) struct Presences {
    queue: Arc<PresenceQueue>,
}

#[derive(Debug)]
struct PresenceQueue {
    /// The delay before a disconnected device is reported.
    delay: Duration,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    users: HashMap<UserId, UserChanges>,
    /// Users of whom changes may be due at once.
    due: Vec<UserId>,
    /// The number of changes in `users`.
    changes: usize,
    closed: bool,
}

/// The unreported changes of one user.
#[derive(Debug, Default)]
struct UserChanges {
    /// The time until which no change is reported.
    quiet_until: Option<Instant>,
    changes: Vec<(Device, Change)>,
}

/// A device that has connected or disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    online: bool,
    /// The time in milliseconds since the Unix epoch.
    at_ms: i64,
    /// Whether the backends know the device as online.
    known: bool,
    due: Instant,
}

impl Presences {
    /// Creates the queue; the receiver is for [`run`].
    pub(crate) fn new(delay: Duration) -> (Self, Receiver) {
        let queue = Arc::new(PresenceQueue { delay, state: Mutex::default(), wake: Notify::new() });
        (Self { queue: Arc::clone(&queue) }, Receiver(queue))
    }

    /// Queues that a device has connected or disconnected, `at` a time since the Unix epoch. Never waits.
    pub(crate) fn try_tell(&self, user: &UserId, device: &Device, online: bool, at: Duration) {
        let at_ms = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
        let now = Instant::now();
        let mut state = self.queue.lock();
        // If the queue was not empty, the task scans it at intervals already.
        let was_empty = state.users.is_empty();
        let is_due = state.note(user, device, online, at_ms, self.queue.delay, now);
        drop(state);
        if is_due || was_empty {
            self.queue.wake.notify_one();
        }
    }

    /// Closes the queue. [`run`] reports the remaining changes, and ends.
    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
        self.queue.wake.notify_one();
    }
}

impl PresenceQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// Queues a change. Returns `true` if a change is due now.
    fn note(
        &mut self,
        user: &UserId,
        device: &Device,
        online: bool,
        at_ms: i64,
        delay: Duration,
        now: Instant,
    ) -> bool {
        if self.closed || self.changes >= MAX_CHANGES {
            tracing::debug!(%user, online, "presence change dropped");
            return false;
        }
        let due = if online { now } else { now + delay };
        let of_user = self.users.entry(user.clone()).or_default();
        match of_user.changes.iter().position(|(of, _)| of == device) {
            Some(index) => {
                let known = of_user.changes[index].1.known;
                // The device is back before its disconnection was reported. But a backend that looked meanwhile, because of another
                // device of the user, did not find it, so it is reported as online once it has stayed for a while.
                let due = if online && known { now + delay } else { due };
                of_user.changes[index].1 = Change { online, at_ms, known, due };
            }
            None => {
                of_user.changes.push((device.clone(), Change { online, at_ms, known: !online, due }));
                self.changes += 1;
            }
        }
        let is_due = of_user.changes.iter().any(|(of, change)| of == device && change.due <= now);
        let now = is_due && of_user.quiet_until.is_none_or(|until| until <= now);
        if now {
            self.due.push(user.clone());
        }
        now
    }

    /// Takes the due changes of these users.
    fn take_of(&mut self, users: &[UserId], now: Instant) -> Vec<(UserId, Device, Change)> {
        let mut taken = Vec::new();
        for user in users {
            let Some(of_user) = self.users.get_mut(user) else { continue };
            if !self.closed && of_user.quiet_until.is_some_and(|until| now < until) {
                continue;
            }
            let closed = self.closed;
            let due = of_user.changes.extract_if(.., |(_, change)| closed || change.due <= now);
            let before = taken.len();
            taken.extend(due.map(|(device, change)| (user.clone(), device, change)));
            self.changes -= taken.len() - before;
            if taken.len() > before {
                of_user.quiet_until = Some(now + USER_PAUSE);
            } else if of_user.changes.is_empty() {
                self.users.remove(user);
            }
        }
        taken
    }

    /// Takes the changes that became due with a new one.
    fn take_at_once(&mut self, now: Instant) -> Vec<(UserId, Device, Change)> {
        let users = std::mem::take(&mut self.due);
        self.take_of(&users, now)
    }

    /// Takes all due changes, and forgets users without any.
    fn take_all(&mut self, now: Instant) -> Vec<(UserId, Device, Change)> {
        self.due.clear();
        let is_due = |of_user: &UserChanges| {
            self.closed
                || (of_user.quiet_until.is_none_or(|until| until <= now)
                    && (of_user.changes.is_empty()
                        || of_user.changes.iter().any(|(_, change)| change.due <= now)))
        };
        let users: Vec<UserId> =
            self.users.iter().filter(|(_, of_user)| is_due(of_user)).map(|(user, _)| user.clone()).collect();
        self.take_of(&users, now)
    }
}

/// The receiving end of the queue, for [`run`].
#[derive(Debug)]
pub(crate) struct Receiver(Arc<PresenceQueue>);

/// Reports due changes to the backends. Ends after [`Presences::close`].
pub(crate) async fn run(cluster: Cluster, receiver: Receiver) {
    let Receiver(queue) = receiver;
    let mut scanned = Instant::now();
    loop {
        let (changes, closed, is_empty) = {
            let mut state = queue.lock();
            let now = Instant::now();
            let all = state.closed || now.saturating_duration_since(scanned) >= SCAN_INTERVAL;
            let changes = if all { state.take_all(now) } else { state.take_at_once(now) };
            scanned = if all { now } else { scanned };
            (changes, state.closed, state.users.is_empty())
        };
        for changes in changes.chunks(MAX_BATCH) {
            tell(&cluster, changes).await;
        }
        if closed {
            return;
        }
        tokio::select! {
            () = queue.wake.notified() => {}
            () = sleep(SCAN_INTERVAL), if !is_empty => {}
        }
    }
}

async fn tell(cluster: &Cluster, changes: &[(UserId, Device, Change)]) {
    let elsewhere = elsewhere(cluster, changes).await;
    let presences: Vec<_> = changes
        .iter()
        .filter(|(user, device, change)| change.online || !elsewhere.contains(&(user, device)))
        .map(|(user, device, change)| pb::UpstreamPresence {
            user: user.to_string(),
            device: Some(device.into()),
            online: change.online,
            at_ms: change.at_ms,
        })
        .collect();
    if presences.is_empty() {
        return;
    }
    let publication = Publication {
        subject: cluster.names().upstream_presence(),
        // If no backend listens, the report is not needed.
        return_to: None,
        payload: pb::UpstreamPresences { presences }.encode_to_vec().into(),
    };
    if let Err(error) = cluster.bus().publish(publication).await {
        tracing::warn!(%error, "cannot publish presence changes");
    }
}

/// Returns the devices that disconnected here and are connected elsewhere, or here again. If that cannot be found out, they count
/// as gone.
async fn elsewhere<'a>(
    cluster: &Cluster,
    changes: &'a [(UserId, Device, Change)],
) -> Vec<(&'a UserId, &'a Device)> {
    let gone: Vec<_> = changes.iter().filter(|(_, _, change)| !change.online).collect();
    if gone.is_empty() {
        return Vec::new();
    }
    let users: Vec<UserId> = gone.iter().map(|(user, ..)| user.clone()).collect();
    let Ok(Ok(routes)) = timeout(LOCATE_TIMEOUT, cluster.routes().locate(&users)).await else {
        return Vec::new();
    };
    let mut elsewhere = Vec::new();
    for ((user, device, _), routes) in gone.into_iter().zip(routes) {
        if routes.iter().any(|(of, _)| of == device) {
            elsewhere.push((user, device));
        }
    }
    elsewhere
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(5);

    struct Test {
        state: State,
        start: Instant,
        user: UserId,
    }

    impl Test {
        fn new() -> Self {
            Self { state: State::default(), start: Instant::now(), user: UserId::parse("u").unwrap() }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn note(&mut self, ms: u64, device: &str, online: bool) {
            let (device, now) = (format!("web/{device}").parse().unwrap(), self.at(ms));
            self.state.note(&self.user.clone(), &device, online, ms as i64, DELAY, now);
        }

        /// Returns the changes reported at a time: their time, the device, and whether it is online.
        fn told(&mut self, ms: u64) -> Vec<(i64, String, bool)> {
            let now = self.at(ms);
            let mut told = self.state.take_at_once(now);
            told.extend(self.state.take_all(now));
            told.into_iter().map(|(_, device, of)| (of.at_ms, device.id.to_string(), of.online)).collect()
        }
    }

    #[test]
    fn who_comes_is_told_at_once_and_who_goes_after_a_while() {
        let mut test = Test::new();
        test.note(0, "d", true);
        assert_eq!(test.told(0), [(0, "d".into(), true)]);
        test.note(10_000, "d", false);
        assert_eq!(test.told(14_999), []);
        assert_eq!(test.told(15_000), [(10_000, "d".into(), false)]);
        assert_eq!((test.told(20_000), test.state.users.len(), test.state.changes), (vec![], 0, 0));
    }

    #[test]
    fn a_link_that_flaps_is_told_of_twice() {
        let mut test = Test::new();
        let mut told = Vec::new();
        for round in 0..1000 {
            test.note(round * 4, "d", true);
            told.extend(test.told(round * 4));
            test.note(round * 4 + 2, "d", false);
            told.extend(test.told(round * 4 + 2));
        }
        told.extend(test.told(20_000));
        assert_eq!(told, [(0, "d".into(), true), (3998, "d".into(), false)]);
    }

    #[test]
    fn who_comes_back_is_told_when_it_has_stayed() {
        let mut test = Test::new();
        test.note(0, "d", true);
        test.told(0);
        for round in 1..10 {
            test.note(round * 1000, "d", false);
            test.note(round * 1000 + 500, "d", true);
            assert_eq!(test.told(round * 1000 + 500), []);
        }
        assert_eq!(test.told(14_499), []);
        assert_eq!(test.told(14_500), [(9500, "d".into(), true)]);
        assert_eq!(test.told(30_000), []);
    }

    #[test]
    fn of_many_devices_of_a_user_something_is_told_once_in_a_while() {
        let mut test = Test::new();
        let mut times = Vec::new();
        for ms in (0..10_000).step_by(10) {
            test.note(ms, &format!("d{ms}"), true);
            let told = test.told(ms);
            if !told.is_empty() {
                times.push(ms);
            }
        }
        assert_eq!(times, [0, 2000, 4000, 6000, 8000]);
    }

    #[test]
    fn who_was_there_for_a_moment_leaves_a_trace() {
        let mut test = Test::new();
        test.note(0, "a", true);
        assert_eq!(test.told(0).len(), 1);
        test.note(100, "b", true);
        test.note(200, "b", false);
        assert_eq!(test.told(3000), [], "nobody was told that it came");
        assert_eq!(test.told(6000), [(200, "b".into(), false)]);
        // The device came back before that.
        test.note(8100, "b", true);
        test.note(8200, "b", false);
        test.note(8300, "b", true);
        assert_eq!(test.told(9000), [(8300, "b".into(), true)]);
    }

    #[test]
    fn at_the_end_everything_is_told() {
        let mut test = Test::new();
        test.note(0, "a", true);
        test.told(0);
        test.note(1, "a", false);
        test.note(1, "b", true);
        test.state.closed = true;
        assert_eq!(test.told(2).len(), 2);
        test.note(3, "c", true);
        assert_eq!((test.told(9000).len(), test.state.changes), (0, 0));
    }
}
