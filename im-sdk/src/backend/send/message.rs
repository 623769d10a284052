//! What is sent: a message, put together step by step.

mod prepared;

use std::fmt;

pub use self::prepared::InvalidMessage;
pub(in crate::backend) use self::prepared::{
    KEY_TTL, Prepared, channel_push_frame, channel_push_frame_len, check_size, digest, left_frame,
    push_frame, push_frame_len, transient_channel_push_frame, transient_push_frame,
};
use crate::{
    Content, Recipient,
    id::{ChannelId, InvalidId, Terminal, UserId},
    proto::pb,
};

/// How well a message is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Durability {
    /// Kept nowhere: for what is worthless a moment later. A device that is not connected does not get it.
    Transient,
    /// In the inboxes of its recipients and its sender, or in the channel's log, before the send is Ok. Devices get it
    /// when they connect.
    #[default]
    Logged,
    /// The same, and in the archive before the send is Ok, from where an [archiver](crate::backend::Im::archiver) brings it to a
    /// database. Needs a cluster with an archive.
    Archived,
}

/// What becomes of a transient message to a channel, a room or everybody for a device that reads too slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Priority {
    /// Queued for every device. A device whose queue has no room for it is disconnected; it comes back and syncs.
    #[default]
    DisconnectSlow,
    /// Left out for devices whose queue is more than half full.
    Normal,
    /// Left out for devices whose queue is more than an eighth full: likes, and whatever else there is much of.
    Low,
}

impl From<Priority> for pb::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::DisconnectSlow => Self::Must,
            Priority::Normal => Self::Normal,
            Priority::Low => Self::Low,
        }
    }
}

/// Whom a message is for. Made by [`user`], [`users`] and [`channel`].
#[derive(Clone, Debug)]
pub struct Target(To);

#[derive(Clone, Debug)]
enum To {
    Users(Result<Vec<UserId>, InvalidId>),
    Channel(Result<ChannelId, InvalidId>),
    Everyone,
}

impl Target {
    pub(in crate::backend) fn channel(id: Result<ChannelId, InvalidId>) -> Self {
        Self(To::Channel(id))
    }

    pub(in crate::backend) fn everyone() -> Self {
        Self(To::Everyone)
    }

    /// Whether a message that was made for this may go to the other one: it was made for nobody, or for the same.
    fn allows(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (To::Users(Ok(users)), _) if users.is_empty() => true,
            (To::Channel(Ok(named)), To::Channel(Ok(given))) => named == given,
            (To::Everyone, To::Everyone) => true,
            // What is no id shows as such.
            (_, To::Channel(Err(_))) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            To::Users(Ok(users)) if users.len() == 1 => write!(f, "user {}", users[0]),
            To::Users(Ok(users)) => write!(f, "{} users", users.len()),
            To::Users(Err(_)) => write!(f, "a user without a valid id"),
            To::Channel(Ok(channel)) => write!(f, "channel {channel}"),
            To::Channel(Err(_)) => write!(f, "a channel without a valid id"),
            To::Everyone => write!(f, "everybody"),
        }
    }
}

/// One user.
///
/// An id that is not valid shows when the message is sent, as [`InvalidMessage::User`].
pub fn user(id: impl TryInto<UserId, Error = impl Into<InvalidId>>) -> Target {
    Target(To::Users(id.try_into().map(|id| vec![id]).map_err(Into::into)))
}

/// Several users; who is named twice counts once.
pub fn users<I>(ids: impl IntoIterator<Item = I>) -> Target
where
    I: TryInto<UserId, Error: Into<InvalidId>>,
{
    Target(To::Users(ids.into_iter().map(|id| id.try_into().map_err(Into::into)).collect()))
}

/// The members of a group or room.
///
/// An id that is not valid shows when the message is sent, as [`InvalidMessage::Channel`].
pub fn channel(id: impl TryInto<ChannelId, Error = impl Into<InvalidId>>) -> Target {
    Target::channel(id.try_into().map_err(Into::into))
}

impl From<Recipient> for Target {
    fn from(recipient: Recipient) -> Self {
        match recipient {
            Recipient::User(user) => Self(To::Users(Ok(vec![user]))),
            Recipient::Channel(channel) => Self::channel(Ok(channel)),
        }
    }
}

impl From<&Recipient> for Target {
    fn from(recipient: &Recipient) -> Self {
        recipient.clone().into()
    }
}

