//! The background tasks of a backend, and the token that stops them.

use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Owns the background tasks of a backend. Dropping the last owner stops them.
///
/// A task that runs until the end holds the token alone, since it would keep itself alive.
#[derive(Debug)]
pub(super) struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Tasks {
    pub(super) fn new() -> Self {
        let stop = CancellationToken::new();
        Self { tracker: TaskTracker::new(), _stop_on_drop: stop.clone().drop_guard(), stop }
    }

    pub(super) fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// Returns the token that is cancelled when the backend ends.
    pub(super) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }
}
