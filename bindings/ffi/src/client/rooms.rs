//! Rooms, signals and the presence of other users.

use im_sdk::id::{Device, UserId};

use crate::{Client, JoinedRoom, Recipient, RequestError, Signal, UserPresence};

#[uniffi::export]
impl Client {
    /// Joins a room, if the back end lets the device in. The device stays in it over changes of the
    /// connection.
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

    /// Watches these users, at most 500, and no others, and returns their presence. `Presence` events report changes.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn watch(&self, users: Vec<String>) -> Result<Vec<UserPresence>, RequestError> {
        Ok(self.inner.watch(users).await?.into_iter().map(UserPresence::from).collect())
    }

    /// Sends a signal to a user's devices, to a channel that the user is a member of, or to a room that the device is in. Returns
    /// `false` if it is not sent: there is no connection, too many signals are waiting, the signal is too large, or the
    /// recipient's id is not valid.
    pub async fn signal(&self, to: Recipient, signal: Signal) -> bool {
        match to.parse() {
            Ok(to) => self.inner.signal(to, signal.into()).await,
            Err(_) => false,
        }
    }

    /// Sends a signal to one device of a user, as named by a signal from it.
    pub async fn signal_device(&self, to: String, device: String, signal: Signal) -> bool {
        match (UserId::parse(&to), device.parse::<Device>()) {
            (Ok(user), Ok(device)) => self.inner.signal_device(user, device, signal.into()).await,
            _ => false,
        }
    }
}
