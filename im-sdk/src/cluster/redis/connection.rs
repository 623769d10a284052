//! The connection to Redis: one interface to a single server and to a Redis Cluster.

use std::{collections::HashMap, future::Future, time::Duration};

use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};
use redis::{
    Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ServerErrorKind, Value,
    aio::ConnectionLike,
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo},
};

use super::{
    discovery::{Found, cluster_client, find, unreachable, within},
    error_context::{RedisAddress, RequestError, RequestResult},
    no_retry::SendError,
    pipeline::{ConnectionOptions, Failovers, PipelinedConnection},
    resp::{Commands, Reply},
};
use crate::cluster::config::{ClusterConfig, ConnectError};

/// The number of commands of one batch that are in flight at once on a Redis Cluster.
const CLUSTER_BATCH_CONCURRENCY: usize = 256;

/// The time added to `request_timeout` for connections that time out by themselves: their error is
/// more precise.
const GRACE: Duration = Duration::from_millis(200);

/// A connection shared by many requests, which reconnects by itself. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Redis {
    link: Link,
    /// A second connection to a single server, for the hot path of every message.
    pipelined: Option<PipelinedConnection>,
    /// The index of the configured address that answered first.
    index: usize,
    /// Shared by all connections to this Redis.
    failovers: Failovers,
    address: RedisAddress,
    request_timeout: Duration,
}

#[derive(Clone)]
enum Link {
    Single(PipelinedConnection),
    Cluster(ClusterConnection),
}

impl Redis {
    /// Connects to the first address that answers, and detects whether it is a Redis Cluster.
    pub(crate) async fn connect(config: &ClusterConfig) -> Result<Self, ConnectError> {
        config.check()?;
        let (found, index) = find(config, cluster_client).await?;
        let (failovers, addresses) = (Failovers::default(), RedisAddress::any(config));
        let options = ConnectionOptions { failovers: failovers.clone(), ..ConnectionOptions::default() };
        let (link, pipelined) = match found {
            Found::Cluster(connection) => (Link::Cluster(connection), None),
            Found::Single => {
                let tracking = ConnectionOptions { tracking: true, ..options.clone() };
                let pipelined = connect_pipelined(config, index, tracking).await?;
                (Link::Single(connect_pipelined(config, index, options).await?), Some(pipelined))
            }
        };
        Ok(Self {
            link,
            pipelined,
            index,
            failovers,
            address: addresses,
            request_timeout: config.request_timeout,
        })
    }

    /// Opens another connection to the same place, for requests that others must not wait for. On a
    /// Redis Cluster, it opens one to each node.
    pub(crate) async fn further(&self, config: &ClusterConfig) -> Result<Self, RequestError> {
        let connecting = async {
            Ok(match &self.link {
                Link::Single(_) => {
                    let options = ConnectionOptions {
                        failovers: self.failovers.clone(),
                        ..ConnectionOptions::default()
                    };
                    Link::Single(PipelinedConnection::connect(config, self.index, options).await?)
                }
                Link::Cluster(_) => {
                    Link::Cluster(cluster_client(config)?.build()?.get_async_connection().await?)
                }
            })
        };
        Ok(Self { link: self.within(connecting).await?, ..self.clone() })
    }

    /// Returns the connection that pipelines concurrent requests; `None` on a Redis Cluster.
    pub(crate) fn pipelined(&self) -> Option<&PipelinedConnection> {
        self.pipelined.as_ref()
    }

    /// Opens further pipelined connections, whose pipelines each wait for replicas. Returns `None`
    /// on a Redis Cluster.
    pub(crate) async fn confirming(
        &self,
        config: &ClusterConfig,
        connections: usize,
    ) -> Result<Option<Vec<PipelinedConnection>>, ConnectError> {
        if self.pipelined.is_none() {
            return Ok(None);
        }
        let (replicas, failovers) = (config.min_replicas, self.failovers.clone());
        // No reads are sent on these connections, so there are no values to track.
        let options = ConnectionOptions { replicas, failovers, tracking: false };
        let connections = (0..connections).map(|_| connect_pipelined(config, self.index, options.clone()));
        Ok(Some(try_join_all(connections).await?))
    }

    /// Sends commands together; the replies are in their order. Takes one round trip for each Redis
    /// node.
    pub(crate) async fn query_all<T>(&self, commands: Vec<Cmd>) -> Result<Vec<T>, RequestError>
    where
        T: FromRedisValue + Send,
    {
        self.within(self.link.query_all(commands)).await
    }

    /// Sends commands together and returns the error of a single command among the replies. Takes
    /// one round trip for each Redis node.
    pub(crate) async fn ask_all(&self, commands: Vec<Cmd>) -> Result<Vec<Value>, RequestError> {
        self.within(self.link.ask_all(commands)).await
    }

