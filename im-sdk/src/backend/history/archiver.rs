//! Archiving: puts messages of [`crate::backend::Durability::Archived`] into the cluster's archive, from where an [`Archiver`] brings them to
//! a [`MessageStore`].

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

/// How many places one record names at most: a third of a megabyte, of which NATS takes one.
const PLACES: usize = 4096;

/// How many records an archiver takes out at once.
const BATCH: usize = 256;

/// How long an archiver waits for records before it asks again.
const WAIT: Duration = Duration::from_secs(5);

/// Between two tries when the archive or the database does not answer: at first, and at most.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// How often an entry is tried that cannot be written alone, before its record is left where it is, from where it comes again: those
/// behind it must not wait for it.
const TRIES_ALONE: u32 = 3;

/// For how long nothing could be written when the log says how much waits.
const STALL: Duration = Duration::from_secs(30);

/// How long [`Archiver::shutdown`] waits for the batch that is being written.
const LAST_WRITE: Duration = Duration::from_secs(30);

/// Puts a message with all its places into the archive, if there is one to put it into.
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

/// There is nothing to archive from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cluster has no archive: set ClusterConfig::archive")]
pub struct NoArchive;

/// Why an archiver does not get on, see [`Archiver::stall`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiverStall {
    /// For how long nothing could be taken out or written, though it was tried.
    pub since: Duration,
    /// How the last try failed.
    pub error: String,
}

/// What an archiver and its task share.
#[derive(Debug, Default)]
struct Progress {
    written: AtomicU64,
    /// Since when everything has failed, and how.
    failing: Mutex<Option<(Instant, String)>>,
}

impl Progress {
    fn succeed(&self) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// For how long everything has failed.
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

/// A running archiver, which brings messages from the archive to a message store. Dropping it ends it after the batch that it is
/// at, and so does [`Im::shutdown`].
#[derive(Debug)]
#[must_use = "dropping the archiver stops it"]
pub struct Archiver {
    archive: Arc<dyn ArchiveQueue>,
    progress: Arc<Progress>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl Archiver {
    /// `tasks` owns the task, which ends with `stop`.
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

    /// How much lies in the archive, for all archivers together. What rises for minutes is a database that is away or too
    /// slow; when [`crate::cluster::ArchiveConfig::max_bytes`] is reached, sends fail.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`].
    pub async fn lag(&self) -> Result<ArchiveLag, ArchiveError> {
        self.archive.lag().await
    }

    /// How many entries of logs this archiver has written, those counted again that came again.
    pub fn written(&self) -> u64 {
        self.progress.written.load(Ordering::Relaxed)
    }

    /// Why nothing gets on, for an alarm: `None` while the last thing that was tried has worked. An archiver goes on trying, with
    /// less at once and at most 10 s apart; what it cannot write stays in the archive. Other archivers may get on meanwhile:
    /// [`Self::lag`] tells of all of them.
    pub fn stall(&self) -> Option<ArchiverStall> {
        self.progress.stall()
    }

    /// Takes nothing more out, finishes what it has, and ends; within 30 s.
    pub async fn shutdown(self) {
        let Self { task, stop, .. } = self;
        drop(stop);
        let abort = task.abort_handle();
        if timeout(LAST_WRITE, task).await.is_err() {
            // What it had is not acknowledged and comes again.
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
    /// How long the next pause is.
    retry: Duration,
}

/// What became of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    All,
    /// One of them cannot be written.
    NotAll,
    /// The archiver was told to stop.
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
                    throttled!(warn, %error, ?stalled_for, "an archiver gets nothing from the archive");
                    self.pause().await;
                }
            }
        }
    }

    /// In parts that the database takes within its time. What it has taken is acknowledged at once, and so is never done again
    /// because of what comes behind it.
    async fn archive_all(&mut self, mut records: VecDeque<Record>) {
        while !records.is_empty() {
            let (entries, tokens) = self.size.take(&mut records);
            // Writes first and acknowledges then: whoever dies in between has it done again, with the same effect.
            match self.write(&entries).await {
                Written::All => {}
                Written::NotAll => continue,
                Written::Stopped => return,
            }
            // What a change does, also to messages that come later: none brings back what a recall took away.
            if !self.amend(&amendments(&entries)).await {
                return;
            }
            if let Err(error) = self.archive.acknowledge(tokens).await {
                throttled!(warn, %error, "what was written could not be acknowledged and comes again");
            }
        }
    }

    /// Tries until it is done, with less each time.
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
                // Less may work at once.
                self.pause_for(FIRST_RETRY).await;
            }
            if self.stop.is_cancelled() {
                return Written::Stopped;
            }
            if tries_alone == TRIES_ALONE {
                let id = now.first().map(|entry| entry.message_id.as_u64());
                throttled!(error, ?id, %error, "a message could not be written: it stays in the archive and comes again");
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

    /// The same for what recalls and edits make of messages: one after the other, so that none is done again because of another.
    /// Returns `false` when the archiver was told to stop.
    async fn amend(&mut self, amendments: &[Amendment]) -> bool {
        for amendment in amendments {
            while let Err(error) = self.store.amend(std::slice::from_ref(amendment)).await {
                if matches!(error, MessageStoreError::Unsupported { .. }) {
                    tracing::debug!(%error, "what messages said before they were changed stays in the message store");
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

    /// Each longer than the one before, until something succeeds.
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

/// The entries of a record, and what is acknowledged when they are written.
type Record = (Vec<StoredEntry>, DeliveryToken);

/// What is no message stays where it is.
fn records(deliveries: Vec<ArchiveDelivery>) -> VecDeque<Record> {
    let parse = |ArchiveDelivery { record, token }| match StoredEntry::of(&record) {
        Ok(entries) => Some((entries, token)),
        Err(error) => {
            tracing::error!(%error, "an archived record cannot be written");
            None
        }
    };
    deliveries.into_iter().filter_map(parse).collect()
}

/// What recalls and edits among these entries do, each once.
fn amendments(entries: &[StoredEntry]) -> Vec<Amendment> {
    let change = Kind::Change.to_string();
    let mut changes: Vec<&StoredEntry> = entries.iter().filter(|entry| entry.kind == change).collect();
    changes.sort_by_key(|entry| entry.message_id);
    changes.dedup_by_key(|entry| entry.message_id);
    changes.into_iter().filter_map(|entry| Amendment::of(&entry.message)).collect()
}

#[cfg(test)]
mod tests;
