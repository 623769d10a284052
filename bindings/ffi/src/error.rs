//! Errors. Each has a `code()` that is stable across versions and languages, and a human-readable `reason`: Python and Kotlin
//! build the text of an exception from its fields alone.

use im_sdk::{client as sdk, id::InvalidId};

/// The reason why a client could not be opened, or could not take new endpoints.
#[derive(Clone, Debug, thiserror::Error, uniffi::Error)]
pub enum OpenError {
    /// The configuration names no endpoint.
    #[error("{reason}")]
    NoEndpoints {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// An endpoint, the device id, a certificate or a fingerprint is not valid.
    #[error("{reason}")]
    InvalidConfig {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The process cannot get the threads or files that the client needs.
    #[error("the runtime cannot be started: {reason}")]
    NoRuntime {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("{reason}")]
    Tls {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The store's file cannot be opened, or is in use.
    #[error("{reason}")]
    Store {
        /// The reason, in a human-readable form.
        reason: String,
    },
}

#[uniffi::export]
impl OpenError {
    /// Returns a name that is stable across versions and languages, such as `no_endpoints`.
    pub fn code(&self) -> String {
        let code = match self {
            Self::NoEndpoints { .. } => "no_endpoints",
            Self::InvalidConfig { .. } => "invalid_config",
            Self::NoRuntime { .. } => "no_runtime",
            Self::Tls { .. } => "tls",
            Self::Store { .. } => "store",
        };
        code.to_owned()
    }
}

impl OpenError {
    pub(crate) fn invalid(error: impl ToString) -> Self {
        Self::InvalidConfig { reason: error.to_string() }
    }
}

impl From<sdk::OpenError> for OpenError {
    fn from(error: sdk::OpenError) -> Self {
        let reason = with_causes(&error);
        match error {
            sdk::OpenError::NoEndpoints => Self::NoEndpoints { reason },
            sdk::OpenError::NoRuntime => Self::NoRuntime { reason },
            _ => Self::Tls { reason },
        }
    }
}

/// Returns the text of an error and of its causes.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl From<im_sdk::client::device_store::StoreError> for OpenError {
    fn from(error: im_sdk::client::device_store::StoreError) -> Self {
        Self::Store { reason: error.to_string() }
    }
}

/// The reason why a send was not accepted. Nothing was sent, and nothing will be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum SendError {
    /// The recipient's id, or one in the content, is not valid.
    #[error("{reason}")]
    InvalidId {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// Too many publishes are waiting already.
    #[error("{reason}")]
    QueueFull {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The message does not fit into a frame.
    #[error("{reason}")]
    TooLarge {
        /// The reason, in a human-readable form.
        reason: String,
        /// The size of the message.
        bytes: u64,
        /// The maximum size.
        limit: u64,
    },
    /// The content cannot be sent.
    #[error("{reason}")]
    NoContent {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The store could not save the message.
    #[error("{reason}")]
    Store {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The send cannot be retried: it has not failed, or was discarded or retried since.
    #[error("{reason}")]
    NotFailed {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The client is closed.
    #[error("{reason}")]
    Closed {
        /// The reason, in a human-readable form.
        reason: String,
    },
}

#[uniffi::export]
impl SendError {
    /// Returns a name that is stable across versions and languages, such as `queue_full`.
    pub fn code(&self) -> String {
        let code = match self {
            Self::InvalidId { .. } => "invalid_id",
            Self::QueueFull { .. } => "queue_full",
            Self::TooLarge { .. } => "too_large",
            Self::NoContent { .. } => "no_content",
            Self::Store { .. } => "store",
            Self::NotFailed { .. } => "not_failed",
            Self::Closed { .. } => "closed",
        };
        code.to_owned()
    }
}

impl From<InvalidId> for SendError {
    fn from(error: InvalidId) -> Self {
        Self::InvalidId { reason: error.to_string() }
    }
}

impl From<sdk::RetryError> for SendError {
    fn from(error: sdk::RetryError) -> Self {
        match error {
            sdk::RetryError::Send(error) => error.into(),
            other => Self::NotFailed { reason: other.to_string() },
        }
    }
}

impl From<sdk::SendError> for SendError {
    fn from(error: sdk::SendError) -> Self {
        let reason = error.to_string();
        match error {
            sdk::SendError::QueueFull => Self::QueueFull { reason },
            sdk::SendError::TooLarge { bytes, limit } => {
                Self::TooLarge { reason, bytes: bytes as u64, limit: limit as u64 }
            }
            sdk::SendError::NoContent => Self::NoContent { reason },
            sdk::SendError::Closed => Self::Closed { reason },
            _ => Self::Store { reason },
        }
    }
}

/// The reason why a publish did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum PublishError {
    /// The recipient's id, or one in the content, is not valid. Nothing was sent.
    #[error("{reason}")]
    InvalidId {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// Too many publishes are waiting already. Nothing was sent.
    #[error("{reason}")]
    QueueFull {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The message does not fit into a frame. Nothing was sent.
    #[error("{reason}")]
    TooLarge {
        /// The reason, in a human-readable form.
        reason: String,
        /// The size of the message.
        bytes: u64,
        /// The maximum size.
        limit: u64,
    },
    /// The content cannot be sent.
    #[error("{reason}")]
    NoContent {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The message could not be sent in time. Nothing was sent, or what was sent certainly had no effect.
    #[error("{reason}")]
    TimedOut {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The time limit ended without a connection, which the application has not asked for. Nothing was sent.
    #[error("{reason}")]
    NotConnected {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The message was sent, and it is unknown whether it arrived: sending it again may send it twice.
    #[error("{reason}")]
    Unconfirmed {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The back end or the server refused the message. This attempt had no effect.
    #[error("the message was refused: {reason}")]
    Refused {
        /// The kind of refusal, for programs.
        kind: RefusalKind,
        /// The reason, for people.
        reason: String,
        /// For a `Rule`: the application's own code, 0 or more, or a negative one of the SDK. Otherwise 0.
        rule_code: i32,
        /// The time after which the message may be sent again. None: never.
        retry_after_ms: Option<u64>,
    },
    /// The send was discarded before it was sent.
    #[error("{reason}")]
    Discarded {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The store could not save the message. Nothing was sent.
    #[error("{reason}")]
    Store {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The client is stopped. Nothing was sent.
    #[error("{reason}")]
    Stopped {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The client is closed. Nothing was sent.
    #[error("{reason}")]
    Closed {
        /// The reason, in a human-readable form.
        reason: String,
    },
}

#[uniffi::export]
impl PublishError {
    /// Returns a name that is stable across versions and languages, such as `timed_out`.
    pub fn code(&self) -> String {
        let code = match self {
            Self::InvalidId { .. } => "invalid_id",
            Self::QueueFull { .. } => "queue_full",
            Self::TooLarge { .. } => "too_large",
            Self::NoContent { .. } => "no_content",
            Self::TimedOut { .. } => "timed_out",
            Self::NotConnected { .. } => "not_connected",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::Refused { .. } => "refused",
            Self::Discarded { .. } => "discarded",
            Self::Store { .. } => "store",
            Self::Stopped { .. } => "stopped",
            Self::Closed { .. } => "closed",
        };
        code.to_owned()
    }

    /// Returns `true` if the message may be sent again: that may succeed, and cannot make it arrive twice.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::QueueFull { .. }
            | Self::TimedOut { .. }
            | Self::NotConnected { .. }
            | Self::Discarded { .. }
            | Self::Store { .. } => true,
            Self::Refused { kind, retry_after_ms, .. } => {
                sdk::RefusalKind::from(*kind).is_certain()
                    && (retry_after_ms.is_some() || *kind == RefusalKind::TooMany)
            }
            _ => false,
        }
    }
}

impl From<InvalidId> for PublishError {
    fn from(error: InvalidId) -> Self {
        Self::InvalidId { reason: error.to_string() }
    }
}

impl From<sdk::PublishError> for PublishError {
    fn from(error: sdk::PublishError) -> Self {
        let said = error.to_string();
        match error {
            sdk::PublishError::QueueFull => Self::QueueFull { reason: said },
            sdk::PublishError::TooLarge { bytes, limit } => {
                Self::TooLarge { reason: said, bytes: bytes as u64, limit: limit as u64 }
            }
            sdk::PublishError::NoContent => Self::NoContent { reason: said },
            sdk::PublishError::TimedOut => Self::TimedOut { reason: said },
            sdk::PublishError::NotConnected => Self::NotConnected { reason: said },
            sdk::PublishError::Refused { kind, reason, code, retry_after } => {
                let retry_after_ms = retry_after.map(|delay| delay.as_millis() as u64);
                Self::Refused { kind: kind.into(), reason, rule_code: code, retry_after_ms }
            }
            sdk::PublishError::Discarded => Self::Discarded { reason: said },
            sdk::PublishError::Store(_) => Self::Store { reason: said },
            sdk::PublishError::Stopped { .. } => Self::Stopped { reason: said },
            sdk::PublishError::Closed => Self::Closed { reason: said },
            // Any error of a later version: its effect is unknown.
            _ => Self::Unconfirmed { reason: said },
        }
    }
}

/// The kind of a refusal of a publish or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum RefusalKind {
    /// A rule of the back end does not allow it.
    Rule,
    /// No back end is listening, or it did not answer in time.
    Unavailable,
    /// The publish is not valid.
    Invalid,
    /// Too many publishes are waiting for their results, or they come too fast.
    TooMany,
    /// The back end failed while it handled the publish.
    Internal,
    /// No back end is listening, and none has received the publish.
    NoBackend,
    /// The number of the publish was used for another one, for example because the device's store was restored
    /// from a backup.
    NumberUsed,
    /// A kind that this version does not know.
    Unknown,
}

impl From<sdk::RefusalKind> for RefusalKind {
    fn from(kind: sdk::RefusalKind) -> Self {
        match kind {
            sdk::RefusalKind::Rule => Self::Rule,
            sdk::RefusalKind::Unavailable => Self::Unavailable,
            sdk::RefusalKind::Invalid => Self::Invalid,
            sdk::RefusalKind::TooMany => Self::TooMany,
            sdk::RefusalKind::Internal => Self::Internal,
            sdk::RefusalKind::NoBackend => Self::NoBackend,
            sdk::RefusalKind::NumberUsed => Self::NumberUsed,
            _ => Self::Unknown,
        }
    }
}

impl From<RefusalKind> for sdk::RefusalKind {
    fn from(kind: RefusalKind) -> Self {
        match kind {
            RefusalKind::Rule => Self::Rule,
            RefusalKind::Unavailable => Self::Unavailable,
            RefusalKind::Invalid => Self::Invalid,
            RefusalKind::TooMany => Self::TooMany,
            RefusalKind::Internal => Self::Internal,
            RefusalKind::NoBackend => Self::NoBackend,
            RefusalKind::NumberUsed => Self::NumberUsed,
            RefusalKind::Unknown => Self::Unknown,
        }
    }
}

/// The reason why the application has no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum TokenError {
    /// There is none at the moment. The client asks again, with backoff.
    #[error("{reason}")]
    Unavailable {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// There will be none. The client stops.
    #[error("{reason}")]
    Denied {
        /// The reason, in a human-readable form.
        reason: String,
    },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for TokenError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Unavailable { reason: error.reason }
    }
}

impl From<TokenError> for sdk::TokenError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Unavailable { reason } => Self::Unavailable(reason),
            TokenError::Denied { reason } => Self::Denied(reason),
        }
    }
}

/// The error of an invalid content, or of an invalid reference to a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum InvalidContent {
    /// An id is not valid, or the bytes are not a content.
    #[error("{reason}")]
    Invalid {
        /// The reason, in a human-readable form.
        reason: String,
    },
}

impl From<InvalidId> for InvalidContent {
    fn from(error: InvalidId) -> Self {
        Self::Invalid { reason: error.to_string() }
    }
}

impl From<im_sdk::content::NotAContent> for InvalidContent {
    fn from(error: im_sdk::content::NotAContent) -> Self {
        Self::Invalid { reason: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_is_wrong_as_the_sdk_does() {
        let OpenError::NoEndpoints { reason } = sdk::OpenError::NoEndpoints.into() else { panic!("another") };
        assert!(reason.starts_with("a client needs at least one endpoint"), "{reason}");
        let large = sdk::SendError::TooLarge { bytes: 9, limit: 7 };
        assert_eq!(SendError::from(large.clone()).to_string(), large.to_string());
        let why = || "why".to_owned();
        let unconfirmed = sdk::PublishError::Unconfirmed { reason: why() };
        let stopped = sdk::PublishError::Stopped { reason: why() };
        for error in [sdk::PublishError::TimedOut, unconfirmed, stopped] {
            assert_eq!(PublishError::from(error.clone()).to_string(), error.to_string());
        }
    }
}
