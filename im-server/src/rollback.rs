//! A route store that has begun another life: it was restarted, or a replica that had less took over. Routes may be forgotten,
//! and logs may have been rolled back with them.

use std::{sync::Arc, time::Instant};

use im_sdk::cluster::RoutesError;
use tokio::time::sleep;

use crate::{audit, shared::Shared};

/// What a server that has stopped knew of the route store, for the one that takes its place: [`Server::start_after`].
///
/// [`Server::start_after`]: crate::Server::start_after
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Of the route store, when it was looked at last.
    pub(crate) incarnation: String,
    /// See [`Shared::note_rollback`].
    pub(crate) rolled_back_at: Option<Instant>,
}

/// Before any route is written: what is forgotten from here on is noticed, and after another server what was forgotten since that
/// one looked.
///
/// # Errors
/// [`RoutesError`].
pub(crate) async fn begin(shared: &Shared, past: Option<&Past>) -> Result<(), RoutesError> {
    let past = match past {
        Some(past) => past.clone(),
        None => Past { incarnation: shared.cluster.routes().incarnation().await?, rolled_back_at: None },
    };
    shared.take_over(past);
    Ok(())
}

/// Looks as often as the lease is renewed, until the server ends. That costs every master of the store one small request.
pub(crate) async fn watch(shared: Arc<Shared>) {
    loop {
        sleep(shared.config.lease / 3).await;
        look(&shared).await;
    }
}

/// If it has begun another life: writes the routes again that are not there any more, and asks all devices to sync. What fails is
/// tried again with the next look.
async fn look(shared: &Shared) {
    let incarnation = match shared.cluster.routes().incarnation().await {
        Ok(incarnation) => incarnation,
        Err(error) => {
            return tracing::debug!(%error, "cannot look whether the route store is still the same");
        }
    };
    if incarnation == shared.past().incarnation {
        return;
    }
    tracing::warn!("the route store may have forgotten routes: they are looked for");
    shared.channels.doubt();
    match audit::check_all(shared).await {
        Ok(true) => {}
        // Either the lease is renewed by the next look, or another server goes on from here.
        Ok(false) => return,
        Err(error) => return tracing::warn!(%error, "cannot look which routes were forgotten"),
    }
    shared.note_rollback(incarnation);
    shared.hints.want(true);
}
