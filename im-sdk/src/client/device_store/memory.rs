//! A store in memory, which lives as long as its owner.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Batch, DeviceStore, SavedState, StoreError};

/// Keeps everything in memory, for tests, for bots that live in one process, and as the default.
///
/// A new process starts with a `Reset` of each log, and unsent messages are lost. A later client that gets a clone of
/// the `Arc` continues where the first one stopped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    saved: Mutex<SavedState>,
}

impl MemoryStore {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a store with these contents.
    pub fn with(saved: SavedState) -> Self {
        Self { saved: Mutex::new(saved) }
    }

    fn lock(&self) -> MutexGuard<'_, SavedState> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeviceStore for MemoryStore {
    fn load(&self) -> Result<SavedState, StoreError> {
        Ok(self.lock().clone())
    }

    fn save(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut saved = self.lock();
        saved.user.clone_from(&batch.user);
        saved.next_local_id = batch.next_local_id;
        saved.next_number = batch.next_number;
        saved.installation = batch.installation;
        saved.origin_key = batch.origin_key;
        for marks in &batch.marks {
            saved.marks.retain(|old| (&old.to, &old.channel) != (&marks.to, &marks.channel));
            saved.marks.extend((!marks.marks.is_empty()).then(|| marks.clone()));
        }
        for cursor in &batch.cursors {
            saved.cursors.retain(|old| old.channel != cursor.channel);
            saved.cursors.push(cursor.clone());
        }
        saved.cursors.retain(|old| !batch.left.contains(&old.channel));
        let gone = |id: u64| batch.remove.contains(&id) || batch.put.iter().any(|put| put.local_id == id);
        saved.outbox.retain(|old| !gone(old.local_id));
        saved.outbox.extend(batch.put.iter().cloned());
        saved.outbox.sort_by_key(|publish| publish.local_id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::client::device_store::conformance;

    #[test]
    fn conforms() {
        conformance::check(|| {
            let store: Arc<dyn DeviceStore> = Arc::new(MemoryStore::new());
            Box::new(move || store.clone())
        });
    }
}
