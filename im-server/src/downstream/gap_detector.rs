//! Detects envelopes that the bus has dropped. Every publisher numbers its envelopes per server, repeats its last number once a
//! second, and says goodbye. Owned by the one task that receives envelopes.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use im_proto::pb;

/// The silence after which a publisher may have sent an envelope that never arrived.
const SILENCE: Duration = Duration::from_secs(5);

/// The known publishers and their last numbers.
#[derive(Debug, Default)]
pub(crate) struct GapDetector {
    publishers: HashMap<String, LastEnvelope>,
}

#[derive(Debug)]
struct LastEnvelope {
    number: u64,
    at: Instant,
}

impl GapDetector {
    /// Notes an envelope. Returns `true` if envelopes may be missing before it.
    pub(crate) fn observe(&mut self, envelope: &pb::Envelope, now: Instant) -> bool {
        if envelope.number == 0 && !envelope.goodbye {
            return false; // Not numbered, such as a server's kick.
        }
        let known = self.publishers.get(&envelope.publisher).map_or(0, |last| last.number);
        // An envelope without records only repeats the last number. The largest number has no successor.
        let expected = if envelope.records.is_empty() { Some(known) } else { known.checked_add(1) };
        if envelope.goodbye {
            self.publishers.remove(&envelope.publisher);
        } else {
            let last = LastEnvelope { number: envelope.number, at: now };
            self.publishers.insert(envelope.publisher.clone(), last);
        }
        expected != Some(envelope.number)
    }

    /// Forgets publishers that fell silent without a goodbye. Returns `true` if there were any.
    pub(crate) fn forget_silent(&mut self, now: Instant) -> bool {
        let before = self.publishers.len();
        self.publishers.retain(|_, last| now.duration_since(last.at) < SILENCE);
        self.publishers.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(number: u64, records: usize) -> pb::Envelope {
        let records = vec![pb::Record::default(); records];
        pb::Envelope { publisher: "p".into(), number, records, ..Default::default() }
    }

    fn check(steps: &[(u64, usize, bool)]) {
        let mut gaps = GapDetector::default();
        for (number, records, missing) in steps {
            let missing_before = gaps.observe(&envelope(*number, *records), Instant::now());
            assert_eq!(missing_before, *missing, "{number} with {records} records in {steps:?}");
        }
    }

    #[test]
    fn numbers_without_a_hole_are_fine() {
        check(&[(1, 1, false), (2, 3, false), (2, 0, false), (2, 0, false), (3, 1, false)]);
        check(&[(0, 1, false), (1, 1, false), (0, 1, false), (2, 1, false)]);
    }

    #[test]
    fn holes_and_unknown_starts_are_seen_once() {
        check(&[(1, 1, false), (3, 1, true), (4, 1, false)]);
        check(&[(1, 1, false), (2, 0, true), (2, 0, false), (3, 1, false)]);
        check(&[(7, 1, true), (8, 1, false)]);
        check(&[(7, 0, true), (8, 1, false)]);
        check(&[(1, 1, false), (2, 1, false), (1, 1, true), (2, 1, false)]);
    }

    #[test]
    fn the_last_number_is_one_like_others() {
        check(&[(u64::MAX, 1, true), (u64::MAX, 0, false), (u64::MAX, 1, true), (1, 1, true), (2, 1, false)]);
        check(&[(u64::MAX - 1, 1, true), (u64::MAX, 1, false), (u64::MAX, 0, false)]);
    }

    #[test]
    fn silence_without_a_goodbye_is_seen() {
        let mut gaps = GapDetector::default();
        let now = Instant::now();
        gaps.observe(&envelope(1, 1), now);
        assert!(!gaps.forget_silent(now + SILENCE / 2));
        assert!(gaps.forget_silent(now + SILENCE));
        assert!(!gaps.forget_silent(now + SILENCE * 2));

        gaps.observe(&envelope(1, 1), now);
        let goodbye = pb::Envelope { goodbye: true, ..envelope(1, 0) };
        assert!(!gaps.observe(&goodbye, now));
        assert!(!gaps.forget_silent(now + SILENCE));
    }
}
