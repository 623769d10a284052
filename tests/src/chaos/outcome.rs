//! The outcome of a scenario in one line.

use std::fmt;

use super::Verdict;

/// Outcome of a scenario.
#[derive(Debug)]
pub struct Outcome {
    pub(super) name: &'static str,
    pub(super) seconds: f64,
    pub(super) devices: usize,
    /// Accepted messages per second of the load's duration.
    pub rate: f64,
    pub(super) wanted: Option<f64>,
    /// Verdict of the checker.
    pub verdict: Verdict,
    /// Number of failed sends of back ends, counting each attempt.
    pub failed_sends: u64,
    /// Number of publishes of devices that failed permanently.
    pub failed_publishes: u64,
    /// Number of connections that were closed for being too slow.
    pub slow_consumers: u64,
    /// Number of times that servers asked their devices to sync.
    pub hints: usize,
    pub(super) repeated: u64,
}

impl Outcome {
    pub(super) fn check(&self) {
        let violations = self.verdict.violations.len();
        assert_eq!(violations, 0, "{}: {violations} violations, the first ones above", self.name);
        if let Some(wanted) = self.wanted {
            assert!(
                self.rate >= wanted,
                "{}: {:.0} messages in a second, {wanted} wanted",
                self.name,
                self.rate
            );
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = &self.verdict;
        write!(
            formatter,
            "chaos: {} | {:.0} s | {} devices | {:.0} sent/s | {} acknowledged | {} failed | {} untold | {} received | \
             {} resets | {} repeats | {} hints | {} rolled back | {} violations",
            self.name,
            self.seconds,
            self.devices,
            self.rate,
            verdict.acknowledged,
            self.failed_sends + self.failed_publishes,
            verdict.untold,
            verdict.received,
            verdict.resets,
            verdict.seen_again + self.repeated,
            self.hints,
            verdict.rolled_back,
            verdict.violations.len(),
        )
    }
}
