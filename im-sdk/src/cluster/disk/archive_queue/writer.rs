//! The writer thread of the archive's queue.

use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, ReadableTable, Table, TableDefinition, WriteTransaction};
use tokio::sync::oneshot;

use crate::cluster::traits::{ArchiveError, archive_record::key};

/// Number -> record.
pub(super) const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("archive");
/// Key of a record -> its number.
const NUMBERS: TableDefinition<[u8; 16], u64> = TableDefinition::new("archive_numbers");
/// The last number, and the size of all records.
const TOTALS: TableDefinition<&str, u64> = TableDefinition::new("archive_totals");
const LAST: &str = "last";
const BYTES: &str = "bytes";

type Outcome = Result<(), ArchiveError>;

/// A write.
pub(super) enum Job {
    Append { encoded: Bytes, done: oneshot::Sender<Outcome> },
    Remove { numbers: Vec<u64>, done: oneshot::Sender<Outcome> },
}

impl Job {
    fn answer(self, outcome: Outcome) {
        // The requester may have gone.
        let (Self::Append { done, .. } | Self::Remove { done, .. }) = self;
        drop(done.send(outcome));
    }
}

/// Creates the tables, so that a reader finds them.
pub(super) fn create(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    drop(Tables::open(&transaction)?);
    Ok(transaction.commit()?)
}

pub(super) struct Writer {
    database: Arc<Database>,
    max_bytes: u64,
}

impl Writer {
    pub(super) fn new(database: Arc<Database>, max_bytes: u64) -> Self {
        Self { database, max_bytes }
    }

    /// Writes a batch in one transaction.
    pub(super) fn write(&self, batch: Vec<Job>) {
        match self.commit(&batch) {
            Ok(outcomes) => batch.into_iter().zip(outcomes).for_each(|(job, outcome)| job.answer(outcome)),
            Err(error) => {
                let error = ArchiveError::unknown(error);
                batch.into_iter().for_each(|job| job.answer(Err(error.clone())));
            }
        }
    }

    fn commit(&self, batch: &[Job]) -> Result<Vec<Outcome>, redb::Error> {
        let transaction = self.database.begin_write()?;
        let mut tables = Tables::open(&transaction)?;
        let outcomes = batch.iter().map(|job| tables.apply(job, self.max_bytes)).collect::<Result<_, _>>()?;
        drop(tables);
        transaction.commit()?;
        Ok(outcomes)
    }
}

/// The tables of one transaction.
struct Tables<'a> {
    records: Table<'a, u64, &'static [u8]>,
    numbers: Table<'a, [u8; 16], u64>,
    totals: Table<'a, &'static str, u64>,
}

impl<'a> Tables<'a> {
    fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            records: transaction.open_table(RECORDS)?,
            numbers: transaction.open_table(NUMBERS)?,
            totals: transaction.open_table(TOTALS)?,
        })
    }

    /// Applies a job. The inner result is for the requester; the outer one is the file's.
    fn apply(&mut self, job: &Job, max_bytes: u64) -> Result<Outcome, redb::Error> {
        match job {
            Job::Append { encoded, .. } => self.append(encoded, max_bytes),
            Job::Remove { numbers, .. } => {
                numbers.iter().try_for_each(|number| self.remove(*number))?;
                Ok(Ok(()))
            }
        }
    }

    fn append(&mut self, encoded: &[u8], max_bytes: u64) -> Result<Outcome, redb::Error> {
        let key = key(encoded);
        if self.numbers.get(key)?.is_some() {
            return Ok(Ok(()));
        }
        let bytes = self.total(BYTES)? + encoded.len() as u64;
        if bytes > max_bytes {
            return Ok(Err(ArchiveError::Full));
        }
        let number = self.total(LAST)? + 1;
        self.records.insert(number, encoded)?;
        self.numbers.insert(key, number)?;
        self.totals.insert(LAST, number)?;
        self.totals.insert(BYTES, bytes)?;
        Ok(Ok(()))
    }

    fn remove(&mut self, number: u64) -> Result<(), redb::Error> {
        let Some((key, bytes)) = self.records.remove(number)?.map(|encoded| {
            let encoded = encoded.value();
            (key(encoded), encoded.len() as u64)
        }) else {
            return Ok(());
        };
        self.numbers.remove(key)?;
        let left = self.total(BYTES)?.saturating_sub(bytes);
        self.totals.insert(BYTES, left)?;
        Ok(())
    }

    fn total(&self, name: &str) -> Result<u64, redb::Error> {
        Ok(self.totals.get(name)?.map_or(0, |total| total.value()))
    }
}
