//! Finds messages by id and by seq: in their logs, and in the message store.

use std::sync::Arc;

use crate::{
    Filter, HistoryRange,
    backend::message_store::{MessageStore, MessageStoreError, RawEntry, StoreQuery, StoredEntry},
    cluster::{Entry, LogError, LogId, LogStore, ReadLimit},
    id::MessageId,
};

/// The number of entries, and of bytes, that are read on each side of the expected seq. That is as
/// much as one log gets within the difference of the backends' clocks.
const NEAR: ReadLimit = ReadLimit::new(64).with_bytes(64 * 1024);

/// The number of entries of one millisecond that are read from the message store.
const STORED_AT_ONCE: usize = 64;

/// The limit of one read among the newest entries, and of all of them together.
const NEWEST: ReadLimit = ReadLimit::new(256).with_bytes(64 * 1024);
const MAX_NEWEST: usize = 16 * NEWEST.entries;
const MAX_NEWEST_BYTES: usize = 512 * 1024;

/// Finds messages in the logs, and where the logs do not reach back to, in the message store.
#[derive(Debug)]
pub(super) struct MessageLookup {
    log: Arc<dyn LogStore>,
    store: Option<Arc<dyn MessageStore>>,
}

/// A log or the message store could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookupError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] MessageStoreError),
}

impl MessageLookup {
    pub(super) fn new(log: Arc<dyn LogStore>, store: Option<Arc<dyn MessageStore>>) -> Self {
        Self { log, store }
    }

    pub(super) fn log(&self) -> &Arc<dyn LogStore> {
        &self.log
    }

    pub(super) fn store(&self) -> Option<&dyn MessageStore> {
        self.store.as_deref()
    }

    /// Returns the seq of a message in a log. Searches around the expected seq and among the newest
    /// entries.
    pub(super) async fn seq_in_log(&self, log: &LogId, id: MessageId) -> Result<Option<u64>, LogError> {
        match self.seq_near(log, id).await? {
            Some(seq) => Ok(Some(seq)),
            None => self.seq_among_newest(log, id).await,
        }
    }

    /// Returns the seq that a message has in a log, or had there and has in the message store.
    pub(super) async fn seq_of(&self, log: &LogId, id: MessageId) -> Result<Option<u64>, LookupError> {
        if let Some(seq) = self.seq_near(log, id).await? {
            return Ok(Some(seq));
        }
        if let Some(seq) = self.seq_in_store(log, id).await? {
            return Ok(Some(seq));
        }
        Ok(self.seq_among_newest(log, id).await?)
    }

    /// Returns the entry with this seq and this id, from the log or from the message store.
    pub(super) async fn entry_at(
        &self,
        log: &LogId,
        seq: u64,
        id: MessageId,
    ) -> Result<Option<RawEntry>, LookupError> {
        let Some(before) = seq.checked_sub(1) else { return Ok(None) };
        let is_it = |entry: &RawEntry| entry.seq == seq && entry.message_id == id;
        let page = self.log.read(log, before, ReadLimit::new(1)).await?;
        let found = page.entries.into_iter().map(RawEntry::from).find(is_it);
        // A log that was lost has nothing and ends before it begins.
        let (None, Some(store), true) = (&found, &self.store, seq < page.first || page.last == 0) else {
            return Ok(found);
        };
        let page = store.read(log, &StoreQuery::new(HistoryRange::After(before), 1)).await?;
        Ok(page.entries.into_iter().map(RawEntry::from).find(is_it))
    }

    /// Returns a message's entries in the message store, of up to `limit` logs.
    pub(super) async fn stored_entries(
        &self,
        id: MessageId,
        limit: usize,
    ) -> Result<Vec<StoredEntry>, MessageStoreError> {
        match &self.store {
            Some(store) => store.find_message(id, limit).await,
            None => Ok(Vec::new()),
        }
    }

    /// Searches around the expected seq: ids are nearly in order.
    async fn seq_near(&self, log: &LogId, id: MessageId) -> Result<Option<u64>, LogError> {
        let logs = &self.log;
        let ends = logs.ends(std::slice::from_ref(log)).await?;
        let Some(ends) = ends.first() else { return Ok(None) };
        // The first entry from which on ids are not lower is in `low..high`.
        let (mut low, mut high) = (ends.first, ends.last.saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            match logs.id_at(log, middle).await? {
                Some(found) if found >= id => high = middle,
                _ => low = middle + 1,
            }
        }
        if logs.id_at(log, low).await? == Some(id) {
            return Ok(Some(low));
        }
        let after = logs.read(log, low, NEAR).await?;
        if let Some(seq) = seq_of(&after.entries, id) {
            return Ok(Some(seq));
        }
        Ok(seq_of(&logs.read_back(log, Some(low), NEAR).await?.entries, id))
    }

    async fn seq_in_store(&self, log: &LogId, id: MessageId) -> Result<Option<u64>, MessageStoreError> {
        let Some(store) = &self.store else { return Ok(None) };
        let time = id.unix_ms();
        // One log hardly ever gets more in one millisecond.
        let query = StoreQuery::new(HistoryRange::After(0), STORED_AT_ONCE)
            .with_filter(Filter::new().since_ms(time).until_ms(time + 1));
        let page = store.read(log, &query).await?;
        Ok(page.entries.iter().find(|entry| entry.message_id == id).map(|entry| entry.seq))
    }

    /// Searches for a message that was logged long after it got its id, such as a send that was
    /// retried.
    async fn seq_among_newest(&self, log: &LogId, id: MessageId) -> Result<Option<u64>, LogError> {
        let (mut before, mut entries, mut bytes) = (None, 0, 0);
        while entries < MAX_NEWEST && bytes < MAX_NEWEST_BYTES {
            let page = self.log.read_back(log, before, NEWEST).await?;
            if let Some(seq) = seq_of(&page.entries, id) {
                return Ok(Some(seq));
            }
            entries += page.entries.len();
            bytes += page.entries.iter().map(|entry| entry.payload.len()).sum::<usize>();
            before = page.entries.last().map(|entry| entry.seq);
            if before.is_none_or(|seq| seq <= page.first) {
                break;
            }
        }
        Ok(None)
    }
}

fn seq_of(entries: &[Entry], id: MessageId) -> Option<u64> {
    entries.iter().find(|entry| entry.message_id == id).map(|entry| entry.seq)
}
