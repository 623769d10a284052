//! What the client tells the application.

use std::time::Duration;

use crate::{
    Content,
    client::{Endpoint, Transport},
    id::{MessageId, UserId},
    proto::close::CloseCode,
};

/// What happened, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A server said welcome: messages flow from here on.
    Connected {
        /// The user that the token names.
        user: UserId,
        /// How frames travel.
        transport: Transport,
        /// Where the server listens.
        endpoint: Endpoint,
    },
    /// The connection ended, or an attempt to make one failed.
    Disconnected {
        /// The close code, if one was given; a network error has none.
        code: Option<CloseCode>,
        /// For people: what happened.
        reason: String,
        /// When the next attempt follows. `None`: the application itself disconnected.
        retry_in: Option<Duration>,
    },
    /// A message arrived.
    Message(ReceivedMessage),
    /// The connection ended, or the provider gave no token, and the client stays away until
    /// [`Client::connect`](crate::client::Client::connect).
    Stopped {
        /// The close code; `None` when the token provider was the reason.
        code: Option<CloseCode>,
        /// For people: what happened.
        reason: String,
    },
}

/// A message as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedMessage {
    /// Its id.
    pub id: MessageId,
    /// Who sent it. `None`: the back end itself.
    pub from: Option<UserId>,
    /// Who it is addressed to. `None`: this user, as one of several.
    pub to: Option<UserId>,
    /// What it carries.
    pub content: Content,
    /// What it came over.
    pub transport: Transport,
}

/// Where the client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// The application has not asked for a connection.
    Disconnected,
    /// A connection is being made.
    Connecting,
    /// A server said welcome.
    Connected,
    /// The next attempt follows after a delay.
    Waiting,
    /// A server, or the token provider, said that there is no point in trying again.
    Stopped,
    /// The client is closed for good.
    Closed,
}

impl State {
    /// The name in logs, such as `connected`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
            Self::Closed => "closed",
        }
    }
}
