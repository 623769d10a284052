//! Logs in a file, for an embedded backend.
//!
//! One thread writes, and everything that queued while it wrote reaches the disk with one `fsync`.
//! Readers see committed data and never wait for it.

mod ack_writer;
mod acks;
mod clock;
pub(in crate::cluster) mod open;
mod reader;
mod tables;
mod tally;
mod trim;
mod writer;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use redb::Database;
use tokio::task::spawn_blocking;

pub use self::open::OpenLogError;
use self::{
    clock::FileClock,
    reader::{Found, Reader},
    writer::{Job, Replacement, Writer},
};
use super::{
    conversations::DiskConversations, last_seen::DiskLastSeen, members::DiskMembers,
    writer_thread::WriterThread,
};
use crate::{
    cluster::{
        dedup::TransientRecords,
        log_id::LogId,
        quota::Cutoffs,
        traits::{Appended, DedupKey, LogBounds, LogEnds, LogError, LogStore, NewEntry, Page, ReadLimit},
    },
    id::MessageId,
};

/// Logs in one file.
///
/// `Ok` from an append means that the entry is on the disk (`fsync`), so it survives a crash of the
/// process and of the machine. A file can be open in one process only, and there in one `DiskLog`.
/// Opening after a crash reads the whole file once. Dropping waits for pending writes.
#[derive(Debug)]
pub struct DiskLog {
    database: Arc<Database>,
    bounds: LogBounds,
    clock: FileClock,
    /// Not in the file: messages that are not logged need no disk. A restart forgets them.
    transient: TransientRecords,
    writer: WriterThread<Job>,
}

impl DiskLog {
    /// Opens or creates a file. Blocks on file I/O.
    ///
    /// # Errors
    /// [`OpenLogError`].
    pub fn open(path: impl AsRef<Path>, bounds: LogBounds) -> Result<Self, OpenLogError> {
        let database = Arc::new(open::open(path.as_ref(), tables::create)?);
        let clock = FileClock::open(&database).map_err(|error| open::unreadable(path.as_ref(), error))?;
        let mut writer = Writer::new(database.clone(), bounds, clock);
        let writer = WriterThread::start("im-log", move |batch| writer.write(batch));
        let writer = writer.map_err(|source| open::no_writer(path.as_ref(), source))?;
        Ok(Self { database, bounds, clock, transient: TransientRecords::default(), writer })
    }

    /// Returns the store of members in the same file, which keeps the file open.
    pub fn members(&self) -> DiskMembers {
        DiskMembers::new(self.database.clone())
    }

    /// Returns the store of conversations in the same file, which keeps the file open.
    pub fn conversations(&self) -> DiskConversations {
        DiskConversations::new(self.database.clone())
    }

    /// Returns the store of last-seen times in the same file, which keeps the file open.
    pub fn last_seen_store(&self) -> DiskLastSeen {
        DiskLastSeen::new(self.database.clone())
    }

    async fn append_all(&self, entries: Vec<(LogId, NewEntry)>) -> Vec<Result<Appended, LogError>> {
        let count = entries.len();
        match self.writer.submit(|done| Job::Append { entries, done }).await {
            Some(Ok(results)) => results,
            Some(Err(source)) => vec![Err(LogError::OutcomeUnknown { source: Arc::new(source) }); count],
            None => vec![Err(LogError::NotAppended { source: Arc::new(WriterEnded) }); count],
        }
    }

    /// Reads. If entries that are too old are in the way, has them trimmed and reads again.
    async fn look<T: Send + 'static>(
        &self,
        action: &'static str,
        look: impl Fn(&Reader) -> Result<Found<T>, redb::Error> + Send + Sync + 'static,
    ) -> Result<T, LogError> {
        let look = Arc::new(look);
        loop {
            let oldest = Cutoffs::at(self.clock.now_ms(), &self.bounds).age;
            let (database, look) = (self.database.clone(), look.clone());
            let looking = spawn_blocking(move || look(&Reader::new(&database, oldest)?));
            let found = looking.await.map_err(|error| unavailable(action, error))?;
            match found.map_err(|error| unavailable(action, error))? {
                Found::Fresh(found) => return Ok(found),
                Found::TooOld(logs) => {
                    let trimmed = self.writer.submit(|done| Job::Trim { logs, oldest, done }).await;
                    let trimmed =
                        trimmed.and_then(Result::ok).ok_or_else(|| unavailable(action, WriterEnded))?;
                    trimmed.map_err(|error| unavailable(action, error))?;
                }
            }
        }
    }
}

#[async_trait]
impl LogStore for DiskLog {
    async fn append(&self, log: &LogId, entry: NewEntry) -> Result<Appended, LogError> {
        let mut results = self.append_all(vec![(log.clone(), entry)]).await;
        results.pop().unwrap_or_else(|| Err(LogError::OutcomeUnknown { source: Arc::new(WriterEnded) }))
    }

    async fn append_many(&self, entries: Vec<(LogId, NewEntry)>) -> Vec<Result<Appended, LogError>> {
        self.append_all(entries).await
    }

    async fn check_room(&self, entries: &[(LogId, NewEntry)]) -> Vec<Result<(), LogError>> {
        let (entries, count) = (entries.to_vec(), entries.len());
        let checked = self.writer.submit(|done| Job::CheckRoom { entries, done }).await.and_then(Result::ok);
        checked.unwrap_or_else(|| vec![Err(unavailable("look for room in a log", WriterEnded)); count])
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
        let log = log.clone();
        self.look("read a log", move |reader| reader.read(&log, after, limit)).await
    }

    async fn read_back(&self, log: &LogId, before: Option<u64>, limit: ReadLimit) -> Result<Page, LogError> {
        let log = log.clone();
        self.look("read a log back", move |reader| reader.read_back(&log, before, limit)).await
    }

    async fn replace(
        &self,
        log: &LogId,
        seq: u64,
        message_id: MessageId,
        payload: Bytes,
    ) -> Result<bool, LogError> {
        let replacement = Replacement { log: log.clone(), seq, message_id, payload };
        match self.writer.submit(|done| Job::Replace { replacement, done }).await {
            Some(Ok(result)) => result,
            Some(Err(source)) => Err(LogError::OutcomeUnknown { source: Arc::new(source) }),
            None => Err(unavailable("replace an entry", WriterEnded)),
        }
    }

    async fn id_at(&self, log: &LogId, seq: u64) -> Result<Option<MessageId>, LogError> {
        let log = log.clone();
        self.look("look up an id", move |reader| reader.id_at(&log, seq)).await
    }

    async fn ends(&self, logs: &[LogId]) -> Result<Vec<LogEnds>, LogError> {
        let logs = logs.to_vec();
        self.look("look where logs end", move |reader| reader.ends(&logs)).await
    }
}

/// The writer thread is gone, which only a bug or a damaged file can cause.
#[derive(Debug, thiserror::Error)]
#[error("the logs' writer thread has ended")]
struct WriterEnded;

fn unavailable(action: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> LogError {
    LogError::Unavailable { action, source: Arc::new(source) }
}

#[cfg(test)]
mod tests;
