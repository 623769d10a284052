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

    /// Who of these is no member, as far as it matters: in an empty channel there is nothing to have read.
    pub(in crate::backend) async fn not_yet_members(
        &self,
        users: &[UserId],
        end: u64,
    ) -> Result<Vec<UserId>, ChannelError> {
        let (im, channel) = self.parts()?;
        if end == 0 {
            return Ok(Vec::new());
        }
        let members = im.inner.cluster.members();
        let looks = users.iter().map(|user| async move {
            members.is_member(channel, user).await.map(|is_member| (!is_member).then(|| user.clone()))
        });
        let looks: Vec<_> = looks.collect();
        let found: Vec<Option<UserId>> = stream::iter(looks).buffer_unordered(PARALLEL).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// What was said up to here is not unread to new members.
    pub(in crate::backend) async fn begin_reading(
        &self,
        users: &[UserId],
        end: u64,
    ) -> Result<(), ChannelError> {
        let (im, channel) = self.parts()?;
        let (store, name) = (im.inner.cluster.conversations(), Recipient::Channel(channel.clone()));
        let patch = ConversationPatch { read: Some(ReadMark::new(end, None)), ..Default::default() };
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
