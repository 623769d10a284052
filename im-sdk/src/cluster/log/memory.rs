//! Logs inside one process.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    AckQuestion, AckStore, Appended, DeviceAck, Ends, Entry, LogBounds, LogError, LogId, LogStore, NewEntry,
    Page,
    acks::MemoryAcks,
    live::LiveRecords,
    once::{Once, Record},
};
use crate::id::{Device, MessageId};

/// How many records a log has before those that ran out are looked for.
const MIN_RECORDS_TO_SWEEP: usize = 64;

/// Logs inside this process, gone when it ends. Clones share them. It never fails but for [`LogError::Stale`] and
/// [`LogError::Conflict`].
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    logs: Arc<Mutex<HashMap<LogId, Log>>>,
    live: LiveRecords,
    acks: Arc<MemoryAcks>,
    bounds: LogBounds,
}

#[derive(Debug, Default)]
struct Log {
    /// The last one has the seq `last`.
    entries: VecDeque<Entry>,
    last: u64,
    records: Records,
}

impl MemoryLog {
    /// Empty logs.
    pub fn new(bounds: LogBounds) -> Self {
        Self { logs: Arc::default(), live: LiveRecords::default(), acks: Arc::default(), bounds }
    }

    fn logs(&self) -> MutexGuard<'_, HashMap<LogId, Log>> {
        // Every change is complete before anything can panic.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at a log from which everything too old is gone.
    fn look<T>(&self, log: &LogId, look: impl FnOnce(&Log) -> T) -> T {
        let oldest = self.bounds.oldest_id();
        match self.logs().get_mut(log) {
            Some(log) => {
                log.trim_before(oldest);
                look(log)
            }
            None => look(&Log::default()),
        }
    }
}

#[async_trait]
impl LogStore for MemoryLog {
    async fn append(&self, log: &LogId, entry: NewEntry) -> Result<Appended, LogError> {
        let oldest = self.bounds.oldest_id();
        let mut logs = self.logs();
        let log = match logs.get_mut(log) {
            Some(log) => log,
            None => logs.entry(log.clone()).or_default(),
        };
        log.append(entry, &self.bounds, oldest)
    }

    async fn append_many(&self, entries: Vec<(LogId, NewEntry)>) -> Vec<Result<Appended, LogError>> {
        let oldest = self.bounds.oldest_id();
        let mut logs = self.logs();
        let entries = entries.into_iter();
        entries.map(|(log, entry)| logs.entry(log).or_default().append(entry, &self.bounds, oldest)).collect()
    }

    async fn remember(&self, log: &LogId, message_id: MessageId, once: &Once) -> Result<MessageId, LogError> {
        self.live.remember(log, message_id, once, &self.bounds)
    }

    async fn read(&self, log: &LogId, after: u64, limit: usize) -> Result<Page, LogError> {
        Ok(self.look(log, |log| {
            let known = after.saturating_add(1).saturating_sub(log.ends().first);
            let entries = log.entries.iter().skip(clamp(known)).take(limit).cloned().collect();
            Page::new(entries, log.ends())
        }))
    }

    async fn read_back(&self, log: &LogId, before: Option<u64>, limit: usize) -> Result<Page, LogError> {
        Ok(self.look(log, |log| {
            let before = before.unwrap_or(u64::MAX);
            let newer = log.ends().last.saturating_add(1).saturating_sub(before);
            let entries = log.entries.iter().rev().skip(clamp(newer)).take(limit).cloned().collect();
            Page::new(entries, log.ends())
        }))
    }

    async fn id_at(&self, log: &LogId, seq: u64) -> Result<Option<MessageId>, LogError> {
        Ok(self.look(log, |log| {
            let index = seq.checked_sub(log.ends().first)?;
            log.entries.get(clamp(index)).map(|entry| entry.message_id)
        }))
    }

