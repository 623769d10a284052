//! Pages of history and of search results.

use std::time::Duration;

use super::{ReceivedMessage, RefusalKind};
use crate::{
    HistoryRange, SearchPlace,
    id::{InvalidId, UserId},
    timeline::Timeline,
};

/// A page of history. [`Client::history`](crate::client::Client::history) returns messages as they are now: a recalled one is
/// empty, an edited one has the content of its last edit ([`Content::amended`](crate::content::Content::amended) marks both), and
/// those that the user has deleted are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryPage {
    /// The messages, in the order of the log in both directions, each with its position. They do not move the
    /// device's own position: [acknowledge](crate::client::Client::ack) the positions that come with events.
    pub messages: Vec<ReceivedMessage>,
    /// The reactions to these messages and their pins, including those on newer pages, or the last ones if there are many.
    /// [`HistoryPage::timeline`] puts them together. Empty for a page of raw entries.
    pub changes: Vec<ReceivedMessage>,
    /// The range of the next page in the requested direction, which may be empty. A page may be shorter than requested, and even
    /// empty, although more follows. `None` after the last page.
    pub next: Option<HistoryRange>,
}

impl HistoryPage {
    /// Returns the messages of the page as a user sees them, with reactions and pins.
    pub fn timeline(&self, user: UserId) -> Timeline {
        let mut timeline = Timeline::new(user);
        self.messages.iter().chain(&self.changes).for_each(|message| _ = timeline.apply(message));
        timeline
    }
}

/// A page of found messages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundPage {
    /// The messages, newest first, each with its position in its log.
    pub messages: Vec<ReceivedMessage>,
    /// The value of [`Search::before`](crate::Search::before) for the next page. A page may be shorter than requested, and even
    /// empty, although more follows. `None` after the last page.
    pub next: Option<SearchPlace>,
}

/// A request has no answer. Repeating it is always safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// [`MAX_QUEUED_REQUESTS`](crate::client::MAX_QUEUED_REQUESTS) requests are waiting already.
    #[error("too many requests wait to be answered")]
    QueueFull,
    /// There was no answer in time.
    #[error("there was no answer in time")]
    TimedOut,
    /// The backend or the server refused the request.
    #[error("the request was refused ({}): {reason}", kind.as_str())]
    Refused {
        /// The kind of the refusal, for programs. [`RefusalKind::Rule`] means that the user may not see the
        /// answer.
        kind: RefusalKind,
        /// The reason, for people.
        reason: String,
        /// The application's own code for a [`RefusalKind::Rule`], such as the one of a handler for a
        /// [room](crate::client::Client::join_room). Otherwise 0.
        code: i32,
        /// The time after which the request may be repeated. `None` means never.
        retry_after: Option<Duration>,
    },
    /// An id is not valid. Nothing was sent.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The request does not fit into a frame. Nothing was sent.
    #[error("the request takes {bytes} bytes, more than the {limit} that the server allows")]
    TooLarge {
        /// The size of the request.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The device is in [`MAX_ROOMS`](crate::client::MAX_ROOMS) rooms already.
    #[error("the device is in as many rooms as it may be")]
    TooManyRooms,
    /// The client is stopped, see [`Event::Stopped`](crate::client::Event::Stopped).
    #[error("the client is stopped: {reason}")]
    Stopped {
        /// The reason, for people.
        reason: String,
    },
    /// The application has not asked for a connection, or has ended it: call
    /// [`Client::connect`](crate::client::Client::connect) first. The error comes at once.
    #[error("the client is not connected: call Client::connect first")]
    NotConnected,
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

impl RequestError {
    /// Returns a name that is stable over versions and languages, such as `timed_out`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TimedOut => "timed_out",
            Self::Refused { .. } => "refused",
            Self::InvalidId(_) => "invalid_id",
            Self::TooLarge { .. } => "too_large",
            Self::TooManyRooms => "too_many_rooms",
            Self::Stopped { .. } => "stopped",
            Self::NotConnected => "not_connected",
            Self::Closed => "closed",
        }
    }
}
