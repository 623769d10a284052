//! Accounting of deliveries: correctness and latency.

use std::collections::BTreeSet;

use hdrhistogram::Histogram;

use crate::stamp::Stamp;

/// The messages that a connection has received.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// The next sequence number.
    next: u32,
    /// Earlier sequence numbers that have not arrived. Empty unless something is wrong.
    missing: BTreeSet<u32>,
}

/// Counts of faulty deliveries. All zero after a good run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Deliveries that arrived again.
    pub(crate) duplicated: u64,
    /// Deliveries that arrived after a later one.
    pub(crate) reordered: u64,
    /// Deliveries to the wrong connection.
    pub(crate) misdelivered: u64,
}

impl std::ops::AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.misdelivered += other.misdelivered;
    }
}

impl Received {
    /// Creates an empty record. The first message has this sequence number.
    pub(crate) fn from(first: u32) -> Self {
        Self { next: first, missing: BTreeSet::new() }
    }

    /// Takes a message for the expected audience. Returns `true` if it arrives for the first time.
    pub(crate) fn take(&mut self, expected: u32, stamp: Stamp, faults: &mut Faults) -> bool {
        if stamp.audience != expected {
            faults.misdelivered += 1;
            return false;
        }
        if stamp.sequence >= self.next {
            self.missing.extend(self.next..stamp.sequence);
            self.next = stamp.sequence + 1;
            return true;
        }
        let late = self.missing.remove(&stamp.sequence);
        faults.reordered += u64::from(late);
        faults.duplicated += u64::from(!late);
        late
    }
}

/// Latencies in nanoseconds, up to a minute, with three significant digits.
#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    #[allow(clippy::expect_used, reason = "the bounds are constants")]
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("valid bounds"))
    }
}

impl Latencies {
    /// Adds a latency.
    pub(crate) fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    /// Adds all latencies of another.
    pub(crate) fn add(&mut self, other: &Self) {
        // The bounds of both are equal.
        _ = self.0.add(&other.0);
    }

    /// Returns a quantile in microseconds.
    pub(crate) fn quantile_us(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Returns a curve: quantiles, and the latency of each in microseconds.
    pub(crate) fn curve(&self) -> Vec<(f64, f64)> {
        let shares =
            (0..=CURVE_STEPS).map(|step| 1.0 - 10_f64.powf(-5.0 * f64::from(step) / f64::from(CURVE_STEPS)));
        // Omits quantiles that fewer than one delivery exceeds.
        let known = |share: &f64| (1.0 - share) * self.len() as f64 >= 1.0;
        shares.filter(known).map(|share| (share, self.quantile_us(share))).collect()
    }

    /// Returns the number of latencies.
    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }
}

const CURVE_STEPS: u32 = 100;

const LONGEST_NS: u64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(sequences: &[u32]) -> (u64, Faults) {
        let (mut received, mut faults) = (Received::default(), Faults::default());
        let take = |sequence: &u32| {
            let stamp = Stamp { time: 0, audience: 3, sequence: *sequence };
            received.take(3, stamp, &mut faults)
        };
        let new = sequences.iter().map(take).filter(|new| *new).count() as u64;
        (new, faults)
    }

    #[test]
    fn quantiles_are_those_of_all_that_was_recorded() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        (1..=500).for_each(|us| one.record(us * 1000));
        (501..=1000).for_each(|us| other.record(us * 1000));
        one.add(&other);
        for (quantile, us) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = one.quantile_us(quantile);
            assert!((found / us - 1.0).abs() < 0.002, "{quantile}: {found} instead of {us}");
        }
        let curve = one.curve();
        assert!(curve.is_sorted_by(|before, after| before.0 < after.0 && before.1 <= after.1));
        assert!(
            curve.last().is_some_and(|(share, _)| (0.998..=0.999).contains(share)),
            "a thousand have no more nines"
        );
    }

    #[test]
    fn every_kind_of_fault_is_seen() {
        assert_eq!(take_all(&[0, 1, 2]), (3, Faults::default()));
        assert_eq!(take_all(&[0, 2, 1, 3]), (4, Faults { reordered: 1, ..Faults::default() }));
        assert_eq!(take_all(&[0, 1, 1, 0]), (2, Faults { duplicated: 2, ..Faults::default() }));
        assert_eq!(take_all(&[0, 5]).0, 2, "what is lost is missing from the count");
        let (mut received, mut faults) = (Received::default(), Faults::default());
        assert!(!received.take(1, Stamp { time: 0, audience: 2, sequence: 0 }, &mut faults));
        assert_eq!(faults.misdelivered, 1);
        let mut resumed = Received::from(1);
        assert!(!resumed.take(0, Stamp { time: 0, audience: 0, sequence: 0 }, &mut faults));
        assert_eq!(faults.duplicated, 1, "what was known before came again");
    }
}
