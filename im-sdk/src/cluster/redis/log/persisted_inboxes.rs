//! Inboxes that a backend has recently made permanent.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::id::{MessageId, UserId};

/// The number of remembered inboxes, in 512 KiB. An inbox that is evicted is made permanent again,
/// which costs one short command.
const PLACES: usize = 65_536;

/// The time for which an inbox counts as permanent, in milliseconds. It is limited because a failover
/// may have lost the change.
const REMEMBERED_MS: u64 = 60 * 60 * 1_000;

/// A set of inboxes by hash, with one possible slot for each: no lock, and nothing to clear.
#[derive(Debug)]
pub(super) struct PersistedInboxes {
    places: Box<[AtomicU64]>,
}

impl Default for PersistedInboxes {
    fn default() -> Self {
        Self { places: (0..PLACES).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl PersistedInboxes {
    /// Returns `true` if a user's inbox is to be made permanent now, and `false` for the rest of
    /// the hour. The time is that of the appended message, because this is called for each of them.
    pub(super) fn is_due(&self, user: &UserId, message: MessageId) -> bool {
        let hash = hash(user.as_str());
        let Some(place) = self.places.get((hash >> 32) as usize % PLACES) else { return true };
        // The hash differs each hour, and is never 0, which marks an empty slot.
        let hash = hash.wrapping_add(message.unix_ms() / REMEMBERED_MS).max(1);
        // Two concurrent calls may both return `true`, or evict each other: both are harmless.
        place.load(Ordering::Relaxed) != hash && place.swap(hash, Ordering::Relaxed) != hash
    }
}

/// Computes FNV-1a over eight bytes at a time. Users who choose ids with the same hash evict one
/// another, which is harmless.
fn hash(id: &str) -> u64 {
    let mix = |hash: u64, word: u64| {
        let mixed = (hash ^ word).wrapping_mul(0x0100_0000_01b3);
        mixed ^ mixed.rotate_right(29)
    };
    let (words, rest) = id.as_bytes().as_chunks::<8>();
    let hash = words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
    mix(mix(hash, u64::from_le_bytes(last)), id.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn user(number: usize) -> UserId {
        format!("u{number}").parse().unwrap()
    }

    #[test]
    fn an_inbox_is_due_once_an_hour() {
        let (persisted, bob) = (PersistedInboxes::default(), user(7));
        assert!(persisted.is_due(&bob, MessageId::first_at(NOW)));
        assert!(!persisted.is_due(&bob, MessageId::first_at(NOW + 1)));
        assert!(persisted.is_due(&bob, MessageId::first_at(NOW + REMEMBERED_MS)), "an hour later");
        assert!(!persisted.is_due(&bob, MessageId::first_at(NOW + REMEMBERED_MS + 1)));
    }

    #[test]
    fn inboxes_have_places_of_their_own() {
        let (persisted, now) = (PersistedInboxes::default(), MessageId::first_at(NOW));
        let due = |persisted: &PersistedInboxes| {
            (0..5_000).filter(|number| persisted.is_due(&user(*number), now)).count()
        };
        assert_eq!(due(&persisted), 5_000, "nobody is taken for somebody else");
        let again = due(&persisted);
        // At random, 5,000 of 65,536: about 1 in 13 shares its slot with another.
        assert!(again < 1_000, "{again} are asked for again");
    }
}
