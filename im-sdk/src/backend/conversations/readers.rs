//! The readers of a channel, and the seq that new members begin to read at.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::MAX_NAMED_READERS;
use crate::{
    ReadMark, Recipient,
    cluster::{Cluster, ConversationPatch, ConversationsError, LogError, LogId, Readers},
    id::{ChannelId, UserId},
};

/// The number of states that are changed at once.
const PARALLEL: usize = 64;

/// Notes how far members of channels have read.
#[derive(Debug)]
pub(in crate::backend) struct ChannelReaders {
    cluster: Cluster,
}

impl ChannelReaders {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    /// Returns the members who have read up to this seq. See
    /// [`Channel::readers`](crate::backend::Channel::readers).
    pub(in crate::backend) async fn readers(
        &self,
        channel: &ChannelId,
        seq: u64,
        limit: usize,
    ) -> Result<Readers, ConversationsError> {
        self.cluster.conversations().readers(channel, seq.max(1), limit.min(MAX_NAMED_READERS)).await
    }

    /// Returns the last seq of the channel's log.
    pub(in crate::backend) async fn end(&self, channel: &ChannelId) -> Result<u64, LogError> {
        let ends = self.cluster.log().ends(&[LogId::Channel(channel.clone())]).await?;
        Ok(ends.first().map_or(0, |ends| ends.last))
    }

    /// Returns the users who are not noted as readers of the channel.
    pub(in crate::backend) async fn not_noted(
        &self,
        channel: &ChannelId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, ConversationsError> {
        let noted = self.cluster.conversations().noted_readers(channel, users).await?;
        let new = users.iter().zip(noted).filter(|(_, noted)| noted.is_none());
        Ok(new.map(|(user, _)| user.clone()).collect())
    }

    /// Notes new members as readers of the channel, before they have read.
    pub(in crate::backend) async fn note_members(
        &self,
        channel: &ChannelId,
        users: &[UserId],
    ) -> Result<(), ConversationsError> {
        self.cluster.conversations().note_readers(channel, users, 0).await
    }

    /// Lets new members begin to read at the log's `end`, so that earlier messages are not unread. With
    /// `from_joining` they do not see earlier messages either.
    pub(in crate::backend) async fn begin_reading(
        &self,
        channel: &ChannelId,
        users: &[UserId],
        end: u64,
        from_joining: bool,
    ) -> Result<(), ConversationsError> {
        let (store, name) = (self.cluster.conversations(), Recipient::Channel(channel.clone()));
        let patch = ConversationPatch {
            read: Some(ReadMark::new(end, None)).filter(|read| read.seq > 0),
            joined: from_joining.then_some(end),
            closed: Some(None),
            ..Default::default()
        };
        let begins: Vec<_> = users.iter().map(|user| store.change(user, &name, &patch)).collect();
        stream::iter(begins).buffer_unordered(PARALLEL).try_collect::<Vec<_>>().await?;
        Ok(())
    }

    /// Forgets former members as readers of the channel.
    pub(in crate::backend) async fn forget(
        &self,
        channel: &ChannelId,
        users: &[UserId],
    ) -> Result<(), ConversationsError> {
        self.cluster.conversations().remove_readers(channel, users).await
    }
}
