//! Waiting work of a backend, in a queue for each user.
//!
//! Users take turns, whoever asked first and however much one of them asks. Each user has a limited
//! number of pieces in progress and waiting. Work that has waited too long is dropped, since its device
//! has asked again by then. So a backlog drains: the first work after a stall is some that a device
//! still waits for.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::id::{Device, UserId};

/// The limits of one kind of work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The number of calls of the responder at once.
    pub(super) concurrency: usize,
    /// The number of pieces of work in one call.
    pub(super) batch: usize,
    /// The number of pieces of one user in progress.
    pub(super) per_user: usize,
    /// The number of pieces of one user that may wait.
    pub(super) waiting_per_user: usize,
    /// The time that a piece may wait.
    pub(super) patience: Duration,
}

/// The most bytes of one kind of waiting work, including [`OVERHEAD`]. The bus would hold as much,
/// but without regard to users.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The part of the free bytes that one user may fill, so that something is always free for others.
const SHARE_OF_FREE: usize = 4;

/// The bytes of a piece of work beside its own.
const OVERHEAD: usize = 256;

/// A piece of work, and its user.
#[derive(Debug)]
pub(super) struct Job<T> {
    pub(super) user: UserId,
    pub(super) work: T,
    pub(super) bytes: usize,
    /// If set, the work replaces waiting work of the same user and this device.
    pub(super) replaces: Option<Device>,
}

impl<T> Job<T> {
    pub(super) fn new(user: UserId, work: T, bytes: usize) -> Self {
        Self { user, work, bytes, replaces: None }
    }
}

/// Work that waits, in a queue for each user. Neither waits nor reads a clock itself.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    limits: Limits,
    users: HashMap<UserId, OfUser<T>>,
    /// Users with work that may begin, each once, in turn.
    ready: VecDeque<UserId>,
    bytes: usize,
}

#[derive(Debug)]
struct OfUser<T> {
    waiting: VecDeque<Waiting<T>>,
    bytes: usize,
    under_way: usize,
    is_ready: bool,
}

#[derive(Debug)]
struct Waiting<T> {
    work: T,
    bytes: usize,
    slot: Option<Device>,
    since: Instant,
}

impl<T> Default for OfUser<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, under_way: 0, is_ready: false }
    }
}

/// The next step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    /// Begin this work, and call [`FairQueue::done`] when it is over.
    Begin(UserId, T),
    /// This work has waited too long.
    Expired(UserId, T),
}

