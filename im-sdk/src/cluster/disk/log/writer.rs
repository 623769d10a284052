//! The writer thread of the logs.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use redb::{Database, Durability, ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use tokio::sync::oneshot;

use super::{
    ack_writer::{self, AckWriter},
    clock::{CLOCK, FileClock},
    tables::{
        ACKS, Acks, ENTRIES, Entries, LOGS, Log, RECORDS, Records, WRITERS, Writers, load_record,
        store_record,
    },
    tally::{DiskEnd, Tallies, remove_until},
    trim::{self, Sweep},
};
use crate::{
    cluster::{
        log_id::LogId,
        quota::{Cutoffs, Limits, LogHead as _, SpaceRequest, size_of},
        time::{milliseconds, unix_ms},
        traits::{Appended, DedupKey, DeviceAck, LogBounds, LogError, NewEntry, idempotency::Record},
    },
    id::MessageId,
};

/// The number of logs inspected for each new one.
const SWEPT_PER_LOG: usize = 4;

pub(super) type Results = Vec<Result<Appended, LogError>>;

/// A write.
pub(super) enum Job {
    Append {
        entries: Vec<(LogId, NewEntry)>,
        done: oneshot::Sender<Results>,
    },
    /// Checks whether entries would be appended.
    CheckRoom {
        entries: Vec<(LogId, NewEntry)>,
        done: oneshot::Sender<Vec<Result<(), LogError>>>,
    },
    /// Removes entries that are too old from the beginning of logs.
    Trim {
        logs: Vec<LogId>,
        oldest: MessageId,
        done: oneshot::Sender<Result<(), LogError>>,
    },
    NoteAcks {
        acks: Vec<DeviceAck>,
        done: oneshot::Sender<Result<Vec<bool>, LogError>>,
    },
    LowerAck {
        ack: DeviceAck,
        done: oneshot::Sender<Result<(), LogError>>,
    },
    Replace {
        replacement: Replacement,
        done: oneshot::Sender<Result<bool, LogError>>,
    },
}

/// A new payload for an entry.
pub(super) struct Replacement {
    pub(super) log: LogId,
    pub(super) seq: u64,
    pub(super) message_id: MessageId,
    pub(super) payload: Bytes,
}

/// The result of a job.
enum Applied {
    Appended(Results),
    Checked(Vec<Result<(), LogError>>),
    Noted(Vec<bool>),
    Replaced(bool),
    Done,
}

impl Job {
    /// Sends the results in the order of the entries, or one failure for all.
    fn answer(self, outcome: Result<Applied, LogError>) {
        // The requester may have gone.
        match (self, outcome) {
            (Self::Append { done, .. }, Ok(Applied::Appended(results))) => drop(done.send(results)),
            (Self::Append { entries, done }, Err(error)) => drop(done.send(vec![Err(error); entries.len()])),
            (Self::CheckRoom { done, .. }, Ok(Applied::Checked(results))) => drop(done.send(results)),
            (Self::CheckRoom { entries, done }, Err(error)) => {
                drop(done.send(vec![Err(error); entries.len()]));
            }
            (Self::NoteAcks { done, .. }, Ok(Applied::Noted(forward))) => drop(done.send(Ok(forward))),
            (Self::NoteAcks { done, .. }, Err(error)) => drop(done.send(Err(error))),
            (Self::Replace { done, .. }, Ok(Applied::Replaced(replaced))) => drop(done.send(Ok(replaced))),
            (Self::Replace { done, .. }, Err(error)) => drop(done.send(Err(error))),
            (Self::Trim { done, .. } | Self::LowerAck { done, .. }, outcome) => {
                drop(done.send(outcome.map(drop)));
            }
            // A job never gets another's result. Without a result, its outcome counts as unknown.
            (
                Self::Append { .. } | Self::CheckRoom { .. } | Self::NoteAcks { .. } | Self::Replace { .. },
                Ok(_),
            ) => {}
        }
    }

    /// Returns whether a crash may lose what the job writes.
    fn may_be_lost(&self) -> bool {
        matches!(self, Self::CheckRoom { .. } | Self::NoteAcks { .. } | Self::LowerAck { .. })
    }
}

