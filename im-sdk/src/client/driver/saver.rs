//! Calls of the device's store, which may block.

use std::{future::pending, sync::Arc};

use tokio::task::{JoinError, JoinHandle};

use crate::client::device_store::{Batch, DeviceStore, SavedState, StoreError};

/// Calls the store, one call at a time.
pub(super) struct Saver {
    store: Arc<dyn DeviceStore>,
    call: Option<JoinHandle<Result<(), StoreError>>>,
}

impl Saver {
    pub(super) fn new(store: Arc<dyn DeviceStore>) -> Self {
        Self { store, call: None }
    }

    pub(super) async fn load(&self) -> Result<SavedState, StoreError> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || store.load()).await.unwrap_or_else(|error| Err(died(&error)))
    }

    /// Starts saving a batch. [`Saver::outcome`] returns the outcome.
    pub(super) fn save(&mut self, batch: Batch) {
        let store = self.store.clone();
        self.call = Some(tokio::task::spawn_blocking(move || store.save(&batch)));
    }

    pub(super) fn store(&self) -> Arc<dyn DeviceStore> {
        self.store.clone()
    }

    /// Has the store free memory.
    pub(super) fn shrink(&self) {
        let store = self.store.clone();
        drop(tokio::task::spawn_blocking(move || store.shrink()));
    }

    pub(super) fn is_busy(&self) -> bool {
        self.call.is_some()
    }

    /// Waits for the outcome of the batch, or forever if there is none. Cancel-safe.
    pub(super) async fn outcome(&mut self) -> Result<(), StoreError> {
        let Some(call) = &mut self.call else { return pending().await };
        let outcome = call.await;
        self.call = None;
        outcome.unwrap_or_else(|error| Err(died(&error)))
    }
}

/// Returns the error of a store that panicked, or of a runtime that ended.
fn died(error: &JoinError) -> StoreError {
    StoreError::Failed(error.to_string())
}