/// A message to be sent by [`crate::backend::Im::send`].
///
/// ```
/// use im_sdk::backend::{Message, user};
/// let message = Message::to(user("bob")).from("alice").text("hi").idempotency_key("order-17-paid");
/// ```
#[derive(Clone, Debug)]
#[must_use = "a message does nothing until it is sent"]
pub struct Message {
    /// `None`: as the back end is set.
    durability: Option<Durability>,
    idempotency_key: Option<String>,
    to: Target,
    from: Option<Result<UserId, InvalidId>>,
    content: Content,
    terminals: Vec<Terminal>,
    priority: Priority,
    /// It does not count as unread, whatever its content says.
    is_silent: bool,
    /// The sender is the system user, because there was no other.
    is_system: bool,
    /// See [`pb::Message::origin`](crate::proto::pb::Message::origin); 0: none.
    origin: u64,
}

impl Message {
    /// A message for nobody so far, to be sent by [`crate::backend::Channel::send`], [`crate::backend::Room::send`] or [`crate::backend::Im::broadcast`].
    pub fn new() -> Self {
        Self::to(Target(To::Users(Ok(Vec::new()))))
    }

    /// A message for somebody, without a sender and without content so far.
    pub fn to(target: impl Into<Target>) -> Self {
        Self {
            durability: None,
            idempotency_key: None,
            to: target.into(),
            from: None,
            content: Content::default(),
            terminals: Vec::new(),
            priority: Priority::DisconnectSlow,
            is_silent: false,
            is_system: false,
            origin: 0,
        }
    }

    /// The user that it comes from. Without, it comes from [`ImBuilder::system_user`](crate::backend::ImBuilder::system_user), or, where
    /// there is none, from the back end itself; to users it then belongs to no conversation, so no list shows it and no count
    /// counts it.
    pub fn from(mut self, user: impl TryInto<UserId, Error = impl Into<InvalidId>>) -> Self {
        self.from = Some(user.try_into().map_err(Into::into));
        self
    }

    /// Plain text.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.content(Content::text(text))
    }

    /// Any content.
    pub fn content(mut self, content: impl Into<Content>) -> Self {
        self.content = content.into();
        self
    }

    /// Does not count as unread: who moved in, what a bot keeps up to date. A [`Notice`](crate::content::Notice) never does.
    pub fn silent(mut self) -> Self {
        self.is_silent = true;
        self
    }

    /// How well it is kept; [`crate::backend::ImBuilder::default_durability`] unless set.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Makes a repetition of this send return the first one's result, for 24 hours: two sends with one key have one
    /// effect. The same key with another message is [`crate::backend::SendError::Conflict`].
    ///
    /// The key is 1 to 128 printable ASCII characters; keys of different senders are different keys.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Only devices of these terminals get it. It must be [`Durability::Transient`] then: a log has no holes.
    pub fn terminals(mut self, terminals: impl IntoIterator<Item = Terminal>) -> Self {
        self.terminals = terminals.into_iter().collect();
        self
    }

    /// What becomes of it for devices that read too slowly; [`Priority::DisconnectSlow`] unless set. Another one is for
    /// [`Durability::Transient`] messages to a channel or to everybody alone: what is in a log must not be left out.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// The same with a durability if it has none.
    pub(in crate::backend) fn or_durability(mut self, default: Durability) -> Self {
        self.durability.get_or_insert(default);
        self
    }

    /// The same for a target. One that was made for somebody else is not sent elsewhere in silence.
    pub(in crate::backend) fn retarget(self, to: Target) -> Result<Self, InvalidMessage> {
        if self.to.allows(&to) {
            return Ok(Self { to, ..self });
        }
        Err(InvalidMessage::OtherTarget { named: self.to.to_string(), given: to.to_string() })
    }

    /// The same from the system user, if it has no sender and goes to users: see
    /// [`ImBuilder::system_user`](crate::backend::ImBuilder::system_user). A change is the back end's own as before.
    pub(in crate::backend) fn or_system_user(mut self, system: Option<&UserId>) -> Self {
        let has_peer = self.from.is_none() && matches!(self.to.0, To::Users(_));
        if let Some(system) = system.filter(|_| has_peer && self.content.as_change().is_none()) {
            (self.from, self.is_system) = (Some(Ok(system.clone())), true);
        }
        self
    }

    /// Marks the message with the origin of the publish by which a device sent it.
    pub(in crate::backend) fn origin(self, origin: u64) -> Self {
        Self { origin, ..self }
    }

    pub(in crate::backend) fn content_ref(&self) -> &Content {
        &self.content
    }

    pub(in crate::backend) fn into_content(self) -> Content {
        self.content
    }

    pub(in crate::backend) fn has_sender(&self) -> bool {
        self.from.is_some()
    }
}

impl Default for Message {
    fn default() -> Self {
        Self::new()
    }
}
