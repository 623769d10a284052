//! Members of channels. The conformance suite states what an implementation must do.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;

use crate::id::{ChannelId, UserId};

/// Stores the members of channels. Only backends use it; a server never learns who is a member of
/// what.
///
/// An application with group tables of its own implements the read-only
/// [`MemberTables`](super::MemberTables) over them. It may also implement this trait and pass it to
/// [`Cluster::with_members`](super::super::Cluster::with_members). `add` and `remove` may then do
/// nothing if the application changes its tables before it calls
/// [`Channel::add_members`](crate::backend::Channel::add_members): a read must see what was written
/// before.
#[async_trait]
pub trait MemberStore: Send + Sync + std::fmt::Debug + 'static {
    /// Returns the channels that a user is a member of, in any order.
    ///
    /// # Errors
    /// [`MembersError`].
    async fn channels(&self, user: &UserId) -> Result<Vec<ChannelId>, MembersError>;

    /// Returns whether a user is a member of a channel: whether [`MemberStore::channels`] names it.
    ///
    /// # Errors
    /// [`MembersError`].
    async fn is_member(&self, channel: &ChannelId, user: &UserId) -> Result<bool, MembersError>;

    /// Returns for each channel whether the user is a member of it. The default searches
    /// [`MemberStore::channels`].
    ///
    /// # Errors
    /// [`MembersError`].
    async fn is_member_of(&self, user: &UserId, channels: &[ChannelId]) -> Result<Vec<bool>, MembersError> {
        let all: HashSet<ChannelId> = self.channels(user).await?.into_iter().collect();
        Ok(channels.iter().map(|channel| all.contains(channel)).collect())
    }

    /// Returns up to `limit` members behind `after`, in the order of their ids. A page with fewer
    /// is the last one.
    ///
    /// # Errors
    /// [`MembersError`].
    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, MembersError>;

    /// Adds members. Existing members stay members.
    ///
    /// # Errors
    /// [`MembersError`]: some may have been added. Repeating the call adds the rest.
    async fn add(&self, channel: &ChannelId, users: &[UserId]) -> Result<(), MembersError>;

    /// Removes members. Users who are no members are ignored.
    ///
    /// # Errors
    /// [`MembersError`]: some may have been removed. Repeating the call removes the rest.
    async fn remove(&self, channel: &ChannelId, users: &[UserId]) -> Result<(), MembersError>;

    /// Returns whether [`MemberStore::add`] and [`MemberStore::remove`] always fail because only
    /// the application changes members.
    fn is_read_only(&self) -> bool {
        false
    }

    /// Returns `true` if a user that [`MemberStore::remove`] has removed is not a member any more for sure. The default is `false`:
    /// the application may delete the row later, so whether a channel was closed is looked up as well.
    fn forgets_removed(&self) -> bool {
        false
    }
}

/// An error of the store of members.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the store of members could not {action}: {source}")]
pub struct MembersError {
    action: &'static str,
    r#source: Arc<dyn std::error::Error + Send + Sync>,
}

impl MembersError {
    /// Creates an error from the requested action, such as `list a channel's members`, and its
    /// cause.
    pub fn new(action: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { action, source: source.into().into() }
    }
}
