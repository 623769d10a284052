//! The error type of the back-end API.

use im_sdk::{
    backend as sdk,
    id::InvalidId,
    token::{KeyError, MintError},
};

use crate::OpenError;

/// The error of a back-end operation. All operations share one variant; programs distinguish errors by the code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum BackendError {
    /// The operation was not done, or its outcome is unknown; the code tells which.
    #[error("{reason}")]
    Failed {
        /// A name that is stable across versions and languages, such as `unavailable`.
        code: String,
        /// The reason, in a human-readable form.
        reason: String,
        /// Set if a retry may succeed and cannot have the effect twice.
        retryable: bool,
    },
}

impl BackendError {
    /// Creates an error for invalid arguments.
    pub(crate) fn invalid(reason: impl ToString) -> Self {
        Self::of("invalid", reason, false)
    }

    /// Creates an error for a required service that does not answer.
    pub(crate) fn unavailable(reason: impl ToString) -> Self {
        Self::of("unavailable", reason, true)
    }

    /// Creates an error for a back end, or library threads, that have ended.
    pub(crate) fn ended() -> Self {
        Self::of("ended", "the back end has ended", false)
    }

    pub(crate) fn of(code: &str, reason: impl ToString, retryable: bool) -> Self {
        Self::Failed { code: code.to_owned(), reason: reason.to_string(), retryable }
    }
}

/// Returns the text of an error and of its causes.
fn text(error: &dyn std::error::Error) -> String {
    crate::error::with_causes(error)
}

impl From<InvalidId> for BackendError {
    fn from(error: InvalidId) -> Self {
        Self::of("invalid_id", error, false)
    }
}

impl From<OpenError> for BackendError {
    fn from(error: OpenError) -> Self {
        Self::of("no_runtime", error, false)
    }
}

impl From<sdk::StartError> for BackendError {
    fn from(error: sdk::StartError) -> Self {
        match &error {
            sdk::StartError::Config(_) | sdk::StartError::SystemUser(_) | sdk::StartError::NoArchive(_) => {
                Self::invalid(text(&error))
            }
            _ => Self::unavailable(text(&error)),
        }
    }
}

impl From<sdk::ServeError> for BackendError {
    fn from(error: sdk::ServeError) -> Self {
        Self::unavailable(text(&error))
    }
}

impl From<sdk::SendError> for BackendError {
    fn from(error: sdk::SendError) -> Self {
        Self::of(error.code(), text(&error), error.is_retryable())
    }
}

impl From<sdk::AckError> for BackendError {
    fn from(error: sdk::AckError) -> Self {
        let (code, retryable) = match &error {
            sdk::AckError::TooMany => ("too_many", true),
            sdk::AckError::Ended => ("ended", false),
            _ => ("invalid", false),
        };
        Self::of(code, error, retryable)
    }
}

impl From<sdk::ChannelError> for BackendError {
    fn from(error: sdk::ChannelError) -> Self {
        // Memberships are sets, so repeating a change has no effect.
        match error {
            sdk::ChannelError::InvalidId(error) => error.into(),
            sdk::ChannelError::Unconfirmed { .. } | sdk::ChannelError::UnconfirmedServers { .. } => {
                Self::of("unconfirmed", error, true)
            }
            error => Self::unavailable(text(&error)),
        }
    }
}

impl From<sdk::RoomError> for BackendError {
    fn from(error: sdk::RoomError) -> Self {
        match error {
            sdk::RoomError::InvalidId(error) => error.into(),
            sdk::RoomError::Unconfirmed { .. } => Self::of("unconfirmed", error, true),
            error => Self::unavailable(text(&error)),
        }
    }
}

impl From<sdk::CountError> for BackendError {
    fn from(error: sdk::CountError) -> Self {
        match error {
            sdk::CountError::InvalidId(error) => error.into(),
            error => Self::of("too_many", error, true),
        }
    }
}

impl From<sdk::HistoryError> for BackendError {
    fn from(error: sdk::HistoryError) -> Self {
        match error {
            sdk::HistoryError::InvalidId(error) => error.into(),
            sdk::HistoryError::NoSuchMessage(_) | sdk::HistoryError::NotStored(_) => {
                Self::of("no_such_message", text(&error), false)
            }
            error => Self::unavailable(text(&error)),
        }
    }
}

impl From<sdk::ChannelHistoryError> for BackendError {
    fn from(error: sdk::ChannelHistoryError) -> Self {
        match error {
            sdk::ChannelHistoryError::InvalidId(error) => error.into(),
            sdk::ChannelHistoryError::History(error) => error.into(),
            error => Self::unavailable(text(&error)),
        }
    }
}

impl From<sdk::SearchError> for BackendError {
    fn from(error: sdk::SearchError) -> Self {
        match error {
            sdk::SearchError::InvalidId(error) => error.into(),
            sdk::SearchError::Invalid(error) => Self::invalid(error),
            sdk::SearchError::NoMessageStore => Self::of("no_message_store", error, false),
            sdk::SearchError::Busy => Self::of("too_many", error, true),
            error => Self::unavailable(text(&error)),
        }
    }
}

impl From<sdk::ConversationError> for BackendError {
    fn from(error: sdk::ConversationError) -> Self {
        match error {
            sdk::ConversationError::InvalidId(error) => error.into(),
            sdk::ConversationError::DraftTooLong { .. } => Self::of("draft_too_long", error, false),
            sdk::ConversationError::NotAMember => Self::of("not_a_member", error, false),
            error => Self::unavailable(text(&error)),
        }
    }
}

impl From<sdk::ReadersError> for BackendError {
    fn from(error: sdk::ReadersError) -> Self {
        match error {
            sdk::ReadersError::InvalidId(error) => error.into(),
            error => Self::unavailable(text(&error)),
        }
    }
}

impl From<sdk::PresenceError> for BackendError {
    fn from(error: sdk::PresenceError) -> Self {
        match error {
            sdk::PresenceError::InvalidId(error) => error.into(),
            error => Self::unavailable(text(&error)),
        }
    }
}

impl From<sdk::KickError> for BackendError {
    fn from(error: sdk::KickError) -> Self {
        match error {
            sdk::KickError::InvalidId(error) => error.into(),
            sdk::KickError::Unconfirmed { .. } => Self::of("unconfirmed", error, true),
            error => Self::unavailable(text(&error)),
        }
    }
}

impl From<KeyError> for BackendError {
    fn from(error: KeyError) -> Self {
        Self::of("invalid_key", text(&error), false)
    }
}

impl From<MintError> for BackendError {
    fn from(error: MintError) -> Self {
        Self::of("invalid_key", text(&error), false)
    }
}
