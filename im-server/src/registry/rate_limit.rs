//! Token buckets: a sustained rate and a burst.

use std::time::{Duration, Instant};

/// The rate that a bucket allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// The sustained rate; at least 1.
    pub(crate) per_second: u32,
    /// The maximum after a time without use; at least 1.
    pub(crate) burst: u32,
}

impl Rate {
    /// Allows one second's worth at once.
    pub(crate) const fn per_second(per_second: u32) -> Self {
        Self { per_second, burst: per_second }
    }

    /// Returns the time after which one more is allowed.
    fn each(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }
}

/// A token bucket. Each call passes the same [`Rate`], so that a bucket is small.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    left: u32,
    /// The time at which the bucket was last filled up.
    since: Instant,
}

impl TokenBucket {
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        Self { left: rate.burst, since: now }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// The time until the next one, if none is left.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        self.take_many(1, rate, now)
    }

    /// Takes several tokens at once; more than the burst counts as the burst.
    ///
    /// # Errors
    /// The time until enough tokens are there, if too few are left.
    pub(crate) fn take_many(&mut self, many: u32, rate: Rate, now: Instant) -> Result<(), Duration> {
        let many = many.min(rate.burst);
        let each = self.refill(rate, now);
        match self.left.checked_sub(many) {
            Some(left) => self.left = left,
            None => return Err((self.since + each * (many - self.left)).saturating_duration_since(now)),
        }
        Ok(())
    }

    /// Returns whether the bucket is full.
    pub(crate) fn is_full(&mut self, rate: Rate, now: Instant) -> bool {
        self.refill(rate, now);
        self.left >= rate.burst
    }

    /// Adds the tokens earned since the last call. Returns the time after which one more is allowed.
    fn refill(&mut self, rate: Rate, now: Instant) -> Duration {
        let each = rate.each();
        let rested = now.saturating_duration_since(self.since);
        let earned = u32::try_from(rested.as_nanos() / each.as_nanos().max(1)).unwrap_or(u32::MAX);
        if self.left.saturating_add(earned) >= rate.burst {
            (self.left, self.since) = (rate.burst, now);
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
        let rate = Rate { per_second: 20, burst: 100 };
        let start = Instant::now();
        let mut bucket = TokenBucket::new(rate, start);
        let mut taken = |ms| {
            let now = start + Duration::from_millis(ms);
            (0..1000).filter(|_| bucket.take(rate, now).is_ok()).count()
        };
        assert_eq!(taken(0), 100);
        assert_eq!(taken(49), 0);
        assert_eq!(taken(50), 1);
        assert_eq!(taken(1050), 20);
        assert_eq!(taken(3_600_000), 100);
    }

    #[test]
    fn many_at_once_wait_until_there_are_as_many() {
        let rate = Rate { per_second: 1000, burst: 5000 };
        let start = Instant::now();
        let mut bucket = TokenBucket::new(rate, start);
        assert_eq!(bucket.take_many(4000, rate, start), Ok(()));
        assert_eq!(bucket.take_many(1001, rate, start), Err(Duration::from_millis(1)));
        assert_eq!(bucket.take_many(1000, rate, start), Ok(()));
        assert_eq!(bucket.take_many(u32::MAX, rate, start), Err(Duration::from_secs(5)));
        assert_eq!(bucket.take_many(u32::MAX, rate, start + Duration::from_secs(5)), Ok(()));
    }

    #[test]
    fn who_waits_as_told_is_let_through() {
        for rate in [Rate::per_second(1), Rate::per_second(3), Rate { per_second: 1_000_000, burst: 1 }] {
            let mut now = Instant::now();
            let mut bucket = TokenBucket::new(rate, now);
            let (began, mut done) = (now, 0);
            while done < rate.burst + 10 {
                match bucket.take(rate, now) {
                    Ok(()) => done += 1,
                    Err(wait) => {
                        assert!(!wait.is_zero());
                        now += wait;
                    }
                }
            }
            // After the burst, tokens came at the sustained rate.
            assert!((now - began).abs_diff(rate.each() * 10) < Duration::from_micros(1), "{rate:?}");
        }
    }
}