    /// Sends commands as one atomic step, and returns the error of a single command among the
    /// replies. Their keys must share a slot.
    pub(crate) async fn ask_at_once(&self, commands: Vec<Cmd>) -> Result<Vec<Value>, RequestError> {
        self.within(self.link.ask_at_once(commands)).await
    }

    /// Sends a command without a key to every master.
    pub(crate) async fn ask_masters(&self, command: &Cmd) -> Result<Vec<String>, RequestError> {
        self.within(self.link.ask_masters(command)).await
    }

    /// Runs a script. Its keys must share a slot.
    pub(crate) async fn run<T: FromRedisValue>(&self, call: ScriptCall<'_>) -> Result<T, RequestError> {
        self.within(self.link.run(call)).await
    }

    /// Runs a script once for each of these keys, with arguments of its own; the replies are in
    /// their order. Takes one round trip for each Redis node.
    pub(crate) async fn run_each<T: FromRedisValue>(
        &self,
        script: &Script,
        calls: &[(String, Vec<Vec<u8>>)],
    ) -> Result<Vec<T>, RequestError> {
        let command = |(key, arguments): &(String, Vec<Vec<u8>>), form| {
            let mut command = script.command(form);
            command.arg(1).arg(key).arg(arguments);
            command
        };
        let mut answers =
            self.ask_all(calls.iter().map(|call| command(call, ScriptForm::Hash)).collect()).await?;
        let unknown: Vec<usize> = answers
            .iter()
            .enumerate()
            .filter(|(_, answer)| is_of_unknown_script(answer))
            .map(|(at, _)| at)
            .collect();
        if !unknown.is_empty() {
            let again =
                unknown.iter().filter_map(|at| calls.get(*at)).map(|call| command(call, ScriptForm::Source));
            let again = self.ask_all(again.collect()).await?;
            for (at, answer) in unknown.into_iter().zip(again) {
                answers[at] = answer;
            }
        }
        answers
            .into_iter()
            .map(read)
            .collect::<RequestResult<_>>()
            .map_err(|error| self.address.with_address(error))
    }

    /// Returns the address, for error messages.
    pub(crate) fn address(&self) -> &RedisAddress {
        &self.address
    }

    async fn within<T>(&self, request: impl Future<Output = RequestResult<T>>) -> RequestResult<T> {
        let limit = match &self.link {
            Link::Single(_) => self.request_timeout + GRACE,
            Link::Cluster(_) => self.request_timeout,
        };
        within(limit, request).await.map_err(|error| self.address.with_address(error))
    }
}

impl Link {
    async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RequestResult<T> {
        match self {
            Self::Single(connection) => {
                let answers = ask(connection, std::slice::from_ref(command)).await?;
                read(answers.into_iter().next().ok_or(UNEXPECTED_REPLY)?)
            }
            Self::Cluster(connection) => Ok(command.query_async(&mut connection.clone()).await?),
        }
    }

    async fn query_all<T: FromRedisValue + Send>(&self, commands: Vec<Cmd>) -> RequestResult<Vec<T>> {
        match self {
            Self::Single(connection) => ask(connection, &commands).await?.into_iter().map(read).collect(),
            // A pipeline would have to stay in one slot. The commands are pipelined on each node's
            // connection.
            Self::Cluster(_) => {
                let queries = stream::iter(commands).map(async |command| self.query(&command).await);
                queries.buffered(CLUSTER_BATCH_CONCURRENCY).try_collect().await
            }
        }
    }

    async fn ask_all(&self, commands: Vec<Cmd>) -> RequestResult<Vec<Value>> {
        match self {
            Self::Single(connection) => ask(connection, &commands).await,
            Self::Cluster(connection) => {
                let ask = async |command: Cmd| connection.clone().req_packed_command(&command).await;
                let answers = stream::iter(commands).map(ask);
                Ok(answers.buffered(CLUSTER_BATCH_CONCURRENCY).try_collect().await?)
            }
        }
    }

    async fn ask_at_once(&self, mut commands: Vec<Cmd>) -> RequestResult<Vec<Value>> {
        match self {
            Self::Single(connection) => {
                commands.insert(0, redis::cmd("MULTI"));
                commands.push(redis::cmd("EXEC"));
                let mut answers = ask(connection, &commands).await?;
                if answers.iter().any(is_of_full_memory) {
                    // A full Redis queues nothing for `EXEC`, but accepts the same commands one by
                    // one.
                    let apart = commands.len() - 1;
                    return ask(connection, &commands[1..apart]).await;
                }
                match answers.pop() {
                    Some(Value::Array(answers)) => Ok(answers),
                    Some(refused) => {
                        Err(refused.extract_error().err().map_or_else(|| UNEXPECTED_REPLY.into(), Into::into))
                    }
                    None => Err(UNEXPECTED_REPLY.into()),
                }
            }
            Self::Cluster(connection) => {
                let mut pipeline = pipeline(commands);
                pipeline.atomic().ignore_errors();
                Ok(pipeline.query_async(&mut connection.clone()).await?)
            }
        }
    }