pub(super) struct Writer {
    database: Arc<Database>,
    bounds: LogBounds,
    clock: FileClock,
    /// The last time at which the file's clock was written.
    noted: Option<Instant>,
    tallies: Tallies,
    sweep: Sweep,
    /// The log at which the search for old entries continues.
    next_log: String,
    acks: AckWriter,
}

impl Writer {
    pub(super) fn new(database: Arc<Database>, bounds: LogBounds, clock: FileClock) -> Self {
        Self {
            database,
            bounds,
            clock,
            noted: None,
            tallies: Tallies::default(),
            sweep: Sweep::default(),
            next_log: String::new(),
            acks: AckWriter::default(),
        }
    }

    /// Writes a batch in one transaction.
    pub(super) fn write(&mut self, batch: Vec<Job>) {
        match self.commit(&batch) {
            Ok(results) => {
                for (job, results) in batch.into_iter().zip(results) {
                    job.answer(Ok(results));
                }
            }
            Err(error) => {
                self.tallies.forget();
                batch.into_iter().for_each(|job| job.answer(Err(error.clone())));
            }
        }
    }

    fn commit(&mut self, batch: &[Job]) -> Result<Vec<Applied>, LogError> {
        // Without a commit, nothing of a transaction is ever visible.
        let applied = self.apply(batch);
        let (transaction, results) =
            applied.map_err(|error| LogError::NotAppended { source: Arc::new(error) })?;
        let committed = transaction.commit();
        committed.map_err(|error| LogError::OutcomeUnknown { source: Arc::new(error) })?;
        Ok(results)
    }

    fn apply(&mut self, batch: &[Job]) -> Result<(WriteTransaction, Vec<Applied>), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        if batch.iter().all(Job::may_be_lost) {
            transaction.set_durability(Durability::None)?;
        }
        if let Some(now_ms) = self.clock.due_note(&mut self.noted) {
            transaction.open_table(CLOCK)?.insert((), now_ms)?;
        }
        let cutoffs = Cutoffs::at(self.clock.now_ms(), &self.bounds);
        let mut tables = Tables::open(&transaction, self.bounds, cutoffs, &mut self.tallies)?;
        let results = batch.iter().map(|job| tables.apply(job, &mut self.acks)).collect::<Result<_, _>>()?;
        self.sweep.run(&mut tables.records, tables.new_records, tables.now_ms)?;
        tables.sweep_logs(&mut self.next_log)?;
        drop(tables);
        Ok((transaction, results))
    }
}

/// The tables of one transaction.
struct Tables<'a, 't> {
    logs: Table<'a, &'static str, (u64, u64, u64)>,
    entries: Entries<'a>,
    writers: Writers<'a>,
    tallies: &'t mut Tallies,
    records: Records<'a>,
    acks: Acks<'a>,
    bounds: LogBounds,
    cutoffs: Cutoffs,
    now_ms: u64,
    new_records: usize,
    new_logs: usize,
}

impl<'a, 't> Tables<'a, 't> {
    fn open(
        transaction: &'a WriteTransaction,
        bounds: LogBounds,
        cutoffs: Cutoffs,
        tallies: &'t mut Tallies,
    ) -> Result<Self, redb::Error> {
        Ok(Self {
            logs: transaction.open_table(LOGS)?,
            entries: transaction.open_table(ENTRIES)?,
            writers: transaction.open_table(WRITERS)?,
            tallies,
            records: transaction.open_table(RECORDS)?,
            acks: transaction.open_table(ACKS)?,
            bounds,
            cutoffs,
            now_ms: unix_ms(),
            new_records: 0,
            new_logs: 0,
        })
    }

