//! Channels and rooms of a back end.

use std::sync::Arc;

use im_sdk::id::UserId;

use super::{Backend, BackendError, LoggedPage, OutgoingMessage, Receipt, message::strings, run};
use crate::{HistoryQuery, Readers};

#[uniffi::export]
impl Backend {
    /// Makes users members of a channel. With `history_from_joining` they see nothing that was said before.
    ///
    /// # Errors
    /// [`BackendError`], here and below.
    pub async fn add_members(
        &self,
        channel: String,
        users: Vec<String>,
        history_from_joining: bool,
    ) -> Result<(), BackendError> {
        let channel = self.im()?.channel(channel);
        let channel = if history_from_joining { channel.history_from_joining() } else { channel };
        run(async move { Ok(channel.add_members(users).await?) }).await
    }

    /// Ends memberships of a channel.
    pub async fn remove_members(&self, channel: String, users: Vec<String>) -> Result<(), BackendError> {
        let channel = self.im()?.channel(channel);
        run(async move { Ok(channel.remove_members(users).await?) }).await
    }

    /// Tells that the application's own table of members has changed.
    pub async fn members_changed(
        &self,
        channel: String,
        added: Vec<String>,
        removed: Vec<String>,
    ) -> Result<(), BackendError> {
        let channel = self.im()?.channel(channel);
        run(async move { Ok(channel.members_changed(added, removed).await?) }).await
    }

    /// Lists members of a channel in order, after one of them.
    pub async fn members(
        &self,
        channel: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<String>, BackendError> {
        let after = after.map(|user| UserId::parse(&user)).transpose()?;
        let channel = self.im()?.channel(channel);
        run(async move { Ok(strings(&channel.members(after.as_ref(), limit as usize).await?)) }).await
    }

    /// Returns whether a user is a member of a channel.
    pub async fn is_member(&self, channel: String, user: String) -> Result<bool, BackendError> {
        let channel = self.im()?.channel(channel);
        run(async move { Ok(channel.is_member(user).await?) }).await
    }

    /// The channels that a user is a member of.
    pub async fn channels(&self, user: String) -> Result<Vec<String>, BackendError> {
        let im = self.im()?;
        run(async move { Ok(strings(&im.channels(user).await?)) }).await
    }

    /// Returns the number of connected devices of members.
    pub async fn channel_online(&self, channel: String) -> Result<u64, BackendError> {
        let channel = self.im()?.channel(channel);
        run(async move { Ok(channel.online().await?) }).await
    }

    /// Closes a channel: it has no members any more, who keep what was said.
    pub async fn close_channel(&self, channel: String) -> Result<(), BackendError> {
        let channel = self.im()?.channel(channel);
        run(async move { Ok(channel.close().await?) }).await
    }

    /// Dissolves a channel: it has no members any more, and nothing of it is left to them.
    pub async fn dissolve_channel(&self, channel: String) -> Result<(), BackendError> {
        let channel = self.im()?.channel(channel);
        run(async move { Ok(channel.dissolve().await?) }).await
    }

    /// Tells who has read a message of a channel, by its place.
    pub async fn channel_readers(
        &self,
        channel: String,
        seq: u64,
        limit: u32,
    ) -> Result<Readers, BackendError> {
        let channel = self.im()?.channel(channel);
        run(async move {
            let readers = channel.readers(seq, limit as usize).await?;
            Ok(Readers { count: readers.count, users: strings(&readers.users) })
        })
        .await
    }

    /// Reads a page of a channel's past, as the back end sees it.
    pub async fn channel_history(
        &self,
        channel: String,
        query: HistoryQuery,
        limit: u32,
    ) -> Result<LoggedPage, BackendError> {
        let (channel, query) = (self.im()?.channel(channel), query.parse()?);
        run(async move { Ok(channel.history(query, limit as usize).await?.into()) }).await
    }

    /// Sends a message to all devices in a room; transient unless it says otherwise.
    pub async fn send_to_room(
        &self,
        room: String,
        message: OutgoingMessage,
    ) -> Result<Arc<Receipt>, BackendError> {
        let (room, message) = (self.im()?.room(room), message.parse()?);
        run(async move { Ok(Receipt::new(room.send(message).await?)) }).await
    }

    /// Adds to a counter of a room. What is added within a moment goes out as one message.
    pub async fn count_in_room(&self, room: String, kind: String, add: u64) -> Result<(), BackendError> {
        let room = self.im()?.room(room);
        run(async move { Ok(room.count(&kind, add)?) }).await
    }

    /// Returns the number of devices in a room.
    pub async fn room_online(&self, room: String) -> Result<u64, BackendError> {
        let room = self.im()?.room(room);
        run(async move { Ok(room.online().await?) }).await
    }

    /// Takes all devices of a user out of a room, and returns how many.
    pub async fn kick_from_room(
        &self,
        room: String,
        user: String,
        reason: String,
    ) -> Result<u64, BackendError> {
        let room = self.im()?.room(room);
        run(async move { Ok(room.kick(user, &reason).await? as u64) }).await
    }

    /// Takes everybody out of a room.
    pub async fn close_room(&self, room: String, reason: String) -> Result<(), BackendError> {
        let room = self.im()?.room(room);
        run(async move { Ok(room.close(&reason).await?) }).await
    }
}
