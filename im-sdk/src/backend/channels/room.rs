//! Rooms: channels that devices join and leave by themselves, for as long as they are connected.
//!
//! There is no list of a room's devices: each server knows which of its connections are in it. A
//! message to a room costs one record per server, also for tens of thousands of devices.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{ChannelParts, channel::closing::empty_channel, room_counters::CountError};
use crate::{
    backend::{
        parse_ids::parse_user,
        send::{
            device::{Located, Reach},
            dispatch::Freshness,
            error::SendError,
            message::{Durability, Message, Priority, Target},
            receipt::Receipt,
        },
    },
    cluster::RoutesError,
    content::Content,
    id::{ChannelId, InvalidId, UserId},
    proto::{frame, pb},
};

/// A room, by its name, which is that of a channel. It needs no creation.
///
/// Devices join if the [handler](crate::backend::Handler::join_room) lets them. Messages are [`Durability::Transient`]: the
/// devices in the room get them, and a device's repeated publish is shown once, if it is repeated within an hour. A message with
/// [`Durability::Logged`] is also kept in the channel's log, whose end devices may get when they join
/// ([`RoomWelcome::with_recent`](crate::backend::RoomWelcome::with_recent)).
#[derive(Clone, Debug)]
pub struct Room {
    parts: Arc<ChannelParts>,
    id: Result<ChannelId, InvalidId>,
}

/// The call failed, or did not reach all devices.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoomError {
    /// The room or the user has no valid id.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The route store did not answer.
    #[error(transparent)]
    Routes(#[from] RoutesError),
    /// Some servers did not answer, so the call may have had no effect there. Repeat it.
    #[error("{servers} servers did not answer in time")]
    Unconfirmed {
        /// The number of these servers.
        servers: usize,
    },
}

impl Room {
    pub(in crate::backend) fn new(parts: Arc<ChannelParts>, id: Result<ChannelId, InvalidId>) -> Self {
        Self { parts, id }
    }

