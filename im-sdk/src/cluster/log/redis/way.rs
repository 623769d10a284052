//! The way of an append to Redis.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ::redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::time::Instant;

use super::confirm::Confirming;
use crate::cluster::{
    config::{ClusterConfig, ConnectError},
    log::LogError,
    redis::{self, Batches, Commands, Redis, SendError, Unrepeated},
};

/// On how many connections appends wait for replicas. What comes while all of them wait goes together behind the next
/// `WAIT`, so that this bounds pipelines and not appends.
const CONNECTIONS: usize = 8;

#[derive(Debug)]
pub(super) enum Way {
    /// To a single server, with all that others append at the same time.
    Together(Together),
    /// On a Redis Cluster.
    Apart(Unrepeated),
    /// On a Redis Cluster, on connections that wait for replicas.
    Confirming(Confirming),
}

/// The answers to commands, and whether enough replicas have what they wrote.
pub(super) type Answers = (Vec<Value>, Result<(), LogError>);

impl Way {
    pub(super) async fn open(redis: &Redis, config: &ClusterConfig) -> Result<Self, ConnectError> {
        let replicas = config.min_replicas;
        let connections = match redis.batches() {
            Some(batches) if replicas == 0 => Some(vec![batches.clone()]),
            _ => redis.confirming(config, CONNECTIONS).await?,
        };
        Ok(match connections {
            Some(connections) => {
                Self::Together(Together { connections, next: AtomicUsize::new(0), replicas })
            }
            None if replicas == 0 => Self::Apart(Unrepeated::connect(config).await?),
            None => Self::Confirming(Confirming::connect(config).await?),
        })
    }

    /// How commands for different logs go out together; `None` on a Redis Cluster.
    pub(super) fn together(&self) -> Option<&Together> {
        match self {
            Self::Together(together) => Some(together),
            Self::Apart(_) | Self::Confirming(_) => None,
        }
    }

    /// Sends a command for the log with this key, on a Redis Cluster.
    pub(super) async fn send(
        &self,
        key: &str,
        command: Cmd,
        deadline: Instant,
    ) -> Result<Answers, SendError> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(command);
        match self {
            Self::Together(_) => Err(SendError::NotDone("commands go out together".into())),
            Self::Apart(connection) => Ok((connection.send(key, &pipeline, deadline).await?, Ok(()))),
            Self::Confirming(connections) => connections.send(key, pipeline, deadline).await,
        }
    }
}

#[derive(Debug)]
pub(super) struct Together {
    connections: Vec<Batches>,
    next: AtomicUsize,
    replicas: usize,
}

impl Together {
    /// Sends commands for any logs.
    pub(super) async fn send(
        &self,
        commands: Commands,
    ) -> Result<(redis::Answers, Result<(), LogError>), SendError> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len().max(1);
        let Some(connection) = self.connections.get(next) else {
            return Err(SendError::NotDone("there is no connection".into()));
        };
        let answered = connection.send(commands).await?;
        Ok((answered.answers, confirmed(answered.replicas, self.replicas)))
    }
}

/// Whether as many replicas have acknowledged as are wanted.
pub(super) fn confirmed(acknowledged: RedisResult<usize>, wanted: usize) -> Result<(), LogError> {
    match acknowledged {
        Ok(acknowledged) if acknowledged >= wanted => Ok(()),
        Ok(acknowledged) => Err(LogError::Unconfirmed { acknowledged, wanted }),
        // Such as when the server became a replica itself.
        Err(error) => Err(LogError::OutcomeUnknown { source: Arc::new(error) }),
    }
}
