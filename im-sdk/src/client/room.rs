//! Rooms, signals and presence, as a device sees them.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Client, ReceivedMessage, RequestError, core::Reply, driver::Command};
use crate::{
    Recipient, Signal, UserPresence,
    id::{ChannelId, Device, InvalidId, UserId},
};

/// A room that the device is in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinedRoom {
    /// About how many devices are in the room.
    pub online: u64,
    /// The application's own answer, often empty.
    pub answer: Bytes,
    /// The last messages, in order, as far as the back end sends them. Later ones come as events.
    pub recent: Vec<ReceivedMessage>,
}

/// The cause for which the device is not in a room any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RoomLeftCause {
    /// The back end has taken the user out.
    Kicked,
    /// The room is closed.
    Closed,
    /// When the device came back over a new connection, it was not let in again.
    Refused,
    /// The server gives a cause that this version does not know.
    Unknown,
}

impl RoomLeftCause {
    /// Returns the name in logs, such as `kicked`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kicked => "kicked",
            Self::Closed => "closed",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

impl From<crate::proto::pb::RoomLeftCause> for RoomLeftCause {
    fn from(cause: crate::proto::pb::RoomLeftCause) -> Self {
        match cause {
            crate::proto::pb::RoomLeftCause::Unspecified => Self::Unknown,
            crate::proto::pb::RoomLeftCause::Kicked => Self::Kicked,
            crate::proto::pb::RoomLeftCause::Closed => Self::Closed,
        }
    }
}

/// A signal of another device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedSignal {
    /// The user whose device sent it.
    pub from: UserId,
    /// The device.
    pub device: Device,
    /// The channel that it was sent to. `None`: to this user.
    pub channel: Option<ChannelId>,
    /// The signal itself.
    pub signal: Signal,
}

impl Client {
    /// Joins a room, if the back end lets the device in. `data` is for its handler. Waits for
    /// [`ClientConfig::request_timeout`](crate::client::ClientConfig::request_timeout) at most. The device stays in over changes of
    /// the connection, until it [leaves](Client::leave_room) or [`Event::RoomLeft`](crate::client::Event::RoomLeft) says otherwise; in
    /// between it misses what is not in the room's log.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use im_sdk::{Recipient, Signal};
    /// let joined = client.join_room("lobby", "ticket").await?;
    /// println!("{} are here", joined.online);
    /// let lobby = Recipient::channel("lobby")?;
    /// client.send(&lobby, "hello").await?;
    /// client.signal(&lobby, Signal::typing()).await;
    /// client.leave_room("lobby").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`]. After one that is no refusal the device may be in the room for as long as this connection lasts.
    pub async fn join_room(
        &self,
        channel: impl TryInto<ChannelId, Error = impl Into<InvalidId>>,
        data: impl Into<Bytes>,
    ) -> Result<JoinedRoom, RequestError> {
        let channel = channel.try_into().map_err(Into::into)?;
        let data = data.into();
        match self.ask(|answer| Command::JoinRoom { channel, data, answer }).await? {
            Reply::JoinedRoom(joined) => Ok(joined),
            _ => Err(RequestError::Closed),
        }
    }

    /// Leaves a room. Leaving one that the device is not in does no harm.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn leave_room(
        &self,
        channel: impl TryInto<ChannelId, Error = impl Into<InvalidId>>,
    ) -> Result<(), RequestError> {
        let channel = channel.try_into().map_err(Into::into)?;
        self.ask(|answer| Command::LeaveRoom { channel, answer }).await.map(drop)
    }

    /// Watches these users, at most 500, and no others. Returns the presence of those whom the back end lets this user see.
    /// [`Event::Presence`](crate::client::Event::Presence) tells when that changes, also over changes of the connection. A change
    /// that is lost on the way
    /// shows within some minutes.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// for presence in client.watch(["alice", "bob"]).await? {
    ///     println!("{}: {}", presence.user, presence.is_online());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn watch<I>(
        &self,
        users: impl IntoIterator<Item = I>,
    ) -> Result<Vec<UserPresence>, RequestError>
    where
        I: TryInto<UserId, Error: Into<InvalidId>>,
    {
        let ids: Result<Vec<UserId>, InvalidId> =
            users.into_iter().map(|id| id.try_into().map_err(Into::into)).collect();
        let users = ids?;
        match self.ask(|answer| Command::Watch { users, answer }).await? {
            Reply::Presences(presences) => Ok(presences),
            _ => Err(RequestError::Closed),
        }
    }

    /// Signals something to a user's devices, or to a channel that the user is a member of or a room that the device is in. The
    /// signal is sent once, if there is a connection, and has no outcome. Returns `false` if it is not sent: there is no
    /// connection, too many wait, or it is larger than 4096 bytes.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use im_sdk::{Recipient, Signal};
    /// client.signal(Recipient::user("bob")?, Signal::typing()).await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn signal(&self, to: impl Into<Recipient>, signal: Signal) -> bool {
        self.signal_to(to.into(), None, signal).await
    }

    /// Signals something to one device of a user, as a signal from it has named it: the steps of a call after its first ones.
    ///
    /// ```no_run
    /// # use im_sdk::client::{Client, ReceivedSignal};
    /// # async fn example(client: Client, ring: ReceivedSignal) {
    /// use im_sdk::{CallStep, Signal};
    /// client.signal_device(ring.from, ring.device, Signal::call("c-1", CallStep::Answer, "sdp")).await;
    /// # }
    /// ```
    pub async fn signal_device(&self, to: UserId, device: Device, signal: Signal) -> bool {
        self.signal_to(to.into(), Some(device), signal).await
    }

    async fn signal_to(&self, to: Recipient, device: Option<Device>, signal: Signal) -> bool {
        let (goes, answer) = oneshot::channel();
        let sent = self.commands.send(Command::Signal { to, device, signal, goes }).await;
        sent.is_ok() && answer.await.unwrap_or(false)
    }
}
