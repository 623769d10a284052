//! The connections that logs are read on.
//!
//! Redis answers a connection's requests in their order, so pages on the connection of leases, memberships and claims would
//! delay those. Reads have connections of their own, and no more bytes of pages are on their way at once than Redis sends
//! within some milliseconds, however many ask.

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

/// How many connections there are to a single Redis. Redis works on one request at a time; a second and a third one let
/// small answers pass large ones that are still on their way, and are read here at the same time.
const CONNECTIONS: usize = 3;

/// How many bytes of pages are on their way at once: some milliseconds of Redis's time and of a fast network. What waits
/// waits here, where it takes no memory of Redis.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// What bytes are counted in, so that a request that brings hardly any counts too.
const UNIT: usize = 1024;

/// Of how many logs it is known how large their entries are. Beyond, all are forgotten.
const MAX_SIZES: usize = 16_384;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Readers {
    /// Of the process's other requests: what the connections are made like.
    redis: Redis,
    config: ClusterConfig,
    /// Made when something is read for the first time: a server of devices reads no logs.
    connections: OnceCell<Vec<Redis>>,
    next: AtomicUsize,
    room: Semaphore,
    /// What an entry of a log took when it was read last, by the log's key.
    sizes: Mutex<HashMap<String, usize>>,
}

impl Readers {
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

    /// Waits for room for as many bytes, and holds it.
    pub(super) async fn enter(&self, bytes: usize) -> Result<Reading<'_>, RequestError> {
        let place = self.redis.place();
        let units = (bytes.min(MAX_BYTES) / UNIT).max(1);
        let entering = self.room.acquire_many(u32::try_from(units).unwrap_or(u32::MAX));
        let entered = timeout(self.config.request_timeout, entering).await.map_err(|_| place.busy())?;
        // The semaphore is never closed.
        let permit = entered.map_err(|_| place.busy())?;
        Ok(Reading { redis: self.connection().await?, _permit: permit })
    }

    /// The bytes that an entry of a log took when it was read last.
    pub(super) fn usual_bytes(&self, key: &str) -> Option<usize> {
        self.sizes().get(key).copied()
    }

    /// Notes how many entries took how many bytes.
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
            let count = if self.redis.batches().is_some() { CONNECTIONS } else { 1 };
            try_join_all((0..count).map(|_| self.redis.further(&self.config))).await
        });
        let connections = connections.await?;
        let next = self.next.fetch_add(1, Ordering::Relaxed) % connections.len().max(1);
        Ok(connections.get(next).unwrap_or(&self.redis))
    }
}

/// A connection to read on, and room for what is read.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    redis: &'a Redis,
    _permit: SemaphorePermit<'a>,
}

impl Reading<'_> {
    pub(super) fn redis(&self) -> &Redis {
        self.redis
    }
}
