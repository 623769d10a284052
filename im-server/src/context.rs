//! What the parts of one running server share.

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

/// How long after a rollback new connections are asked to compare their logs. Devices that lost their connection in a failover are
/// back by then, or come with a cursor from before it.
const ROLLBACK_MEMORY: Duration = Duration::from_secs(60);

/// See the module's description.
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
    /// The addresses that devices are told.
    pub(crate) endpoints: Vec<String>,
    /// Owns every connection's task.
    pub(crate) tasks: TaskTracker,
    pub(crate) store_epoch: Mutex<StoreEpoch>,
}

/// The life of the route store that a server last saw. It passes from a server that has stopped to the one that replaces it, by
/// [`Server::start_replacing`].
///
/// [`Server::start_replacing`]: crate::Server::start_replacing
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreEpoch {
    /// The store's own name for this life.
    pub(crate) incarnation: String,
    /// When the server noticed that the store had begun another life.
    pub(crate) rolled_back_at: Option<Instant>,
}

impl ServerContext {
    /// Returns the cluster's time since the Unix epoch, or this machine's as long as that is unknown.
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

    /// Notes that the route store has begun another life, with which logs may have been rolled back.
    pub(crate) fn note_rollback(&self, incarnation: String) {
        self.set_store_epoch(StoreEpoch { incarnation, rolled_back_at: Some(Instant::now()) });
    }

    /// Returns whether there was a rollback a moment ago. A device that connects now may not know of it.
    pub(crate) fn was_rolled_back(&self) -> bool {
        let at = self.store_epoch.lock().rolled_back_at;
        self.downstream.sync_hints.are_comparing() || at.is_some_and(|at| at.elapsed() < ROLLBACK_MEMORY)
    }

    /// Removes a connection's route if it is still this one. Returns `true` if it was: then the device is offline.
    pub(crate) async fn release_route(&self, connection: &Connection) -> bool {
        let route = Route { server: self.id.clone(), connection: connection.id };
        let routes = self.cluster.routes();
        let released = routes.release(&connection.user, &connection.device, &route).await;
        released.unwrap_or_else(|error| {
            // Back ends learn from the next delivery that it leads nowhere.
            if let Some(count) = self.throttles.release_failed.note() {
                tracing::warn!(user = %connection.user, count, %error, "cannot release a route");
            }
            false
        })
    }
}
