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
        LocalId, Position, PublishError, ReadReceipt, ReceivedMessage, ReceivedSignal, ResetReason,
        RoomLeftCause, device_store::StoreError,
    },
    id::{ChannelId, MessageId, UserId},
    proto::close::CloseCode,
};

/// An event. Events come in the order in which they happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A server has welcomed the device. From now on messages are sent and received.
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
        /// The close code, if one was given. `None` for a network error.
        code: Option<CloseCode>,
        /// The reason, for people.
        reason: String,
        /// The delay before the next attempt. `None` if the application itself disconnected.
        retry_in: Option<Duration>,
    },
    /// A message was received.
    Message(ReceivedMessage),
    /// Everything that was in the logs when the connection began has been received. Comes once for each connection.
    ///
    /// A device without a cursor starts each log near its end. That position is fixed now, so messages that are sent from now on
    /// arrive.
    UpToDate,
    /// A log continues at another position, which does not follow the entries that the application has. Read earlier entries from
    /// the history, as far as they matter.
    Reset {
        /// The position before the next entry.
        position: Position,
        /// The reason.
        reason: ResetReason,
    },
    /// Conversations were marked by this device, another device of the user or the backend, or the other user
    /// has read further. Each state is complete, and replaces an earlier one with a lower version.
    ConversationsChanged(Vec<ConversationState>),
    /// A member has read further in a channel with few members. For larger channels see
    /// [`Client::readers`](crate::client::Client::readers). The event may get lost.
    ChannelRead(ReadReceipt),
    /// Another device sent a signal.
    Signal(ReceivedSignal),
    /// The presence of a user that the device [watches](crate::client::Client::watch) has changed.
    Presence(UserPresence),
    /// The device is no longer in a room, without having asked for that.
    RoomLeft {
        /// The room.
        channel: ChannelId,
        /// The cause.
        cause: RoomLeftCause,
        /// The reason, for people.
        reason: String,
        /// The application's own code if its handler [refused](RoomLeftCause::Refused) to let the device in again, and
        /// 0 otherwise.
        code: i32,
    },
    /// The backend has accepted a [send](crate::client::Client::send).
    Published {
        /// The id of the send: [`SendHandle::local_id`](crate::client::SendHandle::local_id).
        local_id: LocalId,
        /// The id of the message. `None` if the backend handled the publish without sending a message.
        message_id: Option<MessageId>,
        /// The application's own answer, often empty.
        answer: Bytes,
    },
    /// A [send](crate::client::Client::send) failed for good. It stays among the
    /// [unsettled ones](crate::client::Client::unsettled_sends), and the event comes again when the client is next opened,
    /// until the send is [discarded](crate::client::SendHandle::discard) or [retried](crate::client::SendHandle::retry).
    PublishFailed {
        /// The id of the send: [`SendHandle::local_id`](crate::client::SendHandle::local_id).
        local_id: LocalId,
        /// The error.
        error: PublishError,
        /// Set if a retry may succeed, and cannot make the message arrive twice.
        retryable: bool,
    },
    /// The client stays disconnected until [`Client::connect`](crate::client::Client::connect): a server closed the connection
    /// for that, or the provider gave no token. If the client itself has failed, by a fault of its own or a panic of the
    /// application's provider or store, it is [closed](State::Closed) instead: open another one.
    Stopped {
        /// The close code. `None` if no server was the reason.
        code: Option<CloseCode>,
        /// The cause, for programs.
        cause: StopCause,
        /// The reason, for people.
        reason: String,
    },
}

/// The [events](crate::client::Client::events) of a client as a stream. Several streams share one queue. A stream does not
/// keep the client alive. It ends when the client is closed and all events were taken.
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

/// The cause for which a client is [stopped](Event::Stopped).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopCause {
    /// A server closed the connection with a code that calls for this, such as [`CloseCode::Replaced`]: another device has taken
    /// the place of this one, and the user decides whether to [take it back](crate::client::Client::connect).
    Server(CloseCode),
    /// No token is accepted: the provider [denied](crate::client::TokenError::Denied) one, or a server refused the only one.
    /// After [`Client::set_token`](crate::client::Client::set_token) the client can connect again.
    Token,
    /// The token belongs to another user than the store. Each user of a device needs a store of its own.
    OtherUser,
    /// The store cannot be used. For [`StoreError::Damaged`] and [`StoreError::Unreadable`] use a new file,
    /// for [`StoreError::InUse`] close the other client, for [`StoreError::Full`] make room.
    Store(StoreError),
    /// The client itself has failed, by a fault of its own or a panic of the application's provider or store. It is closed: open
    /// another one.
    Failed,
}

impl StopCause {
    /// Returns a name that is stable over versions and languages: `server`, `token`, `other_user`, `failed`, or for a store
    /// `store_` with [its code](StoreError::code), such as `store_damaged`.
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

/// The state of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// The application has not asked for a connection.
    Disconnected,
    /// A connection attempt is running.
    Connecting,
    /// A server has welcomed the device.
    Connected,
    /// The next attempt follows after a delay.
    Waiting,
    /// The client stays disconnected, see [`Event::Stopped`].
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
