//! Reads pages from a log, and before its beginning from the message store.
//!
//! Memory stays bounded for large messages: a read of the log is limited to the bytes that the page
//! has room for, or with a filter to the bytes that are left of the scan. Entries that do not match
//! are dropped at once.

use prost::Message as _;

use super::{
    HistoryError, PAGE, RawPage, Shows, TOLERANCE_MS,
    scan::{Found, Scan},
};
use crate::{
    HistoryQuery, HistoryRange, Kind,
    backend::{
        lookup::MessageLookup,
        message_store::{MessageStore, RawEntry, StorePage, StoreQuery, peer},
    },
    cluster::{Entry, LogId, Page, ReadLimit},
    id::UserId,
    proto::pb,
};

/// The number of entries in the first read of the message store. The largest of these take a
/// megabyte.
const FIRST_STORED: usize = 16;

/// A request for a page of a log.
pub(super) struct Reading<'a> {
    pub(super) lookup: &'a MessageLookup,
    /// The owner of the inbox, if there is a `peer`.
    pub(super) owner: Option<&'a UserId>,
    pub(super) log: LogId,
    pub(super) peer: Option<UserId>,
    pub(super) query: &'a HistoryQuery,
    pub(super) shows: Shows,
    /// The limit of the page.
    pub(super) limit: ReadLimit,
}

/// The point at which a page of a log was left.
enum Left {
    /// After this entry, the last one scanned. `None` if the page was empty.
    At(Option<u64>),
    /// Before this entry, which does not fit.
    Before(u64),
}

