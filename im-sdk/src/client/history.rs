//! Pages of history and of search results.

use std::time::Duration;

use super::{ReceivedMessage, RefusalKind};
use crate::{
    HistoryRange, SearchPlace,
    id::{InvalidId, UserId},
    timeline::Timeline,
};

/// A page of history. [`Client::history`](crate::client::Client::history) gives messages as they are now: a recalled one is empty, an
/// edited one says what the last edit says ([`Content::amended`](crate::content::Content::amended) tells of both), and what the user has
/// deleted is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryPage {
    /// In the order of the log, whatever the direction, each with its position. They do not move the device's own
    /// position: what it [acknowledges](crate::client::Client::ack) is what came with events.
    pub messages: Vec<ReceivedMessage>,
    /// The reactions to these messages and their pins, also those that stand on newer pages. The last ones, where there are many.
    /// [`HistoryPage::timeline`] puts them together. Empty where entries are asked for as they are.
    pub changes: Vec<ReceivedMessage>,
    /// The range of the next page in the direction that was asked for; nothing need be there. A page may be shorter than asked for, and
    /// even empty, and something follows all the same. `None`: that was all.
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

/// A page of messages that were found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundPage {
    /// The newest first, each with its position in its log.
    pub messages: Vec<ReceivedMessage>,
    /// The place of the next page: [`Search::before`](crate::Search::before). A page may be shorter than asked for, and even empty, and
    /// something follows all the same. `None`: that was all.
    pub next: Option<SearchPlace>,
}

/// The request has no answer. Asking again is always safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// [`MAX_QUEUED_REQUESTS`](crate::client::MAX_QUEUED_REQUESTS) requests wait already.
    #[error("too many requests wait to be answered")]
    QueueFull,
    /// There was no answer in time.
    #[error("there was no answer in time")]
    TimedOut,
    /// The back end or the server did not answer the question.
    #[error("the request was refused ({}): {reason}", kind.as_str())]
    Refused {
        /// The kind of the refusal, for programs. [`RefusalKind::Rule`]: the user may not see the answer.
        kind: RefusalKind,
        /// The reason, for people.
        reason: String,
        /// The application's own code for a [`RefusalKind::Rule`], as the handler of a [room](crate::client::Client::join_room)
        /// gives one, else 0.
        code: i32,
        /// When the same may be asked again; `None`: never.
        retry_after: Option<Duration>,
    },
    /// An id is not valid. Nothing was sent.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The request does not fit into a frame. Nothing was sent.
    #[error("the request takes {bytes} bytes, more than the {limit} that the server allows")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest size that is allowed.
        limit: usize,
    },
    /// The device is in [`MAX_ROOMS`](crate::client::MAX_ROOMS) rooms already.
    #[error("the device is in as many rooms as it may be")]
    TooManyRooms,
    /// The client is stopped: see [`Event::Stopped`](crate::client::Event::Stopped).
    #[error("the client is stopped: {reason}")]
    Stopped {
        /// The reason, for people.
        reason: String,
    },
    /// The application has not asked for a connection, or has ended it: call
    /// [`Client::connect`](crate::client::Client::connect) first. It is told at once.
    #[error("the client is not connected: call Client::connect first")]
    NotConnected,
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

impl RequestError {
    /// Returns a name that stays the same over versions and languages, such as `timed_out`.
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
