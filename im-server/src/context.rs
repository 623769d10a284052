//! State shared by the parts of one running server.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use im_sdk::{
    cluster::{Cluster, Route},
    id::ServerId,
};
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use crate::{
    config::ServerConfig,
    downstream::Downstream,
    lifecycle::Lifecycle,
    logging::{rejections::RejectionLog, throttle::LogThrottles},
    registry::{Registry, admission::Admission, connection::Connection},
    upstream::Upstream,
};

/// The time after a rollback for which new connections are asked to compare their logs. Devices that lost their connection in the
/// failover are back by then, or come with a cursor from before it.
const ROLLBACK_MEMORY: Duration = Duration::from_secs(60);

/// State shared by the parts of one running server.
#[derive(Debug)]
pub(crate) struct ServerContext {
    pub(crate) id: ServerId,
    pub(crate) config: ServerConfig,
    pub(crate) cluster: Cluster,
    pub(crate) registry: Arc<Registry>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) downstream: Arc<Downstream>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) rejections: RejectionLog,
    pub(crate) throttles: Arc<LogThrottles>,
    /// The addresses announced to devices.
    pub(crate) endpoints: Vec<String>,
    /// Owns every connection's task.
    pub(crate) tasks: TaskTracker,
    pub(crate) store_epoch: Mutex<StoreEpoch>,
}

/// The incarnation of the route store that a server last saw. [`Server::start_replacing`] passes it from a server that has stopped to
/// the one that replaces it.
///
/// [`Server::start_replacing`]: crate::Server::start_replacing
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreEpoch {
    /// The store's own name of this incarnation.
    pub(crate) incarnation: String,
    /// The time at which the server noticed a new incarnation.
    pub(crate) rolled_back_at: Option<Instant>,
}

impl ServerContext {
    /// Returns the cluster's time since the Unix epoch, or this machine's while the cluster's is unknown.
    pub(crate) fn now(&self) -> Duration {
        let here = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.cluster.clock().now_ms().map_or_else(here, Duration::from_millis)
    }

    pub(crate) fn store_epoch(&self) -> StoreEpoch {
        self.store_epoch.lock().clone()
    }

    pub(crate) fn set_store_epoch(&self, epoch: StoreEpoch) {
        *self.store_epoch.lock() = epoch;
    }

    /// Notes a new incarnation of the route store; logs may have been rolled back with it.
    pub(crate) fn note_rollback(&self, incarnation: String) {
        self.set_store_epoch(StoreEpoch { incarnation, rolled_back_at: Some(Instant::now()) });
    }

    /// Returns whether a rollback happened within [`ROLLBACK_MEMORY`]. A device that connects now may not know of it.
    pub(crate) fn was_rolled_back(&self) -> bool {
        let at = self.store_epoch.lock().rolled_back_at;
        self.downstream.sync_hints.are_comparing() || at.is_some_and(|at| at.elapsed() < ROLLBACK_MEMORY)
    }

    /// Removes a connection's route if it is still this one. Returns whether it was: the device is then offline.
    pub(crate) async fn release_route(&self, connection: &Connection) -> bool {
        let route = Route { server: self.id.clone(), connection: connection.id };
        let routes = self.cluster.routes();
        let released = routes.release(&connection.user, &connection.device, &route).await;
        released.unwrap_or_else(|error| {
            // Backends learn from their next delivery that the route is stale.
            if let Some(count) = self.throttles.release_failed.note() {
                tracing::warn!(user = %connection.user, count, %error, "cannot release a route");
            }
            false
        })
    }
}
