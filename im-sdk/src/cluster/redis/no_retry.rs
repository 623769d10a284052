//! A connection to a Redis Cluster that never carries out a request twice.

use std::time::Duration;

use redis::{
    ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value,
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr},
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    discovery::{self, Found, cluster_client, find},
    error_context::{RedisAddress, RequestError},
};
use crate::cluster::config::{ClusterConfig, ConnectError};

/// The pause between two attempts while a Redis Cluster moves a slot or elects a master.
const REDIRECT_PAUSE: Duration = Duration::from_millis(10);

/// A connection that repeats a request only if Redis stated that it did nothing. Cloning is cheap.
///
/// [`Redis`](super::Redis) on a Redis Cluster also repeats requests after a broken connection, when
/// the first attempt may have been carried out.
#[derive(Clone)]
pub(crate) struct NoRetryConnection {
    connection: ClusterConnection,
    address: RedisAddress,
}

/// The outcome of commands that got no replies.
#[derive(Debug)]
pub(crate) enum SendError {
    /// None of the commands was carried out.
    NotDone(RequestError),
    /// The commands may have been carried out, or may yet be.
    Unknown(RequestError),
}

impl SendError {
    /// Returns the cause without the outcome.
    pub(crate) fn into_cause(self) -> RequestError {
        match self {
            Self::NotDone(source) | Self::Unknown(source) => source,
        }
    }
}

impl NoRetryConnection {
    /// Opens a connection to a Redis Cluster.
    pub(crate) async fn connect(config: &ClusterConfig) -> Result<Self, ConnectError> {
        match find(config, no_retry_cluster_client).await? {
            (Found::Cluster(connection), _) => Ok(Self { connection, address: RedisAddress::any(config) }),
            (Found::Single, address) => Err(unreachable(config, address)),
        }
    }

    /// Sends commands one after the other on one connection, and returns the error of a single
    /// command among the replies.
    ///
    /// The commands go to the master of `key`, and only the first may have keys: while a slot
    /// moves, one command can be carried out and the next be refused, and the client library
    /// reports only that one was.
    pub(crate) async fn send(
        &self,
        key: &str,
        commands: &Pipeline,
        deadline: Instant,
    ) -> Result<Vec<Value>, SendError> {
        let sending = send_to_master(&mut self.connection.clone(), key, commands, deadline).await;
        sending.map_err(|error| match error {
            SendError::NotDone(source) => SendError::NotDone(self.address.with_address(source)),
            SendError::Unknown(source) => SendError::Unknown(self.address.with_address(source)),
        })
    }
}

impl std::fmt::Debug for NoRetryConnection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("NoRetryConnection").finish_non_exhaustive()
    }
}

/// Returns the error for an address that was a Redis Cluster a moment ago, and is none now.
fn unreachable(config: &ClusterConfig, index: usize) -> ConnectError {
    let address = config.redis.get(index).map(String::as_str).unwrap_or_default();
    discovery::unreachable(address, "it is no node of a Redis Cluster".into())
}

fn no_retry_cluster_client(config: &ClusterConfig) -> RedisResult<ClusterClientBuilder> {
    Ok(cluster_client(config)?.retries(0))
}

/// Sends a pipeline and follows redirections, which the client library leaves to its user when it
/// repeats nothing.
async fn send_to_master(
    connection: &mut ClusterConnection,
    key: &str,
    pipeline: &Pipeline,
    deadline: Instant,
) -> Result<Vec<Value>, SendError> {
    let route = Route::with_key(key, SlotAddr::Master);
    let mut asked = None;
    loop {
        let sending = timeout_at(deadline, send_once(connection, route, asked.take(), pipeline));
        match sending.await.map_err(unknown)? {
            Err(error) if says_not_done(&error) => {
                if Instant::now() + REDIRECT_PAUSE > deadline {
                    return Err(SendError::NotDone(error.into()));
                }
                asked = asked_node(&error);
                // Meanwhile the client library learns where the slot is now.
                sleep(REDIRECT_PAUSE).await;
            }
            answer => return answer.map_err(unknown),
        }
    }
}

/// Sends a pipeline to the master of a slot, or to the node that is taking the slot over.
async fn send_once(
    connection: &mut ClusterConnection,
    master: Route,
    taking_over: Option<SingleNodeRoutingInfo>,
    pipeline: &Pipeline,
) -> RedisResult<Vec<Value>> {
    let Some(node) = taking_over else {
        let master = SingleNodeRoutingInfo::SpecificNode(master);
        return connection.route_pipeline(pipeline.clone(), 0, pipeline.len(), master).await;
    };
    let mut asking = Pipeline::with_capacity(pipeline.len() + 1);
    asking.cmd("ASKING");
    for command in pipeline.cmd_iter() {
        asking.add_command(command.clone());
    }
    let count = asking.len();
    let mut answers = connection.route_pipeline(asking, 0, count, node).await?;
    answers.remove(0);
    Ok(answers)
}

/// Returns whether an error can only mean that a command was refused. The client library reports
/// its own errors about the cluster also for requests in flight, so errors that it may have created
/// itself do not count.
fn says_not_done(error: &RedisError) -> bool {
    use ServerErrorKind::{Ask, ClusterDown, Moved, ReadOnly, TryAgain};
    matches!(error.kind(), ErrorKind::Server(Ask | ClusterDown | Moved | ReadOnly | TryAgain))
}

/// Returns the node to ask once while a slot is moving there.
fn asked_node(error: &RedisError) -> Option<SingleNodeRoutingInfo> {
    if error.kind() != ErrorKind::Server(ServerErrorKind::Ask) {
        return None;
    }
    let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
    Some(SingleNodeRoutingInfo::ByAddress { host: host.into(), port: port.parse().ok()? })
}

fn unknown(error: impl Into<RequestError>) -> SendError {
    SendError::Unknown(error.into())
}
