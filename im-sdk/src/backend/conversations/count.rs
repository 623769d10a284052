//! Counting what is unread.

use std::collections::VecDeque;

use super::MAX_UNREAD;
use crate::{
    Content,
    conversation::{counts, mentions},
    id::UserId,
};

/// How many unread messages are listed by their places, so that a device can count down as the user reads on.
pub(super) const LISTED: usize = 100;

/// What is unread in one conversation. Entries are added newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unread {
    count: u32,
    /// There may be more.
    pub(crate) more: bool,
    /// The newest ones, in ascending order.
    pub(crate) seqs: VecDeque<u64>,
    /// Those of them that mention the user.
    pub(crate) mentions: VecDeque<u64>,
}

impl Unread {
    /// At most this many are behind a mark: nobody has looked.
    pub(super) fn estimated(behind: u64) -> Self {
        let count = u32::try_from(behind).unwrap_or(MAX_UNREAD).min(MAX_UNREAD);
        Self { count, more: count > 0, ..Self::default() }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Nothing else needs to be looked at.
    pub(super) fn is_full(&self) -> bool {
        self.count >= MAX_UNREAD && self.more
    }

    /// Takes the next older entry.
    pub(super) fn add(&mut self, user: &UserId, seq: u64, from: &str, content: &Content) {
        if !counts(from, content, user) {
            return;
        }
        if self.count >= MAX_UNREAD {
            self.more = true;
            return;
        }
        self.count += 1;
        if self.seqs.len() < LISTED {
            self.seqs.push_front(seq);
            if mentions(content, user) {
                self.mentions.push_front(seq);
            }
        }
    }
}
