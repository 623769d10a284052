//! What the client tells the application.

use im_sdk::{
    Recipient, client as sdk,
    id::{ChannelId, InvalidId, MessageId, UserId},
};

use crate::{Content, ReceivedSignal, RefusalKind, RoomLeftCause, UserPresence};

/// What happened, in the order in which it happened.
#[expect(clippy::large_enum_variant, reason = "most events are messages, and one at a time is handed over")]
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
    /// Everything that was in the logs when the connection began has come. Once for each connection.
    UpToDate,
    /// A log goes on elsewhere: what the application has of it does not lead on to what comes next.
    Reset {
        /// The next entry is the one after this.
        position: Position,
        /// Why.
        reason: ResetReason,
    },
    /// Another device signalled something.
    Signal {
        /// What.
        signal: ReceivedSignal,
    },
    /// Where a user that the device watches stands now.
    Presence {
        /// Where.
        presence: UserPresence,
    },
    /// The device is not in a room any more, and did not ask for that.
    RoomLeft {
        /// Which room.
        channel: String,
        /// Why.
        cause: RoomLeftCause,
        /// For people: why.
        reason: String,
    },
    /// The back end has taken a send.
    Published {
        /// What the send returned.
        local_id: u64,
        /// The id that the message got. None: the back end handled it without sending a message.
        message_id: Option<u64>,
        /// Whatever the back end answers, often nothing.
        answer: Vec<u8>,
    },
    /// A send failed for good. It stays among what is queued until it is discarded.
    PublishFailed {
        /// What the send returned.
        local_id: u64,
        /// The stable name of the error, such as `refused`.
        code: String,
        /// Why, in words.
        reason: String,
        /// What a server refused it with, if one did.
        kind: Option<RefusalKind>,
        /// The application's own code for a `Rule`, else 0.
        rule_code: i32,
        /// Whether the same may succeed if it is sent anew.
        retryable: bool,
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
    /// Who it is addressed to. None: this user, as one of several or as a member of `channel`.
    pub to_user: Option<String>,
    /// The channel that it was sent to.
    pub channel: Option<String>,
    /// What it carries.
    pub content: Content,
    /// What it came over.
    pub transport: Transport,
    /// Its place in a log, to acknowledge. None: it is in no log.
    pub position: Option<Position>,
}

/// Where a message is, to change it: the user or the channel, as in a send, and its place in the log.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct MessageRef {
    /// The other user of the conversation; oneself, where there is no other. None: it is in a channel.
    pub to_user: Option<String>,
    /// The channel. None: it is between users.
    pub to_channel: Option<String>,
    /// The message.
    pub id: u64,
    /// Its place in this user's log of the conversation.
    pub seq: u64,
}

/// What to name a received message by. `me` is the user whose device this is. None: it is in no log and cannot be changed.
#[uniffi::export]
pub fn message_ref(message: ReceivedMessage, me: String) -> Option<MessageRef> {
    let seq = message.position?.seq;
    let other = if message.from_user.as_ref() == Some(&me) { message.to_user } else { message.from_user };
    let to_user = message.channel.is_none().then(|| other.unwrap_or(me));
    Some(MessageRef { to_user, to_channel: message.channel, id: message.id, seq })
}

impl MessageRef {
    pub(crate) fn parse(self) -> Result<sdk::MessageRef, InvalidId> {
        let conversation = match (self.to_channel, self.to_user) {
            (Some(channel), _) => Recipient::Channel(ChannelId::parse(&channel)?),
            (None, user) => Recipient::User(UserId::parse(&user.unwrap_or_default())?),
        };
        Ok(sdk::MessageRef::new(conversation, crate::content::message_id(self.id)?, self.seq))
    }
}

/// A place in a log.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Position {
    /// The channel; empty: the user's inbox.
    pub channel: String,
    /// Counted from 1, without holes. 0: before the first entry.
    pub seq: u64,
    /// The message there, if it is known.
    pub id: Option<u64>,
}