    /// Sends a message to all devices in the room. It is [`Durability::Transient`] unless it says
    /// otherwise. It is made by [`Message::new`], or for this channel; one for another target is
    /// [`InvalidMessage::OtherTarget`](crate::backend::InvalidMessage::OtherTarget).
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::{Im, Message}, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let receipt = im.room("lobby").send(Message::new().from("alice").text("hello, everybody")).await?;
    /// println!("{:?} devices", receipt.channel.map(|room| room.connections));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, message: Message) -> Result<Receipt, SendError> {
        let message = message.or_durability(Durability::Transient);
        self.parts.sender.send(message.retarget(Target::channel(self.id.clone()))?).await
    }

    /// Adds to a counter, for example of likes. Additions within 200 ms go out as one message of
    /// [`Priority::Low`] from the backend itself: a [`Custom`](crate::content::Custom) of this kind
    /// with the sum in decimal digits as its data. Each backend sends its own sums.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// im.room("lobby").count("like", 3)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CountError`]: it is not counted.
    pub fn count(&self, kind: &str, add: u64) -> Result<(), CountError> {
        let id = self.id.clone()?;
        let room = self.clone();
        self.parts.counters.count(id, kind, add, async move |kind, sum| {
            let content = Content::custom(kind, sum.to_string().into_bytes());
            room.send(Message::new().content(content).priority(Priority::Low)).await
        })
    }

    /// Counts the devices in the room, including those of the channel's members. Servers that do
    /// not answer in time are left out.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// assert_eq!(im.room("lobby").online().await?, 0, "nobody has joined");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RoomError`].
    pub async fn online(&self) -> Result<u64, RoomError> {
        Ok(self.parts.dispatcher.count_online(self.id()?).await?)
    }

    /// Removes all devices of a user from the room, and tells them the reason. Returns the number
    /// of removed connections. A kick does not keep the user out: let the handler refuse the next
    /// join. A join that the handler has just accepted may come after the kick.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let removed = im.room("lobby").kick("eve", "no spam, please").await?;
    /// assert_eq!(removed, 0, "eve is not in the room");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RoomError`].
    pub async fn kick(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
        reason: &str,
    ) -> Result<usize, RoomError> {
        let (channel, user) = (self.id()?, parse_user(user)?);
        let devices = self.parts.dispatcher.locate(&[user], Freshness::Current, |_| true).await?;
        let leave = pb::record::Effect::Leave(in_room(channel));
        // A user has few servers.
        let leaves = devices.clone().into_iter().map(|on_one| {
            let leave = leave.clone();
            self.parts.dispatcher.deliver(vec![on_one], move |_| leave.clone())
        });
        let left = join_all(leaves).await;
        let told = left_frame(channel, pb::RoomLeftCause::Kicked, reason);
        self.parts.dispatcher.deliver(devices, |_| pb::record::Effect::Frames(told.clone())).await;
        let is_silent = |left: &&Vec<(Located, Reach)>| left.iter().any(|(_, reach)| reach.is_unconfirmed());
        let servers = left.iter().filter(is_silent).count();
        if servers > 0 {
            return Err(RoomError::Unconfirmed { servers });
        }
        Ok(left.iter().flatten().filter(|(_, reach)| *reach == Reach::Reached).count())
    }

    /// Removes everybody who has joined the room, and tells them the reason. Members of the channel
    /// stay members. The room can be joined again, if the handler lets devices in.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// im.room("lobby").close("see you tomorrow").await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RoomError`].
    pub async fn close(&self, reason: &str) -> Result<(), RoomError> {
        let channel = self.id()?;
        let told = left_frame(channel, pb::RoomLeftCause::Closed, reason);
        let servers = empty_channel(&self.parts.dispatcher, channel, told, in_room(channel)).await?;
        if servers > 0 {
            return Err(RoomError::Unconfirmed { servers });
        }
        Ok(())
    }

    fn id(&self) -> Result<&ChannelId, InvalidId> {
        self.id.as_ref().map_err(Clone::clone)
    }
}

/// Names the channel as one that devices join by themselves.
pub(in crate::backend) fn in_room(channel: &ChannelId) -> pb::Channels {
    pb::Channels {
        channels: vec![channel.to_string()],
        kind: pb::JoinKind::Room.into(),
        ..pb::Channels::default()
    }
}

fn left_frame(channel: &ChannelId, cause: pb::RoomLeftCause, reason: &str) -> bytes::Bytes {
    let reason = crate::proto::close::fit_reason(reason).to_owned();
    let left = pb::RoomLeft { channel: channel.to_string(), cause: cause.into(), reason };
    frame::encode(pb::frame::Body::RoomLeft(left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::test_support::broken_cluster::{connect, deaf_server, impatient, silent_server},
        cluster::Cluster,
    };

    #[tokio::test]
    async fn servers_that_do_not_answer_count_once() {
        let cluster = Cluster::embedded();
        // On two servers that receive everything and answer nothing, one of them with two devices, and one that receives
        // nothing.
        let (one, _heard) = silent_server(&cluster, "s1").await;
        let (two, _heard) = silent_server(&cluster, "s2").await;
        let three = deaf_server(&cluster, "s3").await;
        for (number, server, device) in
            [(1, &one, "web/a"), (2, &one, "web/b"), (3, &two, "web/c"), (4, &three, "web/d")]
        {
            connect(&cluster, server, device, number).await;
            cluster.routes().join_channels(server, &["lobby".parse().unwrap()]).await.unwrap();
        }
        let im = impatient(cluster).await;
        let kicked = im.room("lobby").kick("bob", "").await;
        assert!(matches!(kicked, Err(RoomError::Unconfirmed { servers: 3 })), "{kicked:?}");
        let closed = im.room("lobby").close("").await;
        assert!(matches!(closed, Err(RoomError::Unconfirmed { servers: 3 })), "{closed:?}");
    }
}
