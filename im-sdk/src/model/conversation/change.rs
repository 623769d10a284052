//! Changes to the state of a conversation.

use super::ReadMark;
#[cfg(feature = "client")]
use super::{Recipient, names};
#[cfg(any(feature = "backend", feature = "client"))]
use crate::{id::MessageId, proto::pb};

/// The highest seq that backends accept, beyond every log. Higher ones are reduced to it.
#[cfg(feature = "client")]
const MAX_SEQ: u64 = crate::proto::limits::MAX_SEQ;

/// A change to the state of a conversation. Settings that are not named are unchanged. A change may
/// be applied repeatedly.
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
    pub(crate) marked_unread: Option<bool>,
    /// The end of the mute; 0 for none.
    pub(crate) muted_until_ms: Option<u64>,
    pub(crate) mentions_only: Option<bool>,
}

impl ConversationChange {
    /// Creates a change without effect.
    pub fn new() -> Self {
        Self::default()
    }

    /// Marks everything up to an entry as read. A mark never goes back: one that is not further
    /// than the known one has no effect.
    #[must_use]
    pub fn read(self, mark: ReadMark) -> Self {
        Self { read: Some(mark), ..self }
    }

    /// Pins the conversation above those that are not pinned, or unpins it.
    #[must_use]
    pub fn pin(self, pinned: bool) -> Self {
        Self { pinned: Some(pinned), ..self }
    }

    /// Excludes the conversation from the sum of unread messages, or includes it again.
    #[must_use]
    pub fn mute(self, muted: bool) -> Self {
        Self { muted: Some(muted), muted_until_ms: Some(0), ..self }
    }

    /// Excludes the conversation from the sum of unread messages until a time, in milliseconds
    /// since the Unix epoch.
    #[must_use]
    pub fn mute_until(self, unix_ms: u64) -> Self {
        Self { muted: Some(unix_ms > 0), muted_until_ms: Some(unix_ms), ..self }
    }

    /// Includes only those unread messages in the sum that mention the user, or all again.
    #[must_use]
    pub fn mentions_only(self, mentions_only: bool) -> Self {
        Self { mentions_only: Some(mentions_only), ..self }
    }

    /// Marks the conversation as unread, to come back to it, or removes that mark. Reading anything
    /// removes it, too. It makes no message unread.
    #[must_use]
    pub fn mark_unread(self, marked_unread: bool) -> Self {
        Self { marked_unread: Some(marked_unread), ..self }
    }

    /// Stores the text that was typed and not sent, at most
    /// [`MAX_DRAFT_BYTES`](crate::MAX_DRAFT_BYTES); an empty text removes it.
    #[must_use]
    pub fn draft(self, draft: impl Into<String>) -> Self {
        Self { draft: Some(draft.into()), ..self }
    }

    /// Hides the conversation from the list until there is an entry after this one.
    #[must_use]
    pub fn hide(self, through: u64) -> Self {
        Self { hidden: Some(through), ..self }
    }

    /// Shows the conversation in the list again.
    #[must_use]
    pub fn show(self) -> Self {
        Self { hidden: Some(0), ..self }
    }

    /// Deletes all entries up to this one for this user, for good, and hides the conversation from
    /// the list until there is a later entry. Others still see everything.
    #[must_use]
    pub fn delete(self, through: u64) -> Self {
        Self { deleted: Some(through), ..self }
    }

    /// Combines two changes: the later one wins, except for marks that never go back, of which the
    /// further one wins.
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
            // Reading something later clears the mark.
            marked_unread: later.marked_unread.or(later.read.map(|_| false)).or(self.marked_unread),
            muted_until_ms: later.muted_until_ms.or(self.muted_until_ms),
            mentions_only: later.mentions_only.or(self.mentions_only),
        }
    }

    /// Returns the later change, with the further ones of the marks that never go back.
    #[cfg(feature = "client")]
    pub(crate) fn furthest(self, later: Self) -> Self {
        let Self { read, deleted, .. } = Self { marked_unread: None, ..self.then(later.clone()) };
        Self { read, deleted, ..later }
    }

    /// Removes the settings that a later change replaces. Marks that never go back are kept.
    #[cfg(feature = "client")]
    pub(crate) fn without(self, later: &Self) -> Self {
        let is_muted = later.muted.is_some() || later.muted_until_ms.is_some();
        let is_read = later.read.is_some() || later.marked_unread.is_some();
        Self {
            read: self.read,
            pinned: self.pinned.filter(|_| later.pinned.is_none()),
            muted: self.muted.filter(|_| !is_muted),
            draft: self.draft.filter(|_| later.draft.is_none()),
            hidden: self.hidden.filter(|_| later.hidden.is_none()),
            deleted: self.deleted,
            marked_unread: self.marked_unread.filter(|_| !is_read),
            muted_until_ms: self.muted_until_ms.filter(|_| !is_muted),
            mentions_only: self.mentions_only.filter(|_| later.mentions_only.is_none()),
        }
    }

    /// Encodes the change for the wire.
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
            marked_unread: self.marked_unread,
            muted_until_ms: self.muted_until_ms,
            mentions_only: self.mentions_only,
            ..pb::Mark::default()
        }
    }
}

#[cfg(any(feature = "backend", feature = "client"))]
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
            marked_unread: mark.marked_unread,
            muted_until_ms: mark.muted_until_ms,
            mentions_only: mark.mentions_only,
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
        assert_eq!(both, expected.delete(4).show().mark_unread(false));
    }

    #[test]
    fn what_is_read_later_is_not_marked_as_unread_any_more() {
        let read = || ConversationChange::new().read(ReadMark::new(3, None));
        let marked = || ConversationChange::new().mark_unread(true);
        assert_eq!(marked().then(read()).marked_unread, Some(false));
        assert_eq!(read().then(marked()).marked_unread, Some(true));
    }
}
