//! The connections that appends are sent on.

mod replicated;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ::redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::time::Instant;

use self::replicated::ReplicatedPath;
use crate::cluster::{
    config::{ClusterConfig, ConnectError},
    redis::{Commands, NoRetryConnection, PipelinedConnection, Redis, Replies, SendError},
    traits::LogError,
};

/// The number of connections on which appends wait for replicas. Appends that arrive while all of
/// them wait go together behind the next `WAIT`, so this bounds pipelines and not appends.
const CONNECTIONS: usize = 8;

#[derive(Debug)]
pub(super) enum AppendPath {
    /// To a single server, in one pipeline with concurrent appends.
    Pipelined(PipelinedPath),
    /// To a Redis Cluster.
    Direct(NoRetryConnection),
    /// To a Redis Cluster, on connections that wait for replicas.
    Replicated(ReplicatedPath),
}

/// The replies to commands, and whether enough replicas have their writes.
pub(super) type Outcome = (Vec<Value>, Result<(), LogError>);

impl AppendPath {
    pub(super) async fn open(redis: &Redis, config: &ClusterConfig) -> Result<Self, ConnectError> {
        let replicas = config.min_replicas;
        let connections = match redis.pipelined() {
            Some(pipelined) if replicas == 0 => Some(vec![pipelined.clone()]),
            _ => redis.confirming(config, CONNECTIONS).await?,
        };
        Ok(match connections {
            Some(connections) => {
                Self::Pipelined(PipelinedPath { connections, next: AtomicUsize::new(0), replicas })
            }
            None if replicas == 0 => Self::Direct(NoRetryConnection::connect(config).await?),
            None => Self::Replicated(ReplicatedPath::connect(config).await?),
        })
    }

    /// Returns the path on which commands for different logs go together; `None` on a Redis
    /// Cluster.
    pub(super) fn pipelined(&self) -> Option<&PipelinedPath> {
        match self {
            Self::Pipelined(pipelined) => Some(pipelined),
            Self::Direct(_) | Self::Replicated(_) => None,
        }
    }

    /// Sends a command for the log with this key to a Redis Cluster.
    pub(super) async fn send(
        &self,
        key: &str,
        command: Cmd,
        deadline: Instant,
    ) -> Result<Outcome, SendError> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(command);
        match self {
            Self::Pipelined(_) => Err(SendError::NotDone("commands go out together".into())),
            Self::Direct(connection) => Ok((connection.send(key, &pipeline, deadline).await?, Ok(()))),
            Self::Replicated(connections) => connections.send(key, pipeline, deadline).await,
        }
    }
}

#[derive(Debug)]
pub(super) struct PipelinedPath {
    connections: Vec<PipelinedConnection>,
    next: AtomicUsize,
    replicas: usize,
}

impl PipelinedPath {
    /// Sends commands for any logs.
    pub(super) async fn send(
        &self,
        commands: Commands,
    ) -> Result<(Replies, Result<(), LogError>), SendError> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len().max(1);
        let Some(connection) = self.connections.get(next) else {
            return Err(SendError::NotDone("there is no connection".into()));
        };
        let answered = connection.send(commands).await?;
        Ok((answered.answers, confirmed(answered.replicas, self.replicas)))
    }
}

/// Checks that enough replicas have acknowledged.
pub(super) fn confirmed(acknowledged: RedisResult<usize>, wanted: usize) -> Result<(), LogError> {
    match acknowledged {
        Ok(acknowledged) if acknowledged >= wanted => Ok(()),
        Ok(acknowledged) => Err(LogError::Unconfirmed { acknowledged, wanted }),
        // When the server became a replica itself, for example.
        Err(error) => Err(LogError::OutcomeUnknown { source: Arc::new(error) }),
    }
}
