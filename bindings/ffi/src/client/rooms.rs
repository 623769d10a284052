//! Rooms, signals and the presence of other users.

use im_sdk::id::{Device, UserId};

use crate::{Client, JoinedRoom, Recipient, RequestError, Signal, UserPresence};

#[uniffi::export]
impl Client {
    /// Joins a room, if the back end lets the device in. It stays in over changes of the connection.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn join_room(&self, channel: String, data: Vec<u8>) -> Result<JoinedRoom, RequestError> {
        Ok(self.inner.join_room(channel, data).await?.into())
    }

    /// Leaves a room.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn leave_room(&self, channel: String) -> Result<(), RequestError> {
        Ok(self.inner.leave_room(channel).await?)
    }

    /// Watches these users, at most 500, and no others, and returns their presence. `Presence` events tell when that changes.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn watch(&self, users: Vec<String>) -> Result<Vec<UserPresence>, RequestError> {
        Ok(self.inner.watch(users).await?.into_iter().map(UserPresence::from).collect())
    }

    /// Signals something to a user's devices, or to a channel that the user is a member of or a room that the device is in. Returns
    /// false if it is not sent: there is no connection, or the receiver's id is not valid.
    pub async fn signal(&self, to: Recipient, signal: Signal) -> bool {
        match to.parse() {
            Ok(to) => self.inner.signal(to, signal.into()).await,
            Err(_) => false,
        }
    }

    /// Signals something to one device of a user, as a signal from it has named it.
    pub async fn signal_device(&self, to: String, device: String, signal: Signal) -> bool {
        match (UserId::parse(&to), device.parse::<Device>()) {
            (Ok(user), Ok(device)) => self.inner.signal_device(user, device, signal.into()).await,
            _ => false,
        }
    }
}
