//! What a send came to.

use crate::id::{Device, MessageId, UserId};

/// A device and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct UserDevice {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub device: Device,
}

impl UserDevice {
    pub(super) fn new(user: &UserId, device: Device) -> Self {
        Self { user: user.clone(), device }
    }
}

/// What a send came to, per device and user. Every recipient is in at least one of the lists.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The id that the message got.
    pub message_id: MessageId,
    /// Devices whose server has the message queued for them.
    pub pushed: Vec<UserDevice>,
    /// Users none of whose (chosen) devices is connected.
    pub offline: Vec<UserId>,
    /// Devices whose server did not answer in time: it may have pushed the message or not.
    pub unconfirmed: Vec<UserDevice>,
}

impl Receipt {
    /// True when at least one device of the user has it queued.
    pub fn reached(&self, user: &UserId) -> bool {
        self.pushed.iter().any(|pushed| pushed.user == *user)
    }
}