impl Reading<'_> {
    pub(super) async fn back(&self, before: Option<u64>) -> Result<RawPage, HistoryError> {
        let (mut found, mut scan) = (Found::new(self.limit), Scan::new());
        let mut before = before;
        loop {
            let (limit, fills) = self.next_read(&found, &mut scan);
            let page = self.lookup.log().read_back(&self.log, before, limit).await?;
            let (first, last) = (page.first, page.last);
            let is_filled = fills && page.entries.len() < limit.entries;
            let lowest = match self.take(page, &mut found, &mut scan, |entry| self.is_too_old(entry)) {
                Left::Before(seq) => return Ok(RawPage::back(found.reversed(), Some(seq.saturating_add(1)))),
                Left::At(lowest) => lowest,
            };
            match lowest {
                Some(_) if scan.is_past() => return Ok(RawPage::back(found.reversed(), None)),
                Some(seq) if seq > first && (found.is_full() || is_filled || scan.is_over()) => {
                    return Ok(RawPage::back(found.reversed(), Some(seq)));
                }
                Some(seq) if seq > first => before = Some(seq),
                Some(seq) => return self.back_in_store(found, HistoryRange::Before(seq)).await,
                // The log was never used, or was lost with all its entries.
                None if last == 0 => {
                    let range = before.map_or(HistoryRange::Newest, HistoryRange::Before);
                    return self.back_in_store(found, range).await;
                }
                None => {
                    let before = before.map_or(first, |before| before.min(first));
                    return self.back_in_store(found, HistoryRange::Before(before)).await;
                }
            }
        }
    }

    /// Adds older entries from the message store to those of the log, which are newest first.
    async fn back_in_store(&self, found: Found, range: HistoryRange) -> Result<RawPage, HistoryError> {
        let Some(store) = self.store() else {
            return Ok(RawPage::back(found.reversed(), None));
        };
        let page = self.stored(store, range, &found).await?;
        let older = page.entries.into_iter().map(RawEntry::from);
        let found = found.reversed();
        let entries: Vec<_> = older.chain(found.entries).collect();
        let next = entries.first().map(|entry| entry.seq).filter(|_| page.more);
        let (changes, looked) = (found.changes, found.looked);
        Ok(RawPage { entries, next: next.map(HistoryRange::Before), changes, looked })
    }

    pub(super) async fn forward(&self, after: u64) -> Result<RawPage, HistoryError> {
        let (mut found, mut scan) = (Found::new(self.limit), Scan::new());
        let mut after = after;
        loop {
            let (limit, fills) = self.next_read(&found, &mut scan);
            let page = self.lookup.log().read(&self.log, after, limit).await?;
            let (first, last) = (page.first, page.last);
            let is_filled = fills && page.entries.len() < limit.entries;
            let is_lost = last == 0;
            if let Some(store) = self.store()
                && (is_lost || after.saturating_add(1) < first)
            {
                let end = if is_lost { u64::MAX } else { first };
                let more = self.forward_in_store(store, after, end, &mut found).await?;
                if more || is_lost {
                    let next = found.entries.last().map(|entry| entry.seq).filter(|_| more);
                    return Ok(RawPage::forward(found, next));
                }
                after = first.saturating_sub(1);
                if found.is_full() {
                    return Ok(RawPage::forward(found, (after < last).then_some(after)));
                }
                continue;
            }
            let highest = match self.take(page, &mut found, &mut scan, |entry| self.is_too_new(entry)) {
                Left::Before(seq) => return Ok(RawPage::forward(found, Some(seq.saturating_sub(1)))),
                Left::At(highest) => highest,
            };
            match highest {
                Some(seq) if seq < last && !scan.is_past() => {
                    if found.is_full() || is_filled || scan.is_over() {
                        return Ok(RawPage::forward(found, Some(seq)));
                    }
                    after = seq;
                }
                _ => return Ok(RawPage::forward(found, None)),
            }
        }
    }

    /// Adds the store's entries between two seqs. Returns `true` if the store has more of them than
    /// fit.
    async fn forward_in_store(
        &self,
        store: &dyn MessageStore,
        after: u64,
        end: u64,
        found: &mut Found,
    ) -> Result<bool, HistoryError> {
        let page = self.stored(store, HistoryRange::After(after), found).await?;
        let count = page.entries.len();
        let older: Vec<_> = page.entries.into_iter().filter(|entry| entry.seq < end).collect();
        let reached_the_log = older.len() < count;
        older.into_iter().map(RawEntry::from).for_each(|entry| found.push(entry));
        Ok(page.more && !reached_the_log)
    }

    fn store(&self) -> Option<&dyn MessageStore> {
        self.lookup.store()
    }

    /// Reads a range of the message store, about as much as there is room for. Each read is as
    /// large as the sizes of the entries before suggest.
    async fn stored(
        &self,
        store: &dyn MessageStore,
        range: HistoryRange,
        found: &Found,
    ) -> Result<StorePage, HistoryError> {
        let (room, mut range) = (found.room(), range);
        let (mut all, mut bytes) = (StorePage::default(), 0);
        // If the page is full, only whether more follows is of interest.
        let mut wanted = if found.is_full() { 0 } else { FIRST_STORED.min(room.entries) };
        loop {
            let query = StoreQuery::new(range, wanted)
                .with_peer(self.peer.clone())
                .with_filter(self.query.filter.clone());
            let page = store.read(&self.log, &query).await?;
            bytes += page.entries.iter().map(|entry| entry.message.len()).sum::<usize>();
            all.more = page.more;
            let is_forward = matches!(range, HistoryRange::After(_));
            let furthest = if is_forward { page.entries.last() } else { page.entries.first() };
            let Some(furthest) = furthest.map(|entry| entry.seq) else { return Ok(all) };
            let [before, behind] =
                if is_forward { [all.entries, page.entries] } else { [page.entries, all.entries] };
            all.entries = before.into_iter().chain(behind).collect();
            let left = room.entries.saturating_sub(all.entries.len());
            if !all.more || left == 0 || bytes >= room.bytes {
                return Ok(all);
            }
            let by_size = (room.bytes - bytes) * all.entries.len() / bytes.max(1);
            wanted = by_size.clamp(1, PAGE).min(left);
            range = if is_forward { HistoryRange::After(furthest) } else { HistoryRange::Before(furthest) };
        }
    }

    /// Returns the limit of the next read of the log, and whether the page is full if that read
    /// brings fewer entries although the log goes on.
    fn next_read(&self, found: &Found, scan: &mut Scan) -> (ReadLimit, bool) {
        let filter = &self.query.filter;
        let is_all_wanted = self.peer.is_none()
            && filter.kinds.is_empty()
            && filter.since_ms.is_none()
            && filter.until_ms.is_none();
        if !is_all_wanted {
            return (scan.next_read(), false);
        }
        let room = found.room();
        let bytes = room.bytes.min(ReadLimit::USUAL_BYTES);
        if self.shows == Shows::Messages && !scan.begins() {
            // Changes took up places of messages. A long row of them must not be read one by one.
            return (ReadLimit::new(PAGE).with_bytes(bytes), bytes == room.bytes);
        }
        (ReadLimit::new(room.entries.clamp(1, PAGE)).with_bytes(bytes), bytes == room.bytes)
    }

    /// Takes the matching entries of a page of the log, until the page of history is full.
    fn take(
        &self,
        page: Page,
        found: &mut Found,
        scan: &mut Scan,
        is_beyond: impl Fn(&Entry) -> bool,
    ) -> Left {
        let (mut at, last) = (None, page.last);
        for entry in page.entries {
            if found.is_full() {
                break;
            }
            if self.shows == Shows::Messages && Kind::of_message(&entry.payload) == Some(Kind::Change) {
                found.changes.push(RawEntry::from(entry.clone()));
            } else if self.wants(&entry) {
                if !found.has_room_for(entry.payload.len()) {
                    return Left::Before(entry.seq);
                }
                found.push(RawEntry::from(entry.clone()));
            }
            scan.note(&entry, is_beyond(&entry));
            found.look_at(entry.seq, last);
            at = Some(entry.seq);
        }
        Left::At(at)
    }

    fn is_too_old(&self, entry: &Entry) -> bool {
        let since = self.query.filter.since_ms;
        since.is_some_and(|since| entry.message_id.unix_ms() + TOLERANCE_MS < since)
    }

    fn is_too_new(&self, entry: &Entry) -> bool {
        let until = self.query.filter.until_ms;
        until.is_some_and(|until| entry.message_id.unix_ms() >= until.saturating_add(TOLERANCE_MS))
    }

    fn wants(&self, entry: &Entry) -> bool {
        let filter = &self.query.filter;
        filter.has_time(entry.message_id.unix_ms()) && self.is_of_a_kind(entry) && self.is_with_peer(entry)
    }

    /// The kind is decoded only if it matters.
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
    /// Builds a page that may continue before a seq.
    fn back(found: Found, next: Option<u64>) -> Self {
        let Found { entries, changes, looked, .. } = found;
        Self { entries, next: next.map(HistoryRange::Before), changes, looked }
    }

    /// Builds a page that may continue after a seq.
    fn forward(found: Found, next: Option<u64>) -> Self {
        let Found { entries, changes, looked, .. } = found;
        Self { entries, next: next.map(HistoryRange::After), changes, looked }
    }
}
