//! What all connections of one user to this server share: how many there are, how much they may ask for in a time, and how much
//! of what waits for the bus is theirs. So one user takes no more from others with many devices than with one.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use im_proto::limits::{
    ACKS_PER_SECOND, REQUESTS_AT_ONCE, REQUESTS_PER_SECOND, SIGNALS_AT_ONCE, SIGNALS_PER_SECOND,
    SYNCS_PER_SECOND,
};
use im_sdk::id::UserId;

use crate::{
    allowance::{Allowance, Rate},
    registry::SHARDS,
};

/// What may wait of one user for the bus, over all queues: an eighth of the smallest and most important ones.
const QUEUED_BYTES: usize = 1024 * 1024;

/// What each thing that waits counts beside its bytes: an eighth of a queue's places is one user's at most, too.
const QUEUED_OVERHEAD: usize = 1024;

/// How often a user may connect at once, as a multiple of what is allowed in a second: a network that comes and goes.
const CONNECTS_AT_ONCE: u32 = 60;

/// What a user's devices may ask for in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A device asks for one at a time, and for the next when it has something.
    Sync,
    /// A device collects them for 100 ms: this is twice what it needs.
    Ack,
    /// Some typing and some of the application's own in the long run, at once the dozens of candidates with which a call begins.
    Signal,
    /// A page of history, a list, a mark.
    Request,
}

impl Kind {
    fn rate(self) -> Rate {
        match self {
            Self::Sync => Rate::per_second(SYNCS_PER_SECOND),
            Self::Ack => Rate::per_second(ACKS_PER_SECOND),
            Self::Signal => Rate { per_second: SIGNALS_PER_SECOND, at_once: SIGNALS_AT_ONCE },
            Self::Request => Rate { per_second: REQUESTS_PER_SECOND, at_once: REQUESTS_AT_ONCE },
        }
    }

    /// In bytes. At once at least one frame of each may come.
    fn bytes(self) -> Rate {
        const KIB: u32 = 1024;
        let (per_second, at_once) = match self {
            // The cursors of a device that is in thousands of channels fill a frame.
            Self::Sync => (128 * KIB, 1024 * KIB),
            Self::Ack => (32 * KIB, 1024 * KIB),
            Self::Signal => (16 * KIB, 128 * KIB),
            // Most are of some hundred bytes; marks bring drafts along.
            Self::Request => (128 * KIB, 1024 * KIB),
        };
        Rate { per_second, at_once }
    }
}

/// The users who are connected, or were until a moment ago.
#[derive(Debug)]
pub(crate) struct Users {
    shards: [Mutex<HashMap<UserId, Arc<User>>>; SHARDS],
    hasher: RandomState,
    /// The shard that is swept next.
    next: AtomicUsize,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct User {
    connections: AtomicUsize,
    /// Bytes that wait for the bus.
    queued: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    connecting: Allowance,
    /// By kind; nothing of those that have not been asked for lately, since most users are idle.
    asking: [Option<Box<Asking>>; KINDS.len()],
    /// Nobody was there when it was looked at last.
    idle: bool,
}

/// What is left of a kind: how often, and how many bytes.
#[derive(Debug)]
struct Asking {
    times: Allowance,
    bytes: Allowance,
}

const KINDS: [Kind; 4] = [Kind::Sync, Kind::Ack, Kind::Signal, Kind::Request];

/// How many connections a user may have, and how often it may connect in a second; 0: any number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    pub(crate) devices: usize,
    pub(crate) connects_per_second: u32,
}

/// Why a user gets no further connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotLetIn {
    TooMany,
    TooOften,
}

impl Default for Users {
    fn default() -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { shards, hasher: RandomState::new(), next: AtomicUsize::new(0) }
    }
}

impl Users {
    /// A user, who is remembered from here on for as long as somebody holds this, and a while longer.
    pub(crate) fn get(&self, user: &UserId) -> Arc<User> {
        let mut shard = lock(&self.shards[self.hasher.hash_one(user) as usize % SHARDS]);
        if let Some(user) = shard.get(user) {
            return Arc::clone(user);
        }
        let new = Arc::new(User::new(Instant::now()));
        shard.insert(user.clone(), Arc::clone(&new));
        new
    }

    /// Forgets what is as at the beginning, and those of whom nobody has been there for a while: each is looked at once in [`SHARDS`] calls, and goes at the
    /// second look.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let next = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut shard = lock(&self.shards[next]);
        shard.retain(|_, user| {
            let is_idle = Arc::strong_count(user) == 1;
            let mut state = lock(&user.state);
            let goes = is_idle && state.idle;
            state.idle = is_idle;
            for (asking, kind) in state.asking.iter_mut().zip(KINDS) {
                asking.take_if(|asking| asking.is_full(kind, now));
            }
            !goes
        });
        if shard.is_empty() {
            *shard = HashMap::new();
        }
    }
}

impl User {
    fn new(now: Instant) -> Self {
        let asking = KINDS.map(|_| None);
        // Filled with the first use, when the rate is known.
        let connecting = Allowance::new(Rate { per_second: 1, at_once: u32::MAX }, now);
        let state = Mutex::new(State { connecting, asking, idle: false });
        Self { connections: AtomicUsize::new(0), queued: AtomicUsize::new(0), state }
    }

