//! Logs in Redis.
//!
//! A log is a stream whose ids are `0-1`, `0-2` and so on: `XADD <key> 0-*` numbers it without a gap, and goes on where it
//! was when entries, or all of them, have been trimmed away. Redis 7.0 is the first that can do this.

mod acks;
mod append;
mod confirm;
mod persisted;
mod read;
mod readers;
mod remember;
mod room;
mod trim;
mod way;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use self::{append::MAX_TTL, persisted::Persisted, read::Direction, readers::Readers, way::Way};
use super::{
    AckQuestion, AckStore, Appended, Cause, DeviceAck, Ends, LogBounds, LogError, LogId, LogStore,
    MAX_ACKED_SEQ, MAX_ACKS_PER_USER, NewEntry, Once, Page, ReadLimit, clock::TrimClock, room::Cutoffs,
};
use crate::{
    cluster::{
        Clock,
        config::{ClusterConfig, ConnectError},
        names::Names,
        redis::Redis,
    },
    id::MessageId,
};

/// Logs in a single Redis or a Redis Cluster. Ok from an append means what Redis is set up for (`appendfsync`), on as many
/// replicas as [`ClusterConfig::min_replicas`] says.
///
/// What is too old, by this process's clock and by Redis's, leaves a log when the log is read, or now and then when it is appended
/// to.
#[derive(Debug)]
pub struct RedisLog {
    redis: Redis,
    reads: Readers,
    way: Way,
    names: Names,
    bounds: LogBounds,
    clock: TrimClock,
    persisted: Persisted,
    request_timeout: Duration,
}

impl RedisLog {
    /// Connects to Redis; whether it is a Redis Cluster is found out.
    ///
    /// # Errors
    /// [`ConnectError`], after twice the `connect_timeout` at the latest.
    pub async fn connect(config: &ClusterConfig) -> Result<Self, ConnectError> {
        // First: a prefix that is wrong is no reason to wait for Redis.
        config.names()?;
        Self::on(Redis::connect(config).await?, config).await
    }

    /// On a connection that others use too.
    pub(crate) async fn on(redis: Redis, config: &ClusterConfig) -> Result<Self, ConnectError> {
        let way = Way::open(&redis, config).await?;
        let (names, reads) = (config.names()?, Readers::new(&redis, config));
        Ok(Self {
            redis,
            reads,
            way,
            names,
            bounds: config.log_bounds,
            clock: TrimClock::default(),
            persisted: Persisted::default(),
            request_timeout: config.request_timeout,
        })
    }

    /// The same with the cluster's clock, instead of this machine's: nothing is too old while that is not known.
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
        results.pop().unwrap_or_else(|| Err(append::no_answer()))
    }

    async fn append_many(&self, entries: Vec<(LogId, NewEntry)>) -> Vec<Result<Appended, LogError>> {
        self.append_batches(&entries).await
    }

    async fn check_room(&self, entries: &[(LogId, NewEntry)]) -> Vec<Result<(), LogError>> {
        self.find_room(entries).await
    }

    async fn remember(&self, log: &LogId, message_id: MessageId, once: &Once) -> Result<MessageId, LogError> {
        self.remember_live(log, message_id, once).await
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

    async fn ends(&self, logs: &[LogId]) -> Result<Vec<Ends>, LogError> {
        self.find_ends(logs).await
    }
}
