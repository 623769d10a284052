//! Errors of the client.

use std::time::Duration;

use crate::{
    client::{MAX_QUEUED_PUBLISHES, device_store::StoreError},
    proto::pb,
};

/// The client could not be opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration names no endpoint.
    #[error(
        "a client needs at least one endpoint: give ClientConfig::new the addresses that the back end tells (Im::endpoints)"
    )]
    NoEndpoints,
    /// There is no tokio runtime here; see [`Client::open_on`](crate::client::Client::open_on).
    #[error("no tokio runtime runs here: call Client::open inside of one, or Client::open_on")]
    NoRuntime,
    /// A certificate in [`Trust`](crate::client::Trust) is not valid as a root, or TLS cannot be set up.
    #[error("TLS cannot be set up: check the certificates in ClientConfig::trust")]
    Tls(#[from] rustls::Error),
}

impl OpenError {
    /// Returns a name that is stable over versions and languages, such as `no_endpoints`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoEndpoints => "no_endpoints",
            Self::NoRuntime => "no_runtime",
            Self::Tls(_) => "tls",
        }
    }
}

/// The list of endpoints is empty. See [`Client::set_endpoints`](crate::client::Client::set_endpoints).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a client needs at least one endpoint: Client::set_endpoints was given none, and the client keeps those it knows"
)]
pub struct NoEndpoints;

impl NoEndpoints {
    /// Returns a name that is stable over versions and languages: `no_endpoints`.
    pub fn code(&self) -> &'static str {
        "no_endpoints"
    }
}

/// A send failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// [`MAX_QUEUED_PUBLISHES`](crate::client::MAX_QUEUED_PUBLISHES) publishes are waiting already. Nothing
    /// was sent.
    #[error("{MAX_QUEUED_PUBLISHES} messages wait to be sent already: wait until some are settled")]
    QueueFull,
    /// The message does not fit into a frame. Nothing was sent.
    #[error("the message takes {bytes} bytes, more than the {limit} that the server allows")]
    TooLarge {
        /// The size of the message.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The message's content is [empty](crate::content::Content::is_empty).
    #[error("the message has no content")]
    NoContent,
    /// The message could not be sent in time. It is [certain](RefusalKind::is_certain) that nothing was sent, or that it had no
    /// effect.
    #[error("the message could not be sent in time")]
    TimedOut,
    /// The application has not asked for a connection, and there was none in time. Nothing was sent.
    #[error("the message could not be sent: the client is not connected, call Client::connect")]
    NotConnected,
    /// The message was sent, and may or may not have arrived. Time ran out, or the client was closed, before an answer came, or
    /// the answer leaves it open, as that of a failed backend does. Sending it again may send it twice.
    #[error("the message may or may not have arrived: {reason}")]
    Unconfirmed {
        /// The reason for the uncertainty, for people.
        reason: String,
    },
    /// The backend or the server refused the message: this attempt [certainly](RefusalKind::is_certain) had no effect. If the
    /// message [may be sent again](PublishError::is_retryable), no earlier attempt had one either.
    #[error("the message was refused ({}): {reason}", kind.as_str())]
    Refused {
        /// The kind of the refusal, for programs.
        kind: RefusalKind,
        /// The reason, for people.
        reason: String,
        /// For a [`RefusalKind::Rule`], the application's own code, 0 or more, or one of the
        /// [SDK's](crate::refusal_code), which are negative. Otherwise 0.
        code: i32,
        /// The time after which the same message may be sent again. `None` means never.
        retry_after: Option<Duration>,
    },
    /// The message was [discarded](crate::client::SendHandle::discard) before it was sent.
    #[error("the message was discarded before it was sent")]
    Discarded,
    /// The store could not save the message. Nothing was sent.
    #[error(transparent)]
    Store(StoreError),
    /// The client is stopped, see [`Event::Stopped`](crate::client::Event::Stopped). Nothing was sent.
    #[error("the client is stopped: {reason}")]
    Stopped {
        /// The reason, for people.
        reason: String,
    },
    /// The client is closed. Nothing was sent.
    #[error("the client is closed")]
    Closed,
}

