//! What the client tells the application.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    Content, ConversationState, UserPresence,
    client::{
        Endpoint, LocalId, Position, PublishError, ReadReceipt, ReceivedSignal, ResetReason, RoomLeftCause,
        StoreError, Transport,
    },
    id::{ChannelId, MessageId, UserId},
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
    /// Everything that was in the logs when the connection began has come. Once for each connection.
    ///
    /// A device without a cursor starts each log at its end: where that is is settled by now, so that what is sent from
    /// here on arrives.
    UpToDate,
    /// A log goes on elsewhere: what the application has of it does not lead on to what comes next. Entries up to the
    /// position, as far as they matter, have to come from the history.
    Reset {
        /// The next entry is the one after this.
        position: Position,
        /// Why.
        reason: ResetReason,
    },
    /// Something was set in conversations, by this device, another one of the user or the back end, or the other user has
    /// read further. Each state is complete, and replaces an earlier one with a lower version.
    ConversationsChanged(Vec<ConversationState>),
    /// A member has read further in a channel of few members; in others, [`Client::readers`](crate::client::Client::readers)
    /// tells. It may get lost.
    ChannelRead(ReadReceipt),
    /// Another device signalled something.
    Signal(ReceivedSignal),
    /// Where a user that the device [watches](crate::client::Client::watch) stands now.
    Presence(UserPresence),
    /// The device is not in a room any more, and did not ask for that.
    RoomLeft {
        /// Which room.
        channel: ChannelId,
        /// Why.
        cause: RoomLeftCause,
        /// For people: why.
        reason: String,
        /// The application's own code, where a handler of its [refused](RoomLeftCause::Refused) to let the device in again,
        /// else 0.
        code: i32,
    },
    /// The back end has taken a [send](crate::client::Client::send).
    Published {
        /// What the send returned.
        local_id: LocalId,
        /// The id that the message got. `None`: the back end handled it without sending a message.
        message_id: Option<MessageId>,
        /// Whatever the back end answers, often nothing.
        answer: Bytes,
    },
    /// A [send](crate::client::Client::send) failed for good. It stays among
    /// [what is queued](crate::client::Client::queued), and is told again when the client is opened the next time,
    /// until it is [discarded](crate::client::Client::discard).
    PublishFailed {
        /// What the send returned.
        local_id: LocalId,
        /// Why.
        error: PublishError,
        /// Whether the same may succeed if it is sent anew, and cannot arrive twice by that.
        retryable: bool,
    },
    /// The connection ended, or the provider gave no token, and the client stays away until
    /// [`Client::connect`](crate::client::Client::connect). Where the client itself has failed, by a fault of its own or a panic in
    /// what the application gave it, it is [closed](State::Closed) instead: open another one.
    Stopped {
        /// The close code; `None` when no server was the reason.
        code: Option<CloseCode>,
        /// Why, for programs.
        cause: StopCause,
        /// For people: what happened.
        reason: String,
    },
}

/// Why a client [stays away](Event::Stopped).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopCause {
    /// A server closed the connection with a code that says so, such as [`CloseCode::Replaced`]: another device has the place of this
    /// one, and the user decides whether to [take it back](crate::client::Client::connect).
    Server(CloseCode),
    /// There is no token that a server takes: the provider [denied](crate::client::TokenError::Denied) one, or the only one was
    /// refused. After [`Client::set_token`](crate::client::Client::set_token) the client can connect again.
    Token,
    /// The token is another user's than the store. Each user of a device needs a store of its own.
    OtherUser,
    /// The store cannot be used: [`StoreError::Damaged`] and [`StoreError::Unreadable`] call for a new file,
    /// [`StoreError::InUse`] for the other client to be closed, [`StoreError::Full`] for room.
    Store(StoreError),
    /// The client itself has failed, by a fault of its own or a panic in what the application gave it. It is closed: open another one.
    Failed,
}

impl StopCause {
    /// A name that stays the same over versions and languages: `server`, `token`, `other_user`, `failed`, or of a store `store_`
    /// with [its code](StoreError::code), such as `store_damaged`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Server(_) => "server",
            Self::Token => "token",
            Self::OtherUser => "other_user",
            Self::Store(StoreError::InUse) => "store_in_use",
            Self::Store(StoreError::Unreadable(_)) => "store_unreadable",
            Self::Store(StoreError::Damaged(_)) => "store_damaged",
            Self::Store(StoreError::Full(_)) => "store_full",
            Self::Store(StoreError::Failed(_)) => "store_failed",
            Self::Failed => "failed",
        }
    }

    pub(crate) fn server_code(&self) -> Option<CloseCode> {
        match self {
            Self::Server(code) => Some(*code),
            _ => None,
        }
    }
}

/// A message as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedMessage {
    /// Its id.
    pub id: MessageId,
    /// Who sent it. `None`: the back end itself.
    pub from: Option<UserId>,
    /// Who it is addressed to. `None`: this user, as one of several or as a member of `channel`.
    pub to: Option<UserId>,
    /// The channel that it was sent to.
    pub channel: Option<ChannelId>,
    /// What it carries.
    pub content: Content,
    /// What it came over.
    pub transport: Transport,
    /// Its place in a log, to [acknowledge](crate::client::Client::ack). `None`: it is in no log, and gone if it was
    /// missed.
    pub position: Option<Position>,
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
