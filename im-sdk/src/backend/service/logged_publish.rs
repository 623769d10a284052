//! Published messages that are in their logs.

use crate::{
    Recipient,
    backend::{Durability, Receipt},
    cluster::LogId,
    content::Content,
    id::{Device, MessageId, UserId},
};

/// A published message that is in its logs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedPublish {
    /// The message's id.
    pub message_id: MessageId,
    /// The publishing user, from the device's token.
    pub from: UserId,
    /// The device.
    pub device: Device,
    /// The device's number of the publish, as in [`Incoming::number`](super::Incoming::number).
    pub number: u64,
    /// The recipient that the device named. A handler may have sent the message elsewhere: see
    /// `places`.
    pub to: Recipient,
    /// The content as the handler accepted it. Changes are included.
    pub content: Content,
    /// The logs and seqs of the message, without the inbox of a sender who is no recipient.
    pub places: Vec<(LogId, u64)>,
    /// The device has published it before, so this call may be a repetition.
    pub repeated: bool,
}

/// The details of a publish before it is sent.
pub(super) struct Publishing {
    pub(super) from: UserId,
    pub(super) device: Device,
    pub(super) number: u64,
    pub(super) to: Recipient,
    /// The device's own mark of the publish, which the message carries.
    pub(super) origin: u64,
}

impl LoggedPublish {
    /// Returns `None` if the message is in no log.
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