impl PublishError {
    /// Returns a name that is stable over versions and languages, such as `queue_full`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TooLarge { .. } => "too_large",
            Self::NoContent => "no_content",
            Self::TimedOut => "timed_out",
            Self::NotConnected => "not_connected",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::Refused { .. } => "refused",
            Self::Discarded => "discarded",
            Self::Store(_) => "store",
            Self::Stopped { .. } => "stopped",
            Self::Closed => "closed",
        }
    }

    /// Returns `true` if the same message may succeed when it is sent again, and cannot arrive twice: it is certain that no
    /// attempt had an effect.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::QueueFull | Self::TimedOut | Self::NotConnected | Self::Discarded | Self::Store(_) => true,
            Self::Refused { kind, retry_after, .. } => {
                kind.is_certain() && (retry_after.is_some() || *kind == RefusalKind::TooMany)
            }
            _ => false,
        }
    }
}

impl From<SendError> for PublishError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::QueueFull => Self::QueueFull,
            SendError::TooLarge { bytes, limit } => Self::TooLarge { bytes, limit },
            SendError::NoContent => Self::NoContent,
            SendError::Store(error) => Self::Store(error),
            SendError::Closed => Self::Closed,
        }
    }
}

/// A send was not taken. Nothing was sent, and nothing will be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// [`MAX_QUEUED_PUBLISHES`](crate::client::MAX_QUEUED_PUBLISHES) publishes are waiting already.
    #[error("{MAX_QUEUED_PUBLISHES} messages wait to be sent already: wait until some are settled")]
    QueueFull,
    /// The message does not fit into a frame.
    #[error("the message takes {bytes} bytes, more than the {limit} that the server allows")]
    TooLarge {
        /// The size of the message.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The message's content is [empty](crate::content::Content::is_empty).
    #[error("the message has no content")]
    NoContent,
    /// The store could not save the message.
    #[error(transparent)]
    Store(StoreError),
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

impl SendError {
    /// Returns a name that is stable over versions and languages, such as `queue_full`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TooLarge { .. } => "too_large",
            Self::NoContent => "no_content",
            Self::Store(_) => "store",
            Self::Closed => "closed",
        }
    }
}

/// A send was not retried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RetryError {
    /// The send has not failed, or it was discarded or retried since.
    #[error("the send has not failed, or was discarded or retried since: there is nothing to retry")]
    NotFailed,
    /// The new send was not taken. The failed one is kept.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl RetryError {
    /// Returns a name that is stable over versions and languages: `not_failed`, or that of the [`SendError`].
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFailed => "not_failed",
            Self::Send(error) => error.code(),
        }
    }
}

/// Returns the text of an error with its causes.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The kind of a refusal of a publish or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalKind {
    /// A rule of the backend.
    Rule,
    /// No backend answered in time, or none is listening any more. One may have taken the publish nevertheless, or may do so
    /// later.
    Unavailable,
    /// The publish is not valid.
    Invalid,
    /// Too many publishes wait for their results, or come too fast.
    TooMany,
    /// The backend failed while it handled the publish. It may have sent the message before.
    Internal,
    /// No backend is listening, and none has taken the publish.
    NoBackend,
    /// The number of the publish was used for another one, for example because the device's store was restored from a backup. The
    /// client gives a new message another number by itself; one that may have been sent before the restore ends as
    /// [`PublishError::Unconfirmed`].
    NumberUsed,
    /// A kind that this version does not know.
    Unknown,
}