    fn apply(&mut self, job: &Job, writer: &mut AckWriter) -> Result<Applied, redb::Error> {
        match job {
            Job::Append { entries, .. } => {
                let appends = entries.iter().map(|(log, entry)| self.append(log, entry));
                return appends.collect::<Result<_, _>>().map(Applied::Appended);
            }
            Job::CheckRoom { entries, .. } => {
                let checks = entries.iter().map(|(log, entry)| self.check_room(log, entry));
                return checks.collect::<Result<_, _>>().map(Applied::Checked);
            }
            Job::NoteAcks { acks, .. } => {
                let oldest_ms = self.oldest_ack_ms();
                let notes = acks.iter().map(|ack| writer.note(&mut self.acks, ack, self.now_ms, oldest_ms));
                return notes.collect::<Result<_, _>>().map(Applied::Noted);
            }
            Job::Trim { logs, oldest, .. } => logs.iter().try_for_each(|log| self.trim(log, *oldest))?,
            Job::LowerAck { ack, .. } => ack_writer::lower(&mut self.acks, ack)?,
            Job::Replace { replacement, .. } => return self.replace(replacement).map(Applied::Replaced),
        }
        Ok(Applied::Done)
    }

    /// Appends an entry. The inner result is for the requester; the outer one is the file's.
    fn append(&mut self, id: &LogId, entry: &NewEntry) -> Result<Result<Appended, LogError>, redb::Error> {
        let name = id.to_string();
        let mut log = self.log(&name)?;
        if let Some(once) = &entry.dedup_key
            && let Some(record) = self.record(log, once)?
            && let Some(answer) = record.answer(once)
        {
            return Ok(answer);
        }
        let limits = Limits::of(id, &self.bounds);
        if let Err(refused) = self.make_room(id, &mut log, entry, &limits)? {
            return Ok(Err(refused));
        }
        let tally = self.tallies.of(log, &self.entries, &self.writers)?;
        self.new_logs += usize::from(log.last == 0);
        log.last += 1;
        let (seq, message_id) = (log.last, entry.message_id);
        self.entries.insert((log.number, seq), (message_id.as_u64(), &*entry.payload))?;
        tally.bytes += size_of(entry);
        if let Some(writer) = &entry.writer {
            let cost = limits.cost(size_of(entry));
            self.writers.insert((log.number, seq), (writer.as_str(), cost))?;
            tally.add(writer.as_str(), cost);
        }
        if let Some(once) = &entry.dedup_key {
            self.remember(log, once, &Record::new(once, seq, message_id))?;
        }
        if trim::is_due(seq) {
            self.trim_by_age(&mut log, self.cutoffs.age)?;
        }
        self.logs.insert(&*name, log.stored())?;
        Ok(Ok(Appended { seq, message_id, repeated: false }))
    }

    /// Trims a log to make room for an entry.
    fn make_room(
        &mut self,
        id: &LogId,
        log: &mut Log,
        entry: &NewEntry,
        limits: &Limits,
    ) -> Result<Result<(), LogError>, redb::Error> {
        let Some(room) = self.find_room(id, *log, entry, limits)? else { return Ok(Ok(())) };
        let gone = match room {
            Ok(gone) => gone,
            Err(refused) => return Ok(Err(refused)),
        };
        let tally = self.tallies.of(*log, &self.entries, &self.writers)?;
        let first = log.first + gone;
        remove_until(&mut self.entries, &mut self.writers, tally, log, first)?;
        Ok(Ok(()))
    }

    /// Returns how many of the oldest entries must go, or `None` if there is room.
    fn find_room(
        &mut self,
        id: &LogId,
        log: Log,
        entry: &NewEntry,
        limits: &Limits,
    ) -> Result<Option<Result<u64, LogError>>, redb::Error> {
        let oldest_ack_ms = self.oldest_ack_ms();
        let tally = self.tallies.of(log, &self.entries, &self.writers)?;
        let mut end = DiskEnd { entries: &self.entries, writers: &self.writers, tally, log };
        if !trim::is_full(end.used().with(size_of(entry)), &limits.for_entry(entry)) {
            return Ok(None);
        }
        let acknowledged = acknowledged(&self.acks, id, oldest_ack_ms)?;
        SpaceRequest::new(id, entry, &self.bounds, self.cutoffs, acknowledged).make_room(&mut end).map(Some)
    }

    fn check_room(&mut self, id: &LogId, entry: &NewEntry) -> Result<Result<(), LogError>, redb::Error> {
        let log = self.log(&id.to_string())?;
        if log.last == 0 {
            return Ok(Ok(()));
        }
        if let Some(once) = &entry.dedup_key
            && self.record(log, once)?.is_some_and(|record| record.answer(once).is_some())
        {
            return Ok(Ok(()));
        }
        let limits = Limits::of(id, &self.bounds);
        let room = self.find_room(id, log, entry, &limits)?;
        Ok(room.map_or(Ok(()), |room| room.map(drop)))
    }

