//! Releases routes to connections that are gone.

use std::time::SystemTime;

use prost::Message as _;

use super::device::{Located, UserDevice};
use crate::{
    cluster::{Cluster, Publication, Route},
    id::ServerId,
    proto::pb,
};

/// The number of devices in one message to backends, at some 150 bytes each.
const OFFLINE_BATCH: usize = 1024;

/// Releases routes, and announces the devices as offline whose route was still theirs.
pub(super) async fn release(cluster: &Cluster, stale: Vec<(ServerId, Located)>) {
    let mut gone = Vec::new();
    for (server, Located { owner, connection }) in stale {
        let route = Route { server, connection };
        match cluster.routes().release(&owner.user, &owner.device, &route).await {
            Ok(true) => gone.push(owner),
            Ok(false) => {}
            Err(error) => tracing::debug!(user = %owner.user, %error, "cannot sweep a stale route"),
        }
    }
    // Their server cannot announce it any more.
    announce_offline(cluster, gone).await;
}

async fn announce_offline(cluster: &Cluster, gone: Vec<UserDevice>) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let at_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let presence = |gone: &UserDevice| pb::UpstreamPresence {
        user: gone.user.to_string(),
        device: Some((&gone.device).into()),
        online: false,
        at_ms,
    };
    for gone in gone.chunks(OFFLINE_BATCH) {
        let presences = gone.iter().map(presence).collect();
        let publication = Publication {
            subject: cluster.names().upstream_presence(),
            return_to: None,
            payload: pb::UpstreamPresences { presences }.encode_to_vec().into(),
        };
        if let Err(error) = cluster.bus().publish(publication).await {
            tracing::debug!(%error, "cannot announce devices as offline");
        }
    }
}
