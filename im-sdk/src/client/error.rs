//! Why an operation failed.

use std::time::Duration;

use crate::{client::StoreError, proto::pb};

/// Why a client could not be opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration names no endpoint.
    #[error(
        "a client needs at least one endpoint: give ClientConfig::new the addresses that the back end tells (Im::endpoints)"
    )]
    NoEndpoints,
    /// There is no tokio runtime here; see [`Client::open_on`](crate::client::Client::open_on).
    #[error("no tokio runtime runs here")]
    NoRuntime,
    /// A certificate in [`Trust`](crate::client::Trust) cannot serve as a root, or TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl OpenError {
    /// A name that stays the same over versions and languages, such as `no_endpoints`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoEndpoints => "no_endpoints",
            Self::NoRuntime => "no_runtime",
            Self::Tls(_) => "tls",
        }
    }
}

/// A client needs to know an address. See [`Client::set_endpoints`](crate::client::Client::set_endpoints).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a client needs at least one endpoint: Client::set_endpoints was given none, and the client keeps those it knows"
)]
pub struct NoEndpoints;

impl NoEndpoints {
    /// A name that stays the same over versions and languages: `no_endpoints`.
    pub fn code(&self) -> &'static str {
        "no_endpoints"
    }
}

/// Why a publish did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// [`MAX_QUEUED_PUBLISHES`](crate::client::MAX_QUEUED_PUBLISHES) publishes wait already. Nothing was sent.
    #[error("too many publishes wait to be sent")]
    QueueFull,
    /// It does not fit into a frame. Nothing was sent.
    #[error("the message takes {bytes} bytes, more than the {limit} that the server allows")]
    TooLarge {
        /// What it takes.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Its content is [empty](crate::Content::is_empty).
    #[error("the message has no content")]
    NoContent,
    /// It could not be sent in time. Nothing was sent, or nothing came of what was sent, for [certain](RefusalKind::is_certain).
    #[error("the message could not be sent in time")]
    TimedOut,
    /// It waited in vain for a connection that the application has not asked for. Nothing was sent.
    #[error("the message could not be sent: the client is not connected, Client::connect was not called")]
    NotConnected,
    /// It was sent, and it is not certain that nothing came of it: time ran out, or the client was closed, before an answer
    /// came, or the answer leaves it open, as that of a back end that failed. It may or may not have arrived: sending it
    /// again may send it twice.
    #[error("the message may or may not have arrived: {reason}")]
    Unconfirmed {
        /// What leaves it open, for people.
        reason: String,
    },
    /// The back end or the server did not take it: nothing came of this try, for [certain](RefusalKind::is_certain). Where
    /// it [may be sent anew](PublishError::is_retryable), nothing came of any earlier one either.
    #[error("the message was refused ({}): {reason}", kind.as_str())]
    Refused {
        /// Why, for programs.
        kind: RefusalKind,
        /// Why, for people.
        reason: String,
        /// For a [`RefusalKind::Rule`]: the application's own code, 0 or more, or one of the
        /// [SDK's](crate::refusal_code), which are negative. Else 0.
        code: i32,
        /// When the same message may be tried again; `None`: never.
        retry_after: Option<Duration>,
    },
    /// The store could not keep it. Nothing was sent.
    #[error(transparent)]
    Store(StoreError),
    /// The client is stopped: see [`Event::Stopped`](crate::client::Event::Stopped). Nothing was sent.
    #[error("the client is stopped: {reason}")]
    Stopped {
        /// Why, for people.
        reason: String,
    },
    /// The client is closed. Nothing was sent.
    #[error("the client is closed")]
    Closed,
}

impl PublishError {
    /// A name that stays the same over versions and languages, such as `queue_full`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TooLarge { .. } => "too_large",
            Self::NoContent => "no_content",
            Self::TimedOut => "timed_out",
            Self::NotConnected => "not_connected",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::Refused { .. } => "refused",
            Self::Store(_) => "store",
            Self::Stopped { .. } => "stopped",
            Self::Closed => "closed",
        }
    }

    /// Whether the same may succeed if it is sent anew, and cannot arrive twice by that: whatever was tried, it is certain
    /// that nothing came of it.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::QueueFull | Self::TimedOut | Self::NotConnected | Self::Store(_) => true,
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

/// Why a send was not taken. Nothing was sent, and nothing will be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// [`MAX_QUEUED_PUBLISHES`](crate::client::MAX_QUEUED_PUBLISHES) publishes wait already.
    #[error("too many publishes wait to be sent")]
    QueueFull,
    /// It does not fit into a frame.
    #[error("the message takes {bytes} bytes, more than the {limit} that the server allows")]
    TooLarge {
        /// What it takes.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Its content is [empty](crate::Content::is_empty).
    #[error("the message has no content")]
    NoContent,
    /// The store could not keep it.
    #[error(transparent)]
    Store(StoreError),
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

impl SendError {
    /// A name that stays the same over versions and languages, such as `queue_full`.
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

/// Why a publish, or a question, was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalKind {
    /// The back end's rules say no.
    Rule,
    /// No back end is listening, or it did not answer in time: it may have taken the publish nevertheless, or do so later.
    Unavailable,
    /// The publish makes no sense.
    Invalid,
    /// Too many publishes wait for their results, or come too fast.
    TooMany,
    /// The back end failed while it handled the publish: it may have sent the message before.
    Internal,
    /// A kind that this version does not know.
    Unknown,
}

impl RefusalKind {
    /// The name in logs, such as `unavailable`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Unavailable => "unavailable",
            Self::Invalid => "invalid",
            Self::TooMany => "too_many",
            Self::Internal => "internal",
            Self::Unknown => "unknown",
        }
    }

    /// Whether nothing came of what was refused so, for certain: `Rule`, `Invalid` and `TooMany`. A
    /// [`PublishError::Refused`] is of one of these; the others leave it open, and end as [`PublishError::Unconfirmed`].
    pub fn is_certain(self) -> bool {
        matches!(self, Self::Rule | Self::Invalid | Self::TooMany)
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
        }
    }
}
