//! Events: the client's news for the application.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream, Stream},
};
use tokio::sync::{Mutex, mpsc};

use crate::{
    ConversationState, Endpoint, Transport, UserPresence,
    client::{
        LocalId, Position, PublishError, ReadReceipt, ReceivedSignal, ResetReason, RoomLeftCause,
        device_store::StoreError,
    },
    content::Content,
    id::{ChannelId, MessageId, UserId},
    proto::close::CloseCode,
};

/// An event. Events come in the order in which they happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A server has welcomed the device: messages flow from here on.
    Connected {
        /// The user that the token names.
        user: UserId,
        /// The transport of the connection.
        transport: Transport,
        /// The server's endpoint.
        endpoint: Endpoint,
    },
    /// The connection ended, or an attempt to make one failed.
    Disconnected {
        /// The close code, if one was given; a network error has none.
        code: Option<CloseCode>,
        /// The reason, for people.
        reason: String,
        /// When the next attempt follows. `None`: the application itself disconnected.
        retry_in: Option<Duration>,
    },
    /// A message came.
    Message(ReceivedMessage),
    /// Everything that was in the logs when the connection began has come. Once for each connection.
    ///
    /// A device without a cursor starts each log near its end. That place is settled by now, so messages that are sent from here on
    /// arrive.
    UpToDate,
    /// A log goes on at another place, which does not follow on the entries that the application has. Entries up to the position, as
    /// far as they matter, have to come from the history.
    Reset {
        /// The next entry is the one after this.
        position: Position,
        /// The reason.
        reason: ResetReason,
    },
    /// Conversations were marked by this device, another one of the user or the back end, or the other user has
    /// read further. Each state is complete, and replaces an earlier one with a lower version.
    ConversationsChanged(Vec<ConversationState>),
    /// A member has read further in a channel of few members; in others, [`Client::readers`](crate::client::Client::readers)
    /// tells. It may get lost.
    ChannelRead(ReadReceipt),
    /// Another device signalled something.
    Signal(ReceivedSignal),
    /// The presence of a user that the device [watches](crate::client::Client::watch) has changed.
    Presence(UserPresence),
    /// The device is not in a room any more, and did not ask for that.
    RoomLeft {
        /// The room.
        channel: ChannelId,
        /// The cause.
        cause: RoomLeftCause,
        /// The reason, for people.
        reason: String,
        /// The application's own code, where its handler [refused](RoomLeftCause::Refused) to let the device in again,
        /// else 0.
        code: i32,
    },
    /// The back end has taken a [send](crate::client::Client::send).
    Published {
        /// The id of the send: [`SendHandle::local_id`](crate::client::SendHandle::local_id).
        local_id: LocalId,
        /// The id that the message got. `None`: the back end handled it without sending a message.
        message_id: Option<MessageId>,
        /// The application's own answer, often empty.
        answer: Bytes,
    },
    /// A [send](crate::client::Client::send) failed for good. It stays among the
    /// [unsettled ones](crate::client::Client::unsettled_sends), and is told again when the client is opened the next time,
    /// until it is [discarded](crate::client::SendHandle::discard) or [retried](crate::client::SendHandle::retry).
    PublishFailed {
        /// The id of the send: [`SendHandle::local_id`](crate::client::SendHandle::local_id).
        local_id: LocalId,
        /// The error.
        error: PublishError,
        /// Whether a retry may succeed, and cannot make the message arrive twice.
        retryable: bool,
    },
    /// The connection ended, or the provider gave no token, and the client stays away until
    /// [`Client::connect`](crate::client::Client::connect). Where the client itself has failed, by a fault of its own or a panic in
    /// what the application gave it, it is [closed](State::Closed) instead: open another one.
    Stopped {
        /// The close code; `None` when no server was the reason.
        code: Option<CloseCode>,
        /// The cause, for programs.
        cause: StopCause,
        /// The reason, for people.
        reason: String,
    },
}

/// The [events](crate::client::Client::events) of a client as a stream. Several streams share one queue. A stream does not
/// keep the client: it ends when the client is closed and everything was taken.
pub struct EventStream {
    events: BoxStream<'static, Event>,
}

impl EventStream {
    pub(super) fn new(events: Arc<Mutex<mpsc::Receiver<Event>>>) -> Self {
        let next = |events: Arc<Mutex<mpsc::Receiver<Event>>>| async move {
            let event = events.lock().await.recv().await?;
            Some((event, events))
        };
        Self { events: stream::unfold(events, next).boxed() }
    }
}

impl Stream for EventStream {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_next_unpin(context)
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EventStream").finish_non_exhaustive()
    }
}

/// The cause for which a client [stays away](Event::Stopped).
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
    /// Returns a name that stays the same over versions and languages: `server`, `token`, `other_user`, `failed`, or of a store `store_`
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

/// A message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedMessage {
    /// Its id.
    pub id: MessageId,
    /// The sender. `None`: the back end itself.
    pub from: Option<UserId>,
    /// The user that it is addressed to. `None`: this user, as one of several or as a member of `channel`.
    pub to: Option<UserId>,
    /// The channel that it was sent to.
    pub channel: Option<ChannelId>,
    /// Its content.
    pub content: Content,
    /// The id of the [send](crate::client::SendHandle::local_id), if this device has sent the message, also before a restart: the
    /// application finds the message by it that it has shown as pending. `None`: another device has sent it, or the back end, or a
    /// server or back end of an earlier version was in between.
    pub local_id: Option<LocalId>,
    /// The transport that it came over.
    pub transport: Transport,
    /// Its place in a log, to [acknowledge](crate::client::Client::ack). `None`: it is in no log, and gone if it was
    /// missed.
    pub position: Option<Position>,
}

/// The state of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// The application has not asked for a connection.
    Disconnected,
    /// A connection is being made.
    Connecting,
    /// A server has welcomed the device.
    Connected,
    /// The next attempt follows after a delay.
    Waiting,
    /// The client stays away: see [`Event::Stopped`].
    Stopped,
    /// The client is closed for good.
    Closed,
}

impl State {
    /// Returns the name in logs, such as `connected`.
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

impl<'a> From<&'a ReceivedMessage> for crate::timeline::Entry<'a> {
    fn from(message: &'a ReceivedMessage) -> Self {
        let entry = Self::new(message.id, message.from.as_ref(), &message.content);
        let channel = message.channel.as_ref();
        message.position.as_ref().map_or(entry, |position| entry.at(channel, position.seq))
    }
}
