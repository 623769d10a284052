//! Rooms, signals and presence, as a device sees them.

use bytes::Bytes;

use super::ReceivedMessage;
use crate::{
    Signal,
    id::{ChannelId, Device, UserId},
};

/// A room that the device is in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinedRoom {
    /// About how many devices are.
    pub online: u64,
    /// Whatever the back end answers, often nothing.
    pub answer: Bytes,
    /// What was said last, in order, as far as the back end sends it. What comes from here on comes as events.
    pub recent: Vec<ReceivedMessage>,
}

/// Why the device is not in a room any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RoomLeftCause {
    /// The back end has taken the user out.
    Kicked,
    /// The room is closed.
    Closed,
    /// When the device came back over a new connection, it was not let in again.
    Refused,
    /// A cause that this version does not know.
    Unknown,
}

impl RoomLeftCause {
    /// The name in logs, such as `kicked`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kicked => "kicked",
            Self::Closed => "closed",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

impl From<crate::proto::pb::RoomLeftCause> for RoomLeftCause {
    fn from(cause: crate::proto::pb::RoomLeftCause) -> Self {
        match cause {
            crate::proto::pb::RoomLeftCause::Unspecified => Self::Unknown,
            crate::proto::pb::RoomLeftCause::Kicked => Self::Kicked,
            crate::proto::pb::RoomLeftCause::Closed => Self::Closed,
        }
    }
}

/// What another device signalled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedSignal {
    /// Whose device it is.
    pub from: UserId,
    /// The device.
    pub device: Device,
    /// The channel that it was sent to. `None`: to this user.
    pub channel: Option<ChannelId>,
    /// What it says.
    pub signal: Signal,
}
