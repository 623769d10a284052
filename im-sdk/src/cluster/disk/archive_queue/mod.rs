//! The archive's queue in a file, for an embedded backend.
//!
//! One thread writes, and requests that queued meanwhile share the next `fsync`. Only the process
//! knows which records were fetched: after a crash, every record that was not acknowledged is
//! delivered again.

mod writer;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use self::writer::{Job, RECORDS, Writer};
use super::{
    log::open::{self, OpenLogError},
    writer_thread::WriterThread,
};
use crate::cluster::{
    leases::Leases,
    traits::{
        ArchiveConfig, ArchiveDelivery, ArchiveError, ArchiveLag, ArchiveQueue, ArchiveRecord, DeliveryToken,
    },
};

/// A queue in one file. `Ok` from an append means that the record is on the disk (`fsync`). A file
/// can be open in one process only, and there in one `DiskArchiveQueue`. Dropping waits for pending
/// writes.
#[derive(Debug)]
pub struct DiskArchiveQueue {
    database: Arc<Database>,
    leases: Arc<Mutex<Leases>>,
    changed: Notify,
    writer: WriterThread<Job>,
}

impl DiskArchiveQueue {
    /// Opens or creates a file. Blocks on file I/O.
    ///
    /// # Errors
    /// [`OpenLogError`].
    pub fn open(path: impl AsRef<Path>, config: ArchiveConfig) -> Result<Self, OpenLogError> {
        let path = path.as_ref();
        let database = Arc::new(open::open(path, writer::create)?);
        let writer = Writer::new(database.clone(), config.max_bytes);
        let writer = WriterThread::start("im-archive", move |batch| writer.write(batch));
        let writer = writer.map_err(|source| open::no_writer(path, source))?;
        let leases = Arc::new(Mutex::new(Leases::new(config.redeliver_after)));
        Ok(Self { database, leases, changed: Notify::new(), writer })
    }

    /// Returns free records, and the time at which the next one is free.
    async fn take(&self, limit: usize) -> Result<(Vec<ArchiveDelivery>, Option<Instant>), ArchiveError> {
        let (database, leases) = (self.database.clone(), self.leases.clone());
        let taking = spawn_blocking(move || take(&database, &leases, limit));
        let taken = taking.await.map_err(|error| ArchiveError::unavailable(READ, error))?;
        taken.map_err(|error| ArchiveError::unavailable(READ, error))
    }
}

const READ: &str = "read records";
const REMOVE: &str = "remove records";

#[async_trait]
impl ArchiveQueue for DiskArchiveQueue {
    async fn append(&self, record: ArchiveRecord) -> Result<(), ArchiveError> {
        let encoded = record.encode();
        match self.writer.submit(|done| Job::Append { encoded, done }).await {
            Some(Ok(outcome)) => outcome?,
            Some(Err(source)) => return Err(ArchiveError::unknown(source)),
            None => return Err(ArchiveError::unknown(WriterEnded)),
        }
        self.changed.notify_one();
        Ok(())
    }

    async fn fetch(&self, limit: usize, wait: Duration) -> Result<Vec<ArchiveDelivery>, ArchiveError> {
        let deadline = Instant::now() + wait;
        loop {
            let (taken, free) = self.take(limit).await?;
            if !taken.is_empty() || limit == 0 || Instant::now() >= deadline {
                // There may be more records for another waiting fetch.
                self.changed.notify_one();
                return Ok(taken);
            }
            let until = free.map_or(deadline, |free| free.min(deadline));
            let _ = timeout_at(until, self.changed.notified()).await;
        }
    }

    async fn acknowledge(&self, deliveries: Vec<DeliveryToken>) -> Result<(), ArchiveError> {
        let numbers: Vec<u64> = deliveries.iter().filter_map(|token| token.as_str().parse().ok()).collect();
        let outcome = self.writer.submit(|done| Job::Remove { numbers: numbers.clone(), done }).await;
        outcome.and_then(Result::ok).ok_or_else(|| ArchiveError::unavailable(REMOVE, WriterEnded))??;
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.into_iter().for_each(|number| leases.forget(number));
        Ok(())
    }

    async fn lag(&self) -> Result<ArchiveLag, ArchiveError> {
        let database = self.database.clone();
        let counting = spawn_blocking(move || count(&database));
        let counted = counting.await.map_err(|error| ArchiveError::unavailable(READ, error))?;
        let all = counted.map_err(|error| ArchiveError::unavailable(READ, error))?;
        let held = self.leases.lock().unwrap_or_else(PoisonError::into_inner).held(Instant::now()).min(all);
        Ok(ArchiveLag::new(all - held, held))
    }
}

fn take(
    database: &Database,
    leases: &Mutex<Leases>,
    limit: usize,
) -> Result<(Vec<ArchiveDelivery>, Option<Instant>), redb::Error> {
    let records = database.begin_read()?.open_table(RECORDS)?;
    let now = Instant::now();
    let mut leases = leases.lock().unwrap_or_else(PoisonError::into_inner);
    let mut taken = Vec::new();
    for stored in records.iter()? {
        if taken.len() >= limit {
            break;
        }
        let (number, encoded) = stored?;
        let number = number.value();
        if !leases.take(number, now) {
            continue;
        }
        let encoded = encoded.value().to_vec().into();
        match ArchiveRecord::decode(encoded) {
            Some(record) => {
                taken.push(ArchiveDelivery { record, token: DeliveryToken::new(number.to_string()) })
            }
            // Another version may be able to read it: it stays in the queue, and in the lag.
            None => tracing::error!(number, "the archive's file holds a record of another version"),
        }
    }
    Ok((taken, leases.next_free(now)))
}

fn count(database: &Database) -> Result<u64, redb::Error> {
    Ok(database.begin_read()?.open_table(RECORDS)?.len()?)
}

/// The writer thread is gone, which only a bug or a damaged file can cause.
#[derive(Debug, thiserror::Error)]
#[error("the archive's writer thread has ended")]
struct WriterEnded;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::cluster::{LogId, LogPosition, conformance::check_archive_queue};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn conforms() {
        let (folder, count) = (tempfile::tempdir().unwrap(), AtomicU32::new(0));
        check_archive_queue(async |config| {
            let number = count.fetch_add(1, Ordering::Relaxed);
            DiskArchiveQueue::open(folder.path().join(number.to_string()), config).unwrap()
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_not_acknowledged_is_there_when_it_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let open =
            || DiskArchiveQueue::open(folder.path().join("archive"), ArchiveConfig::default()).unwrap();
        let record = |seq| {
            let place = LogPosition::new(LogId::Inbox("bob".parse().unwrap()), seq);
            ArchiveRecord::new(bytes::Bytes::from_static(b"hi"), vec![place])
        };
        let archive = open();
        for seq in 1..=3 {
            archive.append(record(seq)).await.unwrap();
        }
        let taken = archive.fetch(2, Duration::ZERO).await.unwrap();
        archive.acknowledge(vec![taken[0].token.clone()]).await.unwrap();
        drop(archive);

        let archive = open();
        assert_eq!(archive.lag().await.unwrap(), ArchiveLag::new(2, 0));
        let again = archive.fetch(10, Duration::ZERO).await.unwrap();
        assert!(again.into_iter().map(|delivery| delivery.record).eq([record(2), record(3)]));
        assert!(archive.append(record(3)).await.is_ok(), "also what it holds already is known again");
        assert_eq!(archive.lag().await.unwrap().total(), 2);
    }
}
