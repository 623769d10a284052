//! What every part of the server shares.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use im_sdk::{
    cluster::{Cluster, Route},
    id::ServerId,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::ServerConfig,
    registry::{Connection, Registry},
    sync::Syncs,
    upstream::Upstream,
};

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: ServerId,
    pub(crate) config: ServerConfig,
    pub(crate) cluster: Cluster,
    pub(crate) registry: Arc<Registry>,
    pub(crate) upstream: Upstream,
    pub(crate) syncs: Syncs,
    pub(crate) endpoints: Vec<String>,
    /// Owns every connection's task.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when no new connections are taken.
    pub(crate) draining: CancellationToken,
    /// Cancelled when everything is over.
    pub(crate) stopped: CancellationToken,
    pub(crate) drain_announced: AtomicBool,
}

impl Shared {
    pub(crate) fn drain_announced(&self) -> bool {
        self.drain_announced.load(Ordering::Relaxed)
    }

    pub(crate) fn set_drain_announced(&self, announced: bool) {
        self.drain_announced.store(announced, Ordering::Relaxed);
    }

    /// Removes a connection's route if it still is this one.
    pub(crate) async fn release_route(&self, connection: &Connection) {
        let route = Route { server: self.id.clone(), connection: connection.id };
        let routes = self.cluster.routes();
        if let Err(error) = routes.release(&connection.user, &connection.device, &route).await {
            // Back ends learn from the next delivery that it leads nowhere.
            tracing::warn!(user = %connection.user, %error, "cannot release a route");
        }
    }
}
