//! A connection for requests that must not be carried out twice.

use std::time::Duration;

use redis::{
    ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value,
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr},
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Found, Place, RequestError, cluster_client, find};
use crate::cluster::config::{ClusterConfig, ConnectError};

/// Between two attempts while a Redis Cluster moves a slot or elects a master.
const REDIRECT_PAUSE: Duration = Duration::from_millis(10);

/// Sends requests again only where Redis said that it did nothing. [`Redis`] on a Redis Cluster also does when a
/// connection broke, and then the first attempt may have been carried out. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Unrepeated {
    connection: ClusterConnection,
    place: Place,
}

/// What became of commands that have no answers.
#[derive(Debug)]
pub(crate) enum SendError {
    /// None of them was carried out.
    NotDone(RequestError),
    /// They may have been carried out, or may yet be.
    Unknown(RequestError),
}

impl SendError {
    /// What became of the commands left aside.
    pub(crate) fn into_cause(self) -> RequestError {
        match self {
            Self::NotDone(source) | Self::Unknown(source) => source,
        }
    }
}

impl Unrepeated {
    /// A connection of its own, to a Redis Cluster.
    pub(crate) async fn connect(config: &ClusterConfig) -> Result<Self, ConnectError> {
        match find(config, unrepeated_cluster_client).await? {
            (Found::Cluster(connection), _) => Ok(Self { connection, place: Place::any(config) }),
            (Found::Single, address) => Err(unreachable(config, address)),
        }
    }

    /// Sends commands one behind the other on one connection. Errors of single commands are among the answers.
    ///
    /// They go to the master of `key`, and only the first may have keys: when a slot is moving, one
    /// command can be carried out and the next be refused, and the client library tells no more than that one was.
    pub(crate) async fn send(
        &self,
        key: &str,
        commands: &Pipeline,
        deadline: Instant,
    ) -> Result<Vec<Value>, SendError> {
        let sending = send_to_master(&mut self.connection.clone(), key, commands, deadline).await;
        sending.map_err(|error| match error {
            SendError::NotDone(source) => SendError::NotDone(self.place.named(source)),
            SendError::Unknown(source) => SendError::Unknown(self.place.named(source)),
        })
    }
}

impl std::fmt::Debug for Unrepeated {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Unrepeated").finish_non_exhaustive()
    }
}

/// What was a Redis Cluster a moment ago is none now.
fn unreachable(config: &ClusterConfig, address: usize) -> ConnectError {
    let address = config.redis.get(address).map(String::as_str).unwrap_or_default();
    super::unreachable(address, "it is no node of a Redis Cluster".into())
}

fn unrepeated_cluster_client(config: &ClusterConfig) -> RedisResult<ClusterClientBuilder> {
    Ok(cluster_client(config)?.retries(0))
}

/// Follows redirections, which the client library without repetitions leaves to its user.
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
                // The client library learns meanwhile where the slot is now.
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

/// Whether an error can only mean that a command was refused. The client library reports its own errors about the cluster
/// for requests that are under way too, so what it may have said itself does not count.
fn says_not_done(error: &RedisError) -> bool {
    use ServerErrorKind::{Ask, ClusterDown, Moved, ReadOnly, TryAgain};
    matches!(error.kind(), ErrorKind::Server(Ask | ClusterDown | Moved | ReadOnly | TryAgain))
}

/// The node to ask once, while a slot is moving there.
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