    /// Trims some logs for each new one, in turn. Logs without reads and appends, those of unknown
    /// users for example, thus keep no entries that are too old.
    fn sweep_logs(&mut self, next: &mut String) -> Result<(), redb::Error> {
        let steps = self.new_logs.saturating_mul(SWEPT_PER_LOG);
        if steps == 0 {
            return Ok(());
        }
        let mut found = Vec::new();
        let mut range = self.logs.range(&**next..)?;
        for log in range.by_ref().take(steps) {
            let (name, log) = log?;
            found.push((name.value().to_owned(), Log::from_stored(log.value())));
        }
        *next = match range.next() {
            Some(log) => log?.0.value().to_owned(),
            None => String::new(),
        };
        drop(range);
        for (name, mut log) in found {
            let first = log.first;
            self.trim_by_age(&mut log, self.cutoffs.age)?;
            if log.first > first {
                self.logs.insert(&*name, log.stored())?;
            }
        }
        Ok(())
    }

    fn oldest_ack_ms(&self) -> u64 {
        self.now_ms.saturating_sub(milliseconds(self.bounds.max_age))
    }

    fn trim_by_age(&mut self, log: &mut Log, oldest: MessageId) -> Result<(), redb::Error> {
        let first = trim::first_young(&self.entries, *log, oldest)?;
        if first <= log.first {
            return Ok(());
        }
        let tally = self.tallies.of(*log, &self.entries, &self.writers)?;
        remove_until(&mut self.entries, &mut self.writers, tally, log, first)
    }

    fn replace(&mut self, replacement: &Replacement) -> Result<bool, redb::Error> {
        let Replacement { log, seq, message_id, payload } = replacement;
        let log = self.log(&log.to_string())?;
        let (key, id) = ((log.number, *seq), message_id.as_u64());
        let stored = self.entries.get(key)?.map(|entry| (entry.value().0, entry.value().1.len() as u64));
        let Some((_, bytes)) = stored.filter(|(stored, _)| *stored == id) else { return Ok(false) };
        let tally = self.tallies.of(log, &self.entries, &self.writers)?;
        tally.bytes = tally.bytes.saturating_sub(bytes) + payload.len() as u64;
        self.entries.insert(key, (id, &**payload))?;
        Ok(true)
    }

    fn trim(&mut self, id: &LogId, oldest: MessageId) -> Result<(), redb::Error> {
        let name = id.to_string();
        let mut log = self.log(&name)?;
        self.trim_by_age(&mut log, oldest)?;
        if log.last > 0 {
            self.logs.insert(&*name, log.stored())?;
        }
        Ok(())
    }

    /// Returns a log, or a new one.
    fn log(&self, name: &str) -> Result<Log, redb::Error> {
        Ok(match self.logs.get(name)? {
            Some(log) => Log::from_stored(log.value()),
            // No log ever leaves the table, so this number is free.
            None => Log::empty(self.logs.len()? + 1),
        })
    }

    fn record(&self, log: Log, once: &DedupKey) -> Result<Option<Record>, redb::Error> {
        match self.records.get((log.number, &*once.record_name()))? {
            Some(stored) => load_record(stored.value(), self.now_ms),
            None => Ok(None),
        }
    }

    fn remember(&mut self, log: Log, once: &DedupKey, record: &Record) -> Result<(), redb::Error> {
        let ends = self.now_ms.saturating_add(milliseconds(once.ttl(&self.bounds)));
        self.records.insert((log.number, &*once.record_name()), store_record(record, ends))?;
        self.new_records += 1;
        Ok(())
    }
}

/// Returns the furthest acknowledgement of an inbox by a device of its owner.
fn acknowledged(acks: &Acks<'_>, log: &LogId, oldest_ms: u64) -> Result<Option<u64>, redb::Error> {
    match log {
        LogId::Inbox(owner) => ack_writer::furthest(acks, owner, oldest_ms),
        LogId::Channel(_) => Ok(None),
    }
}
