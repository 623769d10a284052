//! Reactions and pins of the messages on a page. They are logged after their messages, often on
//! newer pages.
//!
//! ```text
//!   seq  | page of history |              | what came since |
//!   log  m1 m2 m3 .. r(m2) .. m4 .. r(m1) .. pin(m3) .. last
//!        <------ remembered for the next, older page ------>
//! ```
//!
//! A page scans the log from its first message to the log's end. The marks found there are remembered for a while, so
//! that going back page by page scans each entry once.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use prost::Message as _;

use super::{MAX_HISTORY_SCAN, MAX_HISTORY_SCAN_BYTES, PAGE, RawPage};
use crate::{
    Filter, HistoryRange, Kind,
    backend::{
        lookup::{LookupError, MessageLookup},
        message_store::{MessageStoreError, RawEntry, StoreQuery},
    },
    cluster::{LogError, LogId, LogStore, ReadLimit},
    id::MessageId,
    proto::{
        pb,
        pb::{change::What, content::Body},
    },
};

/// The number of logs whose marks are remembered, and of marks for each, at some 200 bytes.
const MAX_LOGS: usize = 64;
const MAX_MARKS: usize = 2048;

/// The number of changes that are read from the message store, for messages that have left the log.
const MAX_STORED: usize = 256;

/// The remembered marks of logs.
#[derive(Debug, Default)]
pub(in crate::backend) struct KnownMarks {
    logs: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    marks: HashMap<LogId, LogMarks>,
    /// The logs, oldest first.
    order: VecDeque<LogId>,
}

impl KnownMarks {
    fn take(&self, log: &LogId) -> Option<LogMarks> {
        let mut known = self.lock();
        known.order.retain(|other| other != log);
        known.marks.remove(log)
    }

