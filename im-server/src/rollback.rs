//! A route store that has begun another life: it was restarted, or a replica that had less took over. Routes may be forgotten,
//! and logs may have been rolled back with them.

use std::sync::Arc;

use im_sdk::cluster::RoutesError;
use tokio::time::sleep;

use crate::{audit, deliver, shared::Shared};

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

    /// Looks as often as the lease is renewed, until the server ends. That costs every master of the store one small
    /// request.
    pub(crate) async fn run(mut self, shared: Arc<Shared>) {
        loop {
            sleep(shared.config.lease / 3).await;
            self.look(&shared).await;
        }
    }

    /// If it has: writes the routes again that are not there any more, and asks all devices to sync. What fails is tried
    /// again with the next look.
    async fn look(&mut self, shared: &Shared) {
        let incarnation = match shared.cluster.routes().incarnation().await {
            Ok(incarnation) => incarnation,
            Err(error) => {
                return tracing::debug!(%error, "cannot look whether the route store is still the same");
            }
        };
        if incarnation == self.incarnation {
            return;
        }
        tracing::warn!("the route store may have forgotten routes: they are looked for");
        shared.channels.doubt();
        match audit::check_all(shared).await {
            Ok(true) => {}
            // Either the lease is renewed by the next look, or another server goes on.
            Ok(false) => return,
            Err(error) => return tracing::warn!(%error, "cannot look which routes were forgotten"),
        }
        shared.note_rollback();
        deliver::ask_to_sync(&shared.registry, true);
        self.incarnation = incarnation;
    }
}
