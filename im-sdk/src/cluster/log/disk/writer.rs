//! The thread that writes.

use std::sync::Arc;

use redb::{Database, Durability, ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use tokio::sync::{mpsc, oneshot};

use super::{
    acks::{self, ACKS, AckWriter, Acks},
    tables::{ENTRIES, Entries, LOGS, Log, RECORDS, Records, load_record, store_record},
    trim::{self, Sweep},
};
use crate::{
    cluster::log::{
        Appended, DeviceAck, LogBounds, LogError, LogId, NewEntry,
        entry::{milliseconds, unix_ms},
        once::{Once, Record},
    },
    id::MessageId,
};

/// How many jobs share one commit at most, so that none waits long for the others.
pub(super) const MAX_JOBS_PER_COMMIT: usize = 1_024;

pub(super) type Results = Vec<Result<Appended, LogError>>;

/// Something to write.
pub(super) enum Job {
    Append {
        entries: Vec<(LogId, NewEntry)>,
        done: oneshot::Sender<Results>,
    },
    /// Removes the entries too old from the beginning of logs.
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
}

/// What a job came to.
enum Applied {
    Appended(Results),
    Noted(Vec<bool>),
    Done,
}

impl Job {
    /// Says what became of it: results in the order of the entries, or one failure for all.
    fn answer(self, outcome: Result<Applied, LogError>) {
        // Whoever does not wait any more does not want to know.
        match (self, outcome) {
            (Self::Append { done, .. }, Ok(Applied::Appended(results))) => drop(done.send(results)),
            (Self::Append { entries, done }, Err(error)) => drop(done.send(vec![Err(error); entries.len()])),
            (Self::NoteAcks { done, .. }, Ok(Applied::Noted(forward))) => drop(done.send(Ok(forward))),
            (Self::NoteAcks { done, .. }, Err(error)) => drop(done.send(Err(error))),
            (Self::Trim { done, .. } | Self::LowerAck { done, .. }, outcome) => {
                drop(done.send(outcome.map(drop)));
            }
            // No job comes to another's result; without an answer it counts as unknown.
            (Self::Append { .. } | Self::NoteAcks { .. }, Ok(_)) => {}
        }
    }

    /// Whether what it writes may be lost in a crash.
    fn may_be_lost(&self) -> bool {
        matches!(self, Self::NoteAcks { .. } | Self::LowerAck { .. })
    }
}

pub(super) struct Writer {
    database: Arc<Database>,
    bounds: LogBounds,
    sweep: Sweep,
    acks: AckWriter,
}

impl Writer {
    pub(super) fn new(database: Arc<Database>, bounds: LogBounds) -> Self {
        Self { database, bounds, sweep: Sweep::default(), acks: AckWriter::default() }
    }

    /// Writes until nobody can hand in a job any more.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            let mut batch = vec![first];
            // What queued during the last commit shares the next one.
            while batch.len() < MAX_JOBS_PER_COMMIT
                && let Ok(next) = jobs.try_recv()
            {
                batch.push(next);
            }
            self.write(batch);
        }
    }

    fn write(&mut self, batch: Vec<Job>) {
        match self.commit(&batch) {
            Ok(results) => {
                for (job, results) in batch.into_iter().zip(results) {
                    job.answer(Ok(results));
                }
            }
            Err(error) => batch.into_iter().for_each(|job| job.answer(Err(error.clone()))),
        }
    }

    fn commit(&mut self, batch: &[Job]) -> Result<Vec<Applied>, LogError> {
        // Without a commit nothing of a transaction is ever seen.
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
        let mut tables = Tables::open(&transaction, self.bounds)?;
        let results = batch.iter().map(|job| tables.apply(job, &mut self.acks)).collect::<Result<_, _>>()?;
        self.sweep.run(&mut tables.records, tables.new_records, tables.now_ms)?;
        drop(tables);
        Ok((transaction, results))
    }
}

