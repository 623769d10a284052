//! Rooms and signals, as a device sees them.

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
    /// The approximate number of devices in the room.
    pub online: u64,
    /// The application's own answer, often empty.
    pub answer: Bytes,
    /// The last messages, in order, as many as the backend sends. Later ones come as events.
    pub recent: Vec<ReceivedMessage>,
}

/// The cause for which the device is no longer in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RoomLeftCause {
    /// The backend has removed the user.
    Kicked,
    /// The room is closed.
    Closed,
    /// The device was not let in again when it came back over a new connection.
    Refused,
    /// A cause that this version does not know.
    Unknown,
}

impl RoomLeftCause {
    /// Returns the name in logs, such as `kicked`.
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

/// A signal from another device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedSignal {
    /// The user whose device sent it.
    pub from: UserId,
    /// The device.
    pub device: Device,
    /// The channel that it was sent to. `None` if it was sent to this user.
    pub channel: Option<ChannelId>,
    /// The signal itself.
    pub signal: Signal,
}
