//! Saving to the device's store, one batch at a time.

use std::time::{Duration, Instant};

use super::{Core, backoff::random_within};
use crate::client::{
    SendError,
    device_store::{Batch, StoreError},
};

/// The state of saving.
#[derive(Debug, Default)]
pub(super) struct Saving {
    /// The batch that was handed out, until its outcome is known.
    outstanding: Option<Batch>,
    /// The time of the next attempt after a failure.
    retry_at: Option<Instant>,
    failures: u32,
    /// The user that the store belongs to, or empty if there is none yet.
    pub(super) user: String,
    /// Set while the user is not saved.
    pub(super) user_unsaved: bool,
}

impl Saving {
    pub(super) fn of(user: String) -> Self {
        Self { user, ..Self::default() }
    }
}

impl<T> Core<T> {
    /// Returns the next batch to save; its outcome goes to [`Core::handle_saved`]. Returns `None` while another
    /// one is being saved.
    pub(in crate::client) fn poll_save(&mut self, now: Instant) -> Option<Batch> {
        let waits = self.saving.retry_at.is_some_and(|at| now < at);
        if self.saving.outstanding.is_some() || waits || !self.has_unsaved() {
            return None;
        }
        let (put, remove) = self.outbox.poll_save();
        let batch = Batch {
            user: self.saving.user.clone(),
            left: self.logs.poll_left(),
            cursors: self.logs.poll_save(),
            put,
            remove,
            next_local_id: self.outbox.next_local_id(),
            next_number: self.outbox.next_number(),
            installation: self.outbox.installation(),
            origin_key: self.outbox.origin_key(),
            marks: self.conversations.poll_save(),
        };
        self.saving.user_unsaved = false;
        self.saving.outstanding = Some(batch.clone());
        Some(batch)
    }

    /// Handles the outcome of the batch.
    pub(in crate::client) fn handle_saved(&mut self, now: Instant, outcome: Result<(), StoreError>) {
        let Some(batch) = self.saving.outstanding.take() else { return };
        match outcome {
            Ok(()) => {
                self.saving.failures = 0;
                self.saving.retry_at = None;
                self.outbox.handle_saved(&batch.put);
            }
            Err(error) => {
                tracing::warn!(%error, "the device's store cannot save: trying again later");
                self.handle_not_saved(now, &batch, error);
            }
        }
        self.close_if_done(now);
    }

    /// Returns the time of the next attempt.
    pub(super) fn save_at(&self) -> Option<Instant> {
        self.saving.retry_at.filter(|_| self.saving.outstanding.is_none() && self.has_unsaved())
    }

    pub(super) fn handle_save_timeout(&mut self, now: Instant) {
        if self.saving.retry_at.is_some_and(|at| at <= now) {
            self.saving.retry_at = None;
        }
    }

    /// Saves again now, if the last attempt failed.
    pub(super) fn save_at_once(&mut self) {
        self.saving.retry_at = None;
    }

    fn handle_not_saved(&mut self, now: Instant, batch: &Batch, error: StoreError) {
        let ceiling =
            SHORTEST_DELAY.saturating_mul(2_u32.saturating_pow(self.saving.failures)).min(LONGEST_DELAY);
        self.saving.failures = self.saving.failures.saturating_add(1);
        self.saving.retry_at = Some(now + ceiling / 2 + random_within(&mut self.rng, ceiling / 2));
        self.saving.user_unsaved = true;
        self.logs.handle_not_saved(&batch.cursors, &batch.left);
        self.conversations.handle_not_saved(&batch.marks);
        self.outbox.handle_not_saved(&batch.put, &batch.remove, &SendError::Store(error));
    }

    pub(in crate::client) fn has_unsaved(&self) -> bool {
        self.outbox.has_unsaved()
            || self.logs.has_unsaved()
            || self.conversations.has_unsaved()
            || self.saving.user_unsaved
    }
}

/// The ceiling of the first delay after the store failed. A full disk does not empty in an instant.
const SHORTEST_DELAY: Duration = Duration::from_millis(200);

/// The longest delay.
const LONGEST_DELAY: Duration = Duration::from_secs(10);
