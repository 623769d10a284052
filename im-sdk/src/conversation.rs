//! What a user has set in a conversation, for back ends and devices alike.

#[cfg(any(feature = "backend", feature = "client"))]
use crate::Content;
use crate::{
    Recipient,
    id::{ChannelId, InvalidId, MessageId, UserId},
    proto::pb,
};

/// The longest draft, in bytes of UTF-8. Some hundred words: what is longer stays on the device that it was typed on.
pub const MAX_DRAFT_BYTES: usize = 1024;

/// Beyond every log, and as much as back ends take: what is further is cut to it.
#[cfg(feature = "client")]
const MAX_SEQ: u64 = (1 << 53) - 1;

/// How far a user has read: a place in the log that the conversation stands in, which is the user's own inbox for a
/// conversation with a user, and the channel's log for a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReadMark {
    /// The last entry that was read; 0: none.
    pub seq: u64,
    /// The message there, if it is known.
    pub id: Option<MessageId>,
}

impl ReadMark {
    /// A place and the message there.
    pub fn new(seq: u64, id: Option<MessageId>) -> Self {
        Self { seq, id }
    }
}

/// What a user has set in a conversation, the same on all of the user's devices.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConversationState {
    /// With whom.
    pub conversation: Recipient,
    /// The number of the user's change by which it became so, counted over all conversations of the user. 0: nothing was
    /// set.
    pub version: u64,
    /// How far the user has read. It never goes back.
    pub read: ReadMark,
    /// In a conversation with a user: the last message that this user has read of it. Earlier ones, by their ids, were read
    /// too.
    pub peer_read: Option<MessageId>,
    /// Stands before all that are not.
    pub pinned: bool,
    /// Does not count in the sum of unread messages, and should not notify.
    pub muted: bool,
    /// What the user has begun to type, at most [`MAX_DRAFT_BYTES`].
    pub draft: String,
    /// Not in the list as long as nothing is behind this entry.
    pub hidden: u64,
    /// Entries up to this one are not shown to the user any more. It never goes back.
    pub deleted: u64,
}

impl ConversationState {
    /// Of a conversation in which nothing was set.
    pub fn new(conversation: impl Into<Recipient>) -> Self {
        Self {
            conversation: conversation.into(),
            version: 0,
            read: ReadMark::default(),
            peer_read: None,
            pinned: false,
            muted: false,
            draft: String::new(),
            hidden: 0,
            deleted: 0,
        }
    }

    /// Whether a conversation whose last visible entry is this one (0: there is none) is in the list. One without any
    /// message is, unless it was deleted or hidden.
    pub fn is_listed(&self, last: u64) -> bool {
        last > self.hidden.max(self.deleted) || (self.hidden == 0 && self.deleted == 0)
    }

    /// Entries behind this one are unread.
    pub fn read_to(&self) -> u64 {
        self.read.seq.max(self.deleted)
    }
}

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

    /// Keeps what was typed, at most [`MAX_DRAFT_BYTES`]; empty removes it.
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

impl From<ConversationState> for pb::ConversationState {
    fn from(state: ConversationState) -> Self {
        let (user, channel) = names(&state.conversation);
        let id = |id: Option<MessageId>| id.map_or(0, MessageId::as_u64);
        Self {
            user,
            channel,
            version: state.version,
            read: state.read.seq,
            read_id: id(state.read.id),
            peer_read: id(state.peer_read),
            pinned: state.pinned,
            muted: state.muted,
            draft: state.draft,
            hidden: state.hidden,
            deleted: state.deleted,
        }
    }
}

impl TryFrom<pb::ConversationState> for ConversationState {
    type Error = InvalidId;

    fn try_from(state: pb::ConversationState) -> Result<Self, InvalidId> {
        Ok(Self {
            conversation: recipient(&state.user, &state.channel)?,
            version: state.version,
            read: ReadMark::new(state.read, MessageId::from_u64(state.read_id)),
            peer_read: MessageId::from_u64(state.peer_read),
            pinned: state.pinned,
            muted: state.muted,
            draft: state.draft,
            hidden: state.hidden,
            deleted: state.deleted,
        })
    }
}

/// Whether a message is one by itself, and can be the last one of a conversation. What changes another message is not.
#[cfg(any(feature = "backend", feature = "client"))]
pub(crate) fn stands_alone(content: &Content) -> bool {
    content.as_change().is_none()
}

/// Whether a message counts as unread until the user has read it: one of somebody else that stands alone. `from` is empty
/// where the back end sent it.
#[cfg(any(feature = "backend", feature = "client"))]
pub(crate) fn counts(from: &str, content: &Content, user: &UserId) -> bool {
    from != user.as_str() && stands_alone(content)
}

/// Whether a message calls a user.
#[cfg(any(feature = "backend", feature = "client"))]
pub(crate) fn mentions(content: &Content, user: &UserId) -> bool {
    content.mentions.call(user)
}

/// Whom a conversation is with, from the two names that it travels as.
pub(crate) fn recipient(user: &str, channel: &str) -> Result<Recipient, InvalidId> {
    if channel.is_empty() {
        UserId::parse(user).map(Recipient::User)
    } else {
        ChannelId::parse(channel).map(Recipient::Channel)
    }
}

/// The two names that it travels as.
fn names(conversation: &Recipient) -> (String, String) {
    match conversation {
        Recipient::User(user) => (user.to_string(), String::new()),
        Recipient::Channel(channel) => (String::new(), channel.to_string()),
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

    #[test]
    fn what_is_hidden_comes_back_with_what_follows() {
        let mut state = ConversationState::new(UserId::parse("bob").unwrap());
        assert!(state.is_listed(0) && state.is_listed(1));
        state.hidden = 5;
        assert!(!state.is_listed(0) && !state.is_listed(5) && state.is_listed(6));
        state.deleted = 7;
        assert!(!state.is_listed(7) && state.is_listed(8));
    }

    #[test]
    fn what_others_say_counts_and_what_they_change_does_not() {
        use crate::{content::Change, id::MessageId};
        let (alice, bob) = (UserId::parse("alice").unwrap(), UserId::parse("bob").unwrap());
        let (hi, id) = (Content::text("hi"), MessageId::from_u64(7).unwrap());
        assert!(counts("alice", &hi, &bob) && counts("", &hi, &bob) && !counts("bob", &hi, &bob));
        let recalled = Content::from(Change::recall(id));
        assert!(!counts("alice", &recalled, &bob) && !stands_alone(&recalled));
        assert!(!mentions(&hi, &bob) && mentions(&hi.clone().mention(bob.clone()), &bob));
        assert!(mentions(&hi.clone().mention_everybody(), &bob) && !mentions(&hi.mention(alice), &bob));
    }

    #[test]
    fn a_state_travels() {
        let mut state = ConversationState::new(ChannelId::parse("team").unwrap());
        state.read = ReadMark::new(7, MessageId::from_u64(9));
        state.draft = "so far".to_owned();
        state.muted = true;
        let travelled = pb::ConversationState::from(state.clone());
        assert_eq!(ConversationState::try_from(travelled).unwrap(), state);
        assert!(ConversationState::try_from(pb::ConversationState::default()).is_err());
    }
}
