//! Passes the outcomes of sends to their handles.

use std::collections::HashMap;

use tokio::sync::watch;

use super::{OutcomeReceiver, TrackedSend};
use crate::client::{
    LocalId,
    core::{Outcome, Unsettled},
};

/// The handles of unsettled sends, no more than the core has sends.
#[derive(Default)]
pub(super) struct SendHandles {
    outcomes: HashMap<LocalId, watch::Sender<Option<Outcome>>>,
}

impl SendHandles {
    /// Tracks a send.
    pub(super) fn track(&mut self, local_id: LocalId) -> TrackedSend {
        let outcome = self.outcomes.entry(local_id).or_insert_with(|| watch::Sender::new(None)).subscribe();
        TrackedSend { local_id, outcome }
    }

    /// Tracks a listed send, which may have failed.
    pub(super) fn track_listed(&mut self, send: &Unsettled) -> TrackedSend {
        match &send.error {
            Some(error) => TrackedSend { local_id: send.local_id, outcome: known(Err(error.clone())) },
            None => self.track(send.local_id),
        }
    }

    /// Forgets a send without a handle.
    pub(super) fn forget(&mut self, local_id: LocalId) {
        if self.outcomes.get(&local_id).is_some_and(|handles| handles.receiver_count() == 0) {
            self.outcomes.remove(&local_id);
        }
    }

    /// Passes on the outcome, if the send has a handle.
    pub(super) fn settle(&mut self, local_id: LocalId, outcome: Outcome) {
        if let Some(handles) = self.outcomes.remove(&local_id) {
            handles.send_replace(Some(outcome));
        }
    }
}

fn known(outcome: Outcome) -> OutcomeReceiver {
    watch::channel(Some(outcome)).1
}
