//! A deployment with short logs and an archive that keeps every message.

use std::sync::Arc;

use im_sdk::{
    backend::{
        Archiver, Durability, Im, Service,
        message_store::{MemoryMessageStore, MessageStore, SqlMessageStore},
    },
    cluster::{ArchiveConfig, LogBounds, LogId},
};
use tempfile::TempDir;

use crate::{
    Setup, Stack,
    channels::serve,
    stack::{LogSettings, PATIENCE},
    wait_until,
};

/// Minimum number of entries that a log keeps. Redis trims in blocks and may keep more.
pub const MIN_LOG_ENTRIES: u64 = 10;

/// A server, and a back end that serves it and archives every message by default.
#[derive(Debug)]
pub struct ArchivingStack {
    /// The deployment.
    pub stack: Stack,
    /// Its back end.
    pub im: Im,
    /// The store that the archiver writes to.
    pub store: Arc<dyn MessageStore>,
    /// Copies messages from the archive queue to the store.
    pub archiver: Archiver,
    _service: Service,
    _folder: Option<TempDir>,
}

impl ArchivingStack {
    /// Starts one whose message store is in memory.
    pub async fn start(setup: Setup) -> Self {
        Self::start_with(setup, Arc::new(MemoryMessageStore::new()), None).await
    }

    /// Starts one whose message store is an SQLite database.
    pub async fn start_with_sqlite(setup: Setup) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite:{}", folder.path().join("messages.db").display());
        let store = SqlMessageStore::connect(&url).await.expect("a database");
        Self::start_with(setup, Arc::new(store), Some(folder)).await
    }

    async fn start_with(setup: Setup, store: Arc<dyn MessageStore>, folder: Option<TempDir>) -> Self {
        let stack = Stack::start_with_logs(setup, 1, bounded_logs(MIN_LOG_ENTRIES)).await;
        let config = Im::builder().message_store(store.clone()).default_durability(Durability::Archived);
        let im = stack.backend_with(config).await;
        let archiver = im.start_archiver(store.clone()).expect("an archive");
        let service = serve(&im).await;
        Self { stack, im, store, archiver, _service: service, _folder: folder }
    }

    /// Waits until the archiver has written everything to the store.
    pub async fn archived(&self) {
        wait_until("everything is in the store", PATIENCE, async || {
            self.archiver.lag().await.expect("the archive").total() == 0
        })
        .await;
    }

    /// Returns the first and the last seq of a log.
    pub async fn ends(&self, log: &LogId) -> (u64, u64) {
        let ends = self.stack.cluster().log().ends(std::slice::from_ref(log)).await.expect("the log");
        (ends[0].first, ends[0].last)
    }
}

/// Returns settings for logs of at most `max_entries` entries, with an archive.
pub fn bounded_logs(max_entries: u64) -> LogSettings {
    let log_bounds = LogBounds { max_entries, ..LogBounds::default() };
    LogSettings {
        log_bounds,
        archive: ArchiveConfig { max_bytes: 64 * 1024 * 1024, ..ArchiveConfig::default() },
    }
}
