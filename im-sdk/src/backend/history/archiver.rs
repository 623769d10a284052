//! Archiving: puts messages of [`Durability::Archived`](crate::backend::Durability::Archived) into
//! the cluster's archive queue, from which an [`Archiver`] writes them into a [`MessageStore`].

mod write_size;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tracing::Instrument as _;

use self::write_size::WriteSize;
use crate::{
    Kind,
    backend::message_store::{Amendment, MessageStore, MessageStoreError, StoredEntry},
    cluster::{
        ArchiveDelivery, ArchiveError, ArchiveLag, ArchiveQueue, ArchiveRecord, Cluster, DeliveryToken,
        LogPosition,
    },
    log_throttle::throttled,
};

/// The most positions in one record, which takes a third of a megabyte. NATS takes one.
const PLACES: usize = 4096;

/// The number of records that an archiver takes at once.
const BATCH: usize = 256;

/// The time that an archiver waits for records in one call.
const WAIT: Duration = Duration::from_secs(5);

/// The first and the longest pause after a failure of the archive or the database.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// The number of attempts to write a single entry. After that its record stays in the archive and
/// comes again, so that the ones behind it need not wait.
const TRIES_ALONE: u32 = 3;

/// The time without a successful write after which the log says how much is waiting.
const STALL: Duration = Duration::from_secs(30);

/// The time that [`Archiver::shutdown`] waits for the current batch.
const LAST_WRITE: Duration = Duration::from_secs(30);

/// Puts a message with all its positions into the archive, if there is one.
pub(in crate::backend) async fn archive_all(
    archive: Option<&Arc<dyn ArchiveQueue>>,
    message: &Bytes,
    places: impl Iterator<Item = LogPosition>,
) -> Result<(), ArchiveError> {
    let Some(archive) = archive else { return Ok(()) };
    let places: Vec<LogPosition> = places.collect();
    let records = places.chunks(PLACES).map(|places| {
        let record = ArchiveRecord::new(message.clone(), places.to_vec());
        archive.append(record)
    });
    try_join_all(records).await.map(drop)
}

/// The cluster has no archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cluster has no archive: set ClusterConfig::archive")]
pub struct NoArchive;

/// The failure of an archiver, see [`Archiver::stall`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiverStall {
    /// The time for which all attempts have failed.
    pub since: Duration,
    /// The error of the last attempt.
    pub error: String,
}

/// The state that an archiver shares with its task.
#[derive(Debug, Default)]
struct Progress {
    written: AtomicU64,
    /// The begin of the failure, and its last error.
    failing: Mutex<Option<(Instant, String)>>,
}

impl Progress {
    fn succeed(&self) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes a failure. Returns the time for which all attempts have failed.
    fn fail(&self, error: String) -> Duration {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let since = failing.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        *failing = Some((since, error));
        since.elapsed()
    }

    fn stall(&self) -> Option<ArchiverStall> {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.as_ref().map(|(since, error)| ArchiverStall { since: since.elapsed(), error: error.clone() })
    }
}

/// A running archiver, which writes messages of the archive into a message store. It ends after its
/// current batch when it is dropped, and with [`Im::shutdown`](crate::backend::Im::shutdown).
#[derive(Debug)]
#[must_use = "dropping the archiver stops it"]
pub struct Archiver {
    archive: Arc<dyn ArchiveQueue>,
    progress: Arc<Progress>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl Archiver {
    /// Starts an archiver. `tasks` owns its task, which ends with `stop`.
    pub(in crate::backend) fn start(
        cluster: &Cluster,
        store: Arc<dyn MessageStore>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, NoArchive> {
        let archive = cluster.archive().ok_or(NoArchive)?.clone();
        let (stop, progress) = (stop.child_token(), Arc::new(Progress::default()));
        let work = Work {
            archive: archive.clone(),
            store,
            stop: stop.clone(),
            progress: progress.clone(),
            size: WriteSize::default(),
            retry: FIRST_RETRY,
        };
        let task = tasks.spawn(work.run());
        Ok(Self { archive, progress, task, stop: stop.drop_guard() })
    }

    /// Returns the size of the archive, which all archivers share. If it grows for minutes, the
    /// database is away or too slow. When it reaches
    /// [`ArchiveConfig::max_bytes`](crate::cluster::ArchiveConfig::max_bytes), sends fail.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`].
    pub async fn lag(&self) -> Result<ArchiveLag, ArchiveError> {
        self.archive.lag().await
    }

    /// Returns the number of entries that this archiver has written, including repeated ones.
    pub fn written(&self) -> u64 {
        self.progress.written.load(Ordering::Relaxed)
    }

    /// Returns the present failure, for an alarm, or `None` if the last attempt succeeded. An
    /// archiver keeps trying, with smaller writes and pauses of at most 10 s; entries that it
    /// cannot write stay in the archive. Other archivers may succeed meanwhile: [`Self::lag`]
    /// covers all of them.
    pub fn stall(&self) -> Option<ArchiverStall> {
        self.progress.stall()
    }

    /// Ends the archiver after its current batch, within 30 s.
    pub async fn shutdown(self) {
        let Self { task, stop, .. } = self;
        drop(stop);
        let abort = task.abort_handle();
        if timeout(LAST_WRITE, task).await.is_err() {
            // The batch is not acknowledged, and comes again.
            abort.abort();
        }
    }
}

struct Work {
    archive: Arc<dyn ArchiveQueue>,
    store: Arc<dyn MessageStore>,
    stop: CancellationToken,
    progress: Arc<Progress>,
    size: WriteSize,
    /// The next pause.
    retry: Duration,
}

/// The result of writing entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    All,
    /// One of them cannot be written.
    NotAll,
    /// The archiver is to stop.
    Stopped,
}

impl Work {
    async fn run(mut self) {
        loop {
            let fetched = tokio::select! {
                biased; // Nothing is begun after the end.
                () = self.stop.cancelled() => return,
                fetched = self.archive.fetch(BATCH, WAIT) => fetched,
            };
            match fetched {
                Ok(deliveries) if deliveries.is_empty() => {}
                Ok(deliveries) => {
                    let span = tracing::debug_span!("archive_batch", records = deliveries.len());
                    self.archive_all(records(deliveries)).instrument(span).await;
                }
                Err(error) => {
                    let stalled_for = self.progress.fail(error.to_string());
                    throttled!(warn, %error, ?stalled_for, "an archiver cannot read from the archive");
                    self.pause().await;
                }
            }
        }
    }

