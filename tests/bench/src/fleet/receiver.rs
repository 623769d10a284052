//! Receiving: finds the stamps in received bytes, verifies and times them.

use super::{Findings, Phase};
use crate::{
    stamp::{Finder, Scanner, now},
    tally::Received,
};

/// The receiver of a thread.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    finder: Finder,
    /// Its observations so far.
    pub(super) findings: Findings,
    measures: bool,
}

impl Receiver {
    /// Sets the treatment of further messages.
    pub(super) fn set_phase(&mut self, phase: u8) {
        self.measures = phase == Phase::Measure as u8;
    }

    /// Takes received bytes and returns the number of new messages among them.
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
