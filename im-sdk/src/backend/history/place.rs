//! Where in a log a message is.

use super::{HistoryError, MAX_HISTORY_SCAN};
use crate::{
    Filter, HistoryRange,
    backend::{im::Im, message_store::StoreQuery},
    cluster::{Entry, LogError, LogId, ReadLimit},
    history::HistoryStart,
    id::MessageId,
};

/// How many entries on each side of the expected place are looked at, and how many bytes: as many as one log gets within what
/// clocks of back ends differ by.
const NEAR: ReadLimit = ReadLimit::new(64).with_bytes(64 * 1024);

/// How many entries of one millisecond the message store is asked for.
const STORED_AT_ONCE: usize = 64;

/// What is read at once of the newest entries, and how many bytes of them in all.
const NEWEST: ReadLimit = ReadLimit::new(256).with_bytes(64 * 1024);
const MAX_NEWEST_BYTES: usize = 512 * 1024;

impl Im {
    /// The range that begins where a query does.
    pub(super) async fn range(&self, log: &LogId, start: HistoryStart) -> Result<HistoryRange, HistoryError> {
        match start {
            HistoryStart::Range(range) => Ok(range),
            HistoryStart::BeforeMessage(id) => Ok(HistoryRange::Before(self.seq_of(log, id).await?)),
            HistoryStart::AfterMessage(id) => Ok(HistoryRange::After(self.seq_of(log, id).await?)),
        }
    }

    /// Where a message is in a log, as far as it is looked for: around its expected place, and among the newest entries.
    pub(in crate::backend) async fn seq_in_log(
        &self,
        log: &LogId,
        id: MessageId,
    ) -> Result<Option<u64>, LogError> {
        match self.seq_near(log, id).await? {
            Some(seq) => Ok(Some(seq)),
            None => self.seq_among_newest(log, id).await,
        }
    }

    async fn seq_of(&self, log: &LogId, id: MessageId) -> Result<u64, HistoryError> {
        self.place_in(log, id).await?.ok_or(HistoryError::NoSuchMessage(id))
    }

    /// Where a message is in a log, or was: in the message store.
    pub(in crate::backend) async fn place_in(
        &self,
        log: &LogId,
        id: MessageId,
    ) -> Result<Option<u64>, HistoryError> {
        if let Some(seq) = self.seq_near(log, id).await? {
            return Ok(Some(seq));
        }
        if let Some(seq) = self.seq_in_store(log, id).await? {
            return Ok(Some(seq));
        }
        Ok(self.seq_among_newest(log, id).await?)
    }

    /// Looks where it is to be expected: ids are as good as in order.
    async fn seq_near(&self, log: &LogId, id: MessageId) -> Result<Option<u64>, LogError> {
        let logs = self.inner.cluster.log();
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

    async fn seq_in_store(&self, log: &LogId, id: MessageId) -> Result<Option<u64>, HistoryError> {
        let Some(store) = self.inner.config.message_store.as_deref() else { return Ok(None) };
        let time = id.unix_ms();
        // More than one log ever gets in one millisecond, nearly.
        let query = StoreQuery::new(HistoryRange::After(0), STORED_AT_ONCE)
            .with_filter(Filter::new().since_ms(time).until_ms(time + 1));
        let page = store.read(log, &query).await?;
        Ok(page.entries.iter().find(|entry| entry.message_id == id).map(|entry| entry.seq))
    }

    /// One that got into its log long after it got its id, such as a send that was retried.
    async fn seq_among_newest(&self, log: &LogId, id: MessageId) -> Result<Option<u64>, LogError> {
        let (mut before, mut entries, mut bytes) = (None, 0, 0);
        while entries < MAX_HISTORY_SCAN && bytes < MAX_NEWEST_BYTES {
            let page = self.inner.cluster.log().read_back(log, before, NEWEST).await?;
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
