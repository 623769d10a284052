//! State shared by all connections of one user to this server: their number, the rates of their operations, and their share of the
//! queues for the bus. Many devices of one user thus take no more from other users than one device does.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use im_proto::limits::{
    ACKS_PER_SECOND, REQUESTS_AT_ONCE, REQUESTS_PER_SECOND, SIGNALS_AT_ONCE, SIGNALS_PER_SECOND,
    SYNCS_PER_SECOND,
};
use im_sdk::id::UserId;
use parking_lot::Mutex;

use super::{
    SHARDS,
    rate_limit::{Rate, TokenBucket},
};

/// The maximum number of bytes that one user may have queued for the bus, over all lanes: an eighth of the smallest and most
/// important lanes.
const QUEUED_BYTES: usize = 1024 * 1024;

/// The overhead that each queued message counts, so that one user also takes at most an eighth of a lane's items.
const QUEUED_OVERHEAD: usize = 1024;

/// The burst of a user's connections, as a multiple of the rate per second: networks come and go.
const CONNECT_BURST: u32 = 60;

/// The operations of devices whose rate is limited for each user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A device has one sync in flight, and starts the next when entries are missing.
    Sync,
    /// A device collects acknowledgements for 100 ms: the rate is twice what it needs.
    Ack,
    /// The rate allows for typing and some signals of the application, the burst for the dozens of candidates that begin a call.
    Signal,
    /// Requests are pages of history, lists and marks.
    Request,
}

impl Operation {
    fn rate(self) -> Rate {
        match self {
            Self::Sync => Rate::per_second(SYNCS_PER_SECOND),
            Self::Ack => Rate::per_second(ACKS_PER_SECOND),
            Self::Signal => Rate { per_second: SIGNALS_PER_SECOND, burst: SIGNALS_AT_ONCE },
            Self::Request => Rate { per_second: REQUESTS_PER_SECOND, burst: REQUESTS_AT_ONCE },
        }
    }

    /// Returns the rate in bytes. Each burst has room for at least one frame.
    fn bytes(self) -> Rate {
        const KIB: u32 = 1024;
        let (per_second, burst) = match self {
            // The cursors of a device that is in thousands of channels fill a frame.
            Self::Sync => (128 * KIB, 1024 * KIB),
            Self::Ack => (32 * KIB, 1024 * KIB),
            Self::Signal => (16 * KIB, 128 * KIB),
            // Most requests take some hundred bytes; marks may contain drafts.
            Self::Request => (128 * KIB, 1024 * KIB),
        };
        Rate { per_second, burst }
    }
}

/// The users that are connected, or were until a moment ago.
#[derive(Debug)]
pub(crate) struct Users {
    shards: [Mutex<HashMap<UserId, Arc<User>>>; SHARDS],
    hasher: RandomState,
    /// The shard that is swept next.
    next: AtomicUsize,
}

/// The shared state of one user.
#[derive(Debug)]
pub(crate) struct User {
    connections: AtomicUsize,
    /// The number of bytes queued for the bus.
    queued: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    connects: TokenBucket,
    /// The budget of each operation; `None` for a full one, since most users are idle.
    budgets: [Option<Box<OperationBudget>>; OPERATIONS.len()],
    /// Whether the user had no connection at the last sweep.
    idle: bool,
}

/// The remaining budget of an operation, in number and in bytes.
#[derive(Debug)]
struct OperationBudget {
    times: TokenBucket,
    bytes: TokenBucket,
}

const OPERATIONS: [Operation; 4] = [Operation::Sync, Operation::Ack, Operation::Signal, Operation::Request];

/// The maximum number of a user's connections, and their rate per second. 0 means unlimited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserLimits {
    pub(crate) devices: usize,
    pub(crate) connects_per_second: u32,
}

/// The reason for which a user gets no further connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UserLimitError {
    TooManyConnections,
    ConnectsTooOften,
}

impl Default for Users {
    fn default() -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { shards, hasher: RandomState::new(), next: AtomicUsize::new(0) }
    }
}

impl Users {
    /// Returns a user's state. It is kept for as long as the returned reference is held, and a while longer.
    pub(crate) fn get(&self, user: &UserId) -> Arc<User> {
        let mut shard = self.shards[self.hasher.hash_one(user) as usize % SHARDS].lock();
        if let Some(user) = shard.get(user) {
            return Arc::clone(user);
        }
        let new = Arc::new(User::new(Instant::now()));
        shard.insert(user.clone(), Arc::clone(&new));
        new
    }

