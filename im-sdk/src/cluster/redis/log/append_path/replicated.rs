//! Appends to a Redis Cluster that replicas confirm.
//!
//! `WAIT` blocks its connection, so these appends have connections of their own, each used by one
//! append at a time. That also bounds the queue at Redis while a replica is away.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::try_join_all;
use redis::{Cmd, Pipeline};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

use super::{Outcome, confirmed};
use crate::cluster::{
    config::{ClusterConfig, ConnectError},
    redis::{NoRetryConnection, SendError},
    time::milliseconds,
};

/// The number of appends that wait for replicas at once. At 0.2 ms to a replica, that allows 40,000
/// in a second.
const CONNECTIONS: usize = 8;

#[derive(Debug)]
pub(in crate::cluster::redis::log) struct ReplicatedPath {
    idle: Mutex<Vec<NoRetryConnection>>,
    /// One permit for each idle connection.
    permits: Semaphore,
    replicas: usize,
}

impl ReplicatedPath {
    pub(super) async fn connect(config: &ClusterConfig) -> Result<Self, ConnectError> {
        let connections = (0..CONNECTIONS).map(|_| NoRetryConnection::connect(config));
        let connections = try_join_all(connections).await?;
        let permits = Semaphore::new(connections.len());
        Ok(Self { idle: Mutex::new(connections), permits, replicas: config.min_replicas })
    }

    /// Sends commands and a `WAIT` behind them, in one pipeline: so they are on one connection to
    /// one server, whatever reconnects meanwhile, and `WAIT` covers all writes of this connection.
    pub(super) async fn send(
        &self,
        key: &str,
        mut commands: Pipeline,
        deadline: Instant,
    ) -> Result<Outcome, SendError> {
        // An append without a connection within half of the time fails as not sent, rather than
        // being sent with too little time left for its reply.
        let turn = Instant::now() + half_until(deadline);
        let connection = match timeout_at(turn, self.take()).await {
            Ok(connection) => connection?,
            Err(elapsed) => return Err(SendError::NotDone(elapsed.into())),
        };
        commands.add_command(self.wait(deadline));
        let mut answers = connection.send(key, &commands, deadline).await?;
        let acknowledged = redis::from_redis_value(answers.pop().unwrap_or_default());
        let confirmed = confirmed(acknowledged.map_err(redis::RedisError::from), self.replicas);
        Ok((answers, confirmed))
    }

    fn wait(&self, deadline: Instant) -> Cmd {
        let mut command = redis::cmd("WAIT");
        // 0 would wait for ever.
        command.arg(self.replicas).arg(milliseconds(half_until(deadline)).max(1));
        command
    }

    async fn take(&self) -> Result<Taken<'_>, SendError> {
        let permit = self.permits.acquire().await.map_err(|closed| SendError::NotDone(closed.into()))?;
        let connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let none = || SendError::NotDone("no connection is idle".into());
        Ok(Taken { pool: self, connection: connection.ok_or_else(none)?, _permit: permit })
    }
}

/// Returns half of the remaining time, so that the rest is left for the reply.
fn half_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()) / 2
}

/// A borrowed connection that returns to the pool when it is dropped.
struct Taken<'a> {
    pool: &'a ReplicatedPath,
    connection: NoRetryConnection,
    /// Dropped last, so that the next holder of the permit finds a connection.
    _permit: SemaphorePermit<'a>,
}

impl std::ops::Deref for Taken<'_> {
    type Target = NoRetryConnection;
    fn deref(&self) -> &NoRetryConnection {
        &self.connection
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let connection = self.connection.clone();
        self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}
