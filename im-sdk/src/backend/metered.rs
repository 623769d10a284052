//! A log that says how much was read of it, for tests of what requests may cost.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use prost::Message as _;

use crate::{
    Content,
    cluster::{
        AckQuery, AckStore, Appended, Cluster, DeviceAck, LogBounds, LogEnds, LogError, LogId, LogStore,
        MemoryBus, MemoryLog, MemoryRoutes, NewEntry, Page, ReadLimit,
    },
    id::{Device, MessageId, UserId},
    proto::pb,
};

/// Logs in memory, and what their pages brought.
#[derive(Debug)]
pub(super) struct MeteredLog {
    log: MemoryLog,
    bytes: AtomicUsize,
    largest: AtomicUsize,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Meter {
    /// Bytes of payloads in all pages.
    pub(super) bytes: usize,
    /// Those in the largest one.
    pub(super) largest: usize,
}

impl MeteredLog {
    /// A log that trims nothing by its bytes: more is in it than a request may read.
    pub(super) fn cluster() -> (Arc<Self>, Cluster) {
        let log = MemoryLog::new(LogBounds { max_bytes: 1 << 30, ..LogBounds::default() });
        let log = Arc::new(Self { log, bytes: AtomicUsize::default(), largest: AtomicUsize::default() });
        let cluster = Cluster::new(Arc::new(MemoryRoutes::new()), Arc::new(MemoryBus::new()), log.clone());
        (log, cluster)
    }

    /// What was read since the last call.
    pub(super) fn take(&self) -> Meter {
        let take = |counter: &AtomicUsize| counter.swap(0, Ordering::Relaxed);
        Meter { bytes: take(&self.bytes), largest: take(&self.largest) }
    }

    /// Appends a text to an inbox.
    pub(super) async fn say(&self, owner: &str, from: &str, id: u64, bytes: usize) -> Appended {
        self.say_as(owner, from, id, Content::text("x".repeat(bytes))).await
    }

    pub(super) async fn say_as(&self, owner: &str, from: &str, id: u64, content: Content) -> Appended {
        let message = pb::Message {
            id,
            from: from.into(),
            to: owner.into(),
            content: Some(content.into()),
            ..Default::default()
        };
        let entry = NewEntry::new(MessageId::from_u64(id).unwrap(), message.encode_to_vec().into());
        let owner: UserId = owner.parse().unwrap();
        self.log.append(&LogId::Inbox(owner), entry).await.unwrap()
    }

    fn note(&self, page: Page) -> Page {
        let bytes = page.entries.iter().map(|entry| entry.payload.len()).sum();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.largest.fetch_max(bytes, Ordering::Relaxed);
        page
    }
}

#[async_trait]
impl LogStore for MeteredLog {
    async fn append(&self, log: &LogId, entry: NewEntry) -> Result<Appended, LogError> {
        self.log.append(log, entry).await
    }

    async fn append_many(&self, entries: Vec<(LogId, NewEntry)>) -> Vec<Result<Appended, LogError>> {
        self.log.append_many(entries).await
    }

    async fn read(&self, log: &LogId, after: u64, limit: ReadLimit) -> Result<Page, LogError> {
        Ok(self.note(self.log.read(log, after, limit).await?))
    }

    async fn read_back(&self, log: &LogId, before: Option<u64>, limit: ReadLimit) -> Result<Page, LogError> {
        Ok(self.note(self.log.read_back(log, before, limit).await?))
    }

    async fn replace(
        &self,
        log: &LogId,
        seq: u64,
        message_id: MessageId,
        payload: Bytes,
    ) -> Result<bool, LogError> {
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
impl AckStore for MeteredLog {
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
