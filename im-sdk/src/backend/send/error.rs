//! The error of a send.

use std::sync::Arc;

use super::{message::InvalidMessage, message_ids::IdError};
use crate::{
    backend::{amend::AmendError, error_chain::chain, history::HistoryError},
    cluster::{ArchiveError, LogError, LogId, RoutesError},
    id::MessageId,
};

/// A message was not sent, or not to all its logs.
///
/// [`SendError::is_retryable`] tells whether the same send may succeed later. Repeat it under an
/// [idempotency key](crate::backend::Message::idempotency_key): then it has one effect, however far the first try got.
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use im_sdk::{backend::{Im, InvalidMessage, Message, SendError, user}, cluster::Cluster};
///
/// let im = Im::with_cluster(Cluster::embedded()).await?;
/// let error = im.send(Message::to(user("no user")).text("hi")).await.unwrap_err();
/// assert!(matches!(error, SendError::Invalid(InvalidMessage::User(_))));
/// assert_eq!((error.code(), error.is_retryable()), ("invalid_user", false));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The message itself cannot be sent. Nothing was sent.
    #[error(transparent)]
    Invalid(#[from] InvalidMessage),
    /// The idempotency key was used for another message. Nothing was sent.
    #[error("the idempotency key was used for another message")]
    Conflict,
    /// The changed message is not where the change is sent to: there is no message with this id, it
    /// is not kept any more, or it belongs to another conversation. Nothing was sent.
    #[error(
        "there is no message {message_id} to change in {place}: send the change to where the message went"
    )]
    NoSuchMessage {
        /// The message to be changed.
        message_id: MessageId,
        /// The conversation in which it was searched.
        place: String,
    },
    /// The changed message could not be looked up. Nothing was sent.
    #[error("the message that is changed could not be looked up: {}", chain(&**_0))]
    NotLookedUp(Arc<HistoryError>),
    /// The cluster has no archive. Nothing was sent.
    #[error("the message is to be archived, but the cluster has no archive: set ClusterConfig::archive")]
    NoArchive,
    /// A log did not take the message; other logs may have it.
    #[error("the message is not in {}: {}", name_of(log), chain(cause))]
    NotLogged {
        /// The log of the channel, or the inbox of a recipient or of the sender.
        log: LogId,
        /// The cause.
        cause: LogError,
    },
    /// The message is in its logs and is delivered, but may be missing in the archive.
    #[error("message {message_id} is in its logs but not known to be archived: {}", chain(cause))]
    NotArchived {
        /// The id that the message got.
        message_id: MessageId,
        /// The cause.
        cause: ArchiveError,
    },
    /// A recall or an edit is in its logs and is delivered, but the former content may still be in
    /// a log or the message store. To carry it out, repeat the send or send the same change again.
    #[error("change {message_id} is in its logs but not carried out everywhere: {}", chain(cause))]
    NotAmended {
        /// The id of the change.
        message_id: MessageId,
        /// The cause.
        cause: AmendError,
    },
    /// An earlier attempt with this number appended the message to the first log, which has been
    /// trimmed since, so its content is unknown. Nothing was appended now.
    #[error("an earlier try is not in {} any more, so that it cannot be finished", name_of(log))]
    Trimmed {
        /// The log.
        log: LogId,
    },
    /// No id could be issued. Nothing was sent.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The recipients' devices could not be located. Nothing was sent.
    #[error(transparent)]
    Routes(#[from] RoutesError),
}

impl SendError {
    /// Returns a stable name, such as `not_logged`. [`SendError::Invalid`] has the name of its
    /// [`InvalidMessage`].
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::Conflict => "conflict",
            Self::NoSuchMessage { .. } => "no_such_message",
            Self::NotLookedUp(_) => "not_looked_up",
            Self::NoArchive => "no_archive",
            Self::NotLogged { .. } => "not_logged",
            Self::NotArchived { .. } => "not_archived",
            Self::NotAmended { .. } => "not_amended",
            Self::Trimmed { .. } => "trimmed",
            Self::Id(_) => "no_id",
            Self::Routes(_) => "not_located",
        }
    }

    /// Returns `true` if the same send may succeed later, because a service did not answer or had
    /// no room.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotLogged { cause, .. } => {
                !matches!(cause, LogError::Stale { .. } | LogError::Malformed { .. })
            }
            Self::NotArchived { cause, .. } => !matches!(cause, ArchiveError::TooLarge { .. }),
            Self::NotLookedUp(_) | Self::NotAmended { .. } | Self::Id(_) | Self::Routes(_) => true,
            Self::Invalid(_)
            | Self::Conflict
            | Self::NoSuchMessage { .. }
            | Self::NoArchive
            | Self::Trimmed { .. } => false,
        }
    }

    /// A log did not take the message.
    pub(in crate::backend) fn not_logged(log: LogId, error: LogError) -> Self {
        match error {
            LogError::Conflict => Self::Conflict,
            cause => Self::NotLogged { log, cause },
        }
    }
}

/// Names a log for people.
pub(super) fn name_of(log: &LogId) -> String {
    match log {
        LogId::Inbox(user) => format!("the inbox of {user}"),
        LogId::Channel(id) => format!("the log of channel {id}"),
    }
}
