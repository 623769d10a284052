//! Events of a client.

use im_sdk::client as sdk;

use crate::{
    ConversationState, Position, ReadReceipt, ReceivedMessage, ReceivedSignal, RefusalKind, ResetReason,
    RoomLeftCause, SendFailure, Transport, UserPresence,
};

/// An event. Events come in the order in which they happened.
#[expect(clippy::large_enum_variant, reason = "most events are messages, and one at a time is handed over")]
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Event {
    /// A server has welcomed the device. From now on messages are sent and received.
    Connected {
        /// The user that the token names.
        user: String,
        /// The transport of the connection.
        transport: Transport,
        /// The server's endpoint.
        endpoint: String,
    },
    /// The connection ended, or an attempt to make one failed.
    Disconnected {
        /// The close code, if one was given. None: a network error.
        code: Option<u16>,
        /// The reason, in a human-readable form.
        reason: String,
        /// The delay before the next attempt. None: the application itself disconnected.
        retry_in_ms: Option<u64>,
    },
    /// A message was received.
    Message {
        /// The message.
        message: ReceivedMessage,
    },
    /// Everything that was in the logs when the connection began has been received. Comes once for each
    /// connection.
    UpToDate,
    /// A log continues at another position, which does not follow the entries that the application has.
    Reset {
        /// The position before the next entry.
        position: Position,
        /// The reason.
        reason: ResetReason,
    },
    /// Conversations were changed, or the other user has read further. Each state is complete, and replaces an earlier
    /// one with a lower version.
    ConversationsChanged {
        /// The new states.
        states: Vec<ConversationState>,
    },
    /// A member has read further in a channel with few members. The event may get lost.
    ChannelRead {
        /// The member and the read mark.
        receipt: ReadReceipt,
    },
    /// Another device sent a signal.
    Signal {
        /// The signal.
        signal: ReceivedSignal,
    },
    /// The presence of a user that the device watches has changed.
    Presence {
        /// The presence.
        presence: UserPresence,
    },
    /// The device is no longer in a room, without having asked for that.
    RoomLeft {
        /// The room.
        channel: String,
        /// The cause.
        cause: RoomLeftCause,
        /// The reason, in a human-readable form.
        reason: String,
        /// The application's own code if its handler refused to let the device in again. Otherwise 0.
        rule_code: i32,
    },
    /// The back end has accepted a send.
    Published {
        /// The id of the send: `SendHandle.local_id`.
        local_id: u64,
        /// The id of the message. None: the back end handled it without sending a message.
        message_id: Option<u64>,
        /// The application's own answer, often empty.
        answer: Vec<u8>,
    },
    /// A send failed for good. It stays among the unsettled sends until it is discarded or retried.
    PublishFailed {
        /// The id of the send: `SendHandle.local_id`.
        local_id: u64,
        /// The stable name of the error, such as `refused`.
        code: String,
        /// The reason, in a human-readable form.
        reason: String,
        /// The kind of the refusal, if it was refused.
        kind: Option<RefusalKind>,
        /// For a `Rule`: the application's own code, 0 or more, or a negative one of the SDK. Otherwise 0.
        rule_code: i32,
        /// Set if a retry may succeed.
        retryable: bool,
    },
    /// The client stays disconnected until it is told to connect again.
    Stopped {
        /// The close code. None: no server was the reason.
        code: Option<u16>,
        /// The cause: `server`, `token`, `other_user`, `failed`, or one of the store: `store_in_use`, `store_unreadable`,
        /// `store_damaged`, `store_full` or `store_failed`.
        cause: String,
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// An event that this binding does not know.
    Unknown,
}

/// The state of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum State {
    /// The application has not asked for a connection.
    Disconnected,
    /// A connection attempt is running.
    Connecting,
    /// A server has welcomed the device.
    Connected,
    /// The next attempt follows after a delay.
    Waiting,
    /// The client stays disconnected, see `Stopped`.
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
            sdk::Event::UpToDate => Self::UpToDate,
            sdk::Event::Reset { position, reason } => {
                Self::Reset { position: position.into(), reason: reason.into() }
            }
            sdk::Event::ConversationsChanged(states) => Self::ConversationsChanged {
                states: states.into_iter().map(ConversationState::from).collect(),
            },
            sdk::Event::ChannelRead(receipt) => Self::ChannelRead { receipt: receipt.into() },
            sdk::Event::Signal(signal) => Self::Signal { signal: signal.into() },
            sdk::Event::Presence(presence) => Self::Presence { presence: presence.into() },
            sdk::Event::RoomLeft { channel, cause, reason, code } => {
                Self::RoomLeft { channel: channel.to_string(), cause: cause.into(), reason, rule_code: code }
            }
            sdk::Event::Published { local_id, message_id, answer } => Self::Published {
                local_id: local_id.as_u64(),
                message_id: message_id.map(|id| id.as_u64()),
                answer: answer.into(),
            },
            sdk::Event::PublishFailed { local_id, error, retryable } => failed(local_id, &error, retryable),
            sdk::Event::Stopped { code, cause, reason } => {
                Self::Stopped { code: code.map(sdk::CloseCode::code), cause: cause.code().to_owned(), reason }
            }
            _ => Self::Unknown,
        }
    }
}

fn failed(local_id: sdk::LocalId, error: &sdk::PublishError, retryable: bool) -> Event {
    let SendFailure { code, reason, kind, rule_code, .. } = error.into();
    Event::PublishFailed { local_id: local_id.as_u64(), code, reason, kind, rule_code, retryable }
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

impl From<State> for sdk::State {
    fn from(state: State) -> Self {
        match state {
            State::Disconnected => Self::Disconnected,
            State::Connecting => Self::Connecting,
            State::Connected => Self::Connected,
            State::Waiting => Self::Waiting,
            State::Stopped => Self::Stopped,
            State::Closed => Self::Closed,
        }
    }
}
