//! Calls the store where blocking is allowed.

use std::{future::pending, sync::Arc};

use tokio::task::{JoinError, JoinHandle};

use crate::client::store::{Batch, Saved, Store, StoreError};

/// At most one call at a time.
pub(super) struct Saver {
    store: Arc<dyn Store>,
    call: Option<JoinHandle<Result<(), StoreError>>>,
}

impl Saver {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, call: None }
    }

    pub(super) async fn load(&self) -> Result<Saved, StoreError> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || store.load()).await.unwrap_or_else(|error| Err(died(&error)))
    }

    /// The outcome comes out of [`Saver::outcome`].
    pub(super) fn save(&mut self, batch: Batch) {
        let store = self.store.clone();
        self.call = Some(tokio::task::spawn_blocking(move || store.save(&batch)));
    }

    pub(super) fn is_busy(&self) -> bool {
        self.call.is_some()
    }

    /// What became of the batch; waits for ever if there is none. Cancel-safe.
    pub(super) async fn outcome(&mut self) -> Result<(), StoreError> {
        let Some(call) = &mut self.call else { return pending().await };
        let outcome = call.await;
        self.call = None;
        outcome.unwrap_or_else(|error| Err(died(&error)))
    }
}

/// A store that panics, or a runtime that ends.
fn died(error: &JoinError) -> StoreError {
    StoreError::Failed(error.to_string())
}
