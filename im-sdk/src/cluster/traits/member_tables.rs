//! Members in the application's own tables, which the SDK only reads.

use std::sync::Arc;

use async_trait::async_trait;

use super::members::{MemberStore, MembersError};
use crate::id::{ChannelId, UserId};

/// The application's own group tables, passed to
/// [`Cluster::with_member_tables`](crate::cluster::Cluster::with_member_tables).
///
/// The application changes its tables and then calls
/// [`Channel::members_changed`](crate::backend::Channel::members_changed). A read must see what was
/// written before it: no lagging replica, no cache that is minutes old.
#[doc(alias = "group")]
#[async_trait]
pub trait MemberTables: Send + Sync + std::fmt::Debug + 'static {
    /// Returns the channels that a user is a member of, in any order. Called for each device that
    /// connects or syncs.
    ///
    /// # Errors
    /// [`MembersError`].
    async fn channels(&self, user: &UserId) -> Result<Vec<ChannelId>, MembersError>;

    /// Returns whether a user is a member of a channel: whether [`MemberTables::channels`] names
    /// it. Called for each publish to a channel.
    ///
    /// # Errors
    /// [`MembersError`].
    async fn is_member(&self, channel: &ChannelId, user: &UserId) -> Result<bool, MembersError>;

    /// Returns up to `limit` members behind `after`, in the order of their ids (by bytes). A page
    /// with fewer is the last one.
    ///
    /// # Errors
    /// [`MembersError`].
    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, MembersError>;
}

/// The application's tables as a read-only [`MemberStore`].
#[derive(Debug)]
pub(in crate::cluster) struct ReadOnlyMembers(pub(in crate::cluster) Arc<dyn MemberTables>);

/// The application alone changes its members.
#[derive(Debug, thiserror::Error)]
#[error(
    "the members are in the application's own tables, which the SDK does not write: change the tables, \
     then call Channel::members_changed"
)]
struct ReadOnly;

#[async_trait]
impl MemberStore for ReadOnlyMembers {
    async fn channels(&self, user: &UserId) -> Result<Vec<ChannelId>, MembersError> {
        self.0.channels(user).await
    }

    async fn is_member(&self, channel: &ChannelId, user: &UserId) -> Result<bool, MembersError> {
        self.0.is_member(channel, user).await
    }

    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, MembersError> {
        self.0.members(channel, after, limit).await
    }

    async fn add(&self, _: &ChannelId, _: &[UserId]) -> Result<(), MembersError> {
        Err(MembersError::new("add members", ReadOnly))
    }

    async fn remove(&self, _: &ChannelId, _: &[UserId]) -> Result<(), MembersError> {
        Err(MembersError::new("remove members", ReadOnly))
    }

    fn is_read_only(&self) -> bool {
        true
    }
}
