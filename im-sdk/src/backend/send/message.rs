//! Messages as the backend builds them.

mod prepared;

use std::fmt;

pub use self::prepared::InvalidMessage;
pub(in crate::backend) use self::prepared::{
    KEY_TTL, Prepared, channel_push_frame, channel_push_frame_len, check_size, digest, left_frame,
    push_frame, push_frame_len, transient_channel_push_frame, transient_push_frame,
};
use crate::{
    Recipient,
    content::Content,
    id::{ChannelId, InvalidId, Terminal, UserId},
    proto::pb,
};

/// The durability of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Durability {
    /// Not stored. Devices that are not connected do not get the message.
    Transient,
    /// Stored in the inboxes of the recipients and the sender, or in the channel's log, before the
    /// send is Ok. Devices get the message when they connect.
    #[default]
    Logged,
    /// Stored like [`Durability::Logged`], and in the archive before the send is Ok. An
    /// [archiver](crate::backend::Im::archiver) writes it to a database from there. Needs a cluster
    /// with an archive.
    Archived,
}

/// Treatment of a transient message to a channel, a room or everybody, for devices that read too
/// slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Priority {
    /// Queued for every device. A device without room in its queue is disconnected; it reconnects
    /// and syncs.
    #[default]
    DisconnectSlow,
    /// Left out for devices whose queue is more than half full.
    Normal,
    /// Left out for devices whose queue is more than an eighth full: for likes and other frequent
    /// messages.
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

