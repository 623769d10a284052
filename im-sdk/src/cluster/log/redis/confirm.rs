//! Appends that replicas confirm, on a Redis Cluster.
//!
//! `WAIT` holds up the connection that it is sent on, so these appends have connections of their own, each used by one
//! append at a time. That also bounds what queues at Redis while a replica is away.

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

use super::way::{Answers, confirmed};
use crate::cluster::{
    config::{ClusterConfig, ConnectError},
    log::entry::milliseconds,
    redis::{SendError, Unrepeated},
};

/// How many appends wait for replicas at once. At 0.2 ms to a replica, 40,000 in a second.
const CONNECTIONS: usize = 8;

#[derive(Debug)]
pub(super) struct Confirming {
    idle: Mutex<Vec<Unrepeated>>,
    /// As many permits as there are idle connections.
    permits: Semaphore,
    replicas: usize,
}

impl Confirming {
    pub(super) async fn connect(config: &ClusterConfig) -> Result<Self, ConnectError> {
        let connections = (0..CONNECTIONS).map(|_| Unrepeated::connect(config));
        let connections = try_join_all(connections).await?;
        let permits = Semaphore::new(connections.len());
        Ok(Self { idle: Mutex::new(connections), permits, replicas: config.min_replicas })
    }

    /// Sends commands and `WAIT` behind them. In one pipeline: then they are on one connection to one server, whatever
    /// is reconnected meanwhile, and `WAIT` speaks of all that this connection wrote.
    pub(super) async fn send(
        &self,
        key: &str,
        mut commands: Pipeline,
        deadline: Instant,
    ) -> Result<Answers, SendError> {
        // Whoever is not let in within half of the time is told that nothing happened, rather than sent with too little
        // time left to hear of it.
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
        // 0 would be for ever.
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

/// Half, so that there is time for what comes behind.
fn half_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()) / 2
}

/// A connection that goes back when it is dropped.
struct Taken<'a> {
    pool: &'a Confirming,
    connection: Unrepeated,
    /// Dropped last: who gets the permit finds a connection.
    _permit: SemaphorePermit<'a>,
}

impl std::ops::Deref for Taken<'_> {
    type Target = Unrepeated;
    fn deref(&self) -> &Unrepeated {
        &self.connection
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let connection = self.connection.clone();
        self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}
