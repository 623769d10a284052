//! Delays after failures.

use std::time::Duration;

use rand::{RngExt as _, rngs::StdRng};

use crate::client::config::{BACKOFF_BASE, BACKOFF_CAP};

/// Exponential backoff with full jitter: each delay is drawn between zero and a ceiling that doubles. Of all
/// simple schemes, this one best spreads devices that have lost their server at the same moment.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Draws the next delay.
    pub(super) fn next(&mut self, rng: &mut StdRng) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        random_within(rng, ceiling)
    }

    /// Starts over.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    fn ceiling(&self) -> Duration {
        let factor = 2_u32.saturating_pow(self.failures);
        BACKOFF_BASE.saturating_mul(factor).min(BACKOFF_CAP)
    }
}

/// Draws a duration from zero to `ceiling`.
pub(super) fn random_within(rng: &mut StdRng, ceiling: Duration) -> Duration {
    ceiling.mul_f64(rng.random_range(0.0..=1.0))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn delays_stay_within_a_doubling_ceiling_and_use_all_of_it() {
        let mut rng = StdRng::seed_from_u64(1);
        for failures in 0..40 {
            let ceiling = Duration::from_millis(500 << failures.min(6)).min(Duration::from_secs(30));
            let delays: Vec<_> = (0..500).map(|_| Backoff { failures }.next(&mut rng)).collect();
            assert!(delays.iter().all(|delay| *delay <= ceiling));
            assert!(delays.iter().any(|delay| *delay < ceiling / 10));
            assert!(delays.iter().any(|delay| *delay > ceiling * 9 / 10));
        }
    }

    #[test]
    fn a_reset_starts_over() {
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.ceiling(), BACKOFF_CAP);
        backoff.reset();
        assert_eq!(backoff.ceiling(), BACKOFF_BASE);
    }
}
