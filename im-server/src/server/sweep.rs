//! Sweeps once a second, with one timer for everything: silent connections, connections whose token has expired, publishes and
//! requests without an answer in time, and users without connections.

use std::{sync::Arc, time::Duration};

use im_sdk::token::CLOCK_LEEWAY;
use tokio::time::{MissedTickBehavior, interval};

use crate::context::ServerContext;

const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Sweeps until the server has stopped.
pub(super) async fn run(context: Arc<ServerContext>) {
    let mut ticks = interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (registry, upstream, config) = (&context.registry, &context.upstream, &context.config);
    loop {
        tokio::select! {
            () = context.lifecycle.stopped.cancelled() => return,
            _ = ticks.tick() => {}
        }
        registry.close_overdue(config.idle_timeout(), expired_before(&context));
        upstream.publishes.pending.expire(config.publish_timeout);
        upstream.requests.pending.expire(config.publish_timeout);
        upstream.syncs.expire();
        registry.users.sweep();
    }
}

/// Returns the time, in seconds since the Unix epoch, before which a token must have expired to be refused now.
fn expired_before(context: &ServerContext) -> u64 {
    if !context.config.close_expired {
        return 0;
    }
    // While the time is unknown, no connection is closed because of its token.
    let now = context.cluster.clock().now_ms().unwrap_or_default();
    Duration::from_millis(now).saturating_sub(CLOCK_LEEWAY).as_secs()
}
