//! A log in memory with hooks around its calls, for tests of failures and delays.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    cluster::{
        AckQuery, AckStore, Appended, Cluster, DedupKey, DeviceAck, LogBounds, LogEnds, LogError, LogId,
        LogStore, MemoryBus, MemoryLog, MemoryRoutes, NewEntry, Page, ReadLimit,
    },
    id::{Device, MessageId},
};

/// Runs around the calls of a [`HookedLog`]. The defaults do nothing.
#[async_trait]
pub(in crate::backend) trait LogHooks: Debug + Send + Sync + Sized + 'static {
    /// Runs before each append to one log.
    async fn before_append(&self, log: &LogId) -> Result<(), LogError> {
        let _ = log;
        Ok(())
    }

    /// Runs before each read.
    async fn before_read(&self) {}

    /// Sees each page that was read.
    fn on_page(&self, page: &Page) {
        let _ = page;
    }

    /// Runs before an entry is replaced.
    async fn before_replace(&self) -> Result<(), LogError> {
        Ok(())
    }
}

/// A [`MemoryLog`] with hooks.
#[derive(Debug)]
pub(in crate::backend) struct HookedLog<H> {
    pub(in crate::backend) log: MemoryLog,
    pub(in crate::backend) hooks: H,
}

impl<H: LogHooks> HookedLog<H> {
    /// A cluster in memory with such a log.
    pub(in crate::backend) fn cluster(bounds: LogBounds, hooks: H) -> (Arc<Self>, Cluster) {
        let log = Arc::new(Self { log: MemoryLog::new(bounds), hooks });
        let cluster = Cluster::new(Arc::new(MemoryRoutes::new()), Arc::new(MemoryBus::new()), log.clone());
        (log, cluster)
    }
}

#[async_trait]
impl<H: LogHooks> LogStore for HookedLog<H> {
    async fn append(&self, log: &LogId, entry: NewEntry) -> Result<Appended, LogError> {
        self.hooks.before_append(log).await?;
        self.log.append(log, entry).await
    }

    async fn append_many(&self, entries: Vec<(LogId, NewEntry)>) -> Vec<Result<Appended, LogError>> {
        let mut results = Vec::with_capacity(entries.len());
        for (log, entry) in entries {
            results.push(self.append(&log, entry).await);
        }
        results
    }

    async fn deduplicate(&self, log: &LogId, id: MessageId, once: &DedupKey) -> Result<MessageId, LogError> {
        self.log.deduplicate(log, id, once).await
    }

    async fn read(&self, log: &LogId, after: u64, limit: ReadLimit) -> Result<Page, LogError> {
        self.hooks.before_read().await;
        let page = self.log.read(log, after, limit).await?;
        self.hooks.on_page(&page);
        Ok(page)
    }

    async fn read_back(&self, log: &LogId, before: Option<u64>, limit: ReadLimit) -> Result<Page, LogError> {
        self.hooks.before_read().await;
        let page = self.log.read_back(log, before, limit).await?;
        self.hooks.on_page(&page);
        Ok(page)
    }

    async fn replace(
        &self,
        log: &LogId,
        seq: u64,
        message_id: MessageId,
        payload: Bytes,
    ) -> Result<bool, LogError> {
        self.hooks.before_replace().await?;
        self.log.replace(log, seq, message_id, payload).await
    }

    async fn id_at(&self, log: &LogId, seq: u64) -> Result<Option<MessageId>, LogError> {
        self.log.id_at(log, seq).await
    }

    async fn ends(&self, logs: &[LogId]) -> Result<Vec<LogEnds>, LogError> {
        self.log.ends(logs).await
    }
}

#[async_trait]
impl<H: LogHooks> AckStore for HookedLog<H> {
    async fn note_acks(&self, acks: &[DeviceAck]) -> Result<Vec<bool>, LogError> {
        self.log.note_acks(acks).await
    }

    async fn acked(&self, questions: &[AckQuery]) -> Result<Vec<Vec<(Device, u64)>>, LogError> {
        self.log.acked(questions).await
    }

    async fn lower_ack(&self, ack: &DeviceAck) -> Result<(), LogError> {
        self.log.lower_ack(ack).await
    }
}