/// Why a log goes on elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum ResetReason {
    /// The device did not follow the log before.
    New,
    /// The log no longer reaches back to what the device has.
    Trimmed,
    /// The log was rolled back.
    Forked,
    /// The user is not a member of the channel any more. The device has stopped following the log.
    Left,
}

/// A send that is not settled.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct QueuedSend {
    /// What the send returned.
    pub local_id: u64,
    /// The user that it is for. None: it is for a channel.
    pub to_user: Option<String>,
    /// The channel that it is for. None: it is for a user.
    pub to_channel: Option<String>,
    /// What it carries.
    pub content: Content,
    /// How far it got.
    pub state: SendState,
}

/// How far a send got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum SendState {
    /// It waits for a connection, or for an earlier one to the same user.
    Pending,
    /// It was handed to a connection, and no answer has come.
    Sent,
    /// It failed for good.
    Failed,
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
            sdk::Event::UpToDate => Self::UpToDate,
            sdk::Event::Reset { position, reason } => {
                Self::Reset { position: position.into(), reason: reason.into() }
            }
            sdk::Event::Signal(signal) => Self::Signal { signal: signal.into() },
            sdk::Event::Presence(presence) => Self::Presence { presence: presence.into() },
            sdk::Event::RoomLeft { channel, cause, reason } => {
                Self::RoomLeft { channel: channel.to_string(), cause: cause.into(), reason }
            }
            sdk::Event::Published { local_id, message_id, answer } => Self::Published {
                local_id: local_id.as_u64(),
                message_id: message_id.map(|id| id.as_u64()),
                answer: answer.into(),
            },
            sdk::Event::PublishFailed { local_id, error, retryable } => failed(local_id, &error, retryable),
            sdk::Event::Stopped { code, reason } => {
                Self::Stopped { code: code.map(sdk::CloseCode::code), reason }
            }
            _ => Self::Unknown,
        }
    }
}

fn failed(local_id: sdk::LocalId, error: &sdk::PublishError, retryable: bool) -> Event {
    let (kind, rule_code) = match error {
        sdk::PublishError::Refused { kind, code, .. } => (Some((*kind).into()), *code),
        _ => (None, 0),
    };
    Event::PublishFailed {
        local_id: local_id.as_u64(),
        code: error.code().to_owned(),
        reason: error.to_string(),
        kind,
        rule_code,
        retryable,
    }
}

impl Position {
    pub(crate) fn parse(self) -> Option<sdk::Position> {
        let log = sdk::Log::parse(&self.channel).ok()?;
        Some(sdk::Position { log, seq: self.seq, id: self.id.and_then(MessageId::from_u64) })
    }
}

impl From<sdk::Position> for Position {
    fn from(position: sdk::Position) -> Self {
        Self {
            channel: position.log.as_str().to_owned(),
            seq: position.seq,
            id: position.id.map(|id| id.as_u64()),
        }
    }
}

impl From<sdk::ResetReason> for ResetReason {
    fn from(reason: sdk::ResetReason) -> Self {
        match reason {
            sdk::ResetReason::New => Self::New,
            sdk::ResetReason::Forked => Self::Forked,
            sdk::ResetReason::Left => Self::Left,
            _ => Self::Trimmed,
        }
    }
}

impl From<sdk::QueuedSend> for QueuedSend {
    fn from(queued: sdk::QueuedSend) -> Self {
        Self {
            local_id: queued.local_id.as_u64(),
            to_user: queued.to.as_user().map(ToString::to_string),
            to_channel: queued.to.as_channel().map(ToString::to_string),
            content: queued.content.into(),
            state: match queued.state {
                sdk::SendState::Sent => SendState::Sent,
                sdk::SendState::Failed => SendState::Failed,
                _ => SendState::Pending,
            },
        }
    }
}

impl From<sdk::ReceivedMessage> for ReceivedMessage {
    fn from(message: sdk::ReceivedMessage) -> Self {
        Self {
            id: message.id.as_u64(),
            from_user: message.from.map(|user| user.to_string()),
            to_user: message.to.map(|user| user.to_string()),
            channel: message.channel.map(|channel| channel.to_string()),
            content: message.content.into(),
            transport: message.transport.into(),
            position: message.position.map(Position::from),
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
