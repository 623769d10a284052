//! The results of a send.
//!
//! There are three steps. **Accepted**: the message is in the recipients' logs, or the send is an
//! error. **Pushed**: a device's server has queued the message for the device. **Acked**: the
//! device's application has processed it; [`Im::wait_acked`](crate::backend::Im::wait_acked) waits
//! for that.

use std::collections::HashSet;

use super::{
    device::{Located, Reach, UserDevice},
    message::Durability,
};
use crate::id::{ChannelId, MessageId, ServerId, UserId};

/// The result of a send to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ChannelReceipt {
    /// The channel.
    pub channel: ChannelId,
    /// The message's seq in the channel's log; 0 for [`Durability::Transient`].
    pub seq: u64,
    /// Servers that have queued the message for all members connected to them.
    pub pushed: Vec<ServerId>,
    /// Servers that did not answer in time.
    pub unconfirmed: Vec<ServerId>,
    /// The number of connections with the queued message, on the servers that answered.
    pub connections: u64,
    /// The number of connections that the message was left out for, because of its
    /// [`Priority`](crate::backend::Priority).
    pub shed: u64,
    /// The servers with members could not be located, or not again after the append. The message is
    /// in the channel's log. Members on servers that are not named here may be connected, and get
    /// it with their next sync.
    pub unlocated: bool,
}

/// The result of a send, per device and user. Every recipient is in at least one of the lists.
/// Members of a channel are in none, see [`Receipt::channel`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Receipt {
    /// The id of the message.
    pub message_id: MessageId,
    /// The durability of the message.
    pub durability: Durability,
    /// The result of a send to a channel.
    pub channel: Option<ChannelReceipt>,
    /// The message's seq in each recipient's inbox; empty for [`Durability::Transient`].
    pub logged: Vec<(UserId, u64)>,
    /// The message was sent before, under the same idempotency key, and this is the first result. A
    /// [`Durability::Transient`] message is not pushed again, so the lists are empty.
    pub repeated: bool,
    /// Devices whose server has queued the message for them.
    pub pushed: Vec<UserDevice>,
    /// Users with no connected device among those that the message is for.
    pub offline: Vec<UserId>,
    /// Devices whose server did not answer in time. The server may have pushed the message.
    pub unconfirmed: Vec<UserDevice>,
    /// Users whose devices could not be located, since the route store did not answer after the
    /// append. The message is in their logs and was pushed to nobody; connected devices get it with
    /// their next sync. Either all recipients of a send are here, or none.
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

    /// Adds the outcome of each device. Users without a device are offline.
    pub(in crate::backend) fn delivered(
        mut self,
        users: Vec<UserId>,
        reached: Vec<(Located, Reach)>,
    ) -> Self {
        for (located, reach) in reached {
            match reach {
                Reach::Reached => self.pushed.push(located.owner),
                Reach::Unknown => self.unconfirmed.push(located.owner),
                // The device reconnects elsewhere, and gets the message there.
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

    /// Returns the number of connections that the message was left out for, because of its
    /// [`Priority`](crate::backend::Priority).
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::{Im, Message, Priority}, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let receipt = im.room("lobby").send(Message::new().text("rose").priority(Priority::Low)).await?;
    /// assert_eq!(receipt.shed(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shed(&self) -> u64 {
        self.channel.as_ref().map_or(0, |channel| channel.shed)
    }

    /// Returns `true` if at least one device of the user has the message queued.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::{Im, Message, user}, cluster::Cluster, id::UserId};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let receipt = im.send(Message::to(user("bob")).from("alice").text("hi")).await?;
    /// assert!(!receipt.reached(&UserId::parse("bob")?), "bob is not connected");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reached(&self, user: &UserId) -> bool {
        self.pushed.iter().any(|pushed| pushed.user == *user)
    }
}
