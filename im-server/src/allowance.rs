//! How often something may be done: so many times a second in the long run, and so many at once.

use std::time::{Duration, Instant};

/// How much is allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// In the long run; at least 1.
    pub(crate) per_second: u32,
    /// After a time of rest; at least 1.
    pub(crate) at_once: u32,
}

impl Rate {
    /// A second's worth at once.
    pub(crate) const fn per_second(per_second: u32) -> Self {
        Self { per_second, at_once: per_second }
    }

    /// After which time one more is allowed.
    fn each(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }
}

/// What is left just now of a [`Rate`], which is the same at each call.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: u32,
    /// When it was filled up last.
    since: Instant,
}

impl Allowance {
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        Self { left: rate.at_once, since: now }
    }

    /// # Errors
    /// One too many: how long until the next one.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        self.take_many(1, rate, now)
    }

    /// The same for many at once; more than what may come at once counts as that.
    ///
    /// # Errors
    /// Too many: how long until they may come.
    pub(crate) fn take_many(&mut self, many: u32, rate: Rate, now: Instant) -> Result<(), Duration> {
        let many = many.min(rate.at_once);
        let each = self.refill(rate, now);
        match self.left.checked_sub(many) {
            Some(left) => self.left = left,
            None => return Err((self.since + each * (many - self.left)).saturating_duration_since(now)),
        }
        Ok(())
    }

    /// Whether as much is left as after a time of rest.
    pub(crate) fn is_full(&mut self, rate: Rate, now: Instant) -> bool {
        self.refill(rate, now);
        self.left >= rate.at_once
    }

    /// Adds what was earned since the last time; returns after which time one more is allowed.
    fn refill(&mut self, rate: Rate, now: Instant) -> Duration {
        let each = rate.each();
        let rested = now.saturating_duration_since(self.since);
        let earned = u32::try_from(rested.as_nanos() / each.as_nanos().max(1)).unwrap_or(u32::MAX);
        if self.left.saturating_add(earned) >= rate.at_once {
            (self.left, self.since) = (rate.at_once, now);
        } else {
            self.left += earned;
            self.since += each * earned;
        }
        each
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_used_up_and_fills_again() {
        let rate = Rate { per_second: 20, at_once: 100 };
        let start = Instant::now();
        let mut allowance = Allowance::new(rate, start);
        let mut taken = |ms| {
            let now = start + Duration::from_millis(ms);
            (0..1000).filter(|_| allowance.take(rate, now).is_ok()).count()
        };
        assert_eq!(taken(0), 100);
        assert_eq!(taken(49), 0);
        assert_eq!(taken(50), 1);
        assert_eq!(taken(1050), 20);
        assert_eq!(taken(3_600_000), 100);
    }

    #[test]
    fn many_at_once_wait_until_there_are_as_many() {
        let rate = Rate { per_second: 1000, at_once: 5000 };
        let start = Instant::now();
        let mut allowance = Allowance::new(rate, start);
        assert_eq!(allowance.take_many(4000, rate, start), Ok(()));
        assert_eq!(allowance.take_many(1001, rate, start), Err(Duration::from_millis(1)));
        assert_eq!(allowance.take_many(1000, rate, start), Ok(()));
        assert_eq!(allowance.take_many(u32::MAX, rate, start), Err(Duration::from_secs(5)));
        assert_eq!(allowance.take_many(u32::MAX, rate, start + Duration::from_secs(5)), Ok(()));
    }

    #[test]
    fn who_waits_as_told_is_let_through() {
        for rate in [Rate::per_second(1), Rate::per_second(3), Rate { per_second: 1_000_000, at_once: 1 }] {
            let mut now = Instant::now();
            let mut allowance = Allowance::new(rate, now);
            let (began, mut done) = (now, 0);
            while done < rate.at_once + 10 {
                match allowance.take(rate, now) {
                    Ok(()) => done += 1,
                    Err(wait) => {
                        assert!(!wait.is_zero());
                        now += wait;
                    }
                }
            }
            // What came after those at once came at the rate.
            assert!((now - began).abs_diff(rate.each() * 10) < Duration::from_micros(1), "{rate:?}");
        }
    }
}
