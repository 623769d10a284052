//! What tests of the past share: a deployment whose logs keep little, and a message store that has it all.

use std::sync::Arc;

use im_sdk::{
    backend::{
        ArchiverHandle, Durability, Im, ImConfig, MemoryMessageStore, MessageStore, Service, SqlMessageStore,
    },
    cluster::{ArchiveConfig, LogBounds, LogId},
};
use tempfile::TempDir;

use crate::{
    Setup, Stack,
    group::serve,
    stack::{Keeping, PATIENCE},
    wait_until,
};

/// How many entries a log keeps, and some: Redis trims in blocks.
pub const KEPT: u64 = 10;

/// A server and a back end that serves. Whatever is sent without saying how is archived.
#[derive(Debug)]
pub struct Past {
    /// The deployment.
    pub stack: Stack,
    /// Its back end.
    pub im: Im,
    /// What was archived, as soon as the archiver has written it.
    pub store: Arc<dyn MessageStore>,
    /// What writes it.
    pub archiver: ArchiverHandle,
    _service: Service,
    _folder: Option<TempDir>,
}

impl Past {
    /// With a store in memory.
    pub async fn start(setup: Setup) -> Self {
        Self::start_with(setup, Arc::new(MemoryMessageStore::new()), None).await
    }

    /// With a database of SQLite.
    pub async fn start_with_sqlite(setup: Setup) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite:{}", folder.path().join("messages.db").display());
        let store = SqlMessageStore::connect(&url).await.expect("a database");
        Self::start_with(setup, Arc::new(store), Some(folder)).await
    }

    async fn start_with(setup: Setup, store: Arc<dyn MessageStore>, folder: Option<TempDir>) -> Self {
        let stack = Stack::start_keeping(setup, 1, keeping(KEPT)).await;
        let mut config = ImConfig::default();
        config.message_store = Some(store.clone());
        config.default_durability = Durability::Archived;
        let im = stack.backend_with(config).await;
        let archiver = im.archiver(store.clone()).expect("an archive").start();
        let service = serve(&im).await;
        Self { stack, im, store, archiver, _service: service, _folder: folder }
    }

    /// Waits until the store has everything that was archived.
    pub async fn settled(&self) {
        wait_until("everything is in the store", PATIENCE, async || {
            self.archiver.lag().await.expect("the archive").total() == 0
        })
        .await;
    }

    /// The first and the last seq that a log has.
    pub async fn ends(&self, log: &LogId) -> (u64, u64) {
        let ends = self.stack.cluster().log().ends(std::slice::from_ref(log)).await.expect("the log");
        (ends[0].first, ends[0].last)
    }
}

/// Logs that keep so many entries, and an archive.
pub fn keeping(max_entries: u64) -> Keeping {
    let log_bounds = LogBounds { max_entries, ..LogBounds::default() };
    Keeping { log_bounds, archive: ArchiveConfig { max_bytes: 64 * 1024 * 1024, ..ArchiveConfig::default() } }
}
