//! What a user has set in a conversation, for back ends and devices alike.

mod change;
#[cfg(any(feature = "backend", feature = "client"))]
pub(crate) mod message;

pub use self::change::ConversationChange;
use crate::{
    Recipient,
    id::{ChannelId, InvalidId, MessageId, UserId},
    proto::{limits, pb},
};

/// The longest draft, in bytes of UTF-8. Some hundred words: what is longer stays on the device that it was typed on.
pub const MAX_DRAFT_BYTES: usize = limits::MAX_DRAFT_BYTES;

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
    /// In a conversation with a user: the last message that this user has read of it. Those before it in the log were read too:
    /// [`Timeline::is_read`](crate::timeline::Timeline::is_read) tells, whatever the ids say.
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
    /// In a channel whose past is not for new members: entries up to this one were there before the user joined, and are
    /// not shown.
    pub joined: u64,
    /// The channel was closed while the user was a member. It stays in the list, with what it had up to this entry, until
    /// the user deletes it.
    pub closed: Option<u64>,
    /// The user wants to come back to it, whatever it has read: a dot in the list. Reading anything of it ends that.
    pub marked_unread: bool,
    /// Where it is muted: only until then, in milliseconds since the Unix epoch. `None`: without an end.
    pub muted_until_ms: Option<u64>,
    /// Of its unread messages only those that mention the user count in the sum, and should notify.
    pub mentions_only: bool,
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
            joined: 0,
            closed: None,
            marked_unread: false,
            muted_until_ms: None,
            mentions_only: false,
        }
    }

    /// Whether a conversation whose last visible entry is this one (0: there is none) is in the list. One without any
    /// message is, unless it was deleted or hidden, or was closed.
    pub fn is_listed(&self, last: u64) -> bool {
        let is_kept = self.hidden == 0 && self.deleted == 0 && self.closed.is_none();
        last > self.hidden.max(self.deleted) || is_kept
    }

    /// Whether it is muted at a time, in milliseconds since the Unix epoch.
    pub fn is_muted_at(&self, unix_ms: u64) -> bool {
        self.muted && self.muted_until_ms.is_none_or(|until| unix_ms < until)
    }

    /// Entries behind this one are unread.
    pub fn read_to(&self) -> u64 {
        self.read.seq.max(self.shown_from())
    }

    /// Entries up to this one are not shown to the user: they were deleted, or were there before the user joined.
    pub fn shown_from(&self) -> u64 {
        self.deleted.max(self.joined)
    }

    /// Whether an entry of the conversation's log is shown to the user.
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