    /// Archives records in parts that the database takes in time. Each part is acknowledged at
    /// once, so that it is not repeated because of a later one.
    async fn archive_all(&mut self, mut records: VecDeque<Record>) {
        while !records.is_empty() {
            let (entries, tokens) = self.size.take(&mut records);
            // Writes before acknowledging: after a crash in between, the write is repeated with the
            // same effect.
            match self.write(&entries).await {
                Written::All => {}
                Written::NotAll => continue,
                Written::Stopped => return,
            }
            // Changes apply to messages that are written later too: none brings back recalled
            // content.
            if !self.amend(&amendments(&entries)).await {
                return;
            }
            if let Err(error) = self.archive.acknowledge(tokens).await {
                throttled!(warn, %error, "cannot acknowledge written messages: they are written again");
            }
        }
    }

    /// Tries until all is written, with smaller parts after a failure.
    async fn write(&mut self, mut entries: &[StoredEntry]) -> Written {
        let mut tries_alone = 0;
        while !entries.is_empty() {
            let (now, later) = entries.split_at(self.size.fitting(entries));
            let began = Instant::now();
            let Err(error) = self.store.write(now).await else {
                self.size.took(now, began.elapsed());
                self.has_worked();
                self.progress.written.fetch_add(now.len() as u64, Ordering::Relaxed);
                (entries, tries_alone) = (later, 0);
                continue;
            };
            self.size.failed(now);
            self.tell_failure(&error, now.len()).await;
            if now.len() == 1 {
                tries_alone += 1;
                self.pause().await;
            } else {
                // A smaller part may work at once.
                self.pause_for(FIRST_RETRY).await;
            }
            if self.stop.is_cancelled() {
                return Written::Stopped;
            }
            if tries_alone == TRIES_ALONE {
                let id = now.first().map(|entry| entry.message_id.as_u64());
                throttled!(error, ?id, %error, "cannot write a message: it stays in the archive and is tried again");
                return Written::NotAll;
            }
        }
        Written::All
    }

    async fn tell_failure(&self, error: &MessageStoreError, entries: usize) {
        let stalled_for = self.progress.fail(error.to_string());
        if stalled_for < STALL {
            return throttled!(warn, %error, entries, ?stalled_for, "an archiver cannot write");
        }
        let waiting = self.archive.lag().await.map(ArchiveLag::total).ok();
        throttled!(
            warn, %error, entries, ?stalled_for, ?waiting,
            "an archiver cannot write: the archive fills up, and when it is full, sends fail"
        );
    }

    /// Applies recalls and edits one by one, so that none is repeated because of another. Returns
    /// `false` if the archiver is to stop.
    async fn amend(&mut self, amendments: &[Amendment]) -> bool {
        for amendment in amendments {
            while let Err(error) = self.store.amend(std::slice::from_ref(amendment)).await {
                if matches!(error, MessageStoreError::Unsupported { .. }) {
                    tracing::debug!(%error, "the message store cannot amend entries: changed messages keep their former content");
                    return true;
                }
                let stalled_for = self.progress.fail(error.to_string());
                throttled!(warn, %error, ?stalled_for, "an archiver cannot carry out a change");
                self.pause().await;
                if self.stop.is_cancelled() {
                    return false;
                }
            }
            self.has_worked();
        }
        true
    }

    fn has_worked(&mut self) {
        self.retry = FIRST_RETRY;
        self.progress.succeed();
    }

    /// Pauses, each time longer, until something succeeds.
    async fn pause(&mut self) {
        self.pause_for(self.retry).await;
        self.retry = (self.retry * 2).min(LAST_RETRY);
    }

    async fn pause_for(&self, time: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = sleep(time) => {}
        }
    }
}

/// The entries of a record, and the token that acknowledges them.
type Record = (Vec<StoredEntry>, DeliveryToken);

/// Decodes records. One without a message stays in the archive.
fn records(deliveries: Vec<ArchiveDelivery>) -> VecDeque<Record> {
    let parse = |ArchiveDelivery { record, token }| match StoredEntry::of(&record) {
        Ok(entries) => Some((entries, token)),
        Err(error) => {
            tracing::error!(%error, "cannot decode an archived record: it is not written");
            None
        }
    };
    deliveries.into_iter().filter_map(parse).collect()
}

/// Returns the recalls and edits among these entries, each once.
fn amendments(entries: &[StoredEntry]) -> Vec<Amendment> {
    let change = Kind::Change.to_string();
    let mut changes: Vec<&StoredEntry> = entries.iter().filter(|entry| entry.kind == change).collect();
    changes.sort_by_key(|entry| entry.message_id);
    changes.dedup_by_key(|entry| entry.message_id);
    changes.into_iter().filter_map(|entry| Amendment::of(&entry.message)).collect()
}

#[cfg(test)]
mod tests;
