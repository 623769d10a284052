//! Budgets of users: the work that all devices of one user together may cause a backend.
//!
//! A server limits each connection. A user with many devices on many servers is limited here. The
//! buckets are in a map of bounded size: a full bucket takes no place that another one needs.

mod bucket;
mod recent;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use self::bucket::Bucket;
pub(in crate::backend) use self::recent::RecentMap;
use crate::id::UserId;

/// The number of users whose buckets are kept, at some 150 bytes each. If more users are active
/// within the time in which buckets fill, those that were idle for longest begin anew with full
/// ones.
const MAX_USERS: usize = 65_536;

/// A limit: an amount in the long run, and an amount at once after a rest.
///
/// ```
/// use im_sdk::backend::{Budget, Im, UserBudgets};
/// let mut budgets = UserBudgets::default();
/// budgets.publishes = Budget::per_second(5, 100);
/// budgets.new_contacts = Budget::UNLIMITED;
/// let im = Im::builder().user_budgets(budgets);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The time in which one unit comes back, in nanoseconds; 0 means unlimited.
    interval_ns: u64,
    at_once: u64,
}

impl Budget {
    /// No limit.
    pub const UNLIMITED: Self = Self { interval_ns: 0, at_once: u64::MAX };

    /// Allows `amount` in each second, and `at_once` after a rest. Both count as at least 1.
    pub const fn per_second(amount: u64, at_once: u64) -> Self {
        Self::within(Duration::from_secs(1), amount, at_once)
    }

    /// Allows `amount` in each hour, and `at_once` after a rest. Both count as at least 1.
    pub const fn per_hour(amount: u64, at_once: u64) -> Self {
        Self::within(Duration::from_secs(3600), amount, at_once)
    }

    const fn within(time: Duration, amount: u64, at_once: u64) -> Self {
        let amount = if amount == 0 { 1 } else { amount };
        // Nanoseconds are precise enough.
        let interval = time.as_nanos() as u64 / amount;
        let interval_ns = if interval == 0 { 1 } else { interval };
        Self { interval_ns, at_once: if at_once == 0 { 1 } else { at_once } }
    }
}

/// The work that the devices of one user together may cause **one backend**. With several backends
/// a user has as many times that, since the bus gives each of them a share of the requests.
///
/// The defaults are far above what people do, or an application does for them, and low enough that a hostile user does not
/// affect others:
///
/// | | at once | in the long run | the most of it in a day |
/// | --- | --- | --- | --- |
/// | publishes | 1,000 | 20 a second | 1.7 million |
/// | bytes of publishes | 16 MiB | 64 KiB a second | 5.4 GiB, in the logs of at most 5,200 users |
/// | users written to for the first time | 400 | 200 an hour | 5,200 |
/// | of these, users that the deployment has never seen | 200 | 20 an hour | 680 logs of users that do not exist |
/// | signals | 200 | 40 a second | 3.5 million, none of them kept |
/// | bytes of signals | 512 KiB | 64 KiB a second | |
/// | places that devices acknowledge | 16,384 | 500 a second | |
/// | bytes of syncs | 256 MiB | 1 MiB a second | 85 GiB |
///
/// A request beyond a budget is refused with `TOO_MANY` and the time of the next attempt, which the SDK's client waits for by
/// itself. Signals and acknowledgements are dropped, and a sync continues when the device asks again. If the backend itself
/// fails, the cost is given back. A program that publishes more than a person should be a backend, which has no budget; or
/// raise the budgets for a deployment of such devices.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserBudgets {
    /// Publishes, including changes. Default 20 a second, 1,000 at once.
    pub publishes: Budget,
    /// Bytes of publishes. Default 64 KiB a second, 16 MiB at once.
    pub publish_bytes: Budget,
    /// Users that the user writes to for the first time, if
    /// [`Handler::may_reach`](crate::backend::Handler::may_reach) leaves it undecided. Default 200
    /// an hour, 400 at once.
    pub new_contacts: Budget,
    /// The part of these users that the deployment has never seen: each of them gets a log that may
    /// never be read. Default 20 an hour, 200 at once.
    pub unknown_contacts: Budget,
    /// Signals. Default 40 a second, 200 at once.
    pub signals: Budget,
    /// Bytes of signals. Default 64 KiB a second, 512 KiB at once.
    pub signal_bytes: Budget,
    /// Seqs that devices acknowledge. Default 500 a second, 16,384 at once.
    pub acks: Budget,
    /// Bytes that syncs send to devices. Default 1 MiB a second, 256 MiB at once.
    pub sync_bytes: Budget,
}

