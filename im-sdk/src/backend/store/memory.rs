//! Messages inside one process.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{Cut, HistoryRange, MessageStore, MessageStoreError, StorePage, StoreQuery, StoredEntry, cut};
use crate::{cluster::LogId, id::MessageId};

/// A message store inside this process, gone when it ends. For tests and trials: it keeps everything. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryMessageStore {
    logs: Arc<Mutex<HashMap<LogId, Log>>>,
}

#[derive(Debug, Default)]
struct Log {
    seqs: HashMap<MessageId, u64>,
    entries: BTreeMap<(u64, MessageId), StoredEntry>,
}

impl MemoryMessageStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn logs(&self) -> MutexGuard<'_, HashMap<LogId, Log>> {
        // Every change is complete before anything can panic.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl MessageStore for MemoryMessageStore {
    async fn write(&self, entries: &[StoredEntry]) -> Result<(), MessageStoreError> {
        let mut logs = self.logs();
        for entry in entries {
            let log = logs.entry(entry.log.clone()).or_default();
            let seq = *log.seqs.entry(entry.message_id).or_insert(entry.seq);
            log.entries.entry((seq, entry.message_id)).or_insert_with(|| entry.clone());
        }
        Ok(())
    }

    async fn read(&self, log: &LogId, query: &StoreQuery) -> Result<StorePage, MessageStoreError> {
        Ok(self.logs().get(log).map(|log| log.read(query)).unwrap_or_default())
    }
}

impl Log {
    fn read(&self, query: &StoreQuery) -> StorePage {
        let wanted = |entry: &&StoredEntry| {
            let in_range = match query.range {
                HistoryRange::Newest => true,
                HistoryRange::Before(seq) => entry.seq < seq,
                HistoryRange::After(seq) => entry.seq > seq,
            };
            in_range && query.peer.as_ref().is_none_or(|peer| entry.peer.as_ref() == Some(peer))
        };
        let forward = matches!(query.range, HistoryRange::After(_));
        let found = self.entries.values().filter(wanted);
        let limit = query.limit.saturating_add(1);
        let mut entries: Vec<StoredEntry> = match forward {
            true => found.take(limit).cloned().collect(),
            false => found.rev().take(limit).cloned().collect(),
        };
        let more = match cut(&mut entries, query.limit) {
            Cut::Done { more } => more,
            Cut::OneSeq(seq) => {
                entries =
                    self.entries.values().filter(wanted).filter(|entry| entry.seq == seq).cloned().collect();
                return StorePage { entries, more: true };
            }
        };
        if !forward {
            entries.reverse();
        }
        StorePage { entries, more }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::conformance::check_message_store, *};

    #[tokio::test]
    async fn conforms() {
        check_message_store(&MemoryMessageStore::new()).await;
    }
}
