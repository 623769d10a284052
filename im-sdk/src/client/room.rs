//! Rooms, signals and presence, as a device sees them.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Client, ReceivedMessage, RequestError, core::Reply, driver::Command};
use crate::{
    Recipient, Signal, UserPresence,
    id::{ChannelId, Device, UserId},
};

/// A room that the device is in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinedRoom {
    /// About how many devices are.
    pub online: u64,
    /// Whatever the back end answers, often nothing.
    pub answer: Bytes,
    /// What was said last, in order, as far as the back end sends it. What comes from here on comes as events.
    pub recent: Vec<ReceivedMessage>,
}

/// Why the device is not in a room any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RoomLeftCause {
    /// The back end has taken the user out.
    Kicked,
    /// The room is closed.
    Closed,
    /// When the device came back over a new connection, it was not let in again.
    Refused,
    /// A cause that this version does not know.
    Unknown,
}

impl RoomLeftCause {
    /// The name in logs, such as `kicked`.
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

/// What another device signalled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedSignal {
    /// Whose device it is.
    pub from: UserId,
    /// The device.
    pub device: Device,
    /// The channel that it was sent to. `None`: to this user.
    pub channel: Option<ChannelId>,
    /// What it says.
    pub signal: Signal,
}

impl Client {
    /// Goes into a room, if the back end lets the device in, with whatever bytes its handler wants. Waits for
    /// [`ClientConfig::request_timeout`](crate::client::ClientConfig::request_timeout) at most. The device stays in over changes of
    /// the connection, until it [leaves](Client::leave_room) or [`Event::RoomLeft`](crate::client::Event::RoomLeft) says otherwise; in
    /// between it misses what is not in the room's log.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use im_sdk::{Signal, id::ChannelId};
    /// let lobby = ChannelId::parse("lobby")?;
    /// let joined = client.join_room(lobby.clone(), "ticket").await?;
    /// println!("{} are here", joined.online);
    /// client.signal(lobby.clone(), Signal::typing()).await;
    /// client.leave_room(lobby).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`]. After one that is no refusal the device may be in the room for as long as this connection lasts.
    pub async fn join_room(
        &self,
        channel: ChannelId,
        data: impl Into<Bytes>,
    ) -> Result<JoinedRoom, RequestError> {
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
    pub async fn leave_room(&self, channel: ChannelId) -> Result<(), RequestError> {
        self.ask(|answer| Command::LeaveRoom { channel, answer }).await.map(drop)
    }

    /// Watches these users, at most 500, and no others: tells where those of them stand whom the back end lets this user see.
    /// [`Event::Presence`](crate::client::Event::Presence) tells when that changes, also over changes of the connection. A change
    /// that is lost on the way
    /// shows within some minutes.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// for presence in client.watch(["alice".parse()?, "bob".parse()?]).await? {
    ///     println!("{}: {}", presence.user, presence.is_online());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn watch(
        &self,
        users: impl IntoIterator<Item = UserId>,
    ) -> Result<Vec<UserPresence>, RequestError> {
        let users = users.into_iter().collect();
        match self.ask(|answer| Command::Watch { users, answer }).await? {
            Reply::Presences(presences) => Ok(presences),
            _ => Err(RequestError::Closed),
        }
    }

    /// Signals something to a user's devices, or to a channel that the user is a member of or a room that the device is in. It is sent
    /// once, if there is a connection, and nobody tells what becomes of it. Returns `false` if it goes
    /// nowhere: for want of a connection, because too many wait, or because it is larger than 4096 bytes.
    pub async fn signal(&self, to: impl Into<Recipient>, signal: Signal) -> bool {
        self.signal_to(to.into(), None, signal).await
    }

    /// The same to one device of a user, as a signal from it has named it: the steps of a call after its first ones.
    pub async fn signal_device(&self, to: UserId, device: Device, signal: Signal) -> bool {
        self.signal_to(to.into(), Some(device), signal).await
    }

    async fn signal_to(&self, to: Recipient, device: Option<Device>, signal: Signal) -> bool {
        let (goes, answer) = oneshot::channel();
        let sent = self.commands.send(Command::Signal { to, device, signal, goes }).await;
        sent.is_ok() && answer.await.unwrap_or(false)
    }
}