    /// Whether one more connection may be let in.
    pub(crate) fn may_connect(&self, most: Most, now: Instant) -> Result<(), NotLetIn> {
        if most.devices > 0 && self.connections.load(Ordering::Relaxed) >= most.devices {
            return Err(NotLetIn::TooMany);
        }
        if most.connects_per_second > 0 {
            let at_once = most.connects_per_second.saturating_mul(CONNECTS_AT_ONCE);
            let rate = Rate { per_second: most.connects_per_second, at_once };
            lock(&self.state).connecting.take(rate, now).map_err(|_| NotLetIn::TooOften)?;
        }
        Ok(())
    }

    /// A connection is there until the guard is dropped.
    pub(crate) fn enter(self: Arc<Self>) -> Present {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Present { user: self }
    }

    /// Takes one of a kind, of this size.
    ///
    /// # Errors
    /// Too much: how long until it may come again.
    pub(crate) fn may_ask(&self, kind: Kind, bytes: usize, now: Instant) -> Result<(), Duration> {
        let mut state = lock(&self.state);
        let asking = state.asking[kind as usize].get_or_insert_with(|| Box::new(Asking::new(kind, now)));
        asking.times.take(kind.rate(), now)?;
        asking.bytes.take_many(u32::try_from(bytes).unwrap_or(u32::MAX), kind.bytes(), now)
    }

    /// A part of what may wait of this user for the bus. `None`: all of it is taken.
    pub(crate) fn try_queue(self: &Arc<Self>, bytes: usize) -> Option<QueueShare> {
        let bytes = bytes.saturating_add(QUEUED_OVERHEAD);
        let add = |queued: usize| queued.checked_add(bytes).filter(|sum| *sum <= QUEUED_BYTES);
        self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok()?;
        Some(QueueShare { user: Arc::clone(self), bytes })
    }
}

impl Asking {
    fn new(kind: Kind, now: Instant) -> Self {
        Self { times: Allowance::new(kind.rate(), now), bytes: Allowance::new(kind.bytes(), now) }
    }

    /// Whether it is as a new one.
    fn is_full(&mut self, kind: Kind, now: Instant) -> bool {
        self.times.is_full(kind.rate(), now) && self.bytes.is_full(kind.bytes(), now)
    }
}

/// A user's connection. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Present {
    pub(crate) user: Arc<User>,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.user.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A part of what may wait of a user. Dropped, it is free again.
#[derive(Debug)]
pub(crate) struct QueueShare {
    user: Arc<User>,
    bytes: usize,
}

impl Drop for QueueShare {
    fn drop(&mut self) {
        self.user.queued.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(user: &str) -> UserId {
        UserId::parse(user).unwrap()
    }

    #[test]
    fn devices_and_connects_of_a_user_are_bounded() {
        let (users, now) = (Users::default(), Instant::now());
        let most = Most { devices: 2, connects_per_second: 1 };
        let present: Vec<_> = (0..2)
            .map(|_| {
                users.get(&id("a")).may_connect(most, now).unwrap();
                users.get(&id("a")).enter()
            })
            .collect();
        assert_eq!(users.get(&id("a")).may_connect(most, now), Err(NotLetIn::TooMany));
        assert_eq!(users.get(&id("b")).may_connect(most, now), Ok(()), "that is somebody else");
        drop(present);
        let let_in = |now| (0..1000).filter(|_| users.get(&id("a")).may_connect(most, now).is_ok()).count();
        assert_eq!(let_in(now), CONNECTS_AT_ONCE as usize - 2, "two have come already");
        assert_eq!(let_in(now + Duration::from_secs(3)), 3);
        let any = Most { devices: 0, connects_per_second: 0 };
        assert!((0..1000).all(|_| users.get(&id("a")).may_connect(any, now).is_ok()));
    }

    #[test]
    fn all_devices_of_a_user_ask_out_of_one_allowance() {
        let (users, now) = (Users::default(), Instant::now());
        for kind in KINDS {
            let ask = |bytes: usize| {
                (0..10_000).filter(|_| users.get(&id("a")).may_ask(kind, bytes, now).is_ok()).count()
            };
            assert_eq!(ask(1), kind.rate().at_once as usize, "{kind:?}");
            assert!(users.get(&id("b")).may_ask(kind, 1, now).is_ok());
        }
        let user = users.get(&id("c"));
        let signals = (0..100).filter(|_| user.may_ask(Kind::Signal, 4096, now).is_ok()).count();
        assert_eq!(signals, 32, "128 KiB at once");
    }

    #[test]
    fn one_user_fills_no_queue() {
        let users = Users::default();
        let user = users.get(&id("a"));
        let shares: Vec<_> = std::iter::from_fn(|| user.try_queue(0)).collect();
        assert_eq!(shares.len(), 1024);
        assert!(users.get(&id("b")).try_queue(64 * 1024).is_some());
        drop(shares);
        assert!(user.try_queue(QUEUED_BYTES - QUEUED_OVERHEAD).is_some());
        assert!(user.try_queue(QUEUED_BYTES).is_none());
    }

    #[test]
    fn who_has_been_away_is_forgotten() {
        let users = Users::default();
        let present = users.get(&id("a")).enter();
        let there = || users.shards.iter().map(|shard| lock(shard).len()).sum::<usize>();
        let round = || (0..SHARDS).for_each(|_| users.sweep());
        (0..3).for_each(|_| round());
        assert_eq!(there(), 1);
        drop(present);
        round();
        assert_eq!(there(), 1, "it may come back");
        round();
        assert_eq!(there(), 0);
    }
}
