//! What the client tells the application.

use im_sdk::client as sdk;

/// What happened, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Event {
    /// A server said welcome: messages flow from here on.
    Connected {
        /// The user that the token names.
        user: String,
        /// How frames travel.
        transport: Transport,
        /// Where the server listens.
        endpoint: String,
    },
    /// The connection ended, or an attempt to make one failed.
    Disconnected {
        /// The close code, if one was given; a network error has none.
        code: Option<u16>,
        /// For people: what happened.
        reason: String,
        /// When the next attempt follows. None: the application itself disconnected.
        retry_in_ms: Option<u64>,
    },
    /// A message arrived.
    Message {
        /// The message.
        message: ReceivedMessage,
    },
    /// The client stays away until it is told to connect again.
    Stopped {
        /// The close code; none when the token provider was the reason.
        code: Option<u16>,
        /// For people: what happened.
        reason: String,
    },
    /// Something that this binding does not know.
    Unknown,
}

/// A message as it arrived.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ReceivedMessage {
    /// Its id: 63 bits, unique, roughly in order of time.
    pub id: u64,
    /// Who sent it. None: the back end itself.
    pub from_user: Option<String>,
    /// Who it is addressed to. None: this user, as one of several.
    pub to_user: Option<String>,
    /// What it carries.
    pub content: Content,
    /// What it came over.
    pub transport: Transport,
}

/// What a message carries.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Content {
    /// Plain text.
    Text {
        /// The text.
        text: String,
    },
    /// Whatever the application defines.
    Custom {
        /// The application's name for the kind, such as `order.paid`.
        kind: String,
        /// The application's bytes.
        data: Vec<u8>,
    },
    /// A kind that this version does not know: show a placeholder. It cannot be sent.
    Unknown,
}

/// How frames travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Transport {
    /// QUIC.
    Quic,
    /// WebSocket.
    WebSocket,
}

/// Where the client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum State {
    /// The application has not asked for a connection.
    Disconnected,
    /// A connection is being made.
    Connecting,
    /// A server said welcome.
    Connected,
    /// The next attempt follows after a delay.
    Waiting,
    /// There is no point in trying again.
    Stopped,
    /// The client is closed for good.
    Closed,
}

impl From<sdk::Event> for Event {
    fn from(event: sdk::Event) -> Self {
        match event {
            sdk::Event::Connected { user, transport, endpoint } => Self::Connected {
                user: user.to_string(),
                transport: transport.into(),
                endpoint: endpoint.to_string(),
            },
            sdk::Event::Disconnected { code, reason, retry_in } => Self::Disconnected {
                code: code.map(sdk::CloseCode::code),
                reason,
                retry_in_ms: retry_in.map(|delay| delay.as_millis() as u64),
            },
            sdk::Event::Message(message) => Self::Message { message: message.into() },
            sdk::Event::Stopped { code, reason } => {
                Self::Stopped { code: code.map(sdk::CloseCode::code), reason }
            }
            _ => Self::Unknown,
        }
    }
}

impl From<sdk::ReceivedMessage> for ReceivedMessage {
    fn from(message: sdk::ReceivedMessage) -> Self {
        Self {
            id: message.id.as_u64(),
            from_user: message.from.map(|user| user.to_string()),
            to_user: message.to.map(|user| user.to_string()),
            content: message.content.into(),
            transport: message.transport.into(),
        }
    }
}

impl From<im_sdk::Content> for Content {
    fn from(content: im_sdk::Content) -> Self {
        match content {
            im_sdk::Content::Text(text) => Self::Text { text },
            im_sdk::Content::Custom { kind, data } => Self::Custom { kind, data: data.into() },
            _ => Self::Unknown,
        }
    }
}

impl From<Content> for im_sdk::Content {
    fn from(content: Content) -> Self {
        match content {
            Content::Text { text } => Self::Text(text),
            Content::Custom { kind, data } => Self::custom(kind, data),
            Content::Unknown => Self::Unknown,
        }
    }
}

impl From<sdk::Transport> for Transport {
    fn from(transport: sdk::Transport) -> Self {
        match transport {
            sdk::Transport::Quic => Self::Quic,
            sdk::Transport::WebSocket => Self::WebSocket,
        }
    }
}

impl From<sdk::State> for State {
    fn from(state: sdk::State) -> Self {
        match state {
            sdk::State::Connecting => Self::Connecting,
            sdk::State::Connected => Self::Connected,
            sdk::State::Waiting => Self::Waiting,
            sdk::State::Stopped => Self::Stopped,
            sdk::State::Closed => Self::Closed,
            _ => Self::Disconnected,
        }
    }
}
