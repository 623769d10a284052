//! A user or a channel: whom a message is for, and what a conversation is with.

use std::fmt;

use crate::id::{ChannelId, UserId};

/// Whom a device's message is for, and what a conversation is with. A user and a channel of the same name are different ones.
///
/// ```
/// use im_sdk::{Recipient, id::UserId};
/// let bob = UserId::parse("bob")?;
/// assert_eq!(Recipient::from(bob.clone()), bob);
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
    /// The user, if it is one.
    pub fn as_user(&self) -> Option<&UserId> {
        match self {
            Self::User(user) => Some(user),
            Self::Channel(_) => None,
        }
    }

    /// The channel, if it is one.
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
    /// For people: a name does not tell users and channels apart.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(formatter, "{user}"),
            Self::Channel(channel) => write!(formatter, "channel {channel}"),
        }
    }
}
