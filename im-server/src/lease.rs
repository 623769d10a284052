//! The server's lease: as long as it runs, this server's routes count.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use im_proto::pb;
use im_sdk::token::CLOCK_LEEWAY;
use tokio::time::{MissedTickBehavior, interval};

use crate::shared::Shared;

/// Silent connections, those with old tokens, and unanswered publishes and requests are looked for this often: one timer
/// for all of them.
const SWEEP: Duration = Duration::from_secs(1);

/// Renews the lease at a third of its length until the server has stopped. Returns early when the lease was lost:
/// then routes of this server may have been swept already, and it must not go on under this id.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let mut ticks = interval(shared.config.lease / 3);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            biased; // Nothing is renewed after the end.
            () = shared.stopped.cancelled() => return,
            _ = ticks.tick() => {}
            // Back ends must stop sending devices here at once.
            () = shared.draining.cancelled(), if !shared.drain_announced() => {}
        }
        if !renew(&shared).await {
            return;
        }
    }
}

/// False when the lease was lost. A route store that does not answer is no loss yet: the next try may come in time.
async fn renew(shared: &Shared) -> bool {
    let asked = Instant::now();
    let draining = shared.draining.is_cancelled();
    let info = info(shared, draining);
    // Whatever becomes of this try, the next one says it again.
    shared.set_drain_announced(draining);
    match shared.cluster.routes().lease_server(&shared.id, &info, shared.config.lease, false).await {
        Ok(held) => {
            if held {
                shared.set_leased_until(asked + shared.config.lease);
                sample_clock(shared).await;
            }
            held
        }
        Err(error) => {
            tracing::warn!(%error, elapsed = ?asked.elapsed(), "cannot renew the server's lease");
            true
        }
    }
}

/// Keeps the cluster's time known, by which tokens are judged.
pub(crate) async fn sample_clock(shared: &Shared) {
    if let Err(error) = shared.cluster.clock().sample().await {
        tracing::debug!(%error, "cannot ask for the cluster's time");
    }
}

fn info(shared: &Shared, draining: bool) -> pb::ServerInfo {
    pb::ServerInfo {
        endpoints: shared.endpoints.clone(),
        connections: u32::try_from(shared.registry.len()).unwrap_or(u32::MAX),
        draining,
        deaf: shared.isolation.is_deaf(),
    }
}

/// Tokens that ended before this, in seconds since the Unix epoch, would not be accepted any more.
fn expired_before(shared: &Shared) -> u64 {
    if !shared.config.close_expired {
        return 0;
    }
    // As long as the time is not known, nobody is closed for it.
    let now = shared.cluster.clock().now_ms().unwrap_or_default();
    Duration::from_millis(now).saturating_sub(CLOCK_LEEWAY).as_secs()
}

/// Closes what was silent for too long or whose token has ended, and answers what no back end answered, until the server has stopped.
pub(crate) async fn sweep(shared: Arc<Shared>) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stopped.cancelled() => return,
            _ = ticks.tick() => {}
        }
        shared.registry.close_overdue(shared.config.idle_timeout(), expired_before(&shared));
        shared.upstream.expire(shared.config.publish_timeout);
        shared.requests.expire(shared.config.publish_timeout);
        shared.syncs.expire();
        shared.registry.users.sweep();
    }
}
