//! Deduplication inside one process: records of appends, and of messages that are not logged.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    cluster::{
        log_id::LogId,
        traits::{DedupKey, LogBounds, LogError, idempotency::Record},
    },
    id::MessageId,
};

/// The records of messages that are not logged, for all logs together, so that none stay behind for
/// a log that nobody uses any more. Clones share them.
#[derive(Clone, Debug, Default)]
pub(in crate::cluster) struct TransientRecords(Arc<Mutex<Records>>);

impl TransientRecords {
    /// See [`LogStore::deduplicate`](super::LogStore::deduplicate).
    pub(in crate::cluster) fn deduplicate(
        &self,
        log: &LogId,
        message_id: MessageId,
        once: &DedupKey,
        bounds: &LogBounds,
    ) -> Result<MessageId, LogError> {
        let name = format!("{log} {}", once.transient_record_name());
        // Every change is complete before anything can panic.
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = records.get(&name).and_then(|record| record.answer(once)) {
            return first.map(|first| first.message_id);
        }
        records.insert(name, Record::new(once, 0, message_id), once.transient_ttl(bounds));
        Ok(message_id)
    }
}

/// The number of records from which on expired ones are removed.
pub(in crate::cluster) const MIN_RECORDS_TO_SWEEP: usize = 64;

/// Records by a name such as [`DedupKey::record_name`].
#[derive(Debug, Default)]
pub(in crate::cluster) struct Records {
    by_name: HashMap<String, Remembered>,
    /// The number of records at which expired ones are removed next.
    sweep_at: usize,
}

impl Records {
    pub(in crate::cluster) fn get(&self, name: &str) -> Option<&Record> {
        let remembered = self.by_name.get(name)?;
        remembered.lasts(Instant::now()).then_some(&remembered.record)
    }

    #[cfg(test)]
    pub(in crate::cluster) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(in crate::cluster) fn insert(&mut self, name: String, record: Record, lasts: Duration) {
        let now = Instant::now();
        if self.by_name.len() >= self.sweep_at {
            self.by_name.retain(|_, remembered| remembered.lasts(now));
            // At twice as many: each new record then pays for one that a sweep inspects.
            self.sweep_at = (2 * self.by_name.len()).max(MIN_RECORDS_TO_SWEEP);
        }
        self.by_name.insert(name, Remembered { record, ends: now.checked_add(lasts) });
    }
}

#[derive(Debug)]
struct Remembered {
    record: Record,
    /// The time of expiry; `None` if it is beyond the clock's range.
    ends: Option<Instant>,
}

impl Remembered {
    fn lasts(&self, now: Instant) -> bool {
        self.ends.is_none_or(|ends| ends > now)
    }
}
