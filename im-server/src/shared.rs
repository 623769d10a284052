//! What every part of the server shares.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use im_proto::pb;
use im_sdk::{
    cluster::{Cluster, Route, Subject},
    id::ServerId,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    acks::Acks,
    answers::Answers,
    arrivals::Arrivals,
    back_ends::BackEnds,
    broadcast::Broadcasts,
    channels::Channels,
    config::ServerConfig,
    haste::Haste,
    hints::SyncHints,
    isolation::Isolation,
    occurrences::Throttles,
    presence::Presences,
    registry::{Connection, Registry},
    requests::Requests,
    rollback::Past,
    server::Stopped,
    signals::Signals,
    strangers::Strangers,
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
    pub(crate) arrivals: Arc<Arrivals>,
    pub(crate) strangers: Strangers,
    pub(crate) throttles: Throttles,
    pub(crate) back_ends: Arc<BackEnds>,
    pub(crate) upstream: Upstream,
    pub(crate) syncs: Syncs,
    pub(crate) hints: SyncHints,
    pub(crate) requests: Requests,
    pub(crate) channels: Channels,
    pub(crate) acks: Acks,
    pub(crate) signals: Signals,
    pub(crate) presences: Presences,
    pub(crate) broadcasts: Broadcasts,
    pub(crate) answers: Answers,
    pub(crate) endpoints: Vec<String>,
    /// Owns every connection's task.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when no new connections are taken.
    pub(crate) draining: CancellationToken,
    /// Cancelled when the routes of channels are to be removed.
    pub(crate) leaving_channels: CancellationToken,
    /// Cancelled when everything is over.
    pub(crate) stopped: CancellationToken,
    pub(crate) drain_announced: AtomicBool,
    pub(crate) haste: Haste,
    /// Until when the lease surely runs, by a clock that goes on while the process is frozen.
    pub(crate) leased_until: Mutex<Instant>,
    /// What is known of the route store.
    pub(crate) past: Mutex<Past>,
    /// Whether others reach what this server does not.
    pub(crate) isolation: Isolation,
    /// Cancelled when the route store has said that the lease is over.
    pub(crate) lease_lost: CancellationToken,
    /// Cancelled when this server's devices are not reached any more.
    pub(crate) ended: CancellationToken,
    pub(crate) why_ended: OnceLock<Stopped>,
}

impl Shared {
    /// Whether this server may still write routes: without its lease, it could overwrite those that others own.
    pub(crate) fn holds_lease(&self) -> bool {
        Instant::now() < *self.leased_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_leased_until(&self, until: Instant) {
        *self.leased_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Notes why this server's devices are not reached any more. The first reason stays.
    pub(crate) fn end(&self, why: Stopped) {
        let _ = self.why_ended.set(why);
        self.ended.cancel();
    }

    /// Once `ended` is cancelled.
    pub(crate) fn why_ended(&self) -> Stopped {
        self.why_ended.get().copied().unwrap_or(Stopped::LeaseLost)
    }

    /// Whether the lease has run out for so long.
    pub(crate) fn without_lease_for(&self) -> Option<Duration> {
        let until = *self.leased_until.lock().unwrap_or_else(PoisonError::into_inner);
        Instant::now().checked_duration_since(until)
    }

    /// The cluster's time since the Unix epoch; as long as it is not known, that of this machine.
    pub(crate) fn now(&self) -> Duration {
        let here = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.cluster.clock().now_ms().map_or_else(here, Duration::from_millis)
    }

    /// What is known of the route store.
    pub(crate) fn past(&self) -> Past {
        self.past.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins with what another server knew.
    pub(crate) fn take_over(&self, past: Past) {
        *self.past.lock().unwrap_or_else(PoisonError::into_inner) = past;
    }

    /// The route store has begun another life, and logs may have been rolled back with it.
    pub(crate) fn note_rollback(&self, incarnation: String) {
        self.take_over(Past { incarnation, rolled_back_at: Some(Instant::now()) });
    }

    /// Whether that was a moment ago: a device that connects now may have heard nothing of it.
    pub(crate) fn was_rolled_back(&self) -> bool {
        let at = self.past.lock().unwrap_or_else(PoisonError::into_inner).rolled_back_at;
        self.hints.are_comparing() || at.is_some_and(|at| at.elapsed() < ROLLBACK_MEMORY)
    }

    pub(crate) fn drain_announced(&self) -> bool {
        self.drain_announced.load(Ordering::Relaxed)
    }

    pub(crate) fn set_drain_announced(&self, announced: bool) {
        self.drain_announced.store(announced, Ordering::Relaxed);
    }

    /// Answers an envelope that asked for it.
    pub(crate) fn answer(&self, answer_to: &str, answer: pb::Delivered) {
        if answer_to.is_empty() {
            return;
        }
        match Subject::answer(self.cluster.names(), answer_to) {
            Some(subject) => self.answers.try_send(subject, answer),
            None => tracing::warn!("an envelope asks for an answer on a subject that is none for answers"),
        }
    }

    /// Removes a connection's route if it still is this one. True when it was: then the device is offline.
    pub(crate) async fn release_route(&self, connection: &Connection) -> bool {
        let route = Route { server: self.id.clone(), connection: connection.id };
        let routes = self.cluster.routes();
        let released = routes.release(&connection.user, &connection.device, &route).await;
        released.unwrap_or_else(|error| {
            // Back ends learn from the next delivery that it leads nowhere.
            if let Some(times) = self.throttles.unreleased.note() {
                tracing::warn!(user = %connection.user, times, %error, "cannot release a route");
            }
            false
        })
    }
}

/// Devices that lost their connection in a failover are back by then, or come with a cursor of before it.
const ROLLBACK_MEMORY: Duration = Duration::from_secs(60);
