//! The connections that logs are read on.
//!
//! Redis answers the requests of a connection in order, so pages would delay leases, memberships
//! and claims on the same connection. Reads have connections of their own. However many reads there
//! are, no more bytes of pages are in flight at once than Redis sends within some milliseconds.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::future::try_join_all;
use tokio::{
    sync::{OnceCell, Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::cluster::{
    config::ClusterConfig,
    redis::{Redis, RequestError},
};

/// The number of connections to a single Redis. Redis works on one request at a time; with a second
/// and a third connection, small replies pass large ones in transit, and replies are decoded in
/// parallel.
const CONNECTIONS: usize = 3;

/// The maximum number of bytes in flight: some milliseconds of Redis's time and of a fast network.
/// Further reads wait here, where they take no memory of Redis.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The unit in which bytes are counted, so that a read of hardly any bytes counts too.
const UNIT: usize = 1024;

/// The maximum number of logs with known entry sizes. Beyond, all are forgotten.
const MAX_SIZES: usize = 16_384;

/// A pool of connections for reads.
#[derive(Debug)]
pub(super) struct ReadPool {
    /// The process's connection for other requests, after which the pool's connections are
    /// modelled.
    redis: Redis,
    config: ClusterConfig,
    /// Opened by the first read: a server of devices reads no logs.
    connections: OnceCell<Vec<Redis>>,
    next: AtomicUsize,
    room: Semaphore,
    /// The average size of the entries last read from a log, by the log's key.
    sizes: Mutex<HashMap<String, usize>>,
}

impl ReadPool {
    pub(super) fn new(redis: &Redis, config: &ClusterConfig) -> Self {
        Self {
            redis: redis.clone(),
            config: config.clone(),
            connections: OnceCell::new(),
            next: AtomicUsize::new(0),
            room: Semaphore::new(MAX_BYTES / UNIT),
            sizes: Mutex::default(),
        }
    }

    /// Waits for room for as many bytes, and reserves it.
    pub(super) async fn acquire(&self, bytes: usize) -> Result<ReadPermit<'_>, RequestError> {
        let address = self.redis.address();
        let units = (bytes.min(MAX_BYTES) / UNIT).max(1);
        let entering = self.room.acquire_many(u32::try_from(units).unwrap_or(u32::MAX));
        let entered = timeout(self.config.request_timeout, entering).await.map_err(|_| address.busy())?;
        // The semaphore is never closed.
        let permit = entered.map_err(|_| address.busy())?;
        Ok(ReadPermit { redis: self.connection().await?, _permit: permit })
    }

    /// Returns the average size of the entries last read from a log.
    pub(super) fn usual_bytes(&self, key: &str) -> Option<usize> {
        self.sizes().get(key).copied()
    }

    /// Records how many entries took how many bytes.
    pub(super) fn note_sizes(&self, key: &str, (entries, bytes): (usize, usize)) {
        if entries == 0 {
            return;
        }
        let mut sizes = self.sizes();
        if sizes.len() >= MAX_SIZES && !sizes.contains_key(key) {
            sizes.clear();
        }
        match sizes.get_mut(key) {
            Some(known) => *known = bytes / entries,
            None => drop(sizes.insert(key.to_owned(), bytes / entries)),
        }
    }

    fn sizes(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        // Every change is complete before anything can panic.
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connection(&self) -> Result<&Redis, RequestError> {
        let connections = self.connections.get_or_try_init(async || {
            let count = if self.redis.pipelined().is_some() { CONNECTIONS } else { 1 };
            try_join_all((0..count).map(|_| self.redis.further(&self.config))).await
        });
        let connections = connections.await?;
        let next = self.next.fetch_add(1, Ordering::Relaxed) % connections.len().max(1);
        Ok(connections.get(next).unwrap_or(&self.redis))
    }
}

/// A connection to read on, with room for the result.
#[derive(Debug)]
pub(super) struct ReadPermit<'a> {
    redis: &'a Redis,
    _permit: SemaphorePermit<'a>,
}

impl ReadPermit<'_> {
    pub(super) fn redis(&self) -> &Redis {
        self.redis
    }
}
