//! Acknowledgements on their way to the driver.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::{Log, Position};

/// Acknowledgements that the driver has not seen. Bounded by the number of logs, however often the application acknowledges.
#[derive(Debug, Default)]
pub(super) struct AckQueue {
    logs: Mutex<HashMap<Log, Latest>>,
    changed: Notify,
}

/// The acknowledgements of one log. The last one is mostly the furthest, except after a reset that led back, or if several
/// threads acknowledge.
#[derive(Debug)]
struct Latest {
    furthest: Position,
    last: Position,
}

impl AckQueue {
    pub(super) fn push(&self, position: &Position) {
        let latest = || Latest { furthest: position.clone(), last: position.clone() };
        let mut logs = self.lock();
        let entry = logs.entry(position.log.clone()).or_insert_with(latest);
        if entry.furthest.seq < position.seq {
            entry.furthest = position.clone();
        }
        entry.last = position.clone();
        drop(logs);
        self.changed.notify_one();
    }

    /// Takes all acknowledgements since the last call.
    pub(super) fn take(&self) -> Vec<Position> {
        let logs = std::mem::take(&mut *self.lock());
        logs.into_values().flat_map(|latest| [latest.furthest, latest.last]).collect()
    }

    /// Waits until there may be something to take. Cancel-safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Log, Latest>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
