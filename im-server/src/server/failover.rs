//! Detects a new incarnation of the route store: it was restarted, or a replica with less data took over. Routes may be lost, and
//! logs may have been rolled back with them.

use std::sync::Arc;

use im_sdk::cluster::RoutesError;
use tokio::time::sleep;

use super::route_audit;
use crate::context::{ServerContext, StoreEpoch};

/// Notes the store's incarnation before any route is written, so that every later loss is noticed. A server that replaces another
/// one starts with the `epoch` of that one.
///
/// # Errors
/// [`RoutesError`].
pub(super) async fn begin(context: &ServerContext, epoch: Option<&StoreEpoch>) -> Result<(), RoutesError> {
    let epoch = match epoch {
        Some(epoch) => epoch.clone(),
        None => {
            let incarnation = context.cluster.routes().incarnation().await?;
            StoreEpoch { incarnation, rolled_back_at: None }
        }
    };
    context.set_store_epoch(epoch);
    Ok(())
}

/// Checks as often as the lease is renewed, until the server ends. Each check costs every master of the store one small request.
pub(super) async fn watch(context: Arc<ServerContext>) {
    loop {
        sleep(context.config.lease / 3).await;
        check(&context).await;
    }
}

/// If the store has a new incarnation, writes the lost routes again and asks all devices to sync. The next check repeats what
/// fails.
async fn check(context: &ServerContext) {
    let incarnation = match context.cluster.routes().incarnation().await {
        Ok(incarnation) => incarnation,
        Err(error) => {
            return tracing::debug!(%error, "cannot check for a failover of the route store");
        }
    };
    if incarnation == context.store_epoch().incarnation {
        return;
    }
    tracing::warn!("the route store was restarted or failed over: looking for lost routes");
    context.downstream.channel_routes.invalidate();
    match route_audit::check_all(context).await {
        Ok(true) => {}
        // Either the next check finds the lease renewed, or another server continues from here.
        Ok(false) => return,
        Err(error) => return tracing::warn!(%error, "cannot look for lost routes"),
    }
    context.note_rollback(incarnation);
    context.downstream.sync_hints.request(true);
}
