//! Counts unread messages.

use super::MAX_UNREAD;
use crate::{id::MessageId, proto::limits::MAX_LISTED_UNREAD};

/// The number of unread messages whose seqs are listed, so that a device can count down as the user
/// reads.
const LISTED: usize = MAX_LISTED_UNREAD;

/// The unread messages of one conversation. They are added newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::backend) struct Unread {
    counted: Vec<Counted>,
    /// The upper limit of a number that was not counted.
    estimated: u32,
    /// There may be more.
    pub(in crate::backend) more: bool,
}

/// An unread message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Counted {
    seq: u64,
    id: MessageId,
    mentions: bool,
}

impl Unread {
    /// Returns an estimate: at most this many entries are behind a mark.
    pub(super) fn estimated(behind: u64) -> Self {
        let estimated = u32::try_from(behind).unwrap_or(MAX_UNREAD).min(MAX_UNREAD);
        Self { estimated, more: estimated > 0, ..Self::default() }
    }

    pub(in crate::backend) fn count(&self) -> u32 {
        u32::try_from(self.counted.len()).unwrap_or(MAX_UNREAD).max(self.estimated)
    }

    /// Returns `true` if nothing else needs to be scanned.
    pub(super) fn is_full(&self) -> bool {
        self.count() >= MAX_UNREAD && self.more
    }

    /// Adds the next older message.
    pub(super) fn add(&mut self, seq: u64, id: MessageId, mentions: bool) {
        if self.count() >= MAX_UNREAD {
            self.more = true;
            return;
        }
        self.counted.push(Counted { seq, id, mentions });
    }

    /// Removes messages that are gone after all.
    pub(super) fn remove(&mut self, is_gone: impl Fn(MessageId) -> bool) {
        self.counted.retain(|counted| !is_gone(counted.id));
    }

    /// Returns the seqs of the newest messages, in ascending order.
    pub(in crate::backend) fn seqs(&self) -> Vec<u64> {
        self.listed().map(|counted| counted.seq).collect()
    }

    /// Returns the ids of these messages.
    pub(in crate::backend) fn ids(&self) -> Vec<MessageId> {
        self.listed().map(|counted| counted.id).collect()
    }

    /// Returns the number of messages that mention the user, listed or not.
    pub(in crate::backend) fn mentioned(&self) -> u32 {
        let count = self.counted.iter().filter(|counted| counted.mentions).count();
        u32::try_from(count).unwrap_or(MAX_UNREAD)
    }

    /// Returns the seqs of listed messages that mention the user.
    pub(in crate::backend) fn mentions(&self) -> Vec<u64> {
        self.listed().filter(|counted| counted.mentions).map(|counted| counted.seq).collect()
    }

    fn listed(&self) -> impl Iterator<Item = &Counted> {
        self.counted.iter().take(LISTED).rev()
    }
}
