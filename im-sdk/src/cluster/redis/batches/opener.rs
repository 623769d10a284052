//! Opening connections: to which address, and when.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use redis::{RedisError, RedisResult};
use tokio::time::{Instant, sleep, timeout};

use super::{Shared, connection::Connection};
use crate::cluster::config::ClusterConfig;

/// Between two attempts to connect.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// How long a connection is kept at least, whatever it answers. A Redis that goes on answering so, such as one that has too
/// few replicas, would otherwise get a new connection for every request.
const MIN_AGE: Duration = Duration::from_millis(500);

/// See the module's description.
pub(super) struct Opener {
    config: Arc<ClusterConfig>,
    /// Which of the configured addresses is the next.
    at: usize,
    shared: Arc<Shared>,
    opened_at: Instant,
    /// How often the node had moved when the last attempt began.
    moves: u64,
    opening: Option<BoxFuture<'static, RedisResult<Connection>>>,
    /// The last attempt failed.
    failed: bool,
    /// How long all addresses may take together.
    limit: Duration,
}

impl Opener {
    pub(super) fn new(config: ClusterConfig, at: usize, shared: Arc<Shared>) -> Self {
        let (opened_at, limit, config) = (Instant::now(), config.connect_timeout, Arc::new(config));
        Self { config, at, shared, opened_at, moves: 0, opening: None, failed: false, limit }
    }

    /// How many addresses there are.
    pub(super) fn addresses(&self) -> usize {
        self.config.redis.len()
    }

    /// Begins an attempt, unless one is under way.
    pub(super) fn begin(&mut self) {
        if self.opening.is_some() {
            return;
        }
        self.shared.all_changed();
        self.moves = self.shared.purpose.moves.count();
        let delay = if self.failed { RETRY_DELAY } else { Duration::ZERO };
        // Shared out, so that one address at which nothing answers does not use up the time of the others.
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

    /// The end of the attempt that is under way. Nothing is lost when the future is dropped.
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

    /// The next attempt is at another address, if there is one.
    pub(super) fn turn_to_the_next(&mut self) {
        self.at = (self.at + 1) % self.addresses().max(1);
    }

    /// An answer says that this is the wrong node. Returns whether the connection is to be replaced.
    pub(super) fn note_wrong_node(&self) -> bool {
        let is_old = self.opened_at.elapsed() >= MIN_AGE;
        if is_old {
            self.shared.purpose.moves.note_after(self.moves, &self.shared.place);
        }
        is_old
    }

    /// Another connection to the same Redis has found that it is the wrong node since this one was opened.
    pub(super) fn has_moved(&self) -> bool {
        self.shared.purpose.moves.count() != self.moves
    }
}
