//! Inboxes that a back end has made last for good.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::id::{MessageId, UserId};

/// How many inboxes are remembered, in 512 KiB. One that takes another's place has it asked for again, which is no more than a
/// short command.
const PLACES: usize = 65_536;

/// How long an inbox is taken as lasting, in milliseconds: a failover may have lost that.
const REMEMBERED_MS: u64 = 60 * 60 * 1_000;

/// Remembers inboxes by their hashes, each in the one place where it may be: no lock, and nothing to clear.
#[derive(Debug)]
pub(super) struct Persisted {
    places: Box<[AtomicU64]>,
}

impl Default for Persisted {
    fn default() -> Self {
        Self { places: (0..PLACES).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Persisted {
    /// Returns `true` if a user's inbox is to be made to last now, and `false` for the rest of the hour. The time is that of the
    /// message that is appended: this is asked for each of them.
    pub(super) fn is_due(&self, user: &UserId, message: MessageId) -> bool {
        let hash = hash(user.as_str());
        let Some(place) = self.places.get((hash >> 32) as usize % PLACES) else { return true };
        // Another one each hour, and never 0, which stands for nothing.
        let hash = hash.wrapping_add(message.unix_ms() / REMEMBERED_MS).max(1);
        // Two at once both ask, or each takes the other's place: both are harmless.
        place.load(Ordering::Relaxed) != hash && place.swap(hash, Ordering::Relaxed) != hash
    }
}

/// FNV-1a, of eight bytes at a time. Users who choose ids with the same hash have one another asked for, which harms nobody.
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
        let (persisted, bob) = (Persisted::default(), user(7));
        assert!(persisted.is_due(&bob, MessageId::first_at(NOW)));
        assert!(!persisted.is_due(&bob, MessageId::first_at(NOW + 1)));
        assert!(persisted.is_due(&bob, MessageId::first_at(NOW + REMEMBERED_MS)), "an hour later");
        assert!(!persisted.is_due(&bob, MessageId::first_at(NOW + REMEMBERED_MS + 1)));
    }

    #[test]
    fn inboxes_have_places_of_their_own() {
        let (persisted, now) = (Persisted::default(), MessageId::first_at(NOW));
        let due =
            |persisted: &Persisted| (0..5_000).filter(|number| persisted.is_due(&user(*number), now)).count();
        assert_eq!(due(&persisted), 5_000, "nobody is taken for somebody else");
        let again = due(&persisted);
        // With random places, 5,000 of 65,536, about 1 in 13 shares its own with another.
        assert!(again < 1_000, "{again} are asked for again");
    }
}