    fn put(&self, log: LogId, marks: LogMarks) {
        let mut known = self.lock();
        if known.marks.insert(log.clone(), marks).is_none() {
            known.order.push_back(log);
        }
        if known.order.len() > MAX_LOGS
            && let Some(oldest) = known.order.pop_front()
        {
            known.marks.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Every change is complete before anything can panic.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of a log that was scanned for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend) struct Looked {
    pub(super) low: u64,
    pub(super) high: u64,
    /// The last entry of the log at that time.
    pub(super) last: u64,
}

/// The reactions and pins in a part of a log without gaps.
#[derive(Debug)]
struct LogMarks {
    low: u64,
    high: u64,
    /// The id of the message at `high`, if known. A rollback replaces it.
    high_id: Option<MessageId>,
    /// The marks by seq.
    marks: BTreeMap<u64, Mark>,
}

#[derive(Clone, Debug)]
struct Mark {
    message_id: MessageId,
    of: MessageId,
    message: Bytes,
}

impl Mark {
    fn of(entry: &RawEntry) -> Option<Self> {
        let message = pb::Message::decode(entry.message.clone()).ok()?;
        let Some(Body::Change(change)) = message.content?.body else { return None };
        matches!(change.what, Some(What::Reaction(_) | What::Pin(_))).then_some(())?;
        let of = MessageId::from_u64(change.message_id)?;
        // A copy, so that a small mark does not keep a large buffer in memory.
        let message = Bytes::copy_from_slice(&entry.message);
        Some(Self { message_id: entry.message_id, of, message })
    }
}

impl LogMarks {
    fn new(looked: Looked, changes: &[RawEntry]) -> Self {
        let mut marks = Self { low: looked.low, high: looked.high, high_id: None, marks: BTreeMap::new() };
        marks.note(changes);
        marks
    }

    fn note<'a>(&mut self, entries: impl IntoIterator<Item = &'a RawEntry>) {
        let is_change = |entry: &&RawEntry| Kind::of_message(&entry.message) == Some(Kind::Change);
        for entry in entries.into_iter().filter(is_change) {
            self.marks.extend(Mark::of(entry).map(|mark| (entry.seq, mark)));
        }
        while self.marks.len() > MAX_MARKS
            && let Some((seq, _)) = self.marks.pop_first()
        {
            self.low = seq + 1;
        }
    }

    /// Adds the marks of a scanned part, unless that leaves a gap.
    fn join(&mut self, looked: Looked, changes: &[RawEntry]) -> bool {
        if looked.low > self.high.saturating_add(1) || looked.high.saturating_add(1) < self.low {
            return false;
        }
        if looked.high > self.high {
            (self.high, self.high_id) = (looked.high, None);
        }
        self.low = self.low.min(looked.low);
        self.note(changes);
        true
    }
}

impl KnownMarks {
    /// Returns the reactions and pins of a page's messages, if they are among the entries behind it
    /// that one page may scan.
    pub(super) async fn of_page(
        &self,
        lookup: &MessageLookup,
        log: &LogId,
        page: &RawPage,
    ) -> Result<Vec<RawEntry>, LookupError> {
        let ids: HashSet<MessageId> = page.entries.iter().map(|entry| entry.message_id).collect();
        let (Some(first), false) = (page.entries.first(), ids.is_empty()) else { return Ok(Vec::new()) };
        let mut marks = Vec::new();
        if page.looked.is_none_or(|looked| first.seq < looked.low) {
            marks = stored_marks(lookup, log, first.seq, &ids).await?;
        }
        let Some(looked) = page.looked else { return Ok(newest_of_each(marks)) };
        let known = self.take(log).filter(|known| known.high <= looked.last);
        let of_page = || LogMarks::new(looked, &page.changes);
        let (mut known, newer) = match known {
            None => (of_page(), None),
            Some(mut known) => {
                if known.join(looked, &page.changes) {
                    (known, None)
                } else {
                    // The page is far before the remembered part: the entries between are scanned
                    // now.
                    (of_page(), Some(known).filter(|known| looked.high < known.low))
                }
            }
        };
        let mut budget = Budget::default();
        if let Some(newer) = newer {
            look_on(lookup.log(), log, &mut known, newer.low.saturating_sub(1), &mut budget).await?;
            if known.high.saturating_add(1) >= newer.low && known.high <= newer.high {
                (known.high, known.high_id) = (newer.high, newer.high_id);
                known.marks.extend(newer.marks);
            }
        }
        look_on(lookup.log(), log, &mut known, looked.last, &mut budget).await?;
        let of_page = known.marks.iter().filter(|(_, mark)| ids.contains(&mark.of));
        marks.extend(of_page.map(|(seq, mark)| {
            let (message_id, message) = (mark.message_id, mark.message.clone());
            RawEntry { seq: *seq, message_id, message }
        }));
        self.put(log.clone(), known);
        Ok(newest_of_each(marks))
    }
}

/// Scans up to an entry, within the budget.
async fn look_on(
    store: &Arc<dyn LogStore>,
    log: &LogId,
    known: &mut LogMarks,
    to: u64,
    budget: &mut Budget,
) -> Result<(), LogError> {
    while known.high < to
        && let Some(limit) = budget.next_read()
    {
        // Begins with the last known entry, to see whether it is still there.
        let checks = u64::from(known.high_id.is_some());
        let after = known.high.saturating_sub(checks);
        let page = store.read(log, after, limit).await?;
        if page.entries.is_empty() {
            break;
        }
        budget.note(page.entries.iter().map(|entry| entry.payload.len()));
        let entries: Vec<RawEntry> = page.entries.into_iter().map(RawEntry::from).collect();
        let is_lost = |id| entries.first().is_none_or(|entry| entry.message_id != id);
        if known.high_id.is_some_and(is_lost) {
            // The log was rolled back.
            known.marks.clear();
            (known.low, known.high_id) = (known.high.saturating_add(1), None);
            continue;
        }
        known.note(&entries);
        if let Some(last) = entries.last() {
            (known.high, known.high_id) = (last.seq, Some(last.message_id));
        }
    }
    Ok(())
}

/// Returns the reactions and pins of messages that have left the log.
async fn stored_marks(
    lookup: &MessageLookup,
    log: &LogId,
    first: u64,
    ids: &HashSet<MessageId>,
) -> Result<Vec<RawEntry>, MessageStoreError> {
    let Some(store) = lookup.store() else { return Ok(Vec::new()) };
    let query = StoreQuery::new(HistoryRange::After(first), MAX_STORED)
        .with_filter(Filter::new().kinds([Kind::Change]));
    let stored = store.read(log, &query).await?.entries.into_iter().map(RawEntry::from);
    Ok(stored.filter(|entry| Mark::of(entry).is_some_and(|mark| ids.contains(&mark.of))).collect())
}

/// The entries and bytes that may be scanned for one page.
struct Budget {
    entries: usize,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { entries: MAX_HISTORY_SCAN, bytes: MAX_HISTORY_SCAN_BYTES }
    }
}

impl Budget {
    fn next_read(&self) -> Option<ReadLimit> {
        let limit = ReadLimit::new(self.entries.min(4 * PAGE));
        let limit = limit.with_bytes(self.bytes.min(ReadLimit::USUAL_BYTES));
        (self.entries > 1 && self.bytes > 0).then_some(limit)
    }

    fn note(&mut self, sizes: impl Iterator<Item = usize>) {
        for size in sizes {
            self.entries = self.entries.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(size);
        }
    }
}

/// Returns the last of each user's reactions with one emoji, and of pins, in the order of their
/// seqs.
fn newest_of_each(marks: Vec<RawEntry>) -> Vec<RawEntry> {
    let mut newest: HashMap<Vec<u8>, ((u64, u64), RawEntry)> = HashMap::new();
    for entry in marks {
        let message = pb::Message::decode(entry.message.clone()).unwrap_or_default();
        let Some(Body::Change(change)) = message.content.and_then(|content| content.body) else { continue };
        let (emoji, from) = match &change.what {
            Some(What::Reaction(reaction)) => (reaction.emoji.as_str(), message.from.as_str()),
            _ => ("", ""),
        };
        let key = [&change.message_id.to_be_bytes()[..], from.as_bytes(), b" ", emoji.as_bytes()].concat();
        let rank = (change.order, message.id);
        if newest.get(&key).is_none_or(|(there, _)| *there < rank) {
            newest.insert(key, (rank, entry));
        }
    }
    let mut newest: Vec<RawEntry> = newest.into_values().map(|(_, entry)| entry).collect();
    newest.sort_by_key(|entry| (entry.seq, entry.message_id));
    newest
}
