//! What a thread of the fleet does with bytes that have come: it finds the stamps, verifies and times them.

use super::{Findings, Phase};
use crate::{
    stamp::{Finder, Scanner, now},
    tally::Received,
};

/// One for each thread.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    finder: Finder,
    /// What it has seen so far.
    pub(super) findings: Findings,
    measures: bool,
}

impl Receiver {
    /// What is done with what comes from here on.
    pub(super) fn set_phase(&mut self, phase: u8) {
        self.measures = phase == Phase::Measure as u8;
    }

    /// How many messages among these bytes are new.
    pub(super) fn take(
        &mut self,
        scanner: &mut Scanner,
        received: &mut Received,
        audience: u32,
        bytes: &[u8],
    ) -> u64 {
        let Self { finder, findings, measures } = self;
        let mut delivered = 0;
        scanner.feed(finder, bytes, |stamp| {
            if received.take(audience, stamp, &mut findings.faults) {
                delivered += 1;
                if *measures {
                    findings.latencies.record(now().saturating_sub(stamp.time));
                }
            }
        });
        delivered
    }
}
