//! Counting what is unread.

use super::MAX_UNREAD;
use crate::{id::MessageId, proto::limits::MAX_LISTED_UNREAD};

/// How many unread messages are listed by their places, so that a device can count down as the user reads on.
const LISTED: usize = MAX_LISTED_UNREAD;

/// What is unread in one conversation. Entries are added newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::backend) struct Unread {
    counted: Vec<Counted>,
    /// Nobody has looked, and these are at most as many.
    estimated: u32,
    /// There may be more.
    pub(in crate::backend) more: bool,
}

/// One that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Counted {
    seq: u64,
    id: MessageId,
    mentions: bool,
}

impl Unread {
    /// At most this many are behind a mark: nobody has looked.
    pub(super) fn estimated(behind: u64) -> Self {
        let estimated = u32::try_from(behind).unwrap_or(MAX_UNREAD).min(MAX_UNREAD);
        Self { estimated, more: estimated > 0, ..Self::default() }
    }

    pub(in crate::backend) fn count(&self) -> u32 {
        u32::try_from(self.counted.len()).unwrap_or(MAX_UNREAD).max(self.estimated)
    }

    /// Nothing else needs to be looked at.
    pub(super) fn is_full(&self) -> bool {
        self.count() >= MAX_UNREAD && self.more
    }

    /// Takes the next older one that counts.
    pub(super) fn add(&mut self, seq: u64, id: MessageId, mentions: bool) {
        if self.count() >= MAX_UNREAD {
            self.more = true;
            return;
        }
        self.counted.push(Counted { seq, id, mentions });
    }

    /// Takes those out again that are gone after all.
    pub(super) fn remove(&mut self, is_gone: impl Fn(MessageId) -> bool) {
        self.counted.retain(|counted| !is_gone(counted.id));
    }

    /// The places of the newest ones, in ascending order.
    pub(in crate::backend) fn seqs(&self) -> Vec<u64> {
        self.listed().map(|counted| counted.seq).collect()
    }

    /// The messages there.
    pub(in crate::backend) fn ids(&self) -> Vec<MessageId> {
        self.listed().map(|counted| counted.id).collect()
    }

    /// How many mention the user, listed or not.
    pub(in crate::backend) fn mentioned(&self) -> u32 {
        let count = self.counted.iter().filter(|counted| counted.mentions).count();
        u32::try_from(count).unwrap_or(MAX_UNREAD)
    }

    /// The places of those of them that mention the user.
    pub(in crate::backend) fn mentions(&self) -> Vec<u64> {
        self.listed().filter(|counted| counted.mentions).map(|counted| counted.seq).collect()
    }

    fn listed(&self) -> impl Iterator<Item = &Counted> {
        self.counted.iter().take(LISTED).rev()
    }
}
