//! The results of a send.
//!
//! A ladder: **accepted** (the message is in the recipients' logs, or the send is an error), **pushed** (a device's server has
//! queued it for the device), **acked** (the device's application has dealt with it; [`Im::wait_acked`](crate::backend::Im::wait_acked) waits for that).

use std::collections::HashSet;

use super::{
    dispatch::{Located, Reach},
    message::Durability,
};
use crate::id::{ChannelId, Device, MessageId, ServerId, UserId};

/// A device and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct UserDevice {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub device: Device,
}

impl UserDevice {
    pub(in crate::backend) fn new(user: &UserId, device: Device) -> Self {
        Self { user: user.clone(), device }
    }
}

/// The result of a send to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ChannelReceipt {
    /// Which channel.
    pub channel: ChannelId,
    /// Its place in the channel's log; 0 for [`Durability::Transient`].
    pub seq: u64,
    /// Servers that have the message queued for all of the members that are connected to them.
    pub pushed: Vec<ServerId>,
    /// Servers that did not answer in time.
    pub unconfirmed: Vec<ServerId>,
    /// How many connections have the message queued, on those servers that answered.
    pub connections: u64,
    /// For how many it was left out, because of its [`Priority`](crate::backend::Priority).
    pub shed: u64,
    /// Whether the servers that hold members could not be read, or not again behind the append. The message is in the
    /// channel's log. Members on servers that are not named here may be connected, and get it with their next sync.
    pub unlocated: bool,
}

/// The result of a send, per device and user. Every recipient is in at least one of the lists; of a channel's members none
/// is, see [`Receipt::channel`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Receipt {
    /// The id that the message got.
    pub message_id: MessageId,
    /// How well it is kept.
    pub durability: Durability,
    /// What became of a send to a channel.
    pub channel: Option<ChannelReceipt>,
    /// Its place in each recipient's inbox; empty for [`Durability::Transient`].
    pub logged: Vec<(UserId, u64)>,
    /// It was sent before, under the same idempotency key: this is where it is. A [`Durability::Transient`] one is not handed out
    /// again, and then nobody is in the lists.
    pub repeated: bool,
    /// Devices whose server has the message queued for them.
    pub pushed: Vec<UserDevice>,
    /// Users none of whose (chosen) devices is connected.
    pub offline: Vec<UserId>,
    /// Devices whose server did not answer in time: it may have pushed the message or not.
    pub unconfirmed: Vec<UserDevice>,
    /// Users of whom it is not known whether a device is connected: the store of routes did not answer behind the append. The
    /// message is in their logs and was pushed to nobody; devices that are connected get it with their next sync. All
    /// recipients of a send are here, or none.
    pub unlocated: Vec<UserId>,
}

/// The number of users up to which a linear search is used.
const FEW: usize = 8;

impl Receipt {
    pub(in crate::backend) fn new(message_id: MessageId, durability: Durability) -> Self {
        Self {
            message_id,
            durability,
            channel: None,
            logged: Vec::new(),
            repeated: false,
            pushed: Vec::new(),
            offline: Vec::new(),
            unconfirmed: Vec::new(),
            unlocated: Vec::new(),
        }
    }

    /// Adds what became of each device; users without any are offline.
    pub(in crate::backend) fn delivered(
        mut self,
        users: Vec<UserId>,
        reached: Vec<(Located, Reach)>,
    ) -> Self {
        for (located, reach) in reached {
            match reach {
                Reach::Reached => self.pushed.push(located.owner),
                Reach::Unknown => self.unconfirmed.push(located.owner),
                // Whose devices come back elsewhere, and get it there.
                Reach::Gone | Reach::Deaf => {}
            }
        }
        let devices = self.pushed.iter().chain(&self.unconfirmed).map(|device| &device.user);
        self.offline = if users.len() <= FEW {
            users.into_iter().filter(|user| !devices.clone().any(|heard_of| heard_of == user)).collect()
        } else {
            let heard_of: HashSet<&UserId> = devices.collect();
            users.into_iter().filter(|user| !heard_of.contains(user)).collect()
        };
        self
    }

    /// For how many connections it was left out, because of its [`Priority`](crate::backend::Priority).
    pub fn shed(&self) -> u64 {
        self.channel.as_ref().map_or(0, |channel| channel.shed)
    }

    /// Returns `true` if at least one device of the user has the message queued.
    pub fn reached(&self, user: &UserId) -> bool {
        self.pushed.iter().any(|pushed| pushed.user == *user)
    }
}