/// The recipients of a message, made by [`user`], [`users`] and [`channel`].
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

    /// Returns `true` if a message for this target may be sent to `other`: this one is nobody, or
    /// the same.
    fn allows(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (To::Users(Ok(users)), _) if users.is_empty() => true,
            (To::Channel(Ok(named)), To::Channel(Ok(given))) => named == given,
            (To::Everyone, To::Everyone) => true,
            // The send reports the invalid id.
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

/// Returns one user as target.
///
/// An id that is not valid shows when the message is sent, as [`InvalidMessage::User`].
pub fn user(id: impl TryInto<UserId, Error = impl Into<InvalidId>>) -> Target {
    Target(To::Users(id.try_into().map(|id| vec![id]).map_err(Into::into)))
}

/// Returns several users as target. A user who is named twice counts once.
pub fn users<I>(ids: impl IntoIterator<Item = I>) -> Target
where
    I: TryInto<UserId, Error: Into<InvalidId>>,
{
    Target(To::Users(ids.into_iter().map(|id| id.try_into().map_err(Into::into)).collect()))
}

/// Returns the members of a group or room as target.
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

/// A message for [`Im::send`](crate::backend::Im::send).
///
/// ```
/// use im_sdk::backend::{Message, user};
/// let message = Message::to(user("bob")).from("alice").text("hi").idempotency_key("order-17-paid");
/// ```
#[derive(Clone, Debug)]
#[must_use = "a message does nothing until it is sent"]
pub struct Message {
    /// `None` for the backend's default.
    durability: Option<Durability>,
    idempotency_key: Option<String>,
    to: Target,
    from: Option<Result<UserId, InvalidId>>,
    content: Content,
    terminals: Vec<Terminal>,
    priority: Priority,
    /// The message does not count as unread, whatever its content says.
    is_silent: bool,
    /// The sender is the system user, because the message named none.
    is_system: bool,
    /// See [`pb::Message::origin`](crate::proto::pb::Message::origin); 0 if there is none.
    origin: u64,
}

impl Message {
    /// Creates a message without recipients, for [`Channel::send`](crate::backend::Channel::send),
    /// [`Room::send`](crate::backend::Room::send) or
    /// [`Im::broadcast`](crate::backend::Im::broadcast).
    ///
    /// ```
    /// use im_sdk::backend::Message;
    ///
    /// let message = Message::new().from("alice").text("for whoever gets it");
    /// ```
    pub fn new() -> Self {
        Self::to(Target(To::Users(Ok(Vec::new()))))
    }

    /// Creates a message for a target, without a sender and without content.
    ///
    /// ```
    /// use im_sdk::backend::{Message, users};
    ///
    /// let message = Message::to(users(["bob", "carol"])).from("alice").text("hi, both");
    /// ```
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

    /// Sets the sending user. Without one, the message comes from
    /// [`ImBuilder::system_user`](crate::backend::ImBuilder::system_user), or if that is not set,
    /// from the backend itself. A message from the backend itself to users belongs to no
    /// conversation: no list shows it, and it is not counted as unread.
    ///
    /// ```
    /// use im_sdk::backend::{Message, user};
    ///
    /// let message = Message::to(user("bob")).from("alice").text("hi");
    /// ```
    pub fn from(mut self, user: impl TryInto<UserId, Error = impl Into<InvalidId>>) -> Self {
        self.from = Some(user.try_into().map_err(Into::into));
        self
    }

    /// Sets a plain text as content.
    ///
    /// ```
    /// use im_sdk::backend::{Message, user};
    ///
    /// let message = Message::to(user("bob")).text("your parcel is here");
    /// ```
    pub fn text(self, text: impl Into<String>) -> Self {
        self.content(Content::text(text))
    }

    /// Sets the content.
    ///
    /// ```
    /// use im_sdk::{backend::{Message, user}, content::Content};
    ///
    /// let paid = Content::custom("order.paid", "7");
    /// let message = Message::to(user("bob")).content(paid);
    /// ```
    pub fn content(mut self, content: impl Into<Content>) -> Self {
        self.content = content.into();
        self
    }

    /// Does not let the message count as unread, for news such as "alice moved in". A
    /// [`Notice`](crate::content::Notice) never counts.
    ///
    /// ```
    /// use im_sdk::backend::{Message, channel};
    ///
    /// let message = Message::to(channel("team")).text("alice moved in").silent();
    /// ```
    pub fn silent(mut self) -> Self {
        self.is_silent = true;
        self
    }

    /// Sets the durability. Default:
    /// [`ImBuilder::default_durability`](crate::backend::ImBuilder::default_durability).
    ///
    /// ```
    /// use im_sdk::backend::{Durability, Message, user};
    ///
    /// let message = Message::to(user("bob")).text("12 %").durability(Durability::Transient);
    /// ```
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Makes a repetition of this send return the first result, for 24 hours: two sends with one
    /// key have one effect. The same key with another message is
    /// [`SendError::Conflict`](crate::backend::SendError::Conflict).
    ///
    /// The key is 1 to 128 printable ASCII characters; keys of different senders are different keys.
    ///
    /// ```
    /// use im_sdk::backend::{Message, user};
    ///
    /// let message = Message::to(user("bob")).text("paid").idempotency_key("order-17-paid");
    /// ```
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Limits the message to devices of these terminals. It must then be [`Durability::Transient`],
    /// since a log has no holes.
    ///
    /// ```
    /// use im_sdk::{backend::{Durability, Message, user}, id::Terminal};
    ///
    /// let message = Message::to(user("bob")).text("scan me").durability(Durability::Transient);
    /// let message = message.terminals([Terminal::Ios, Terminal::Android]);
    /// ```
    pub fn terminals(mut self, terminals: impl IntoIterator<Item = Terminal>) -> Self {
        self.terminals = terminals.into_iter().collect();
        self
    }

    /// Sets the treatment of devices that read too slowly. Default: [`Priority::DisconnectSlow`],
    /// which is also the only one for messages that are logged or sent to users.
    ///
    /// ```
    /// use im_sdk::backend::{Durability, Message, Priority};
    ///
    /// let like = Message::new().text("rose").durability(Durability::Transient).priority(Priority::Low);
    /// ```
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the durability if there is none.
    pub(in crate::backend) fn or_durability(mut self, default: Durability) -> Self {
        self.durability.get_or_insert(default);
        self
    }

    /// Sets the target, if the message was not made for another one.
    pub(in crate::backend) fn retarget(self, to: Target) -> Result<Self, InvalidMessage> {
        if self.to.allows(&to) {
            return Ok(Self { to, ..self });
        }
        Err(InvalidMessage::OtherTarget { named: self.to.to_string(), given: to.to_string() })
    }

    /// Sets the system user as sender, if there is none and the target is users: see
    /// [`ImBuilder::system_user`](crate::backend::ImBuilder::system_user). A change stays the
    /// backend's own.
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
