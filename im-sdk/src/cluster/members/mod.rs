//! Who is a member of which channel. What an implementation must do is told by its conformance suite.

#[cfg(feature = "backend")]
mod disk;
mod memory;
mod redis;
mod tables;

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;

#[cfg(feature = "backend")]
pub use self::disk::DiskMembers;
#[cfg(feature = "backend")]
pub(super) use self::disk::create;
pub(super) use self::tables::ReadOnlyMembers;
pub use self::{memory::MemoryMembers, redis::RedisMembers, tables::MemberTables};
use crate::id::{ChannelId, UserId};

/// Keeps the members of channels. Back ends alone use it; a server never learns who is a member of what.
///
/// An application whose own tables say who is in which group implements [`MemberTables`] over them, which reads alone. It
/// may also implement this, and give it to [`Cluster::with_members`](super::Cluster::with_members). `add` and `remove` may
/// then do nothing, if it has changed its tables before it calls
/// [`Channel::add_members`](crate::backend::Channel::add_members): what counts is that a read sees what was written before.
#[async_trait]
pub trait Membership: Send + Sync + std::fmt::Debug + 'static {
    /// The channels that a user is a member of, in any order.
    ///
    /// # Errors
    /// [`MembersError`].
    async fn channels(&self, user: &UserId) -> Result<Vec<ChannelId>, MembersError>;

    /// Whether a user is a member of a channel: whether [`Membership::channels`] names it.
    ///
    /// # Errors
    /// [`MembersError`].
    async fn is_member(&self, channel: &ChannelId, user: &UserId) -> Result<bool, MembersError>;

    /// Of which of these channels a user is a member, in their order. The default looks through [`Membership::channels`].
    ///
    /// # Errors
    /// [`MembersError`].
    async fn is_member_of(&self, user: &UserId, channels: &[ChannelId]) -> Result<Vec<bool>, MembersError> {
        let all: HashSet<ChannelId> = self.channels(user).await?.into_iter().collect();
        Ok(channels.iter().map(|channel| all.contains(channel)).collect())
    }

    /// Up to `limit` members behind `after`, in the order of their names. Fewer than that: it was the last page.
    ///
    /// # Errors
    /// [`MembersError`].
    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, MembersError>;

    /// Adds members; who is one already stays one.
    ///
    /// # Errors
    /// [`MembersError`]: some may have been added. Repeating it does the rest.
    async fn add(&self, channel: &ChannelId, users: &[UserId]) -> Result<(), MembersError>;

    /// Removes members; who is none stays none.
    ///
    /// # Errors
    /// [`MembersError`]: some may have been removed. Repeating it does the rest.
    async fn remove(&self, channel: &ChannelId, users: &[UserId]) -> Result<(), MembersError>;

    /// Whether [`Membership::add`] and [`Membership::remove`] always fail, because the application alone changes members.
    fn is_read_only(&self) -> bool {
        false
    }
}

/// The store of members did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the store of members could not {action}: {source}")]
pub struct MembersError {
    action: &'static str,
    source: Arc<dyn std::error::Error + Send + Sync>,
}

impl MembersError {
    /// What was asked, such as `list a channel's members`, and why it was not done.
    pub fn new(action: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { action, source: source.into().into() }
    }
}