impl<T> FairQueue<T> {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, users: HashMap::new(), ready: VecDeque::new(), bytes: 0 }
    }

    /// Adds a piece of work.
    ///
    /// # Errors
    /// The work, if the user's share is used up.
    pub(super) fn push(&mut self, job: Job<T>, now: Instant) -> Result<(), T> {
        let Job { user, work, bytes, replaces } = job;
        let bytes = bytes + OVERHEAD;
        let free = MAX_BYTES.saturating_sub(self.bytes);
        let share = free / SHARE_OF_FREE;
        if bytes > share && !self.users.contains_key(&user) {
            return Err(work);
        }
        let name = user.clone();
        let user = self.users.entry(user).or_default();
        let old = user.waiting.iter_mut().find(|waiting| replaces.is_some() && waiting.slot == replaces);
        if let Some(old) = old {
            if bytes > old.bytes + share {
                return Err(work);
            }
            // It keeps its place in the order, with a new time.
            let before = std::mem::replace(old, Waiting { work, bytes, slot: replaces, since: now });
            self.bytes = self.bytes + bytes - before.bytes;
            user.bytes = user.bytes + bytes - before.bytes;
            return Ok(());
        }
        if user.bytes + bytes > share || user.waiting.len() >= self.limits.waiting_per_user {
            return Err(work);
        }
        user.waiting.push_back(Waiting { work, bytes, slot: replaces, since: now });
        user.bytes += bytes;
        self.bytes += bytes;
        if !user.is_ready && user.under_way < self.limits.per_user {
            user.is_ready = true;
            self.ready.push_back(name);
        }
        Ok(())
    }

    /// Returns the next piece of work, of the user whose turn it is.
    pub(super) fn next(&mut self, now: Instant) -> Option<Next<T>> {
        let name = self.ready.pop_front()?;
        let user = self.users.get_mut(&name)?;
        user.is_ready = false;
        let waiting = user.waiting.pop_front()?;
        user.bytes -= waiting.bytes;
        self.bytes -= waiting.bytes;
        let is_expired = now.saturating_duration_since(waiting.since) >= self.limits.patience;
        if !is_expired {
            user.under_way += 1;
        }
        self.settle(&name, is_expired);
        let work = waiting.work;
        Some(if is_expired { Next::Expired(name, work) } else { Next::Begin(name, work) })
    }

    /// Notes that a piece of work of this user is over.
    pub(super) fn done(&mut self, user: &UserId) {
        if let Some(of_user) = self.users.get_mut(user) {
            of_user.under_way = of_user.under_way.saturating_sub(1);
        }
        self.settle(user, false);
    }

    /// Gives a user with further work another turn, and forgets one without. With `first` the turn
    /// is not over: expired work costs none.
    fn settle(&mut self, name: &UserId, first: bool) {
        let Some(user) = self.users.get_mut(name) else { return };
        if user.waiting.is_empty() && user.under_way == 0 {
            self.users.remove(name);
        } else if !user.is_ready && !user.waiting.is_empty() && user.under_way < self.limits.per_user {
            user.is_ready = true;
            if first { self.ready.push_front(name.clone()) } else { self.ready.push_back(name.clone()) }
        }
    }

    /// Returns `true` if nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        concurrency: 8,
        batch: 1,
        per_user: 2,
        waiting_per_user: 5,
        patience: Duration::from_secs(10),
    };

    fn user(number: usize) -> UserId {
        UserId::parse(&format!("u{number}")).unwrap()
    }

    fn job(number: usize, work: u32) -> Job<u32> {
        Job::new(user(number), work, 10)
    }

    fn begun(queue: &mut FairQueue<u32>, now: Instant) -> Vec<u32> {
        std::iter::from_fn(|| queue.next(now))
            .map(|next| match next {
                Next::Begin(_, work) => work,
                Next::Expired(_, work) => panic!("{work} has expired"),
            })
            .collect()
    }

    #[test]
    fn users_take_turns() {
        let (mut queue, now) = (FairQueue::new(LIMITS), Instant::now());
        for work in [10, 11, 12, 13, 14] {
            queue.push(job(1, work), now).unwrap();
        }
        assert_eq!(queue.push(job(1, 15), now), Err(15), "its share is used up");
        queue.push(job(2, 20), now).unwrap();
        queue.push(job(3, 30), now).unwrap();
        assert_eq!(begun(&mut queue, now), [10, 20, 30, 11], "two at once of one user");
        queue.done(&user(1));
        assert_eq!(begun(&mut queue, now), [12]);
        queue.done(&user(1));
        queue.done(&user(1));
        assert_eq!(begun(&mut queue, now), [13, 14]);
        [1, 1, 2, 3].iter().for_each(|number| queue.done(&user(*number)));
        assert!(queue.is_empty() && queue.users.is_empty() && queue.ready.is_empty());
    }

    #[test]
    fn a_stale_backlog_is_dropped_at_once() {
        let (mut queue, then) = (FairQueue::new(LIMITS), Instant::now());
        for number in 0..10_000 {
            queue.push(job(number, 0), then).unwrap();
        }
        let now = then + Duration::from_secs(10);
        queue.push(job(7, 1), now).unwrap();
        queue.push(job(77_777, 2), now).unwrap();
        let mut expired = 0;
        let mut fresh = Vec::new();
        while let Some(next) = queue.next(now) {
            match next {
                Next::Expired(_, 0) => expired += 1,
                Next::Begin(_, work) => fresh.push(work),
                Next::Expired(_, work) => panic!("{work} has expired"),
            }
        }
        assert_eq!((expired, fresh), (10_000, vec![1, 2]));
    }

    #[test]
    fn what_waits_is_replaced_by_what_is_newer() {
        let (mut queue, now) = (FairQueue::new(LIMITS), Instant::now());
        let of = |device: &str, work| Job { replaces: Some(device.parse().unwrap()), ..job(1, work) };
        for (device, work) in [("web/a", 1), ("ios/b", 2), ("web/a", 3), ("web/a", 4)] {
            queue.push(of(device, work), now).unwrap();
        }
        assert_eq!(begun(&mut queue, now), [4, 2]);
    }

    #[test]
    fn one_user_never_fills_it_and_a_crowd_leaves_room() {
        let limits = Limits { waiting_per_user: usize::MAX, ..LIMITS };
        let (mut queue, now) = (FairQueue::new(limits), Instant::now());
        let large = |number| Job { bytes: 64 * 1024, ..job(number, 0) };
        let fill = |queue: &mut FairQueue<u32>, number| {
            while queue.push(large(number), now).is_ok() {}
            queue.users.get(&user(number)).map_or(0, |user| user.bytes)
        };
        let first = fill(&mut queue, 0);
        assert!((MAX_BYTES / 6..=MAX_BYTES / 5).contains(&first), "{first}");
        (1..100).for_each(|number| _ = fill(&mut queue, number));
        assert!(queue.bytes <= MAX_BYTES);
        queue.push(job(100, 7), now).expect("a small one of somebody else still finds room");
    }

    proptest! {
        /// In any sequence of steps, a user has no more than its share in progress or waiting, sums are right, nothing is
        /// lost, and each waiting user gets a turn before any user gets a second one.
        #[test]
        fn shares_hold(steps in proptest::collection::vec((0usize..6, 0u8..4), 1..400)) {
            let (mut queue, start) = (FairQueue::new(LIMITS), Instant::now());
            let (mut waiting, mut under_way) = (vec![0usize; 6], vec![0usize; 6]);
            let mut passed_over: Vec<Vec<usize>> = vec![Vec::new(); 6];
            for (number, step) in steps {
                match step {
                    0 | 1 => {
                        let pushed = queue.push(job(number, 0), start).is_ok();
                        prop_assert_eq!(pushed, waiting[number] < LIMITS.waiting_per_user);
                        waiting[number] += usize::from(pushed);
                    }
                    2 => if under_way[number] > 0 {
                        queue.done(&user(number));
                        under_way[number] -= 1;
                    },
                    _ => match queue.next(start) {
                        Some(Next::Begin(who, _)) => {
                            let who = (0..6).find(|number| user(*number) == who).unwrap();
                            waiting[who] -= 1;
                            under_way[who] += 1;
                            prop_assert!(under_way[who] <= LIMITS.per_user);
                            passed_over[who].clear();
                            for other in (0..6).filter(|other| *other != who) {
                                if waiting[other] > 0 && under_way[other] < LIMITS.per_user {
                                    prop_assert!(passed_over[other].iter().filter(|seen| **seen == who).count() < 2);
                                    passed_over[other].push(who);
                                } else {
                                    passed_over[other].clear();
                                }
                            }
                        }
                        Some(Next::Expired(..)) => prop_assert!(false),
                        None => for number in 0..6 {
                            prop_assert!(waiting[number] == 0 || under_way[number] == LIMITS.per_user);
                        },
                    },
                }
                let all: usize = waiting.iter().sum();
                prop_assert_eq!(queue.bytes, all * (10 + OVERHEAD));
                prop_assert_eq!(queue.users.len(), (0..6).filter(|n| waiting[*n] + under_way[*n] > 0).count());
            }
        }
    }
}
