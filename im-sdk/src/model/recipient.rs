//! Recipients of messages: a user or a channel.

use std::fmt;

use crate::id::{ChannelId, InvalidId, UserId};

/// The recipient of a device's message, and the other side of a conversation. A user and a channel
/// of the same name are different.
///
/// ```
/// use im_sdk::{Recipient, id::UserId};
/// let bob = UserId::parse("bob")?;
/// assert_eq!(Recipient::from(&bob), bob);
/// assert_eq!(Recipient::user("bob")?, bob);
/// assert_ne!(Recipient::channel("bob")?, Recipient::user("bob")?);
/// # Ok::<(), im_sdk::id::InvalidId>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Recipient {
    /// A user.
    User(UserId),
    /// The members of a channel.
    Channel(ChannelId),
}

impl Recipient {
    /// Makes a recipient of a user.
    ///
    /// # Errors
    /// [`InvalidId`].
    pub fn user(id: impl TryInto<UserId, Error = impl Into<InvalidId>>) -> Result<Self, InvalidId> {
        id.try_into().map(Self::User).map_err(Into::into)
    }

    /// Makes a recipient of a channel, which is a group or a room.
    ///
    /// # Errors
    /// [`InvalidId`].
    pub fn channel(id: impl TryInto<ChannelId, Error = impl Into<InvalidId>>) -> Result<Self, InvalidId> {
        id.try_into().map(Self::Channel).map_err(Into::into)
    }

    /// Returns the user, if it is one.
    pub fn as_user(&self) -> Option<&UserId> {
        match self {
            Self::User(user) => Some(user),
            Self::Channel(_) => None,
        }
    }

    /// Returns the channel, if it is one.
    pub fn as_channel(&self) -> Option<&ChannelId> {
        match self {
            Self::User(_) => None,
            Self::Channel(channel) => Some(channel),
        }
    }
}

impl From<UserId> for Recipient {
    fn from(user: UserId) -> Self {
        Self::User(user)
    }
}

impl From<&UserId> for Recipient {
    fn from(user: &UserId) -> Self {
        Self::User(user.clone())
    }
}

impl From<&ChannelId> for Recipient {
    fn from(channel: &ChannelId) -> Self {
        Self::Channel(channel.clone())
    }
}

impl From<&Recipient> for Recipient {
    fn from(recipient: &Recipient) -> Self {
        recipient.clone()
    }
}

impl From<ChannelId> for Recipient {
    fn from(channel: ChannelId) -> Self {
        Self::Channel(channel)
    }
}

impl PartialEq<UserId> for Recipient {
    fn eq(&self, user: &UserId) -> bool {
        self.as_user() == Some(user)
    }
}

impl PartialEq<ChannelId> for Recipient {
    fn eq(&self, channel: &ChannelId) -> bool {
        self.as_channel() == Some(channel)
    }
}

impl fmt::Display for Recipient {
    /// For people: the text does not distinguish users and channels.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(formatter, "{user}"),
            Self::Channel(channel) => write!(formatter, "channel {channel}"),
        }
    }
}