    /// Forgets full budgets, and users without a connection. Inspects each user once in [`SHARDS`] calls, and removes a user at the
    /// second inspection without a connection.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let next = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut shard = self.shards[next].lock();
        shard.retain(|_, user| {
            let is_idle = Arc::strong_count(user) == 1;
            let mut state = user.state.lock();
            let goes = is_idle && state.idle;
            state.idle = is_idle;
            for (budget, operation) in state.budgets.iter_mut().zip(OPERATIONS) {
                budget.take_if(|budget| budget.is_full(operation, now));
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
        let budgets = OPERATIONS.map(|_| None);
        // Starts full: the rate is only known at the first use.
        let connects = TokenBucket::new(Rate { per_second: 1, burst: u32::MAX }, now);
        let state = Mutex::new(State { connects, budgets, idle: false });
        Self { connections: AtomicUsize::new(0), queued: AtomicUsize::new(0), state }
    }

    /// Checks whether the user may have one more connection.
    pub(crate) fn may_connect(&self, limits: UserLimits, now: Instant) -> Result<(), UserLimitError> {
        if limits.devices > 0 && self.connections.load(Ordering::Relaxed) >= limits.devices {
            return Err(UserLimitError::TooManyConnections);
        }
        if limits.connects_per_second > 0 {
            let burst = limits.connects_per_second.saturating_mul(CONNECT_BURST);
            let rate = Rate { per_second: limits.connects_per_second, burst };
            self.state.lock().connects.take(rate, now).map_err(|_| UserLimitError::ConnectsTooOften)?;
        }
        Ok(())
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn enter(self: Arc<Self>) -> UserGuard {
        self.connections.fetch_add(1, Ordering::Relaxed);
        UserGuard { user: self }
    }

    /// Takes the budget for one operation of this size.
    ///
    /// # Errors
    /// The time until the operation is allowed again, if the budget is used up.
    pub(crate) fn try_spend(&self, operation: Operation, bytes: usize, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock();
        let budget = state.budgets[operation as usize]
            .get_or_insert_with(|| Box::new(OperationBudget::new(operation, now)));
        budget.times.take(operation.rate(), now)?;
        budget.bytes.take_many(u32::try_from(bytes).unwrap_or(u32::MAX), operation.bytes(), now)
    }

    /// Takes a part of the user's share of the queues for the bus. Returns `None` if the share is used up.
    pub(crate) fn try_queue(self: &Arc<Self>, bytes: usize) -> Option<QueueShare> {
        let bytes = bytes.saturating_add(QUEUED_OVERHEAD);
        let add = |queued: usize| queued.checked_add(bytes).filter(|sum| *sum <= QUEUED_BYTES);
        self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok()?;
        Some(QueueShare { user: Arc::clone(self), bytes })
    }
}

impl OperationBudget {
    fn new(operation: Operation, now: Instant) -> Self {
        Self {
            times: TokenBucket::new(operation.rate(), now),
            bytes: TokenBucket::new(operation.bytes(), now),
        }
    }

    /// Returns whether the budget is as full as a new one.
    fn is_full(&mut self, operation: Operation, now: Instant) -> bool {
        self.times.is_full(operation.rate(), now) && self.bytes.is_full(operation.bytes(), now)
    }
}

/// Counts a user's connection until it is dropped.
#[derive(Debug)]
pub(crate) struct UserGuard {
    pub(crate) user: Arc<User>,
}

impl Drop for UserGuard {
    fn drop(&mut self) {
        self.user.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A part of a user's share of the queues for the bus; freed when dropped.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id(user: &str) -> UserId {
        UserId::parse(user).unwrap()
    }

    #[test]
    fn devices_and_connects_of_a_user_are_bounded() {
        let (users, now) = (Users::default(), Instant::now());
        let most = UserLimits { devices: 2, connects_per_second: 1 };
        let present: Vec<_> = (0..2)
            .map(|_| {
                users.get(&id("a")).may_connect(most, now).unwrap();
                users.get(&id("a")).enter()
            })
            .collect();
        assert_eq!(users.get(&id("a")).may_connect(most, now), Err(UserLimitError::TooManyConnections));
        assert_eq!(users.get(&id("b")).may_connect(most, now), Ok(()), "that is somebody else");
        drop(present);
        let let_in = |now| (0..1000).filter(|_| users.get(&id("a")).may_connect(most, now).is_ok()).count();
        assert_eq!(let_in(now), CONNECT_BURST as usize - 2, "two have come already");
        assert_eq!(let_in(now + Duration::from_secs(3)), 3);
        let any = UserLimits { devices: 0, connects_per_second: 0 };
        assert!((0..1000).all(|_| users.get(&id("a")).may_connect(any, now).is_ok()));
    }

    #[test]
    fn all_devices_of_a_user_ask_out_of_one_allowance() {
        let (users, now) = (Users::default(), Instant::now());
        for operation in OPERATIONS {
            let ask = |bytes: usize| {
                (0..10_000).filter(|_| users.get(&id("a")).try_spend(operation, bytes, now).is_ok()).count()
            };
            assert_eq!(ask(1), operation.rate().burst as usize, "{operation:?}");
            assert!(users.get(&id("b")).try_spend(operation, 1, now).is_ok());
        }
        let user = users.get(&id("c"));
        let signals = (0..100).filter(|_| user.try_spend(Operation::Signal, 4096, now).is_ok()).count();
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
        let there = || users.shards.iter().map(|shard| shard.lock().len()).sum::<usize>();
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
