//! Reading a log, and before that the message store.

use prost::Message as _;

use super::{HistoryError, MAX_HISTORY_SCAN, PAGE, RawEntry, RawPage, TOLERANCE_MS};
use crate::{
    HistoryQuery, HistoryRange, Kind,
    backend::{
        im::Im,
        store::{MessageStore, StoreQuery, peer},
    },
    cluster::{Entry, LogId},
    id::UserId,
    proto::pb,
};

/// What is wanted of a log.
pub(super) struct Reading<'a> {
    pub(super) im: &'a Im,
    /// Whose inbox it is, where there is a `peer`.
    pub(super) owner: Option<&'a UserId>,
    pub(super) log: LogId,
    pub(super) peer: Option<UserId>,
    pub(super) query: &'a HistoryQuery,
    pub(super) limit: usize,
}

impl Reading<'_> {
    pub(super) async fn back(&self, before: Option<u64>) -> Result<RawPage, HistoryError> {
        let mut found: Vec<RawEntry> = Vec::new();
        let mut before = before;
        let mut looked_at = 0;
        loop {
            let page = self.im.inner.cluster.log().read_back(&self.log, before, PAGE).await?;
            let lowest = page.entries.last().map(|entry| entry.seq);
            looked_at += page.entries.len();
            let is_past = self.are_too_old(&page.entries);
            found.extend(page.entries.into_iter().filter(|entry| self.wants(entry)).map(RawEntry::from));
            if found.len() > self.limit {
                found.truncate(self.limit);
                found.reverse();
                let next = found.first().map(|entry| entry.seq);
                return Ok(RawPage::back(found, next));
            }
            match lowest {
                Some(seq) if is_past || seq > page.first && looked_at >= MAX_HISTORY_SCAN => {
                    found.reverse();
                    return Ok(RawPage::back(found, (!is_past).then_some(seq)));
                }
                Some(seq) if seq > page.first => before = Some(seq),
                Some(seq) => return self.back_in_store(found, HistoryRange::Before(seq)).await,
                // A log that was never used, or that was lost with all that was in it.
                None if page.last == 0 => {
                    let range = before.map_or(HistoryRange::Newest, HistoryRange::Before);
                    return self.back_in_store(found, range).await;
                }
                None => {
                    let before = before.map_or(page.first, |before| before.min(page.first));
                    return self.back_in_store(found, HistoryRange::Before(before)).await;
                }
            }
        }
    }

    /// What is older than all that the log had, which comes newest first.
    async fn back_in_store(
        &self,
        newest_first: Vec<RawEntry>,
        range: HistoryRange,
    ) -> Result<RawPage, HistoryError> {
        let newer = newest_first.into_iter().rev();
        let Some(store) = self.store() else {
            return Ok(RawPage::back(newer.collect(), None));
        };
        let page = store.read(&self.log, &self.store_query(range, newer.len())).await?;
        let older = page.entries.into_iter().map(RawEntry::from);
        let entries: Vec<_> = older.chain(newer).collect();
        let next = entries.first().map(|entry| entry.seq).filter(|_| page.more);
        Ok(RawPage::back(entries, next))
    }

    pub(super) async fn forward(&self, after: u64) -> Result<RawPage, HistoryError> {
        let mut found: Vec<RawEntry> = Vec::new();
        let mut after = after;
        let mut looked_at = 0;
        loop {
            let page = self.im.inner.cluster.log().read(&self.log, after, PAGE).await?;
            let is_lost = page.last == 0;
            if let Some(store) = self.store()
                && (is_lost || after.saturating_add(1) < page.first)
            {
                let end = if is_lost { u64::MAX } else { page.first };
                let more = self.forward_in_store(store, after, end, &mut found).await?;
                if more || is_lost {
                    let next = found.last().map(|entry| entry.seq).filter(|_| more);
                    return Ok(RawPage::forward(found, next));
                }
                after = page.first.saturating_sub(1);
                continue;
            }
            let highest = page.entries.last().map(|entry| entry.seq);
            looked_at += page.entries.len();
            let is_past = self.are_too_new(&page.entries);
            found.extend(page.entries.into_iter().filter(|entry| self.wants(entry)).map(RawEntry::from));
            if found.len() > self.limit {
                found.truncate(self.limit);
                let next = found.last().map(|entry| entry.seq);
                return Ok(RawPage::forward(found, next));
            }
            match highest {
                Some(seq) if seq < page.last && !is_past => {
                    if looked_at >= MAX_HISTORY_SCAN {
                        return Ok(RawPage::forward(found, Some(seq)));
                    }
                    after = seq;
                }
                _ => return Ok(RawPage::forward(found, None)),
            }
        }
    }

    /// Adds what the store has between two seqs. True: it has more of it than fits.
    async fn forward_in_store(
        &self,
        store: &dyn MessageStore,
        after: u64,
        end: u64,
        found: &mut Vec<RawEntry>,
    ) -> Result<bool, HistoryError> {
        let page = store.read(&self.log, &self.store_query(HistoryRange::After(after), found.len())).await?;
        let count = page.entries.len();
        let older: Vec<_> = page.entries.into_iter().filter(|entry| entry.seq < end).collect();
        let reached_the_log = older.len() < count;
        found.extend(older.into_iter().map(RawEntry::from));
        Ok(page.more && !reached_the_log)
    }

    fn store(&self) -> Option<&dyn MessageStore> {
        self.im.inner.config.message_store.as_deref()
    }

    fn store_query(&self, range: HistoryRange, found: usize) -> StoreQuery {
        StoreQuery::new(range, self.limit.saturating_sub(found))
            .with_peer(self.peer.clone())
            .with_filter(self.query.filter.clone())
    }

    /// Whether so many entries are older than what is wanted that what is before them is too.
    fn are_too_old(&self, page: &[Entry]) -> bool {
        let Some(since) = self.query.filter.since_ms else { return false };
        page.len() == PAGE && page.iter().all(|entry| entry.message_id.unix_ms() + TOLERANCE_MS < since)
    }

    /// Whether so many entries are newer than what is wanted that what is after them is too.
    fn are_too_new(&self, page: &[Entry]) -> bool {
        let Some(until) = self.query.filter.until_ms else { return false };
        let until = until.saturating_add(TOLERANCE_MS);
        page.len() == PAGE && page.iter().all(|entry| entry.message_id.unix_ms() >= until)
    }

    fn wants(&self, entry: &Entry) -> bool {
        let filter = &self.query.filter;
        filter.has_time(entry.message_id.unix_ms()) && self.is_of_a_kind(entry) && self.is_with_peer(entry)
    }

    /// The kind is looked for only where it matters.
    fn is_of_a_kind(&self, entry: &Entry) -> bool {
        let filter = &self.query.filter;
        filter.kinds.is_empty() || filter.has_kind(Kind::of_message(&entry.payload).as_ref())
    }

    fn is_with_peer(&self, entry: &Entry) -> bool {
        let (Some(owner), Some(wanted)) = (self.owner, &self.peer) else { return true };
        let message = pb::Message::decode(entry.payload.clone());
        message.is_ok_and(|message| peer(owner, &message).as_ref() == Some(wanted))
    }
}

impl RawPage {
    /// What is before it may follow.
    fn back(entries: Vec<RawEntry>, next: Option<u64>) -> Self {
        Self { entries, next: next.map(HistoryRange::Before) }
    }

    /// What is after it may follow.
    fn forward(entries: Vec<RawEntry>, next: Option<u64>) -> Self {
        Self { entries, next: next.map(HistoryRange::After) }
    }
}