impl Default for UserBudgets {
    fn default() -> Self {
        const KIB: u64 = 1024;
        Self {
            publishes: Budget::per_second(20, 1000),
            publish_bytes: Budget::per_second(64 * KIB, 16 * KIB * KIB),
            new_contacts: Budget::per_hour(200, 400),
            unknown_contacts: Budget::per_hour(20, 200),
            signals: Budget::per_second(40, 200),
            signal_bytes: Budget::per_second(64 * KIB, 512 * KIB),
            acks: Budget::per_second(500, 16_384),
            sync_bytes: Budget::per_second(KIB * KIB, 256 * KIB * KIB),
        }
    }
}

impl UserBudgets {
    /// Returns budgets without limits: for load tests, and for trusted users.
    pub fn unlimited() -> Self {
        let budget = Budget::UNLIMITED;
        Self {
            publishes: budget,
            publish_bytes: budget,
            new_contacts: budget,
            unknown_contacts: budget,
            signals: budget,
            signal_bytes: budget,
            acks: budget,
            sync_bytes: budget,
        }
    }

    fn of(&self, resource: Resource) -> Budget {
        match resource {
            Resource::Publishes => self.publishes,
            Resource::PublishBytes => self.publish_bytes,
            Resource::NewContacts => self.new_contacts,
            Resource::UnknownContacts => self.unknown_contacts,
            Resource::Signals => self.signals,
            Resource::SignalBytes => self.signal_bytes,
            Resource::Acks => self.acks,
            Resource::SyncBytes => self.sync_bytes,
        }
    }
}

/// The resources with a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend) enum Resource {
    Publishes,
    PublishBytes,
    NewContacts,
    UnknownContacts,
    Signals,
    SignalBytes,
    Acks,
    SyncBytes,
}

const RESOURCES: usize = 8;

/// A budget is exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend) struct Exhausted {
    pub(in crate::backend) retry_after: Duration,
}

impl Exhausted {
    /// Returns the time in milliseconds, rounded up, so that a retry then succeeds.
    pub(in crate::backend) fn retry_after_ms(self) -> u32 {
        let ms = self.retry_after.as_nanos().div_ceil(1_000_000);
        u32::try_from(ms).unwrap_or(u32::MAX)
    }
}

/// The buckets of all users. Never awaits.
#[derive(Debug)]
pub(in crate::backend) struct Budgets {
    config: UserBudgets,
    began: Instant,
    users: Mutex<RecentMap<UserId, [Bucket; RESOURCES]>>,
}

impl Budgets {
    pub(in crate::backend) fn new(config: UserBudgets) -> Self {
        Self { config, began: Instant::now(), users: Mutex::new(RecentMap::new(MAX_USERS)) }
    }

    /// Takes from several budgets at once: all, or none. An amount larger than a budget has at once
    /// is granted when the budget is full, and paid back over time.
    ///
    /// # Errors
    /// [`Exhausted`], with the longest wait of them.
    pub(in crate::backend) fn take<const N: usize>(
        &self,
        user: &UserId,
        amounts: [(Resource, u64); N],
    ) -> Result<(), Exhausted> {
        let now = self.now();
        let mut users = self.lock();
        let buckets = users.entry(user);
        let waits = amounts.iter().map(|(resource, amount)| {
            buckets[*resource as usize].wait(self.config.of(*resource), *amount, now)
        });
        match waits.max() {
            Some(wait) if wait > 0 => return Err(Exhausted { retry_after: Duration::from_nanos(wait) }),
            _ => {}
        }
        for (resource, amount) in amounts {
            buckets[resource as usize].charge(self.config.of(resource), amount, now);
        }
        Ok(())
    }

