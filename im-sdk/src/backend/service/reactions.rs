//! Limits the different reactions of one user to one message.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    content::{Change, ChangeKind, reaction_key},
    id::{MessageId, UserId},
    proto::limits::MAX_REACTIONS_PER_USER,
};

/// The number of users and messages whose reactions are remembered, at some hundred bytes each. A
/// user who reacts to more messages in between begins anew at the first ones. That costs entries of
/// a log and nothing else: devices show the newest reactions alone, and changes are limited like
/// all publishes.
const MAX_REMEMBERED: usize = 16_384;

/// Counts the reactions that this backend has accepted. Each backend counts its own.
#[derive(Debug, Default)]
pub(super) struct ReactionCounts {
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    emojis: HashMap<(UserId, MessageId), HashSet<Box<str>>>,
    /// The keys in the order of their first reactions.
    order: VecDeque<(UserId, MessageId)>,
}

impl ReactionCounts {
    /// Counts a reaction. Returns `false` if the user has too many.
    pub(super) fn admit(&self, by: &UserId, change: &Change) -> bool {
        let ChangeKind::Reaction { emoji, removed } = &change.kind else { return true };
        let emoji = reaction_key(emoji);
        let key = (by.clone(), change.message_id);
        let mut counted = self.lock();
        if *removed {
            if let Some(emojis) = counted.emojis.get_mut(&key) {
                emojis.remove(&*emoji);
            }
            return true;
        }
        if let Some(emojis) = counted.emojis.get_mut(&key) {
            let fits = emojis.len() < MAX_REACTIONS_PER_USER || emojis.contains(&*emoji);
            if fits {
                emojis.insert(emoji.into());
            }
            return fits;
        }
        counted.emojis.insert(key.clone(), HashSet::from([emoji.into()]));
        counted.order.push_back(key);
        if counted.order.len() > MAX_REMEMBERED
            && let Some(oldest) = counted.order.pop_front()
        {
            counted.emojis.remove(&oldest);
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        // Every change is complete before anything can panic.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        name.parse().unwrap()
    }

    fn id(number: u64) -> MessageId {
        MessageId::from_u64(number).unwrap()
    }

    #[test]
    fn one_too_many_is_refused_until_another_is_taken_back() {
        let counts = ReactionCounts::default();
        let react =
            |by: &str, emoji: usize| counts.admit(&user(by), &Change::react(id(7), format!("emoji-{emoji}")));
        assert!((0..MAX_REACTIONS_PER_USER).all(|emoji| react("alice", emoji)));
        assert!(!react("alice", 99) && react("alice", 3), "what is there already is none more");
        assert!(react("bob", 99), "each user has as many");
        for emoji in ["\u{2764}", "\u{2764}\u{fe0f}"] {
            assert!(counts.admit(&user("carol"), &Change::react(id(7), emoji)));
        }
        let carol = (user("carol"), id(7));
        assert_eq!(counts.lock().emojis[&carol].len(), 1, "one sign, however it is drawn");
        assert!(counts.admit(&user("alice"), &Change::unreact(id(7), "emoji-0")));
        assert!(react("alice", 99) && !react("alice", 100));
        assert!(counts.admit(&user("alice"), &Change::react(id(8), "x")), "another message");
        assert!(counts.admit(&user("alice"), &Change::recall(id(7))));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let counts = ReactionCounts::default();
        for number in 1..=2 * MAX_REMEMBERED as u64 {
            assert!(counts.admit(&user("alice"), &Change::react(id(number), "x")));
        }
        let counted = counts.lock();
        assert_eq!((counted.emojis.len(), counted.order.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
    }
}
