//! The state of a user's conversation.

mod change;
#[cfg(any(feature = "backend", feature = "client"))]
pub(crate) mod message;

pub use self::change::ConversationChange;
use crate::{
    Recipient,
    id::{ChannelId, InvalidId, MessageId, UserId},
    proto::{limits, pb},
};

/// The maximum length of a draft, in bytes of UTF-8: some hundred words. A longer draft stays on
/// the device where it was typed.
pub const MAX_DRAFT_BYTES: usize = limits::MAX_DRAFT_BYTES;

/// A read mark: the last entry that a user has read, in the log of the conversation. That log is
/// the user's own inbox for a conversation with a user, and the channel's log for a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReadMark {
    /// The seq of the last entry that was read; 0 for none.
    pub seq: u64,
    /// The message at that seq, if it is known.
    pub id: Option<MessageId>,
}

impl ReadMark {
    /// Creates a mark.
    pub fn new(seq: u64, id: Option<MessageId>) -> Self {
        Self { seq, id }
    }
}

/// A user's state of a conversation, the same on all of the user's devices.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConversationState {
    /// The user or channel that the conversation is with.
    pub conversation: Recipient,
    /// The version of the user's last change to this state, counted over all conversations of the
    /// user; 0 if nothing was changed.
    pub version: u64,
    /// The mark up to which the user has read. It never goes back.
    pub read: ReadMark,
    /// In a conversation with a user: the last message that this user has read of it. Earlier
    /// messages in the log were read too: [`Timeline::is_read`](crate::timeline::Timeline::is_read)
    /// tells, whatever the ids say.
    pub peer_read: Option<MessageId>,
    /// Whether the conversation is listed above those that are not pinned.
    pub pinned: bool,
    /// Whether the conversation is excluded from the sum of unread messages. It should not notify.
    pub muted: bool,
    /// The text that the user has begun to type, at most [`MAX_DRAFT_BYTES`].
    pub draft: String,
    /// The seq up to which the conversation is hidden: it is not listed until there is a later
    /// entry.
    pub hidden: u64,
    /// The seq up to which entries are deleted for the user. It never goes back.
    pub deleted: u64,
    /// In a channel whose history is hidden from new members: the seq up to which entries were sent
    /// before the user joined. They are not shown.
    pub joined: u64,
    /// The last entry of a channel that was closed while the user was a member. It stays in the
    /// list, with its entries up to this one, until the user deletes it.
    pub closed: Option<u64>,
    /// Whether the user marked the conversation as unread: a dot in the list. Reading anything
    /// clears it.
    pub marked_unread: bool,
    /// The end of the mute, in milliseconds since the Unix epoch; `None` for none.
    pub muted_until_ms: Option<u64>,
    /// Whether only unread messages that mention the user count in the sum. Others should not
    /// notify.
    pub mentions_only: bool,
}

impl ConversationState {
    /// Creates the state of a conversation without changes.
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
            joined: 0,
            closed: None,
            marked_unread: false,
            muted_until_ms: None,
            mentions_only: false,
        }
    }

    /// Returns whether a conversation with this last visible entry (0: none) is in the list. One
    /// without any message is listed unless it was deleted, hidden or closed.
    pub fn is_listed(&self, last: u64) -> bool {
        let is_kept = self.hidden == 0 && self.deleted == 0 && self.closed.is_none();
        last > self.hidden.max(self.deleted) || is_kept
    }

    /// Returns whether it is muted at a time, in milliseconds since the Unix epoch.
    pub fn is_muted_at(&self, unix_ms: u64) -> bool {
        self.muted && self.muted_until_ms.is_none_or(|until| unix_ms < until)
    }

    /// Returns the seq behind which entries are unread.
    pub fn read_to(&self) -> u64 {
        self.read.seq.max(self.shown_from())
    }

    /// Returns the seq up to which entries are not shown to the user: they were deleted, or sent
    /// before the user joined.
    pub fn shown_from(&self) -> u64 {
        self.deleted.max(self.joined)
    }

    /// Returns whether an entry of the conversation's log is shown to the user.
    pub fn shows(&self, seq: u64) -> bool {
        seq > self.shown_from() && self.closed.is_none_or(|closed| seq <= closed)
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
            joined: state.joined,
            closed: state.closed,
            marked_unread: state.marked_unread,
            muted_until_ms: state.muted_until_ms.unwrap_or(0),
            mentions_only: state.mentions_only,
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
            joined: state.joined,
            closed: state.closed,
            marked_unread: state.marked_unread,
            muted_until_ms: Some(state.muted_until_ms).filter(|until| *until > 0),
            mentions_only: state.mentions_only,
        })
    }
}

/// Parses the user or channel of a conversation from its two names on the wire.
pub(crate) fn recipient(user: &str, channel: &str) -> Result<Recipient, InvalidId> {
    if channel.is_empty() {
        UserId::parse(user).map(Recipient::User)
    } else {
        ChannelId::parse(channel).map(Recipient::Channel)
    }
}

/// Returns the two names on the wire.
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
    fn what_is_hidden_comes_back_with_what_follows() {
        let mut state = ConversationState::new(UserId::parse("bob").unwrap());
        assert!(state.is_listed(0) && state.is_listed(1));
        state.hidden = 5;
        assert!(!state.is_listed(0) && !state.is_listed(5) && state.is_listed(6));
        state.deleted = 7;
        assert!(!state.is_listed(7) && state.is_listed(8));
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
