//! The connections that logs are read on.
//!
//! Redis answers a connection's requests in their order, so pages on the connection of leases, memberships and claims would
//! delay those. Reads have connections of their own, and no more bytes of pages are on their way at once than Redis sends
//! within some milliseconds, however many ask.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ::redis::FromRedisValue;
use futures_util::future::try_join_all;
use tokio::{
    sync::{OnceCell, Semaphore},
    time::timeout,
};

use crate::cluster::{
    config::ClusterConfig,
    redis::{Redis, RequestError, Script, ScriptCall},
};

/// How many connections there are to a single Redis. Redis works on one request at a time; a second and a third one let
/// small answers pass large ones that are still on their way, and are read here at the same time.
const CONNECTIONS: usize = 3;

/// How many bytes of pages are on their way at once: some milliseconds of Redis's time and of a fast network. What waits
/// waits here, where it takes no memory of Redis.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// What bytes are counted in, so that a request that brings hardly any counts too.
const UNIT: usize = 1024;

/// What an answer without payloads takes.
const LITTLE: usize = 64;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Readers {
    /// Of the process's other requests: what the connections are made like.
    redis: Redis,
    config: ClusterConfig,
    /// Made when something is read for the first time: a server of devices reads no logs.
    connections: OnceCell<Vec<Redis>>,
    next: AtomicUsize,
    room: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(redis: &Redis, config: &ClusterConfig) -> Self {
        Self {
            redis: redis.clone(),
            config: config.clone(),
            connections: OnceCell::new(),
            next: AtomicUsize::new(0),
            room: Arc::new(Semaphore::new(MAX_BYTES / UNIT)),
        }
    }

    /// Runs a script that answers with about this many bytes at most.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        bytes: usize,
        call: ScriptCall<'_>,
    ) -> Result<T, RequestError> {
        self.within(bytes, async |redis| redis.run(call).await).await
    }

    /// Runs a script that answers little on each of these keys, with arguments of their own.
    pub(super) async fn run_each<T: FromRedisValue>(
        &self,
        script: &Script,
        calls: &[(String, Vec<Vec<u8>>)],
    ) -> Result<Vec<T>, RequestError> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = calls.len().saturating_mul(LITTLE);
        self.within(bytes, async |redis| redis.run_each(script, calls).await).await
    }

    async fn within<T>(
        &self,
        bytes: usize,
        request: impl AsyncFnOnce(&Redis) -> Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        let place = self.redis.place();
        let units = (bytes.min(MAX_BYTES) / UNIT).max(1);
        let entering = self.room.acquire_many(u32::try_from(units).unwrap_or(u32::MAX));
        // The semaphore is never closed.
        let _permit = timeout(self.config.request_timeout, entering).await.map_err(|_| place.busy())?;
        request(self.connection().await?).await
    }

    async fn connection(&self) -> Result<&Redis, RequestError> {
        let connections = self.connections.get_or_try_init(async || {
            let count = if self.redis.batches().is_some() { CONNECTIONS } else { 1 };
            try_join_all((0..count).map(|_| self.redis.further(&self.config))).await
        });
        let connections = connections.await?;
        let next = self.next.fetch_add(1, Ordering::Relaxed) % connections.len().max(1);
        Ok(connections.get(next).unwrap_or(&self.redis))
    }
}
