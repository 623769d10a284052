//! Logs in Redis.
//!
//! A log is a stream whose ids are `0-1`, `0-2` and so on. `XADD <key> 0-*` numbers its entries
//! without a gap, and continues after entries, or all of them, have been trimmed. Redis 7.0 is the
//! first version that can do this.

mod acks;
mod append;
mod append_path;
mod idempotency;
mod persisted_inboxes;
mod quota;
mod read;
mod read_pool;
mod transient;
mod trim;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use self::{
    append_path::AppendPath, persisted_inboxes::PersistedInboxes, read::Direction, read_pool::ReadPool,
};
use super::connection::Redis;
use crate::{
    cluster::{
        clock::Clock,
        config::{ClusterConfig, ConnectError},
        log_id::LogId,
        names::Names,
        quota::Cutoffs,
        redis::RequestError,
        traits::{
            Appended, DedupKey, LogBounds, LogEnds, LogError, LogStore, NewEntry, Page, ReadLimit,
            log_error::Cause,
        },
        trim_clock::TrimClock,
    },
    id::MessageId,
};

/// The longest lifetime of a record: a century. Redis refuses much longer ones.
const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Logs in a single Redis or a Redis Cluster.
///
/// An append returns `Ok` at the durability that Redis is set up for (`appendfsync`), on as many
/// replicas as [`ClusterConfig::min_replicas`] demands. Entries that are too old, by both this
/// process's clock and Redis's, are removed when the log is read, and now and then when it is
/// appended to.
#[derive(Debug)]
pub struct RedisLog {
    redis: Redis,
    reads: ReadPool,
    path: AppendPath,
    names: Names,
    bounds: LogBounds,
    clock: TrimClock,
    persisted: PersistedInboxes,
    request_timeout: Duration,
}

impl RedisLog {
    /// Connects to Redis, and detects whether it is a Redis Cluster.
    ///
    /// # Errors
    /// [`ConnectError`], after twice the `connect_timeout` at the latest.
    pub async fn connect(config: &ClusterConfig) -> Result<Self, ConnectError> {
        // First, so that a wrong prefix does not wait for Redis.
        config.names()?;
        Self::on(Redis::connect(config).await?, config).await
    }

    /// Uses a connection that others use too.
    pub(crate) async fn on(redis: Redis, config: &ClusterConfig) -> Result<Self, ConnectError> {
        let path = AppendPath::open(&redis, config).await?;
        let (names, reads) = (config.names()?, ReadPool::new(&redis, config));
        Ok(Self {
            redis,
            reads,
            path,
            names,
            bounds: config.log_bounds,
            clock: TrimClock::default(),
            persisted: PersistedInboxes::default(),
            request_timeout: config.request_timeout,
        })
    }

    /// Trims by the cluster's clock instead of this machine's. No entry is too old while that clock
    /// is unknown.
    #[must_use]
    pub fn trimmed_by(self, clock: Clock) -> Self {
        Self { clock: TrimClock::new(move || clock.expiry_ms()), ..self }
    }

    fn cutoffs(&self) -> Cutoffs {
        Cutoffs::at(self.clock.now_ms(), &self.bounds)
    }
}

#[async_trait]
impl LogStore for RedisLog {
    async fn append(&self, log: &LogId, entry: NewEntry) -> Result<Appended, LogError> {
        let mut results = self.append_batch(&[(log.clone(), entry)]).await;
        results.pop().unwrap_or_else(|| Err(append::unexpected_reply()))
    }

    async fn append_many(&self, entries: Vec<(LogId, NewEntry)>) -> Vec<Result<Appended, LogError>> {
        self.append_batches(&entries).await
    }

    async fn check_room(&self, entries: &[(LogId, NewEntry)]) -> Vec<Result<(), LogError>> {
        self.find_room(entries).await
    }

    async fn deduplicate(
        &self,
        log: &LogId,
        message_id: MessageId,
        once: &DedupKey,
    ) -> Result<MessageId, LogError> {
        self.remember_transient(log, message_id, once).await
    }

    async fn read(&self, log: &LogId, after: u64, limit: ReadLimit) -> Result<Page, LogError> {
        self.page("read a log", log, Direction::After(after), limit).await
    }

    async fn read_back(&self, log: &LogId, before: Option<u64>, limit: ReadLimit) -> Result<Page, LogError> {
        self.page("read a log back", log, Direction::Before(before), limit).await
    }

    async fn replace(
        &self,
        log: &LogId,
        seq: u64,
        message_id: MessageId,
        payload: Bytes,
    ) -> Result<bool, LogError> {
        self.replace_entry(log, seq, message_id, &payload).await
    }

    async fn id_at(&self, log: &LogId, seq: u64) -> Result<Option<MessageId>, LogError> {
        self.find_id(log, seq).await
    }

    async fn ends(&self, logs: &[LogId]) -> Result<Vec<LogEnds>, LogError> {
        self.find_ends(logs).await
    }
}

/// Returns the seq in a stream id.
fn parse_seq(id: &str) -> Option<u64> {
    id.strip_prefix("0-")?.parse().ok()
}

fn unavailable(action: &'static str) -> impl FnOnce(RequestError) -> LogError {
    move |source| LogError::Unavailable { action, source: Cause::from(source) }
}
