//! Rooms, signals and presence.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Client;
use crate::{
    Recipient, Signal, UserPresence,
    client::{JoinedRoom, RequestError, core::Reply, driver::Command},
    id::{ChannelId, Device, InvalidId, UserId},
};

impl Client {
    /// Joins a room, if the backend lets the device in. `data` is for its handler. Waits at most
    /// [`ClientConfig::request_timeout`](crate::client::ClientConfig::request_timeout). The device stays in the room over changes
    /// of the connection, until it [leaves](Client::leave_room) or [`Event::RoomLeft`](crate::client::Event::RoomLeft) comes.
    /// Between connections it misses messages that are not in the room's log.
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
    /// [`RequestError`]. After any other than a refusal, the device may be in the room for as long as this connection lasts.
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

    /// Leaves a room. Leaving a room that the device is not in does no harm.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.leave_room("stage").await?;
    /// # Ok(())
    /// # }
    /// ```
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

    /// Watches these users, at most 500, and no others. Returns the presence of those whom the backend lets this user see.
    /// [`Event::Presence`](crate::client::Event::Presence) reports changes, also over changes of the connection. A change that is
    /// lost on the way shows within some minutes.
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

    /// Sends a signal to a user's devices, or to a channel that the user is a member of, or to a room that the device is in. It
    /// is sent once, if there is a connection, and has no outcome. Returns `false` if it is not sent: there is no connection,
    /// too many signals wait, or it is larger than 4096 bytes.
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

    /// Sends a signal to one device of a user, as named by a signal from it: the later steps of a call.
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
