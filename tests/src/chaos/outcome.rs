//! What a scenario came to, in a line.

use std::fmt;

use super::Verdict;

/// What a scenario came to.
#[derive(Debug)]
pub struct Outcome {
    pub(super) name: &'static str,
    pub(super) seconds: f64,
    pub(super) devices: usize,
    /// Messages told Ok in a second of the load's time.
    pub rate: f64,
    pub(super) wanted: Option<f64>,
    /// What the checker says.
    pub verdict: Verdict,
    /// Sends of back ends that failed, each try counted.
    pub failed_sends: u64,
    /// What devices sent and was refused for good.
    pub failed_publishes: u64,
    /// How often a connection was closed for being too slow.
    pub slow_consumers: u64,
    /// How often servers have asked their devices to sync.
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
