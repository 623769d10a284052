//! Saving and loading of the outbox.

use super::{
    Outbox, Waiter,
    entry::{Entry, FailedSend},
    failure,
};
use crate::client::{LocalId, SendError, device_store::SavedPublish};

impl<T> Outbox<T> {
    pub(in crate::client::core) fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Returns the sends to save, and the ids to remove. They count as saved.
    pub(in crate::client::core) fn poll_save(&mut self) -> (Vec<SavedPublish>, Vec<u64>) {
        let (mut put, mut remove) = (Vec::new(), Vec::new());
        for local_id in std::mem::take(&mut self.unsaved) {
            if let Some(entry) = self.entries.get(&local_id) {
                put.push(entry.save(local_id));
                // A retry and the removal of the failed send are saved together, or neither is.
                remove.extend(entry.replaces.map(LocalId::as_u64));
            } else if self.retried.contains(&local_id) {
                // Its retry is in the same batch.
            } else if let Some(failed) = self.failed.get(&local_id) {
                put.push(failed.save(local_id));
            } else {
                remove.push(local_id.as_u64());
            }
        }
        (put, remove)
    }

    /// Handles that the batch was saved: its sends are taken, and their numbers can be used.
    pub(in crate::client::core) fn handle_saved(&mut self, put: &[SavedPublish]) {
        for saved in put {
            let local_id = LocalId::from_u64(saved.local_id);
            let Some(entry) = self.entries.get_mut(&local_id) else { continue };
            entry.saved = true;
            if let Some(failed) = entry.replaces.take() {
                self.failed.remove(&failed);
                self.retried.remove(&failed);
            }
            if let Waiter::Taken(_) = entry.waiter
                && let Waiter::Taken(ticket) = std::mem::replace(&mut entry.waiter, Waiter::Nobody)
            {
                self.taken.push_back((ticket, Ok(local_id)));
            }
            if saved.sent && entry.number == saved.number {
                self.queues.saved(saved.number);
            }
        }
    }

    /// Handles that the batch was not saved: refuses its new sends. The others are saved later.
    pub(in crate::client::core) fn handle_not_saved(
        &mut self,
        put: &[SavedPublish],
        remove: &[u64],
        error: &SendError,
    ) {
        let ids = put.iter().map(|publish| publish.local_id).chain(remove.iter().copied());
        self.unsaved.extend(ids.map(LocalId::from_u64));
        for saved in put {
            let local_id = LocalId::from_u64(saved.local_id);
            if self.entries.get(&local_id).is_some_and(|entry| !entry.saved)
                && let Some(entry) = self.remove(local_id)
            {
                entry.replaces.map(|failed| self.retried.remove(&failed));
                self.refuse(entry.waiter, error.clone());
            }
        }
    }

    pub(super) fn load(&mut self, saved: &SavedPublish) {
        let local_id = LocalId::from_u64(saved.local_id);
        if !saved.failure.is_empty() {
            if let Some(failed) = FailedSend::load(saved) {
                self.events.push_back(failure(local_id, &failed.error));
                self.numbering.skip(failed.retry.1);
                self.failed.insert(local_id, failed);
            }
        } else if let Some(mut entry) = Entry::load(saved) {
            if entry.number == 0 {
                // An earlier version numbered a send when it became the first of its conversation.
                (entry.installation, entry.number) = self.numbering.take();
                self.unsaved.insert(local_id);
            }
            self.numbering.skip(entry.number);
            if entry.released {
                self.queues.load(entry.number, local_id);
            }
            self.enqueue(local_id, entry);
        }
    }
}