    async fn ends(&self, logs: &[LogId]) -> Result<Vec<Ends>, LogError> {
        Ok(logs.iter().map(|log| self.look(log, Log::ends)).collect())
    }
}

#[async_trait]
impl AckStore for MemoryLog {
    async fn note_acks(&self, acks: &[DeviceAck]) -> Result<Vec<bool>, LogError> {
        Ok(self.acks.note(acks, self.bounds.max_age))
    }

    async fn acked(&self, questions: &[AckQuestion]) -> Result<Vec<Vec<(Device, u64)>>, LogError> {
        Ok(self.acks.find(questions, self.bounds.max_age))
    }

    async fn lower_ack(&self, ack: &DeviceAck) -> Result<(), LogError> {
        self.acks.lower(ack);
        Ok(())
    }
}

impl Log {
    fn ends(&self) -> Ends {
        Ends { first: self.last + 1 - self.entries.len() as u64, last: self.last }
    }

    fn append(
        &mut self,
        entry: NewEntry,
        bounds: &LogBounds,
        oldest: MessageId,
    ) -> Result<Appended, LogError> {
        let NewEntry { message_id, payload, once } = entry;
        if let Some(answer) =
            once.as_ref().and_then(|once| self.records.get(&once.record_name())?.answer(once))
        {
            return answer;
        }
        self.last += 1;
        let seq = self.last;
        if let Some(once) = once {
            let record = Record::new(&once, seq, message_id);
            self.records.insert(once.record_name(), record, once.remembered_for(bounds));
        }
        self.entries.push_back(Entry { seq, message_id, payload });
        self.trim_before(oldest);
        while self.entries.len() as u64 > bounds.max_entries {
            self.entries.pop_front();
        }
        Ok(Appended { seq, message_id, repeated: false })
    }

    fn trim_before(&mut self, oldest: MessageId) {
        while self.entries.front().is_some_and(|entry| entry.message_id < oldest) {
            self.entries.pop_front();
        }
    }
}

/// What is remembered, by a name such as [`Once::record_name`].
#[derive(Debug, Default)]
pub(super) struct Records {
    by_name: HashMap<String, Remembered>,
    /// At how many records those that ran out are removed next.
    sweep_at: usize,
}

impl Records {
    pub(super) fn get(&self, name: &str) -> Option<&Record> {
        let remembered = self.by_name.get(name)?;
        remembered.lasts(Instant::now()).then_some(&remembered.record)
    }

    pub(super) fn insert(&mut self, name: String, record: Record, lasts: Duration) {
        let now = Instant::now();
        if self.by_name.len() >= self.sweep_at {
            self.by_name.retain(|_, remembered| remembered.lasts(now));
            // Twice as many: what a sweep costs is shared by as many appends as it looks at records.
            self.sweep_at = (2 * self.by_name.len()).max(MIN_RECORDS_TO_SWEEP);
        }
        self.by_name.insert(name, Remembered { record, ends: now.checked_add(lasts) });
    }
}

#[derive(Debug)]
struct Remembered {
    record: Record,
    /// `None`: so late that the clock cannot tell it.
    ends: Option<Instant>,
}

impl Remembered {
    fn lasts(&self, now: Instant) -> bool {
        self.ends.is_none_or(|ends| ends > now)
    }
}

fn clamp(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::cluster::conformance::check_log;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn conforms() {
        check_log(async |bounds| MemoryLog::new(bounds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_ran_out_are_removed() {
        let (log, bob) = (MemoryLog::default(), LogId::Inbox("bob".parse().unwrap()));
        for number in 0..10_000 {
            let once = Once::Key { key: number.to_string(), ttl: Duration::from_secs(1), digest: [0; 16] };
            let id = MessageId::from_u64(u64::MAX >> 1).unwrap();
            log.append(&bob, NewEntry::new(id, Bytes::new()).once(once)).await.unwrap();
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert!(log.logs()[&bob].records.by_name.len() <= MIN_RECORDS_TO_SWEEP);
    }
}