    /// Takes as much of an amount as a budget has, and returns it.
    pub(in crate::backend) fn take_up_to(&self, user: &UserId, resource: Resource, amount: u64) -> u64 {
        let (now, budget) = (self.now(), self.config.of(resource));
        let mut users = self.lock();
        let bucket = &mut users.entry(user)[resource as usize];
        let taken = amount.min(bucket.left(budget, now));
        bucket.charge(budget, taken, now);
        taken
    }

    /// Takes an amount that was used already, even if the budget has less.
    pub(in crate::backend) fn charge(&self, user: &UserId, resource: Resource, amount: u64) {
        let now = self.now();
        self.lock().entry(user)[resource as usize].charge(self.config.of(resource), amount, now);
    }

    /// Gives back an amount that was taken in vain.
    pub(in crate::backend) fn give_back<const N: usize>(&self, user: &UserId, amounts: [(Resource, u64); N]) {
        let mut users = self.lock();
        let buckets = users.entry(user);
        for (resource, amount) in amounts {
            buckets[resource as usize].give_back(self.config.of(resource), amount);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, RecentMap<UserId, [Bucket; RESOURCES]>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn budgets() -> Budgets {
        let mut config = UserBudgets::unlimited();
        config.publishes = Budget::per_hour(1, 3);
        config.publish_bytes = Budget::per_hour(1, 100);
        Budgets::new(config)
    }

    #[test]
    fn all_is_taken_or_nothing() {
        let (budgets, mallory) = (budgets(), user("mallory"));
        let publish =
            |bytes| budgets.take(&mallory, [(Resource::Publishes, 1), (Resource::PublishBytes, bytes)]);
        assert_eq!(publish(60), Ok(()));
        let refused = publish(60).unwrap_err();
        assert!(refused.retry_after > Duration::from_secs(19 * 3600), "{refused:?}");
        assert_eq!((publish(40), publish(0)), (Ok(()), Ok(())), "the one that was refused cost nothing");
        assert!(publish(0).unwrap_err().retry_after <= Duration::from_secs(3600));
        assert_eq!(budgets.take(&user("alice"), [(Resource::Publishes, 3)]), Ok(()), "each has an own one");
    }

    #[test]
    fn what_failed_is_given_back() {
        let (budgets, alice) = (budgets(), user("alice"));
        for _ in 0..100 {
            assert_eq!(budgets.take(&alice, [(Resource::Publishes, 3)]), Ok(()));
            budgets.give_back(&alice, [(Resource::Publishes, 3)]);
        }
        budgets.give_back(&alice, [(Resource::Publishes, 100)]);
        assert_eq!(budgets.take_up_to(&alice, Resource::Publishes, 100), 3, "never more than that");
        assert_eq!(budgets.take_up_to(&alice, Resource::Publishes, 100), 0);
    }

    #[test]
    fn what_is_used_already_is_waited_for() {
        let (budgets, bob) = (budgets(), user("bob"));
        budgets.charge(&bob, Resource::PublishBytes, 150);
        let wait = budgets.take(&bob, [(Resource::PublishBytes, 1)]).unwrap_err().retry_after;
        assert!((50 * 3600..=51 * 3600).contains(&wait.as_secs()), "{wait:?}");
    }

    #[test]
    fn a_crowd_takes_no_more_than_its_place() {
        let budgets = budgets();
        for number in 0..3 * MAX_USERS {
            assert_eq!(budgets.take(&user(&format!("u{number}")), [(Resource::Publishes, 1)]), Ok(()));
        }
        assert!(budgets.lock().len() <= MAX_USERS);
    }
}
