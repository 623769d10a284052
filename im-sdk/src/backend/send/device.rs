//! Devices of users, their connections on servers, and how far a record got with them.

use crate::id::{ConnectionId, Device, ServerId, UserId};

/// A device of a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct UserDevice {
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: Device,
}

impl UserDevice {
    pub(in crate::backend) fn new(user: &UserId, device: Device) -> Self {
        Self { user: user.clone(), device }
    }
}

/// A connection on its server, and the device that it belongs to.
#[derive(Clone, Debug)]
pub(in crate::backend) struct Located {
    pub(in crate::backend) owner: UserDevice,
    pub(in crate::backend) connection: ConnectionId,
}

/// Live connections grouped by server, each server once.
pub(in crate::backend) type ByServer = Vec<(ServerId, Vec<Located>)>;

/// How far a record got with one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend) enum Reach {
    Reached,
    /// Its server has no such connection.
    Gone,
    /// Its server holds a lease but does not listen: it has died, or is cut off from the bus and
    /// still holds its connections.
    Deaf,
    Unknown,
}

impl Reach {
    /// Returns `true` if the record may not have taken effect although the connection may exist.
    pub(in crate::backend) fn is_unconfirmed(self) -> bool {
        matches!(self, Self::Deaf | Self::Unknown)
    }
}
