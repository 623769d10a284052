//! What of the outbox goes to the store and comes from it.

use super::{
    Outbox, Waiter,
    entry::{Entry, Failed},
    failure,
};
use crate::client::{LocalId, SendError, store::SavedPublish};

impl<T> Outbox<T> {
    pub(in crate::client::core) fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// What to save and what to forget. It counts as saved.
    pub(in crate::client::core) fn poll_save(&mut self) -> (Vec<SavedPublish>, Vec<u64>) {
        let (mut put, mut remove) = (Vec::new(), Vec::new());
        for local_id in std::mem::take(&mut self.unsaved) {
            let entry = self.entries.get(&local_id).map(|entry| entry.save(local_id));
            match entry.or_else(|| Some(self.failed.get(&local_id)?.save(local_id))) {
                Some(publish) => put.push(publish),
                None => remove.push(local_id.as_u64()),
            }
        }
        (put, remove)
    }

    /// It was saved: sends are taken, and numbers can be used.
    pub(in crate::client::core) fn handle_saved(&mut self, put: &[SavedPublish]) {
        for saved in put {
            let local_id = LocalId::from_u64(saved.local_id);
            let Some(entry) = self.entries.get_mut(&local_id) else { continue };
            entry.saved = true;
            if let Waiter::Taken(_) = entry.waiter
                && let Waiter::Taken(ticket) = std::mem::replace(&mut entry.waiter, Waiter::Nobody)
            {
                self.taken.push_back((ticket, Ok(local_id)));
            }
            if entry.number == Some(saved.number) {
                self.queues.saved(saved.number);
            }
        }
    }

    /// It was not saved: what is new was not taken, the rest is to be saved later.
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
                self.refuse(entry.waiter, error.clone());
            }
        }
    }

    pub(super) fn load(&mut self, saved: &SavedPublish) {
        let local_id = LocalId::from_u64(saved.local_id);
        if !saved.failure.is_empty() {
            if let Some(failed) = Failed::load(saved) {
                self.events.push_back(failure(local_id, &failed.error));
                self.failed.insert(local_id, failed);
            }
        } else if let Some(entry) = Entry::load(saved) {
            if let Some(number) = entry.number {
                self.queues.load(number, local_id);
            }
            self.enqueue(local_id, entry);
        }
    }
}
