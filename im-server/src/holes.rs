//! Whether envelopes were lost on the bus, which may drop: every publisher numbers them per server, says its last number
//! once a second, and says goodbye. Kept by the one task that receives them.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use im_proto::pb;

/// A publisher that says nothing for this long may have sent what never came.
const SILENCE: Duration = Duration::from_secs(5);

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Holes {
    publishers: HashMap<String, Heard>,
}

#[derive(Debug)]
struct Heard {
    /// The last number that came.
    number: u64,
    at: Instant,
}

impl Holes {
    /// Notes an envelope; true when something may be missing before it.
    pub(crate) fn heard(&mut self, envelope: &pb::Envelope, now: Instant) -> bool {
        if envelope.number == 0 && !envelope.goodbye {
            return false; // It is not counted, such as a server's kick.
        }
        let known = self.publishers.get(&envelope.publisher).map_or(0, |heard| heard.number);
        // One without records only says what the last number was.
        // Behind the last number there is none.
        let expected = if envelope.records.is_empty() { Some(known) } else { known.checked_add(1) };
        if envelope.goodbye {
            self.publishers.remove(&envelope.publisher);
        } else {
            let heard = Heard { number: envelope.number, at: now };
            self.publishers.insert(envelope.publisher.clone(), heard);
        }
        expected != Some(envelope.number)
    }

    /// Forgets publishers that fell silent without a goodbye; true when there were any.
    pub(crate) fn forget_silent(&mut self, now: Instant) -> bool {
        let before = self.publishers.len();
        self.publishers.retain(|_, heard| now.duration_since(heard.at) < SILENCE);
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
        let mut holes = Holes::default();
        for (number, records, missing) in steps {
            let heard = holes.heard(&envelope(*number, *records), Instant::now());
            assert_eq!(heard, *missing, "{number} with {records} records in {steps:?}");
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
        let mut holes = Holes::default();
        let now = Instant::now();
        holes.heard(&envelope(1, 1), now);
        assert!(!holes.forget_silent(now + SILENCE / 2));
        assert!(holes.forget_silent(now + SILENCE));
        assert!(!holes.forget_silent(now + SILENCE * 2));

        holes.heard(&envelope(1, 1), now);
        let goodbye = pb::Envelope { goodbye: true, ..envelope(1, 0) };
        assert!(!holes.heard(&goodbye, now));
        assert!(!holes.forget_silent(now + SILENCE));
    }
}
