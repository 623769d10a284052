//! A token bucket in one number.

use super::Budget;

/// The time when the bucket is full again, in nanoseconds since a fixed time. Before that some of
/// it is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    full_at: u64,
}

impl Bucket {
    /// Returns the nanoseconds after which an amount may be taken; 0 means now. More than the
    /// bucket holds is granted when it is full.
    pub(super) fn wait(&self, budget: Budget, amount: u64, now: u64) -> u64 {
        let amount = amount.min(budget.at_once);
        let then = self.full_at.max(now).saturating_add(cost(budget, amount));
        then.saturating_sub(now.saturating_add(cost(budget, budget.at_once)))
    }

    /// Returns the amount that may be taken now.
    pub(super) fn left(&self, budget: Budget, now: u64) -> u64 {
        if budget.interval_ns == 0 {
            return u64::MAX;
        }
        let missing = self.full_at.saturating_sub(now).div_ceil(budget.interval_ns);
        budget.at_once.saturating_sub(missing)
    }

    /// Takes an amount, even if the bucket has less.
    pub(super) fn charge(&mut self, budget: Budget, amount: u64, now: u64) {
        self.full_at = self.full_at.max(now).saturating_add(cost(budget, amount));
    }

    pub(super) fn give_back(&mut self, budget: Budget, amount: u64) {
        self.full_at = self.full_at.saturating_sub(cost(budget, amount));
    }
}

fn cost(budget: Budget, amount: u64) -> u64 {
    budget.interval_ns.saturating_mul(amount)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_bucket_is_used_up_and_fills_again() {
        let (budget, mut bucket) = (Budget::per_second(20, 100), Bucket::default());
        let mut taken = |ms: u64| {
            let now = ms * 1_000_000;
            let mut count = 0;
            while bucket.wait(budget, 1, now) == 0 {
                bucket.charge(budget, 1, now);
                count += 1;
            }
            count
        };
        assert_eq!(taken(0), 100);
        assert_eq!(taken(49), 0);
        assert_eq!(taken(50), 1);
        assert_eq!(taken(1050), 20);
        assert_eq!(taken(3_600_000), 100);
    }

    #[test]
    fn an_unlimited_one_gives_all() {
        let mut bucket = Bucket::default();
        bucket.charge(Budget::UNLIMITED, u64::MAX, 7);
        assert_eq!(bucket.wait(Budget::UNLIMITED, u64::MAX, 7), 0);
        assert_eq!(bucket.left(Budget::UNLIMITED, 7), u64::MAX);
    }

    proptest! {
        /// At any time, no more is taken than the rate and the initial amount allow, and a caller that waits as told
        /// succeeds.
        #[test]
        fn the_rate_holds(
            per_second in 1u64..1000,
            at_once in 1u64..1000,
            steps in proptest::collection::vec((0u64..2 * SECOND, 0u64..50), 1..200),
        ) {
            let (budget, mut bucket) = (Budget::per_second(per_second, at_once), Bucket::default());
            let (mut now, mut taken) = (0, 0u64);
            for (pause, amount) in steps {
                now += pause;
                let amount = amount.min(at_once);
                let wait = bucket.wait(budget, amount, now);
                prop_assert_eq!(wait == 0, amount <= bucket.left(budget, now));
                now += wait;
                prop_assert_eq!(bucket.wait(budget, amount, now), 0);
                bucket.charge(budget, amount, now);
                taken += amount;
                let earned = now / budget.interval_ns;
                prop_assert!(taken <= at_once + earned + 1, "{} in {} ns", taken, now);
            }
        }
    }
}