/// The tables of one transaction.
struct Tables<'a> {
    logs: Table<'a, &'static str, (u64, u64, u64)>,
    entries: Entries<'a>,
    records: Records<'a>,
    acks: Acks<'a>,
    bounds: LogBounds,
    oldest: MessageId,
    now_ms: u64,
    new_records: usize,
}

impl<'a> Tables<'a> {
    fn open(transaction: &'a WriteTransaction, bounds: LogBounds) -> Result<Self, redb::Error> {
        Ok(Self {
            logs: transaction.open_table(LOGS)?,
            entries: transaction.open_table(ENTRIES)?,
            records: transaction.open_table(RECORDS)?,
            acks: transaction.open_table(ACKS)?,
            bounds,
            oldest: bounds.oldest_id(),
            now_ms: unix_ms(),
            new_records: 0,
        })
    }

    fn apply(&mut self, job: &Job, writer: &mut AckWriter) -> Result<Applied, redb::Error> {
        match job {
            Job::Append { entries, .. } => {
                let appends = entries.iter().map(|(log, entry)| self.append(log, entry));
                return appends.collect::<Result<_, _>>().map(Applied::Appended);
            }
            Job::NoteAcks { acks, .. } => {
                let oldest_ms = self.now_ms.saturating_sub(milliseconds(self.bounds.max_age));
                let notes = acks.iter().map(|ack| writer.note(&mut self.acks, ack, self.now_ms, oldest_ms));
                return notes.collect::<Result<_, _>>().map(Applied::Noted);
            }
            Job::Trim { logs, oldest, .. } => logs.iter().try_for_each(|log| self.trim(log, *oldest))?,
            Job::LowerAck { ack, .. } => acks::lower(&mut self.acks, ack)?,
        }
        Ok(Applied::Done)
    }

    /// The inner result is the appender's, the outer one the file's.
    fn append(&mut self, id: &LogId, entry: &NewEntry) -> Result<Result<Appended, LogError>, redb::Error> {
        let name = id.to_string();
        let mut log = self.log(&name)?;
        if let Some(once) = &entry.once
            && let Some(record) = self.record(log, once)?
            && let Some(answer) = record.answer(once)
        {
            return Ok(answer);
        }
        log.last += 1;
        let (seq, message_id) = (log.last, entry.message_id);
        self.entries.insert((log.number, seq), (message_id.as_u64(), &*entry.payload))?;
        if let Some(once) = &entry.once {
            self.remember(log, once, &Record::new(once, seq, message_id))?;
        }
        trim::after_append(&mut self.entries, &mut log, &self.bounds, self.oldest)?;
        self.logs.insert(&*name, log.stored())?;
        Ok(Ok(Appended { seq, message_id, repeated: false }))
    }

    fn trim(&mut self, id: &LogId, oldest: MessageId) -> Result<(), redb::Error> {
        let name = id.to_string();
        let mut log = self.log(&name)?;
        trim::by_age(&mut self.entries, &mut log, oldest)?;
        if log.last > 0 {
            self.logs.insert(&*name, log.stored())?;
        }
        Ok(())
    }

    /// A log as it is, or a new one.
    fn log(&self, name: &str) -> Result<Log, redb::Error> {
        Ok(match self.logs.get(name)? {
            Some(log) => Log::from_stored(log.value()),
            // No log ever leaves the table, so this number is free.
            None => Log::empty(self.logs.len()? + 1),
        })
    }

    fn record(&self, log: Log, once: &Once) -> Result<Option<Record>, redb::Error> {
        match self.records.get((log.number, &*once.record_name()))? {
            Some(stored) => load_record(stored.value(), self.now_ms),
            None => Ok(None),
        }
    }

    fn remember(&mut self, log: Log, once: &Once, record: &Record) -> Result<(), redb::Error> {
        let ends = self.now_ms.saturating_add(milliseconds(once.remembered_for(&self.bounds)));
        self.records.insert((log.number, &*once.record_name()), store_record(record, ends))?;
        self.new_records += 1;
        Ok(())
    }
}
