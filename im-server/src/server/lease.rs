//! The server's lease: while it is valid, this server's routes count.

use std::{sync::Arc, time::Instant};

use im_proto::pb;
use tokio::time::{MissedTickBehavior, interval};

use crate::context::ServerContext;

/// Renews the lease at a third of its length until the server has stopped.
///
/// Returns early when the lease was lost. Routes of this server may then be removed, and it must not continue under this id.
pub(super) async fn keep(context: Arc<ServerContext>) {
    let mut ticks = interval(context.config.lease / 3);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let lifecycle = &context.lifecycle;
    loop {
        tokio::select! {
            biased; // The lease is not renewed after the end.
            () = lifecycle.stopped.cancelled() => return,
            _ = ticks.tick() => {}
            // Backends must stop sending devices here at once.
            () = lifecycle.draining.cancelled(), if !lifecycle.drain_announced() => {}
        }
        if !renew(&context).await {
            return;
        }
    }
}

/// Renews the lease. Returns `false` if it was lost. A store that does not answer does not count as a loss: the next try may come
/// in time.
async fn renew(context: &ServerContext) -> bool {
    let asked = Instant::now();
    let draining = context.lifecycle.draining.is_cancelled();
    let info = info(context, draining);
    // Whatever the outcome of this try, the next one repeats it.
    context.lifecycle.set_drain_announced(draining);
    match context.cluster.routes().lease_server(&context.id, &info, context.config.lease, false).await {
        Ok(held) => {
            if held {
                context.lifecycle.set_leased_until(asked + context.config.lease);
                sample_clock(context).await;
            }
            held
        }
        Err(error) => {
            tracing::warn!(%error, elapsed = ?asked.elapsed(), "cannot renew the server's lease");
            true
        }
    }
}

/// Keeps the cluster's time known, by which the expiry of tokens is checked.
pub(super) async fn sample_clock(context: &ServerContext) {
    if let Err(error) = context.cluster.clock().sample().await {
        tracing::debug!(%error, "cannot ask for the cluster's time");
    }
}

fn info(context: &ServerContext, draining: bool) -> pb::ServerInfo {
    pb::ServerInfo {
        endpoints: context.endpoints.clone(),
        connections: u32::try_from(context.registry.len()).unwrap_or(u32::MAX),
        draining,
        deaf: context.downstream.isolation.is_deaf(),
    }
}
