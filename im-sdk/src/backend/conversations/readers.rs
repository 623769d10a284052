//! Who has read a channel, and where new members begin to.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{MAX_NAMED_READERS, ReadersError};
use crate::{
    ReadMark, Recipient,
    backend::{Channel, ChannelError},
    cluster::{ConversationPatch, LogId, Readers},
    id::UserId,
};

/// How many new members are written down at once.
const PARALLEL: usize = 64;

impl Channel {
    /// How many members have read the channel up to a place or further, and who, up to `limit` (at most
    /// [`MAX_NAMED_READERS`]) names.
    ///
    /// # Errors
    /// [`ReadersError`].
    pub async fn readers(&self, seq: u64, limit: usize) -> Result<Readers, ReadersError> {
        let (im, channel) = self.parts()?;
        let store = im.inner.cluster.conversations();
        Ok(store.readers(channel, seq.max(1), limit.min(MAX_NAMED_READERS)).await?)
    }

    /// The last place in the channel's log.
    pub(in crate::backend) async fn end(&self) -> Result<u64, ChannelError> {
        let (im, channel) = self.parts()?;
        let ends = im.inner.cluster.log().ends(&[LogId::Channel(channel.clone())]).await?;
        Ok(ends.first().map_or(0, |ends| ends.last))
    }

    /// Those of them who are not noted as members: they are new, or were removed since.
    pub(in crate::backend) async fn not_noted(&self, users: &[UserId]) -> Result<Vec<UserId>, ChannelError> {
        let (im, channel) = self.parts()?;
        let noted = im.inner.cluster.conversations().noted_readers(channel, users).await?;
        let new = users.iter().zip(noted).filter(|(_, noted)| noted.is_none());
        Ok(new.map(|(user, _)| user.clone()).collect())
    }

    /// Notes that they are members.
    pub(in crate::backend) async fn note_members(&self, users: &[UserId]) -> Result<(), ChannelError> {
        let (im, channel) = self.parts()?;
        Ok(im.inner.cluster.conversations().note_readers(channel, users, 0).await?)
    }

    /// What was said up to here is not unread to new members, and not shown where they see the channel from their joining
    /// on. Where the channel was closed, it is open to them again.
    pub(in crate::backend) async fn begin_reading(
        &self,
        users: &[UserId],
        end: u64,
        from_joining: bool,
    ) -> Result<(), ChannelError> {
        let (im, channel) = self.parts()?;
        let (store, name) = (im.inner.cluster.conversations(), Recipient::Channel(channel.clone()));
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

    /// Those who are no members any more do not count as readers.
    pub(in crate::backend) async fn forget_readers(&self, users: &[UserId]) -> Result<(), ChannelError> {
        let (im, channel) = self.parts()?;
        Ok(im.inner.cluster.conversations().remove_readers(channel, users).await?)
    }
}
