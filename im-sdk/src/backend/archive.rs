//! What is kept for good: a message of [`super::Durability::Archived`] on its way into the archive, and the [`Archiver`]
//! that brings it from there to a [`MessageStore`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    im::Im,
    store::{Amendment, MessageStore, MessageStoreError, StoredEntry},
};
use crate::Kind;
use crate::cluster::{
    Archive, ArchiveError, ArchiveLag, ArchivePlace, ArchiveRecord, Delivery, DeliveryToken,
};

/// How many places one record names at most: a third of a megabyte, of which NATS takes one.
const PLACES: usize = 4096;

/// How many records an archiver takes out at once.
const BATCH: usize = 256;

/// How many entries go to the database at once. A record can have thousands; what was written before a write that failed
/// is written again, with no effect.
const WRITE: usize = 1024;

/// How long an archiver waits for records before it asks again.
const WAIT: Duration = Duration::from_secs(5);

/// Between two tries when the archive or the database does not answer: at first, and at most.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// How long [`ArchiverHandle::shutdown`] waits for the batch that is being written.
const LAST_WRITE: Duration = Duration::from_secs(30);

/// Puts a message with all its places into the archive, if there is one to put it into.
pub(super) async fn archive_all(
    archive: Option<&Arc<dyn Archive>>,
    message: &Bytes,
    places: impl Iterator<Item = ArchivePlace>,
) -> Result<(), ArchiveError> {
    let Some(archive) = archive else { return Ok(()) };
    let places: Vec<ArchivePlace> = places.collect();
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

/// Brings messages from the archive to a message store. Made by [`Im::archiver`].
#[derive(Debug)]
#[must_use = "an archiver does nothing until it is started"]
pub struct Archiver {
    archive: Arc<dyn Archive>,
    store: Arc<dyn MessageStore>,
    stop: CancellationToken,
}

impl Im {
    /// An archiver that writes to this store. Any number of them may run, in any of the back ends: they share the work.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use std::sync::Arc;
    ///
    /// use im_sdk::{
    ///     backend::{Durability, Im, MemoryMessageStore, Message, user},
    ///     cluster::Cluster,
    /// };
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let archiver = im.archiver(Arc::new(MemoryMessageStore::new()))?.start();
    /// im.send(Message::to(user("bob")).text("hi").durability(Durability::Archived)).await?;
    /// archiver.shutdown().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`NoArchive`].
    pub fn archiver(&self, store: Arc<dyn MessageStore>) -> Result<Archiver, NoArchive> {
        let archive = self.inner.cluster.archive().ok_or(NoArchive)?.clone();
        Ok(Archiver { archive, store, stop: self.inner.stop.child_token() })
    }
}

impl Archiver {
    /// Starts it. It runs until the handle is dropped or shut down, or the [`Im`] is.
    pub fn start(self) -> ArchiverHandle {
        let Self { archive, store, stop } = self;
        let written = Arc::new(AtomicU64::new(0));
        let work = Work {
            archive: archive.clone(),
            store,
            stop: stop.clone(),
            written: written.clone(),
            retry: FIRST_RETRY,
        };
        let task = tokio::spawn(work.run());
        ArchiverHandle { archive, written, task, stop: stop.drop_guard() }
    }
}

/// A running archiver. Dropping it ends it after the batch that it is at.
#[derive(Debug)]
#[must_use = "dropping the handle stops the archiver"]
pub struct ArchiverHandle {
    archive: Arc<dyn Archive>,
    written: Arc<AtomicU64>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl ArchiverHandle {
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
        self.written.load(Ordering::Relaxed)
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
    archive: Arc<dyn Archive>,
    store: Arc<dyn MessageStore>,
    stop: CancellationToken,
    written: Arc<AtomicU64>,
    /// How long the next pause is.
    retry: Duration,
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
                Ok(deliveries) => self.archive_batch(deliveries).await,
                Err(error) => {
                    tracing::warn!(%error, "an archiver gets nothing from the archive");
                    self.pause().await;
                }
            }
        }
    }

    /// Writes first and acknowledges then: whoever dies in between has it done again, with the same effect.
    async fn archive_batch(&mut self, deliveries: Vec<Delivery>) {
        let (entries, tokens) = entries(deliveries);
        for entries in entries.chunks(WRITE) {
            if !self.write(entries).await {
                return;
            }
        }
        // What a change does, also to messages that come later: none brings back what a recall took away.
        if !self.amend(&amendments(&entries)).await {
            return;
        }
        if let Err(error) = self.archive.acknowledge(tokens).await {
            tracing::warn!(%error, "what was written could not be acknowledged and comes again");
        }
    }

    /// Tries until it is done. False: told to stop.
    async fn write(&mut self, entries: &[StoredEntry]) -> bool {
        while let Err(error) = self.store.write(entries).await {
            tracing::warn!(%error, entries = entries.len(), "an archiver cannot write");
            self.pause().await;
            if self.stop.is_cancelled() {
                return false;
            }
        }
        self.retry = FIRST_RETRY;
        self.written.fetch_add(entries.len() as u64, Ordering::Relaxed);
        true
    }

    /// The same for what recalls and edits make of messages.
    async fn amend(&mut self, amendments: &[Amendment]) -> bool {
        while let Err(error) = self.store.amend(amendments).await {
            if matches!(error, MessageStoreError::Unsupported { .. }) {
                tracing::debug!(%error, "what messages said before they were changed stays in the message store");
                return true;
            }
            tracing::warn!(%error, amendments = amendments.len(), "an archiver cannot carry out changes");
            self.pause().await;
            if self.stop.is_cancelled() {
                return false;
            }
        }
        self.retry = FIRST_RETRY;
        true
    }

    /// Each longer than the one before, until something succeeds.
    async fn pause(&mut self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = sleep(self.retry) => {}
        }
        self.retry = (self.retry * 2).min(LAST_RETRY);
    }
}

/// What is to be written, and what is to be acknowledged then. What is no message stays where it is.
fn entries(deliveries: Vec<Delivery>) -> (Vec<StoredEntry>, Vec<DeliveryToken>) {
    let (mut entries, mut tokens) = (Vec::new(), Vec::new());
    for Delivery { record, token } in deliveries {
        match StoredEntry::of(&record) {
            Ok(mut of_record) => {
                entries.append(&mut of_record);
                tokens.push(token);
            }
            Err(error) => tracing::error!(%error, "an archived record cannot be written"),
        }
    }
    (entries, tokens)
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
