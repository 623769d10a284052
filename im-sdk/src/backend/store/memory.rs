//! Messages inside one process.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use prost::Message as _;

use super::{
    Cut, HistoryRange, MessageStore, MessageStoreError, SearchPage, SearchQuery, StorePage, StoreQuery,
    StoredEntry, cut, entry::redacted, words::searched,
};
use crate::{Filter, cluster::LogId, id::MessageId, proto::pb};

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

    fn lock(&self) -> MutexGuard<'_, HashMap<LogId, Log>> {
        // Every change is complete before anything can panic.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl MessageStore for MemoryMessageStore {
    async fn write(&self, entries: &[StoredEntry]) -> Result<(), MessageStoreError> {
        let mut logs = self.lock();
        for entry in entries {
            let log = logs.entry(entry.log.clone()).or_default();
            let seq = *log.seqs.entry(entry.message_id).or_insert(entry.seq);
            log.entries.entry((seq, entry.message_id)).or_insert_with(|| entry.clone());
        }
        Ok(())
    }

    async fn read(&self, log: &LogId, query: &StoreQuery) -> Result<StorePage, MessageStoreError> {
        Ok(self.lock().get(log).map(|log| log.read(query)).unwrap_or_default())
    }

    async fn search(&self, query: &SearchQuery) -> Result<SearchPage, MessageStoreError> {
        let logs = self.lock();
        let of_the_logs = query.logs.iter().filter_map(|log| logs.get(log));
        let entries = of_the_logs.flat_map(|log| log.entries.values());
        let mut found: Vec<StoredEntry> = entries.filter(|entry| is_found(entry, query)).cloned().collect();
        found.sort_by_key(|entry| std::cmp::Reverse(entry.key()));
        found.dedup_by_key(|entry| entry.key());
        let limit = query.limit.max(1);
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(StoredEntry::key);
        Ok(SearchPage { entries: found, next })
    }

    async fn redact(&self, ids: &[MessageId]) -> Result<(), MessageStoreError> {
        for log in self.lock().values_mut() {
            for id in ids {
                let Some(seq) = log.seqs.get(id) else { continue };
                if let Some(entry) = log.entries.get_mut(&(*seq, *id)) {
                    entry.message = redacted(*id, entry.message.clone());
                }
            }
        }
        Ok(())
    }

    async fn logs(
        &self,
        after: Option<&LogId>,
        limit: usize,
    ) -> Result<Vec<(LogId, MessageId)>, MessageStoreError> {
        let logs = self.lock();
        let with_entries = logs.iter().filter_map(|(id, log)| Some((id.clone(), *log.seqs.keys().min()?)));
        let mut behind: Vec<_> =
            with_entries.filter(|(id, _)| after.is_none_or(|after| id > after)).collect();
        behind.sort();
        behind.truncate(limit);
        Ok(behind)
    }

    async fn trim(&self, log: &LogId, before: MessageId, limit: usize) -> Result<usize, MessageStoreError> {
        let mut logs = self.lock();
        let Some(log) = logs.get_mut(log) else { return Ok(0) };
        let mut due: Vec<_> =
            log.seqs.iter().map(|(id, seq)| (*id, *seq)).filter(|(id, _)| *id < before).collect();
        due.sort();
        due.truncate(limit);
        for (id, seq) in &due {
            log.seqs.remove(id);
            log.entries.remove(&(*seq, *id));
        }
        Ok(due.len())
    }
}

fn is_found(entry: &StoredEntry, query: &SearchQuery) -> bool {
    is_within(entry, &query.filter)
        && query.peer.as_ref().is_none_or(|peer| entry.peer.as_ref() == Some(peer))
        && query.from.as_ref().is_none_or(|from| entry.from.as_ref() == Some(from))
        && query.before.as_ref().is_none_or(|before| entry.key() < *before)
        && pb::Message::decode(entry.message.clone())
            .is_ok_and(|message| searched(&message).is_some_and(|text| query.words.are_in(&text)))
}

fn is_within(entry: &StoredEntry, filter: &Filter) -> bool {
    let kinds = &filter.kinds;
    filter.has_time(entry.sent_at_ms())
        && (kinds.is_empty() || kinds.iter().any(|kind| kind.to_string() == entry.kind))
}

impl Log {
    fn read(&self, query: &StoreQuery) -> StorePage {
        let wanted = |entry: &&StoredEntry| {
            let in_range = match query.range {
                HistoryRange::Newest => true,
                HistoryRange::Before(seq) => entry.seq < seq,
                HistoryRange::After(seq) => entry.seq > seq,
            };
            in_range
                && query.peer.as_ref().is_none_or(|peer| entry.peer.as_ref() == Some(peer))
                && is_within(entry, &query.filter)
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
