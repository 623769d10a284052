//! A route store that has forgotten some routes: after a failover to a replica that had less, a device whose route was among
//! them would be connected and get nothing, and logs may have been rolled back with it.

use std::sync::Arc;

use im_proto::close::CloseCode;
use im_sdk::{
    cluster::{Route, RoutesError},
    id::UserId,
};

use crate::{deliver, outbox::Close, registry::Connection, shared::Shared};

/// How many users' routes are looked up at once.
const CHUNK: usize = 256;

/// Notices that the route store has begun another life.
#[derive(Debug)]
pub(crate) struct Watch {
    incarnation: String,
}

impl Watch {
    /// # Errors
    /// [`RoutesError`].
    pub(crate) async fn start(shared: &Shared) -> Result<Self, RoutesError> {
        Ok(Self { incarnation: shared.cluster.routes().incarnation().await? })
    }

    /// If it has: closes the devices whose routes are not there any more, so that they connect again, and asks all others
    /// to sync. What fails is tried again with the next look.
    pub(crate) async fn look(&mut self, shared: &Shared) {
        match shared.cluster.routes().incarnation().await {
            Ok(incarnation) if incarnation == self.incarnation => {}
            Ok(incarnation) => match close_unrouted(shared).await {
                Ok(closed) => {
                    tracing::warn!(
                        closed,
                        "the route store may have forgotten routes: devices without one are closed"
                    );
                    deliver::ask_to_sync(&shared.registry);
                    self.incarnation = incarnation;
                }
                Err(error) => tracing::warn!(%error, "cannot look which routes were forgotten"),
            },
            Err(error) => tracing::debug!(%error, "cannot look whether the route store is still the same"),
        }
    }
}

/// Closed rather than written again: whether the device is still there, and which of its connections counts, is for the
/// device to say.
async fn close_unrouted(shared: &Shared) -> Result<usize, RoutesError> {
    let mut closed = 0;
    for connections in shared.registry.all().chunks(CHUNK) {
        let users: Vec<UserId> = connections.iter().map(|connection| connection.user.clone()).collect();
        let located = shared.cluster.routes().locate(&users).await?;
        for (connection, routes) in connections.iter().zip(located) {
            let route = Route { server: shared.id.clone(), connection: connection.id };
            if !routes.iter().any(|(device, found)| *device == connection.device && *found == route) {
                close(connection);
                closed += 1;
            }
        }
    }
    Ok(closed)
}

fn close(connection: &Arc<Connection>) {
    connection.outbox.close(Close::new(CloseCode::GoingAway, "the route was lost, connect again"));
}
