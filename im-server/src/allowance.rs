//! How often a connection may have something done for it that nobody counts as waiting.

use std::time::{Duration, Instant};

/// So many at once, and in the long run so many in a second.
#[derive(Debug)]
pub(crate) struct Allowance<const PER_SECOND: u32, const AT_ONCE: u32> {
    left: u32,
    /// When it was filled up last.
    since: Instant,
}

impl<const PER_SECOND: u32, const AT_ONCE: u32> Allowance<PER_SECOND, AT_ONCE> {
    pub(crate) fn new(now: Instant) -> Self {
        Self { left: AT_ONCE, since: now }
    }

    /// False: one too many.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let each = Duration::from_millis(1000 / u64::from(PER_SECOND));
        let earned = now.saturating_duration_since(self.since).as_millis() / each.as_millis();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if self.left.saturating_add(earned) >= AT_ONCE {
            (self.left, self.since) = (AT_ONCE, now);
        } else {
            self.left += earned;
            self.since += each * earned;
        }
        self.left.checked_sub(1).map(|left| self.left = left).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_used_up_and_fills_again() {
        let start = Instant::now();
        let mut allowance = Allowance::<20, 100>::new(start);
        let taken =
            |allowance: &mut Allowance<20, 100>, now| (0..1000).filter(|_| allowance.take(now)).count();
        assert_eq!(taken(&mut allowance, start), 100);
        assert_eq!(taken(&mut allowance, start + Duration::from_millis(49)), 0);
        assert_eq!(taken(&mut allowance, start + Duration::from_millis(50)), 1);
        assert_eq!(taken(&mut allowance, start + Duration::from_millis(1050)), 20);
        assert_eq!(taken(&mut allowance, start + Duration::from_secs(3600)), 100);
    }
}
