//! What to set in a conversation.

use super::ReadMark;
#[cfg(feature = "client")]
use super::{Recipient, names};
#[cfg(any(feature = "backend", feature = "client"))]
use crate::{id::MessageId, proto::pb};

/// Beyond every log, and as much as back ends take: what is further is cut to it.
#[cfg(feature = "client")]
const MAX_SEQ: u64 = crate::proto::limits::MAX_SEQ;

/// What to set in a conversation. What is not named stays as it is. Carrying it out twice has the effect of once.
///
/// ```
/// use im_sdk::ConversationChange;
/// let change = ConversationChange::new().pin(true).draft("Dear Bob,");
/// assert_ne!(change, ConversationChange::new());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversationChange {
    pub(crate) read: Option<ReadMark>,
    pub(crate) pinned: Option<bool>,
    pub(crate) muted: Option<bool>,
    pub(crate) draft: Option<String>,
    pub(crate) hidden: Option<u64>,
    pub(crate) deleted: Option<u64>,
}

impl ConversationChange {
    /// Changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything up to an entry was read. A mark never goes back: one that is not further than what is known has no
    /// effect.
    #[must_use]
    pub fn read(self, mark: ReadMark) -> Self {
        Self { read: Some(mark), ..self }
    }

    /// Puts it before all that are not pinned, or back among them.
    #[must_use]
    pub fn pin(self, pinned: bool) -> Self {
        Self { pinned: Some(pinned), ..self }
    }

    /// Leaves it out of the sum of unread messages, or counts it again.
    #[must_use]
    pub fn mute(self, muted: bool) -> Self {
        Self { muted: Some(muted), ..self }
    }

    /// Keeps what was typed, at most [`MAX_DRAFT_BYTES`](crate::MAX_DRAFT_BYTES); empty removes it.
    #[must_use]
    pub fn draft(self, draft: impl Into<String>) -> Self {
        Self { draft: Some(draft.into()), ..self }
    }

    /// Takes it out of the list until something is behind this entry.
    #[must_use]
    pub fn hide(self, through: u64) -> Self {
        Self { hidden: Some(through), ..self }
    }

    /// Brings it back into the list.
    #[must_use]
    pub fn show(self) -> Self {
        Self { hidden: Some(0), ..self }
    }

    /// Shows this user nothing up to this entry any more, now and later, and takes the conversation out of the list until
    /// something is behind it. Others still see it all.
    #[must_use]
    pub fn delete(self, through: u64) -> Self {
        Self { deleted: Some(through), ..self }
    }

    /// What both say; where both say something, the later one counts, and of marks that never go back the further one.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        let read = match (self.read, later.read) {
            (Some(earlier), Some(later)) if earlier.seq > later.seq => Some(earlier),
            (earlier, later) => later.or(earlier),
        };
        Self {
            read,
            pinned: later.pinned.or(self.pinned),
            muted: later.muted.or(self.muted),
            draft: later.draft.or(self.draft),
            hidden: later.hidden.or(self.hidden),
            deleted: later.deleted.max(self.deleted),
        }
    }

    /// As it travels.
    #[cfg(feature = "client")]
    pub(crate) fn mark(&self, conversation: &Recipient) -> pb::Mark {
        let (user, channel) = names(conversation);
        let read = self.read.unwrap_or_default();
        pb::Mark {
            user,
            channel,
            read: read.seq.min(MAX_SEQ),
            read_id: read.id.map_or(0, MessageId::as_u64),
            pinned: self.pinned,
            muted: self.muted,
            draft: self.draft.clone(),
            hidden: self.hidden.map(|seq| seq.min(MAX_SEQ)),
            deleted: self.deleted.unwrap_or_default().min(MAX_SEQ),
        }
    }
}

#[cfg(feature = "backend")]
impl From<pb::Mark> for ConversationChange {
    fn from(mark: pb::Mark) -> Self {
        let read = ReadMark::new(mark.read, MessageId::from_u64(mark.read_id));
        Self {
            read: (mark.read > 0).then_some(read),
            pinned: mark.pinned,
            muted: mark.muted,
            draft: mark.draft,
            hidden: mark.hidden,
            deleted: (mark.deleted > 0).then_some(mark.deleted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_changes_the_later_one_counts_and_marks_do_not_go_back() {
        let mark = |seq| ReadMark::new(seq, None);
        let earlier = ConversationChange::new().read(mark(5)).pin(true).draft("a").delete(4).hide(9);
        let later = ConversationChange::new().read(mark(3)).draft("b").delete(2).show().mute(true);
        let both = earlier.then(later);
        let expected = ConversationChange::new().read(mark(5)).pin(true).mute(true).draft("b");
        assert_eq!(both, expected.delete(4).show());
    }
}
