//! The device behind a request, and checks of its membership.

use super::response::{RETRY_MS, own_rule, refused};
use crate::{
    Recipient,
    cluster::Cluster,
    id::{ChannelId, Device, ServerId, UserId},
    log_throttle::throttled,
    proto::{pb, pb::RefusalKind},
    refusal_code::NOT_A_MEMBER,
};

/// The device that a request comes from, and its connection.
pub(in crate::backend) struct Requester {
    pub(in crate::backend) server: ServerId,
    pub(in crate::backend) connection: u64,
    pub(in crate::backend) user: UserId,
    pub(in crate::backend) device: Device,
}

/// Refuses users who are not members, whatever the handler would say.
pub(super) async fn check_member(
    cluster: &Cluster,
    user: &UserId,
    channel: &ChannelId,
) -> Result<(), pb::Refused> {
    match cluster.members().is_member(channel, user).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(not_a_member(user, channel)),
        Err(error) => Err(unknown(user, channel, &error)),
    }
}

/// Refuses users who are not members, and closed channels: nobody publishes to these, even if their
/// rows are still in the application's own tables.
pub(super) async fn check_open_to(
    cluster: &Cluster,
    user: &UserId,
    channel: &ChannelId,
) -> Result<(), pb::Refused> {
    check_member(cluster, user, channel).await?;
    if cluster.members().forgets_removed() {
        return Ok(());
    }
    let name = [Recipient::Channel(channel.clone())];
    let states = cluster.conversations().states(user, &name).await;
    let states = states.map_err(|error| unknown(user, channel, &error))?;
    let is_closed = states.iter().any(|state| state.closed.is_some());
    if is_closed { Err(not_a_member(user, channel)) } else { Ok(()) }
}

fn not_a_member(user: &UserId, channel: &ChannelId) -> pb::Refused {
    own_rule(NOT_A_MEMBER, format!("{user} is not a member of channel {channel}"))
}

fn unknown(user: &UserId, channel: &ChannelId, error: &dyn std::error::Error) -> pb::Refused {
    throttled!(warn, %user, %channel, %error, "cannot look up whether a user is a member of a channel");
    let reason = "it could not be looked up who is a member of the channel".to_owned();
    refused(RefusalKind::Unavailable, reason, RETRY_MS)
}
