//! A message store inside one process.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use prost::Message as _;

use super::{
    AmendedPart, Amendment, Cut, HistoryRange, MessageStore, MessageStoreError, SearchPage, SearchQuery,
    StorePage, StoreQuery, StoredEntry, cut, entry::redacted, oldest_amended, words::searched,
};
use crate::{Filter, cluster::LogId, id::MessageId, proto::pb};

/// A message store inside this process, which is gone when the process ends. For tests and trials:
/// it keeps everything. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryMessageStore {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    logs: HashMap<LogId, Log>,
    amendments: BTreeMap<(MessageId, AmendedPart), Amendment>,
}

#[derive(Debug, Default)]
struct Log {
    seqs: HashMap<MessageId, u64>,
    entries: BTreeMap<(u64, MessageId), StoredEntry>,
}

impl MemoryMessageStore {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Every change is complete before anything can panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl MessageStore for MemoryMessageStore {
    async fn write(&self, entries: &[StoredEntry]) -> Result<(), MessageStoreError> {
        let mut kept = self.lock();
        for entry in entries {
            let mut entry = entry.clone();
            for amendment in kept.amendments_of(entry.message_id) {
                entry.amend(&amendment);
            }
            let log = kept.logs.entry(entry.log.clone()).or_default();
            let seq = *log.seqs.entry(entry.message_id).or_insert(entry.seq);
            log.entries.entry((seq, entry.message_id)).or_insert(entry);
        }
        Ok(())
    }

    async fn read(&self, log: &LogId, query: &StoreQuery) -> Result<StorePage, MessageStoreError> {
        Ok(self.lock().logs.get(log).map(|log| log.read(query)).unwrap_or_default())
    }

    async fn find_message(&self, id: MessageId, limit: usize) -> Result<Vec<StoredEntry>, MessageStoreError> {
        let kept = self.lock();
        let of_log = |log: &Log| log.entries.get(&(*log.seqs.get(&id)?, id)).cloned();
        Ok(kept.logs.values().filter_map(of_log).take(limit).collect())
    }

    async fn search(&self, query: &SearchQuery) -> Result<SearchPage, MessageStoreError> {
        let kept = self.lock();
        let of_the_logs = query.logs.iter().filter_map(|log| kept.logs.get(log));
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
        for log in self.lock().logs.values_mut() {
            for id in ids {
                let Some(seq) = log.seqs.get(id) else { continue };
                if let Some(entry) = log.entries.get_mut(&(*seq, *id)) {
                    entry.message = redacted(*id, entry.message.clone());
                }
            }
        }
        Ok(())
    }

    async fn amend(&self, amendments: &[Amendment]) -> Result<(), MessageStoreError> {
        let mut kept = self.lock();
        amendments.iter().for_each(|amendment| kept.amend(amendment.clone()));
        Ok(())
    }

    async fn logs(
        &self,
        after: Option<&LogId>,
        limit: usize,
    ) -> Result<Vec<(LogId, MessageId)>, MessageStoreError> {
        let kept = self.lock();
        let with_entries =
            kept.logs.iter().filter_map(|(id, log)| Some((id.clone(), *log.seqs.keys().min()?)));
        let mut behind: Vec<_> =
            with_entries.filter(|(id, _)| after.is_none_or(|after| id > after)).collect();
        behind.sort();
        behind.truncate(limit);
        Ok(behind)
    }

    async fn trim(&self, log: &LogId, before: MessageId, limit: usize) -> Result<usize, MessageStoreError> {
        let mut kept = self.lock();
        let Some(log) = kept.logs.get_mut(log) else { return Ok(0) };
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

impl Kept {
    fn amendments_of(&self, id: MessageId) -> Vec<Amendment> {
        let parts = (id, AmendedPart::Content)..=(id, AmendedPart::Quote);
        self.amendments.range(parts).map(|(_, amendment)| amendment.clone()).collect()
    }

    fn amend(&mut self, amendment: Amendment) {
        let (id, part) = (amendment.message_id(), amendment.part());
        let there = self.amendments.get(&(id, part)).cloned();
        let outranked = match there {
            Some(there) if there.rank() >= amendment.rank() => {
                if there.rank() > amendment.rank() {
                    amendment.outranked()
                } else {
                    None
                }
            }
            there => {
                self.amendments.insert((id, part), amendment);
                there.and_then(|there| there.outranked())
            }
        };
        self.amendments = self.amendments.split_off(&(oldest_amended(id), AmendedPart::Content));
        for amendment in self.amendments_of(id) {
            for log in self.logs.values_mut() {
                let Some(seq) = log.seqs.get(&id) else { continue };
                if let Some(entry) = log.entries.get_mut(&(*seq, id)) {
                    entry.amend(&amendment);
                }
            }
        }
        // An emptied edit does not outrank another one.
        if let Some(outranked) = outranked {
            self.amend(outranked);
        }
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
    use crate::backend::message_store::{conformance::check_message_store, memory::*};

    #[tokio::test]
    async fn conforms() {
        check_message_store(&MemoryMessageStore::new()).await;
    }
}
