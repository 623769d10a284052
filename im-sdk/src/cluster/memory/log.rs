//! Logs inside one process.

use std::{
    collections::{HashMap, VecDeque, hash_map},
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;

use super::acks::MemoryAcks;
use crate::{
    cluster::{
        dedup::{Records, TransientRecords},
        log_id::LogId,
        quota::{Cutoffs, Limits, LogHead, OldEntry, SpaceRequest, Usage, foreign_writer, size_of},
        traits::{
            AckQuery, AckStore, Appended, DedupKey, DeviceAck, Entry, LogBounds, LogEnds, LogError, LogStore,
            NewEntry, Page, ReadLimit, idempotency::Record,
        },
        trim_clock::SteadyClock,
    },
    id::{Device, MessageId, UserId},
};

/// The number of logs from which on those of unknown users are removed.
const MIN_LOGS_TO_SWEEP: usize = 64;

/// Logs inside this process, lost when it ends. Clones share them. The only errors are
/// [`LogError::Stale`], [`LogError::Conflict`] and [`LogError::Full`].
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    logs: Arc<Mutex<HashMap<LogId, Log>>>,
    transient: TransientRecords,
    acks: Arc<MemoryAcks>,
    bounds: LogBounds,
    clock: SteadyClock,
    /// The number of logs at which those of unknown users are removed next.
    sweep_at: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Log {
    /// The entries; the last one has the seq `last`.
    entries: VecDeque<Entry>,
    /// The cost of each entry.
    parts: VecDeque<Part>,
    last: u64,
    bytes: u64,
    /// The cost of each writer's entries.
    held: HashMap<UserId, u64>,
    /// Whether the log is permanent: its user, or its channel, is known to exist.
    lasts: bool,
    records: Records,
}

/// The cost of an entry, and who bears it.
#[derive(Debug)]
struct Part {
    writer: Option<UserId>,
    bytes: u64,
    cost: u64,
}

impl MemoryLog {
    /// Creates empty logs.
    pub fn new(bounds: LogBounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    fn cutoffs(&self) -> Cutoffs {
        Cutoffs::at(Some(self.clock.now_ms()), &self.bounds)
    }

    fn append_to(
        &self,
        logs: &mut HashMap<LogId, Log>,
        id: &LogId,
        entry: NewEntry,
        cutoffs: Cutoffs,
    ) -> Result<Appended, LogError> {
        let log = match logs.get_mut(id) {
            Some(log) => log,
            None => {
                self.sweep(logs, cutoffs);
                logs.entry(id.clone()).or_default()
            }
        };
        log.append(id, entry, &self.bounds, cutoffs, || self.acknowledged(id))
    }

    /// Removes inboxes of unknown users in which every entry is too old. A user is unknown without
    /// acknowledgements and publishes, if no backend has written to the inbox.
    fn sweep(&self, logs: &mut HashMap<LogId, Log>, cutoffs: Cutoffs) {
        if logs.len() < self.sweep_at.load(Ordering::Relaxed).max(MIN_LOGS_TO_SWEEP) {
            return;
        }
        logs.retain(|id, log| {
            let is_too_old = log.entries.back().is_none_or(|entry| entry.message_id < cutoffs.age);
            log.lasts || !is_too_old || self.acknowledged(id).is_some()
        });
        // At twice as many: each new log then pays for one that a sweep inspects.
        self.sweep_at.store(2 * logs.len(), Ordering::Relaxed);
    }

    /// Returns the furthest acknowledgement of an inbox by a device of its owner.
    fn acknowledged(&self, log: &LogId) -> Option<u64> {
        match log {
            LogId::Inbox(owner) => self.acks.furthest(owner, log, self.bounds.max_age),
            LogId::Channel(_) => None,
        }
    }

    fn logs(&self) -> MutexGuard<'_, HashMap<LogId, Log>> {
        // Every change is complete before anything can panic.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `look` on a log after removing the entries that are too old.
    fn look<T>(&self, log: &LogId, look: impl FnOnce(&Log) -> T) -> T {
        let cutoffs = self.cutoffs();
        match self.logs().get_mut(log) {
            Some(log) => {
                log.trim_before(cutoffs.age);
                look(log)
            }
            None => look(&Log::default()),
        }
    }
}

#[async_trait]
impl LogStore for MemoryLog {
    async fn append(&self, log: &LogId, entry: NewEntry) -> Result<Appended, LogError> {
        let cutoffs = self.cutoffs();
        self.append_to(&mut self.logs(), log, entry, cutoffs)
    }

    async fn append_many(&self, entries: Vec<(LogId, NewEntry)>) -> Vec<Result<Appended, LogError>> {
        let cutoffs = self.cutoffs();
        let mut logs = self.logs();
        entries.into_iter().map(|(log, entry)| self.append_to(&mut logs, &log, entry, cutoffs)).collect()
    }

    async fn check_room(&self, entries: &[(LogId, NewEntry)]) -> Vec<Result<(), LogError>> {
        let cutoffs = self.cutoffs();
        let mut logs = self.logs();
        let check = |(id, entry): &(LogId, NewEntry)| {
            let Some(log) = logs.get_mut(id) else { return Ok(()) };
            log.check_room(id, entry, &self.bounds, cutoffs, || self.acknowledged(id))
        };
        entries.iter().map(check).collect()
    }

    async fn deduplicate(
        &self,
        log: &LogId,
        message_id: MessageId,
        once: &DedupKey,
    ) -> Result<MessageId, LogError> {
        self.transient.deduplicate(log, message_id, once, &self.bounds)
    }

    async fn read(&self, log: &LogId, after: u64, limit: ReadLimit) -> Result<Page, LogError> {
        self.look(log, |log| {
            let known = after.saturating_add(1).saturating_sub(log.ends().first);
            let entries = log.entries.iter().skip(clamp(known)).cloned();
            Ok(Page::new(limit.take(entries.map(Ok::<_, LogError>))?, log.ends()))
        })
    }

    async fn read_back(&self, log: &LogId, before: Option<u64>, limit: ReadLimit) -> Result<Page, LogError> {
        self.look(log, |log| {
            let before = before.unwrap_or(u64::MAX);
            let newer = log.ends().last.saturating_add(1).saturating_sub(before);
            let entries = log.entries.iter().rev().skip(clamp(newer)).cloned();
            Ok(Page::new(limit.take(entries.map(Ok::<_, LogError>))?, log.ends()))
        })
    }

    async fn replace(
        &self,
        log: &LogId,
        seq: u64,
        message_id: MessageId,
        payload: Bytes,
    ) -> Result<bool, LogError> {
        let cutoffs = self.cutoffs();
        let mut logs = self.logs();
        let Some(log) = logs.get_mut(log) else { return Ok(false) };
        log.trim_before(cutoffs.age);
        Ok(log.replace(seq, message_id, payload))
    }

    async fn id_at(&self, log: &LogId, seq: u64) -> Result<Option<MessageId>, LogError> {
        Ok(self.look(log, |log| log.entries.get(log.index(seq)?).map(|entry| entry.message_id)))
    }

    async fn ends(&self, logs: &[LogId]) -> Result<Vec<LogEnds>, LogError> {
        Ok(logs.iter().map(|log| self.look(log, Log::ends)).collect())
    }
}

#[async_trait]
impl AckStore for MemoryLog {
    async fn note_acks(&self, acks: &[DeviceAck]) -> Result<Vec<bool>, LogError> {
        Ok(self.acks.note(acks, self.bounds.max_age))
    }

    async fn acked(&self, questions: &[AckQuery]) -> Result<Vec<Vec<(Device, u64)>>, LogError> {
        Ok(self.acks.find(questions, self.bounds.max_age))
    }

    async fn lower_ack(&self, ack: &DeviceAck) -> Result<(), LogError> {
        self.acks.lower(ack);
        Ok(())
    }
}

impl Log {
    fn ends(&self) -> LogEnds {
        LogEnds { first: self.last + 1 - self.entries.len() as u64, last: self.last }
    }

    fn append(
        &mut self,
        id: &LogId,
        entry: NewEntry,
        bounds: &LogBounds,
        cutoffs: Cutoffs,
        acknowledged: impl Fn() -> Option<u64>,
    ) -> Result<Appended, LogError> {
        if let Some(answer) = self.answer(&entry) {
            return answer;
        }
        self.trim_before(cutoffs.age);
        let limits = Limits::of(id, bounds);
        if limits.is_full(self.used().with(size_of(&entry)), 1) {
            let wanted = SpaceRequest::new(id, &entry, bounds, cutoffs, acknowledged());
            let Ok(room) = wanted.make_room(self);
            (0..room?).for_each(|_| self.pop());
        }
        self.lasts |= matches!(id, LogId::Channel(_)) || foreign_writer(id, &entry).is_none();
        self.last += 1;
        let (seq, bytes) = (self.last, size_of(&entry));
        let NewEntry { message_id, payload, dedup_key, writer, .. } = entry;
        if let Some(once) = dedup_key {
            let record = Record::new(&once, seq, message_id);
            self.records.insert(once.record_name(), record, once.ttl(bounds));
        }
        let part = Part { writer, bytes, cost: limits.cost(bytes) };
        if let Some(writer) = &part.writer {
            *self.held.entry(writer.clone()).or_default() += part.cost;
        }
        self.bytes += bytes;
        self.entries.push_back(Entry { seq, message_id, payload });
        self.parts.push_back(part);
        Ok(Appended { seq, message_id, repeated: false })
    }

    fn check_room(
        &mut self,
        id: &LogId,
        entry: &NewEntry,
        bounds: &LogBounds,
        cutoffs: Cutoffs,
        acknowledged: impl Fn() -> Option<u64>,
    ) -> Result<(), LogError> {
        if self.answer(entry).is_some() {
            return Ok(());
        }
        let Ok(room) = SpaceRequest::new(id, entry, bounds, cutoffs, acknowledged()).make_room(self);
        room.map(drop)
    }

    /// Returns the recorded result of an earlier attempt.
    fn answer(&self, entry: &NewEntry) -> Option<Result<Appended, LogError>> {
        entry.dedup_key.as_ref().and_then(|once| self.records.get(&once.record_name())?.answer(once))
    }

    /// Returns the index of an entry that was not trimmed.
    fn index(&self, seq: u64) -> Option<usize> {
        seq.checked_sub(self.ends().first).map(clamp)
    }

    fn replace(&mut self, seq: u64, message_id: MessageId, payload: Bytes) -> bool {
        let entry = self.index(seq).and_then(|index| self.entries.get_mut(index));
        let Some(entry) = entry.filter(|entry| entry.message_id == message_id) else { return false };
        entry.payload = payload;
        true
    }

    fn trim_before(&mut self, oldest: MessageId) {
        while self.entries.front().is_some_and(|entry| entry.message_id < oldest) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        self.entries.pop_front();
        let Some(Part { writer, bytes, cost }) = self.parts.pop_front() else { return };
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(writer) = writer
            && let hash_map::Entry::Occupied(mut held) = self.held.entry(writer)
        {
            *held.get_mut() = held.get().saturating_sub(cost);
            if *held.get() == 0 {
                held.remove();
            }
        }
    }
}

impl LogHead for Log {
    type Error = Infallible;

    fn used(&self) -> Usage {
        Usage { entries: self.entries.len() as u64, bytes: self.bytes }
    }

    fn entry(&mut self, index: u64) -> Result<Option<OldEntry>, Infallible> {
        let found = self.entries.get(clamp(index)).zip(self.parts.get(clamp(index)));
        Ok(found.map(|(entry, part)| OldEntry {
            seq: entry.seq,
            message_id: entry.message_id,
            writer: part.writer.clone(),
            bytes: part.bytes,
        }))
    }

    fn held_by(&mut self, writer: &UserId) -> Result<u64, Infallible> {
        Ok(self.held.get(writer).copied().unwrap_or_default())
    }
}

fn clamp(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::{conformance::check_log, dedup::MIN_RECORDS_TO_SWEEP};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn conforms() {
        check_log(async |bounds| MemoryLog::new(bounds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_ran_out_are_removed() {
        let (log, bob) = (MemoryLog::default(), LogId::Inbox("bob".parse().unwrap()));
        for number in 0..10_000 {
            let once =
                DedupKey::Key { key: number.to_string(), ttl: Duration::from_secs(1), digest: [0; 16] };
            let id = MessageId::from_u64(u64::MAX >> 1).unwrap();
            log.append(&bob, NewEntry::new(id, Bytes::new()).with_dedup_key(once)).await.unwrap();
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert!(log.logs()[&bob].records.len() <= MIN_RECORDS_TO_SWEEP);
    }

    #[tokio::test]
    async fn inboxes_of_users_that_do_not_exist_are_removed() {
        let bounds = LogBounds { max_age: Duration::from_secs(3600), ..LogBounds::default() };
        let (log, mallory) = (MemoryLog::new(bounds), "mallory".parse::<UserId>().unwrap());
        let inbox = |name: String| LogId::Inbox(name.parse().unwrap());
        // An entry of long ago.
        let entry = || NewEntry::new(MessageId::first_at(1_735_700_000_000), Bytes::from_static(b"hi"));
        let (known, told) = (inbox("reader".into()), inbox("told".into()));
        for id in [&known, &told] {
            log.append(id, entry().by(mallory.clone())).await.unwrap();
        }
        let ack = DeviceAck::new("reader".parse().unwrap(), "web/tab".parse().unwrap(), known.clone(), 1);
        log.note_acks(&[ack]).await.unwrap();
        log.append(&told, entry()).await.unwrap();
        for ghost in 0..10_000 {
            log.append(&inbox(format!("ghost-{ghost}")), entry().by(mallory.clone())).await.unwrap();
        }
        assert!(log.logs().len() <= 2 * MIN_LOGS_TO_SWEEP, "{} logs", log.logs().len());
        assert_eq!(log.append(&known, entry()).await.unwrap().seq, 2, "who reads exists");
        assert_eq!(log.append(&told, entry()).await.unwrap().seq, 3, "as whom a backend writes to");
    }
}
