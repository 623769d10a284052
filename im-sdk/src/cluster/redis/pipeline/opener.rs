//! Opening of connections: which address is tried, and when.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use redis::{RedisError, RedisResult};
use tokio::time::{Instant, sleep, timeout};

use super::{Shared, connection::Connection};
use crate::cluster::config::ClusterConfig;

/// The pause between two attempts to connect.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// The minimum age at which a connection is replaced because of its replies. A Redis that keeps
/// replying so, such as one with too few replicas, would otherwise get a new connection for every
/// request.
const MIN_AGE: Duration = Duration::from_millis(500);

/// Opens connections, one after the other.
pub(super) struct Opener {
    config: Arc<ClusterConfig>,
    /// The index of the address to try next.
    at: usize,
    shared: Arc<Shared>,
    opened_at: Instant,
    /// The number of failovers when the last attempt began.
    failovers: u64,
    opening: Option<BoxFuture<'static, RedisResult<Connection>>>,
    /// Whether the last attempt failed.
    failed: bool,
    /// The time limit of all addresses together.
    limit: Duration,
}

impl Opener {
    pub(super) fn new(config: ClusterConfig, at: usize, shared: Arc<Shared>) -> Self {
        let (opened_at, limit, config) = (Instant::now(), config.connect_timeout, Arc::new(config));
        Self { config, at, shared, opened_at, failovers: 0, opening: None, failed: false, limit }
    }

    /// Returns the number of addresses.
    pub(super) fn addresses(&self) -> usize {
        self.config.redis.len()
    }

    /// Begins an attempt, unless one is in progress.
    pub(super) fn begin(&mut self) {
        if self.opening.is_some() {
            return;
        }
        self.shared.invalidate_all();
        self.failovers = self.shared.options.failovers.count();
        let delay = if self.failed { RETRY_DELAY } else { Duration::ZERO };
        // Each address gets a share of the time, so that one without an answer does not use it up.
        let addresses = u32::try_from(self.addresses()).unwrap_or(u32::MAX).max(1);
        let limit = self.limit / addresses;
        let (config, shared) = (Arc::clone(&self.config), Arc::clone(&self.shared));
        let at = self.at % self.addresses().max(1);
        self.opening = Some(Box::pin(async move {
            sleep(delay).await;
            let address = config.redis.get(at).map(String::as_str).unwrap_or_default();
            match timeout(limit, Connection::open(&config, address, &shared)).await {
                Ok(opened) => opened,
                Err(_) => Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))),
            }
        }));
    }

    /// Waits for the attempt in progress. Cancel-safe: dropping the future loses nothing.
    pub(super) async fn opened(&mut self) -> RedisResult<Connection> {
        let opened = match &mut self.opening {
            Some(opening) => opening.await,
            None => std::future::pending().await,
        };
        self.opening = None;
        self.failed = opened.is_err();
        match &opened {
            Ok(_) => (self.opened_at, self.limit) = (Instant::now(), self.shared.limit),
            Err(_) => self.turn_to_the_next(),
        }
        opened
    }

    /// Selects the next address for the next attempt.
    pub(super) fn turn_to_the_next(&mut self) {
        self.at = (self.at + 1) % self.addresses().max(1);
    }

    /// Records that a reply named this node as the wrong one. Returns whether the connection is to
    /// be replaced.
    pub(super) fn note_wrong_node(&self) -> bool {
        let is_old = self.opened_at.elapsed() >= MIN_AGE;
        if is_old {
            self.shared.options.failovers.note_after(self.failovers, &self.shared.address);
        }
        is_old
    }

    /// Returns whether another connection to the same Redis has detected a failover since this one
    /// was opened.
    pub(super) fn has_moved(&self) -> bool {
        self.shared.options.failovers.count() != self.failovers
    }
}
