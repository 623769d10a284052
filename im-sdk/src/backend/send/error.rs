//! Why a message is not sent.

use std::sync::Arc;

use crate::{
    backend::{
        amend::AmendError, check::InvalidContent, history::HistoryError, ids::IdError,
        message::InvalidMessage,
    },
    cluster::{ArchiveError, LogError, LogId, RoutesError},
    id::{ChannelId, InvalidId, MessageId, UserId},
    proto::limits::MAX_CONTENT_BYTES,
};

/// A message was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// A recipient or the sender is no valid user id.
    #[error(transparent)]
    InvalidUser(#[from] InvalidId),
    /// The channel has no valid id.
    #[error(transparent)]
    InvalidChannel(InvalidId),
    /// There is nobody to send to.
    #[error("the message has no recipient")]
    NoRecipient,
    /// There is nothing to send: its content is [empty](crate::Content::is_empty).
    #[error("the message has no content")]
    NoContent,
    /// The encoded content is larger than [`MAX_CONTENT_BYTES`](crate::MAX_CONTENT_BYTES).
    #[error(
        "the message takes {bytes} bytes, the limit is {limit}: send a reference instead of the thing itself"
    )]
    TooLarge {
        /// What it takes.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A message for chosen terminals cannot be logged: a log has no holes.
    #[error("a message for chosen terminals must be sent with Durability::Live")]
    TerminalsNeedLive,
    /// A channel's members are reached without looking at each of them.
    #[error("a message to a channel cannot be for chosen terminals")]
    TerminalsNeedUsers,
    /// A broadcast cannot be logged: there is no log of everybody.
    #[error("a broadcast must be Durability::Live")]
    BroadcastNeedsLive,
    /// What is in a log, or meant for chosen users, must not be left out.
    #[error("a priority other than Must is for Durability::Live messages to a channel or to everybody")]
    PriorityNeedsLive,
    /// The idempotency key is not one.
    #[error("an idempotency key takes 1 to 128 printable ASCII characters")]
    InvalidKey,
    /// The content is not one that devices can be given.
    #[error(transparent)]
    InvalidContent(#[from] InvalidContent),
    /// A change of a message that is not logged would reach some devices and not others.
    #[error("a change of a message must be logged: Durability::Live is not enough")]
    ChangeNeedsLog,
    /// A message is deleted for one user, in the user's inbox, also where it is in a channel.
    #[error("a message is deleted for users, not for a channel: send the deletion to the user")]
    DeletionInChannel,
    /// The message was made for one target and given to another: [`Channel::send`](crate::backend::Channel::send),
    /// [`Room::send`](crate::backend::Room::send) or [`Im::broadcast`](crate::backend::Im::broadcast).
    #[error(
        "the message is for {named}, and was to be sent to {given}: make it with Message::new(), or send it with Im::send"
    )]
    OtherTarget {
        /// Whom it was made for.
        named: String,
        /// Whom it was given to.
        given: String,
    },
    /// The idempotency key was used for another message.
    #[error("the idempotency key was used for another message")]
    Conflict,
    /// A log did not take the message. Others may have: send it again with the same idempotency key, which has one
    /// effect in every log.
    #[error("the message is not in the inbox of {user}: {source}")]
    NotLogged {
        /// Whose inbox.
        user: UserId,
        /// Why.
        source: LogError,
    },
    /// The message is in its logs and is delivered, but it is not known to be in the archive. Send it again with the same
    /// idempotency key, which has one effect in every log and in the archive.
    #[error("message {message_id} is in its logs but not known to be archived: {source}")]
    NotArchived {
        /// The id that the message got.
        message_id: MessageId,
        /// Why.
        source: ArchiveError,
    },
    /// A recall or an edit is in its logs and is delivered, but what the message said before may still be read from a log or the
    /// message store. Send it again with the same idempotency key, or the same change once more: it is carried out then.
    #[error("change {message_id} is in its logs but not carried out everywhere: {source}")]
    NotAmended {
        /// The id of the change.
        message_id: MessageId,
        /// Why.
        source: AmendError,
    },
    /// The message that is changed is not where the change is sent to: there is none with this id, it is not kept any more, or it is
    /// of another conversation. Nothing was sent.
    #[error(
        "there is no message {message_id} to change in {place}: send the change to where the message went"
    )]
    NoSuchMessage {
        /// The message that is to be changed.
        message_id: MessageId,
        /// Where it was looked for.
        place: String,
    },
    /// The message that is changed could not be looked up. Nothing was sent: send it again.
    #[error("the message that is changed could not be looked up: {0}")]
    NotLookedUp(Arc<HistoryError>),
    /// The cluster has no archive: set `ClusterConfig::archive`. Nothing was sent.
    #[error("the message is to be archived, but the cluster has no archive: set ClusterConfig::archive")]
    NoArchive,
    /// The channel's log did not take the message: send it again with the same idempotency key.
    #[error("the message is not in the log of channel {channel}: {source}")]
    NotInChannel {
        /// Which channel.
        channel: ChannelId,
        /// Why.
        source: LogError,
    },
    /// An earlier try under this number put the message into the first log, which has been trimmed since: what it said is
    /// not known any more, and nothing was appended now.
    #[error("an earlier try is not in the log {log} any more, so that it cannot be finished")]
    Trimmed {
        /// Which log.
        log: LogId,
    },
    /// No id could be issued.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The recipients' devices could not be located.
    #[error(transparent)]
    Routes(#[from] RoutesError),
}

impl From<InvalidMessage> for SendError {
    fn from(error: InvalidMessage) -> Self {
        match error {
            InvalidMessage::User(error) => Self::InvalidUser(error),
            InvalidMessage::Channel(error) => Self::InvalidChannel(error),
            InvalidMessage::NoRecipient => Self::NoRecipient,
            InvalidMessage::NoContent => Self::NoContent,
            InvalidMessage::TooLarge { bytes } => Self::TooLarge { bytes, limit: MAX_CONTENT_BYTES },
            InvalidMessage::TerminalsNeedLive => Self::TerminalsNeedLive,
            InvalidMessage::TerminalsNeedUsers => Self::TerminalsNeedUsers,
            InvalidMessage::EveryoneNeedsLive => Self::BroadcastNeedsLive,
            InvalidMessage::PriorityNeedsLive => Self::PriorityNeedsLive,
            InvalidMessage::Key => Self::InvalidKey,
            InvalidMessage::Content(error) => Self::InvalidContent(error),
            InvalidMessage::ChangeNeedsLog => Self::ChangeNeedsLog,
            InvalidMessage::DeletionInChannel => Self::DeletionInChannel,
            InvalidMessage::OtherTarget { named, given } => Self::OtherTarget { named, given },
        }
    }
}
