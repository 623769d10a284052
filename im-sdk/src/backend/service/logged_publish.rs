//! Messages of devices that are in their logs.

use crate::{
    Recipient,
    backend::{Durability, Receipt},
    cluster::LogId,
    content::Content,
    id::{Device, MessageId, UserId},
};

/// A message that a device published, in its logs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedPublish {
    /// The message's id.
    pub message_id: MessageId,
    /// The user whose device published it, as its token says.
    pub from: UserId,
    /// The device.
    pub device: Device,
    /// The device's number of the publish, as in [`Incoming::number`](super::Incoming::number).
    pub number: u64,
    /// Whom the device meant. A handler may have sent it elsewhere: `places` are where it is.
    pub to: Recipient,
    /// What was sent: what the handler made of what the device said. Changes are here too.
    pub content: Content,
    /// Its places in the logs of those that it went to; that of a sender who is no recipient is not told.
    pub places: Vec<(LogId, u64)>,
    /// The device published it before: it may have been told before.
    pub repeated: bool,
}

/// What is known of a publish before it is sent.
pub(super) struct Publishing {
    pub(super) from: UserId,
    pub(super) device: Device,
    pub(super) number: u64,
    pub(super) to: Recipient,
    /// The device's own mark of the publish, which the message carries.
    pub(super) origin: u64,
}

impl LoggedPublish {
    /// `None`: it is in no log.
    pub(super) fn new(of: Publishing, content: Content, receipt: &Receipt) -> Option<Self> {
        if receipt.durability == Durability::Transient {
            return None;
        }
        let inboxes = receipt.logged.iter().map(|(user, seq)| (LogId::Inbox(user.clone()), *seq));
        let channel = receipt.channel.iter().map(|sent| (LogId::Channel(sent.channel.clone()), sent.seq));
        let Publishing { from, device, number, to, .. } = of;
        let (message_id, repeated) = (receipt.message_id, receipt.repeated);
        let places = inboxes.chain(channel).collect();
        Some(Self { message_id, from, device, number, to, content, places, repeated })
    }
}
