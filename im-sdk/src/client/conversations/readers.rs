//! Readers of channels.

use crate::{
    id::{ChannelId, InvalidId, MessageId, UserId},
    proto::pb,
};

/// The position up to which a member has read a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadReceipt {
    /// The channel.
    pub channel: ChannelId,
    /// The user who has read it.
    pub user: UserId,
    /// The seq of the last entry that was read.
    pub seq: u64,
    /// The id of that message, if known.
    pub id: Option<MessageId>,
}

/// The readers of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Readers {
    /// Their number.
    pub count: u64,
    /// Some of them, or all.
    pub users: Vec<UserId>,
}

impl TryFrom<pb::ReadReceipt> for ReadReceipt {
    type Error = InvalidId;

    fn try_from(receipt: pb::ReadReceipt) -> Result<Self, InvalidId> {
        Ok(Self {
            channel: ChannelId::parse(&receipt.channel)?,
            user: UserId::parse(&receipt.user)?,
            seq: receipt.seq,
            id: MessageId::from_u64(receipt.id),
        })
    }
}

impl From<pb::Readers> for Readers {
    /// Skips invalid names.
    fn from(readers: pb::Readers) -> Self {
        let users = readers.users.iter().filter_map(|user| UserId::parse(user).ok());
        Self { count: readers.count, users: users.collect() }
    }
}
