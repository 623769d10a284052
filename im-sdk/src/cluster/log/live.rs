//! Numbers and keys of what is kept nowhere, for stores inside one process.

use std::sync::{Arc, Mutex, PoisonError};

use super::{LogBounds, LogError, LogId, Once, memory::Records, once::Record};
use crate::id::MessageId;

/// Those of all logs together, so that none stay behind in one that nobody uses any more. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct LiveRecords(Arc<Mutex<Records>>);

impl LiveRecords {
    /// As [`super::LogStore::remember`].
    pub(super) fn remember(
        &self,
        log: &LogId,
        message_id: MessageId,
        once: &Once,
        bounds: &LogBounds,
    ) -> Result<MessageId, LogError> {
        let name = format!("{log} {}", once.live_record_name());
        // Every change is complete before anything can panic.
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = records.get(&name).and_then(|record| record.answer(once)) {
            return first.map(|first| first.message_id);
        }
        records.insert(name, Record::new(once, 0, message_id), once.remembered_live_for(bounds));
        Ok(message_id)
    }
}