impl RefusalKind {
    /// Returns the name in logs, such as `unavailable`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Unavailable => "unavailable",
            Self::Invalid => "invalid",
            Self::TooMany => "too_many",
            Self::Internal => "internal",
            Self::NoBackend => "no_backend",
            Self::NumberUsed => "number_used",
            Self::Unknown => "unknown",
        }
    }

    /// Returns `true` if a publish or a request with this refusal certainly had no effect: `Rule`, `Invalid`, `TooMany`,
    /// `NoBackend` and `NumberUsed`. A [`PublishError::Refused`] is of one of these kinds; the others leave it open, and end as
    /// [`PublishError::Unconfirmed`].
    pub fn is_certain(self) -> bool {
        matches!(self, Self::Rule | Self::Invalid | Self::TooMany | Self::NoBackend | Self::NumberUsed)
    }
}

impl From<RefusalKind> for pb::RefusalKind {
    fn from(kind: RefusalKind) -> Self {
        match kind {
            RefusalKind::Unknown => Self::Unspecified,
            RefusalKind::Rule => Self::Rule,
            RefusalKind::Unavailable => Self::Unavailable,
            RefusalKind::Invalid => Self::Invalid,
            RefusalKind::TooMany => Self::TooMany,
            RefusalKind::Internal => Self::Internal,
            RefusalKind::NoBackend => Self::NoBackend,
            RefusalKind::NumberUsed => Self::NumberUsed,
        }
    }
}

impl From<pb::RefusalKind> for RefusalKind {
    fn from(kind: pb::RefusalKind) -> Self {
        match kind {
            pb::RefusalKind::Unspecified => Self::Unknown,
            pb::RefusalKind::Rule => Self::Rule,
            pb::RefusalKind::Unavailable => Self::Unavailable,
            pb::RefusalKind::Invalid => Self::Invalid,
            pb::RefusalKind::TooMany => Self::TooMany,
            pb::RefusalKind::Internal => Self::Internal,
            pb::RefusalKind::NoBackend => Self::NoBackend,
            pb::RefusalKind::NumberUsed => Self::NumberUsed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        client::{MarkError, RequestError, TokenError, Trust},
        id::UserId,
    };

    /// Checks that an error prints its cause or has it as its source, and never both.
    fn check(error: &dyn std::error::Error) {
        let mut shown = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            assert!(!shown.contains(&text), "{error:?} prints its cause twice: {}", with_causes(error));
            shown = text;
            cause = inner.source();
        }
    }

    #[test]
    fn no_error_prints_its_cause_twice() {
        let why = || "why".to_owned();
        let store = || StoreError::Failed(why());
        let refused = || (RefusalKind::Rule, why(), 7, Some(Duration::from_secs(1)));
        let (kind, reason, code, retry_after) = refused();
        let errors: Vec<Box<dyn std::error::Error>> = vec![
            Box::new(OpenError::NoEndpoints),
            Box::new(OpenError::NoRuntime),
            Box::new(OpenError::Tls(rustls::Error::General(why()))),
            Box::new(NoEndpoints),
            Box::new(PublishError::Store(store())),
            Box::new(PublishError::Unconfirmed { reason: why() }),
            Box::new(PublishError::Stopped { reason: why() }),
            Box::new(PublishError::Refused { kind, reason, code, retry_after }),
            Box::new(SendError::Store(store())),
            Box::new(SendError::TooLarge { bytes: 9, limit: 7 }),
            Box::new(RetryError::NotFailed),
            Box::new(RetryError::Send(SendError::Store(store()))),
            Box::new(RequestError::InvalidId(UserId::parse("").unwrap_err())),
            Box::new(RequestError::Stopped { reason: why() }),
            Box::new(MarkError::QueueFull),
            Box::new(TokenError::Denied(why())),
            Box::new(Trust::sha256_hex("0").unwrap_err()),
            Box::new(store()),
        ];
        errors.iter().for_each(|error| check(&**error));
    }

    #[test]
    fn a_text_with_causes_has_all_of_them() {
        let error = OpenError::Tls(rustls::Error::General("no good".to_owned()));
        let text = with_causes(&error);
        assert!(text.starts_with("TLS cannot be set up") && text.ends_with("no good"), "{text}");
        assert_eq!(text.matches("no good").count(), 1, "{text}");
    }
}
