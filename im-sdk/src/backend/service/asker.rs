//! Who asks, and what only members may ask.

use super::answers::{RETRY_MS, own_rule, refused};
use crate::{
    backend::im::Im,
    id::{ChannelId, Device, ServerId, UserId},
    log_throttle::throttled,
    proto::{pb, pb::RefusalKind},
    refusal_code::NOT_A_MEMBER,
};

/// Who asks, and where.
pub(super) struct Asker {
    pub(super) server: ServerId,
    pub(super) connection: u64,
    pub(super) user: UserId,
    pub(super) device: Device,
}

/// Refuses what is for members alone.
pub(super) async fn check_member(im: &Im, user: &UserId, channel: &ChannelId) -> Result<(), pb::Refused> {
    match im.inner.cluster.members().is_member(channel, user).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(own_rule(NOT_A_MEMBER, format!("{user} is not a member of channel {channel}"))),
        Err(error) => {
            throttled!(warn, %user, %channel, %error, "a channel's members could not be read");
            let reason = "the channel's members could not be read".to_owned();
            Err(refused(RefusalKind::Unavailable, reason, RETRY_MS))
        }
    }
}