    async fn ask_masters(&self, command: &Cmd) -> RequestResult<Vec<String>> {
        match self {
            Self::Single(_) => Ok(vec![self.query(command).await?]),
            Self::Cluster(connection) => {
                let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                let answers = connection.clone().route_command(command.clone(), masters).await?;
                let answers: HashMap<String, String> =
                    redis::from_redis_value(answers).map_err(RedisError::from)?;
                Ok(answers.into_values().collect())
            }
        }
    }

    async fn run<T: FromRedisValue>(&self, call: ScriptCall<'_>) -> RequestResult<T> {
        match self.query(&call.command(ScriptForm::Hash)).await {
            // Not `SCRIPT LOAD`: on a Redis Cluster it needs every node, even those that this call
            // does not.
            Err(error) if error.downcast_ref().is_some_and(is_unknown_script) => {
                self.query(&call.command(ScriptForm::Source)).await
            }
            answer => answer,
        }
    }
}

/// The error for a reply of an unknown form.
const UNEXPECTED_REPLY: &str = "Redis sent an unexpected reply";

/// Sends commands together and returns the error of a single command among the replies.
async fn ask(connection: &PipelinedConnection, commands: &[Cmd]) -> RequestResult<Vec<Value>> {
    let mut packed = Commands::default();
    commands.iter().for_each(|command| packed.add_command(command));
    let answered = connection.send(packed).await.map_err(SendError::into_cause)?;
    let answers = answered.answers.iter().map(Reply::value).collect::<RedisResult<Vec<_>>>()?;
    if answers.len() == commands.len() { Ok(answers) } else { Err(UNEXPECTED_REPLY.into()) }
}

fn read<T: FromRedisValue>(answer: Value) -> RequestResult<T> {
    let answer = answer.extract_error()?;
    Ok(redis::from_redis_value(answer).map_err(RedisError::from)?)
}

/// The form in which a script is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ScriptForm {
    /// By its hash, by which Redis knows it once it has run it.
    Hash,
    Source,
}

/// A Lua script.
#[derive(Debug)]
pub(crate) struct Script {
    code: String,
    hash: String,
}

impl Script {
    /// Creates a script that Redis refuses as soon as it writes while the memory is full.
    pub(crate) fn new(code: impl Into<String>) -> Self {
        let code = code.into();
        Self { hash: redis::Script::new(&code).get_hash().into(), code }
    }

    /// Creates a script that Redis runs even while its memory is full.
    ///
    /// Serves scripts that free memory, and control data, which is small and bounded: if leases and
    /// routes were refused because logs are full, everybody would be disconnected.
    pub(crate) fn also_when_full(code: &str) -> Self {
        Self::new(format!("#!lua flags=allow-oom\n{code}"))
    }

    /// Returns a command that runs the script. The caller adds the number of keys, the keys and the
    /// arguments.
    pub(crate) fn command(&self, form: ScriptForm) -> Cmd {
        let [verb, script] = self.words(form);
        let mut command = Cmd::new();
        command.arg(verb).arg(script);
        command
    }

    /// Returns the first two arguments of such a command.
    pub(crate) fn words(&self, form: ScriptForm) -> [&[u8]; 2] {
        match form {
            ScriptForm::Hash => [b"EVALSHA", self.hash.as_bytes()],
            ScriptForm::Source => [b"EVAL", self.code.as_bytes()],
        }
    }

    pub(crate) fn on<'a>(&'a self, keys: &'a [&'a str]) -> ScriptCall<'a> {
        ScriptCall { script: self, keys, arguments: Vec::new() }
    }
}

/// A script with its keys and arguments.
#[derive(Debug)]
pub(crate) struct ScriptCall<'a> {
    script: &'a Script,
    keys: &'a [&'a str],
    arguments: Vec<Vec<u8>>,
}

impl ScriptCall<'_> {
    pub(crate) fn arg(mut self, argument: impl redis::ToRedisArgs) -> Self {
        argument.write_redis_args(&mut self.arguments);
        self
    }

    pub(crate) fn command(&self, form: ScriptForm) -> Cmd {
        let mut command = self.script.command(form);
        command.arg(self.keys.len()).arg(self.keys).arg(&self.arguments);
        command
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Redis").finish_non_exhaustive()
    }
}

fn pipeline(commands: Vec<Cmd>) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(commands.len());
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline
}

async fn connect_pipelined(
    config: &ClusterConfig,
    index: usize,
    options: ConnectionOptions,
) -> Result<PipelinedConnection, ConnectError> {
    let connecting = async { Ok(PipelinedConnection::connect(config, index, options).await?) };
    let address = config.redis.get(index).map(String::as_str).unwrap_or_default();
    within(config.connect_timeout, connecting).await.map_err(|source| unreachable(address, source))
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

fn is_of_full_memory(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.code() == "OOM")
}

pub(crate) fn is_of_unknown_script(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}
