//! The connection to Redis, the same for a single server and a Redis Cluster.

mod batches;
mod eviction;
mod failure;
mod resp;
mod unrepeated;

use std::{collections::HashMap, future::Future, time::Duration};

use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, IntoConnectionInfo,
    Pipeline, ProtocolVersion, RedisError, RedisResult, ServerErrorKind, Value,
    aio::ConnectionLike,
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo},
    io::tcp::TcpSettings,
};
use tokio::time::timeout;

use self::batches::{Moves, Purpose};
pub(crate) use self::{
    batches::{Batches, Watcher},
    failure::{Place, line},
    resp::{Answer, Answers, Commands, Decimal},
    unrepeated::{SendError, Unrepeated},
};
use super::{
    addresses,
    config::{ClusterConfig, ConnectError, without_credentials},
    versions::{REDIS, redis_version},
};

const SERVICE: &str = "Redis";

/// What a Redis says that does not know RESP3, which came with 6.0.
const BEFORE_RESP3: &str = "5 or older";

/// How many commands of one batch are under way at once on a Redis Cluster.
const CLUSTER_BATCH_CONCURRENCY: usize = 256;

/// What a request failed with.
pub(crate) type RequestError = Box<dyn std::error::Error + Send + Sync>;

/// For how much longer than `request_timeout` a request may take whose connection says by itself when it is late: what it
/// says is worth more.
const GRACE: Duration = Duration::from_millis(200);

/// A connection that many requests share and that comes back by itself. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Redis {
    link: Link,
    /// On a single server, another connection: for what is on the way of every message.
    batches: Option<Batches>,
    /// Which of the configured addresses answered first.
    address: usize,
    /// Of all connections to it.
    moves: Moves,
    place: Place,
    request_timeout: Duration,
}

#[derive(Clone)]
enum Link {
    Single(Batches),
    Cluster(ClusterConnection),
}

impl Redis {
    /// Connects to the first address that answers, and finds out whether a Redis Cluster is behind it.
    pub(crate) async fn connect(config: &ClusterConfig) -> Result<Self, ConnectError> {
        config.check()?;
        let (found, address) = find(config, cluster_client).await?;
        let (moves, place) = (Moves::default(), Place::any(config));
        let purpose = Purpose { moves: moves.clone(), ..Purpose::default() };
        let (link, batches) = match found {
            Found::Cluster(connection) => (Link::Cluster(connection), None),
            Found::Single => {
                let tracking = Purpose { tracks: true, ..purpose.clone() };
                let batches = batches(config, address, tracking).await?;
                (Link::Single(self::batches(config, address, purpose).await?), Some(batches))
            }
        };
        Ok(Self { link, batches, address, moves, place, request_timeout: config.request_timeout })
    }

    /// A further connection to the same place, for requests that others must not wait for. On a Redis Cluster: to its nodes.
    pub(crate) async fn further(&self, config: &ClusterConfig) -> Result<Self, RequestError> {
        let connecting = async {
            Ok(match &self.link {
                Link::Single(_) => {
                    let purpose = Purpose { moves: self.moves.clone(), ..Purpose::default() };
                    Link::Single(Batches::connect(config, self.address, purpose).await?)
                }
                Link::Cluster(_) => {
                    Link::Cluster(cluster_client(config)?.build()?.get_async_connection().await?)
                }
            })
        };
        Ok(Self { link: self.within(connecting).await?, ..self.clone() })
    }

    /// A connection of its own on which what many ask at once goes out together. `None` on a Redis Cluster.
    pub(crate) fn batches(&self) -> Option<&Batches> {
        self.batches.as_ref()
    }

    /// Further ones, each of whose pipelines waits for replicas.
    pub(crate) async fn confirming(
        &self,
        config: &ClusterConfig,
        connections: usize,
    ) -> Result<Option<Vec<Batches>>, ConnectError> {
        if self.batches.is_none() {
            return Ok(None);
        }
        let (replicas, moves) = (config.min_replicas, self.moves.clone());
        // Nobody reads behind a `WAIT`, so nothing is tracked.
        let purpose = Purpose { replicas, moves, tracks: false };
        let connections = (0..connections).map(|_| batches(config, self.address, purpose.clone()));
        Ok(Some(try_join_all(connections).await?))
    }

    /// Sends commands together; the answers are in their order. One round trip for each Redis node.
    pub(crate) async fn query_all<T>(&self, commands: Vec<Cmd>) -> Result<Vec<T>, RequestError>
    where
        T: FromRedisValue + Send,
    {
        self.within(self.link.query_all(commands)).await
    }

    /// Sends commands together and lets each have its own error among the answers. One round trip for each Redis node.
    pub(crate) async fn ask_all(&self, commands: Vec<Cmd>) -> Result<Vec<Value>, RequestError> {
        self.within(self.link.ask_all(commands)).await
    }

    /// The same, as one step. Their keys must share a slot.
    pub(crate) async fn ask_at_once(&self, commands: Vec<Cmd>) -> Result<Vec<Value>, RequestError> {
        self.within(self.link.ask_at_once(commands)).await
    }

    /// Asks every master something that has no key.
    pub(crate) async fn ask_masters(&self, command: &Cmd) -> Result<Vec<String>, RequestError> {
        self.within(self.link.ask_masters(command)).await
    }

    /// Runs a script. Its keys must share a slot.
    pub(crate) async fn run<T: FromRedisValue>(&self, call: ScriptCall<'_>) -> Result<T, RequestError> {
        self.within(self.link.run(call)).await
    }

    /// Runs a script once for each of these keys, with arguments of their own; the answers are in their order. One round
    /// trip for each Redis node.
    pub(crate) async fn run_each<T: FromRedisValue>(
        &self,
        script: &Script,
        calls: &[(String, Vec<Vec<u8>>)],
    ) -> Result<Vec<T>, RequestError> {
        let command = |(key, arguments): &(String, Vec<Vec<u8>>), sent| {
            let mut command = script.command(sent);
            command.arg(1).arg(key).arg(arguments);
            command
        };
        let mut answers =
            self.ask_all(calls.iter().map(|call| command(call, Sent::AsHash)).collect()).await?;
        let unknown: Vec<usize> = answers
            .iter()
            .enumerate()
            .filter(|(_, answer)| is_of_unknown_script(answer))
            .map(|(at, _)| at)
            .collect();
        if !unknown.is_empty() {
            let again =
                unknown.iter().filter_map(|at| calls.get(*at)).map(|call| command(call, Sent::InFull));
            let again = self.ask_all(again.collect()).await?;
            for (at, answer) in unknown.into_iter().zip(again) {
                answers[at] = answer;
            }
        }
        answers.into_iter().map(read).collect::<Asked<_>>().map_err(|error| self.place.named(error))
    }

    /// Where it is, for what is said when something fails.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    async fn within<T>(&self, request: impl Future<Output = Asked<T>>) -> Asked<T> {
        let limit = match &self.link {
            Link::Single(_) => self.request_timeout + GRACE,
            Link::Cluster(_) => self.request_timeout,
        };
        within(limit, request).await.map_err(|error| self.place.named(error))
    }
}

impl Link {
    async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Asked<T> {
        match self {
            Self::Single(connection) => {
                let answers = ask(connection, std::slice::from_ref(command)).await?;
                read(answers.into_iter().next().ok_or(NO_ANSWER)?)
            }
            Self::Cluster(connection) => Ok(command.query_async(&mut connection.clone()).await?),
        }
    }

    async fn query_all<T: FromRedisValue + Send>(&self, commands: Vec<Cmd>) -> Asked<Vec<T>> {
        match self {
            Self::Single(connection) => ask(connection, &commands).await?.into_iter().map(read).collect(),
            // A pipeline would have to stay in one slot; the commands are pipelined on each node's connection.
            Self::Cluster(_) => {
                let queries = stream::iter(commands).map(async |command| self.query(&command).await);
                queries.buffered(CLUSTER_BATCH_CONCURRENCY).try_collect().await
            }
        }
    }

    async fn ask_all(&self, commands: Vec<Cmd>) -> Asked<Vec<Value>> {
        match self {
            Self::Single(connection) => ask(connection, &commands).await,
            Self::Cluster(connection) => {
                let ask = async |command: Cmd| connection.clone().req_packed_command(&command).await;
                let answers = stream::iter(commands).map(ask);
                Ok(answers.buffered(CLUSTER_BATCH_CONCURRENCY).try_collect().await?)
            }
        }
    }

    async fn ask_at_once(&self, mut commands: Vec<Cmd>) -> Asked<Vec<Value>> {
        match self {
            Self::Single(connection) => {
                commands.insert(0, redis::cmd("MULTI"));
                commands.push(redis::cmd("EXEC"));
                let mut answers = ask(connection, &commands).await?;
                if answers.iter().any(is_of_full_memory) {
                    // A full Redis queues nothing, and answers the same commands one behind the other.
                    let apart = commands.len() - 1;
                    return ask(connection, &commands[1..apart]).await;
                }
                match answers.pop() {
                    Some(Value::Array(answers)) => Ok(answers),
                    Some(refused) => {
                        Err(refused.extract_error().err().map_or_else(|| NO_ANSWER.into(), Into::into))
                    }
                    None => Err(NO_ANSWER.into()),
                }
            }
            Self::Cluster(connection) => {
                let mut pipeline = pipeline(commands);
                pipeline.atomic().ignore_errors();
                Ok(pipeline.query_async(&mut connection.clone()).await?)
            }
        }
    }

    async fn ask_masters(&self, command: &Cmd) -> Asked<Vec<String>> {
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

    async fn run<T: FromRedisValue>(&self, call: ScriptCall<'_>) -> Asked<T> {
        match self.query(&call.command(Sent::AsHash)).await {
            // Not `SCRIPT LOAD`: on a Redis Cluster that needs every node, also those that this call does not.
            Err(error) if error.downcast_ref().is_some_and(is_unknown_script) => {
                self.query(&call.command(Sent::InFull)).await
            }
            answer => answer,
        }
    }
}

/// What became of a request: an error of the client library, or one that says already where it was.
type Asked<T> = Result<T, RequestError>;

/// Redis answered with something else than what it is known to answer with.
const NO_ANSWER: &str = "Redis did not answer as expected";

/// Sends commands together. Errors of single commands are among the answers.
async fn ask(connection: &Batches, commands: &[Cmd]) -> Asked<Vec<Value>> {
    let mut packed = Commands::default();
    commands.iter().for_each(|command| packed.add_command(command));
    let answered = connection.send(packed).await.map_err(SendError::into_cause)?;
    let answers = answered.answers.iter().map(Answer::value).collect::<RedisResult<Vec<_>>>()?;
    if answers.len() == commands.len() { Ok(answers) } else { Err(NO_ANSWER.into()) }
}

fn read<T: FromRedisValue>(answer: Value) -> Asked<T> {
    let answer = answer.extract_error()?;
    Ok(redis::from_redis_value(answer).map_err(RedisError::from)?)
}

/// How a script gets to Redis.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sent {
    /// By a name that Redis knows it by once it has run it.
    AsHash,
    InFull,
}

/// A Lua script.
#[derive(Debug)]
pub(crate) struct Script {
    code: String,
    hash: String,
}

impl Script {
    /// A script that Redis refuses as soon as it writes while the memory is full.
    pub(crate) fn new(code: impl Into<String>) -> Self {
        let code = code.into();
        Self { hash: redis::Script::new(&code).get_hash().into(), code }
    }

    /// A script that Redis also runs while its memory is full: for what frees memory, and for control data, which is
    /// bounded and small. Without leases and routes everybody would be disconnected because logs are full.
    pub(crate) fn also_when_full(code: &str) -> Self {
        Self::new(format!("#!lua flags=allow-oom\n{code}"))
    }

    /// A command that runs it, for a caller that adds the number of keys, the keys and the arguments.
    pub(crate) fn command(&self, sent: Sent) -> Cmd {
        let [verb, script] = self.words(sent);
        let mut command = Cmd::new();
        command.arg(verb).arg(script);
        command
    }

    /// The words that such a command begins with.
    pub(crate) fn words(&self, sent: Sent) -> [&[u8]; 2] {
        match sent {
            Sent::AsHash => [b"EVALSHA", self.hash.as_bytes()],
            Sent::InFull => [b"EVAL", self.code.as_bytes()],
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

    pub(crate) fn command(&self, sent: Sent) -> Cmd {
        let mut command = self.script.command(sent);
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

/// How to reach a Redis Cluster, when it turns out to be one.
type ClusterSettings = fn(&ClusterConfig) -> RedisResult<ClusterClientBuilder>;

/// What is behind an address.
enum Found {
    Single,
    Cluster(ClusterConnection),
}

/// The first address at which a master, or a Redis Cluster, answers.
async fn find(config: &ClusterConfig, cluster: ClusterSettings) -> Result<(Found, usize), ConnectError> {
    addresses::check_redis(&config.redis)?;
    let mut failure = ConnectError::NoAddress { service: SERVICE };
    // Shared out, so that the first address cannot use up the time of the others.
    let share = config.connect_timeout / u32::try_from(config.redis.len()).unwrap_or(u32::MAX).max(1);
    for (at, address) in config.redis.iter().enumerate() {
        match within(share, look(config, address, cluster)).await {
            Ok((found, version)) => {
                REDIS.check(without_credentials(address), &version)?;
                return Ok((found, at));
            }
            Err(source) if is_without_resp3(&*source) => {
                return Err(REDIS.refusal(without_credentials(address), BEFORE_RESP3));
            }
            Err(source) => {
                let source = addresses::reason(SERVICE, address, in_one_line(source)).await;
                failure = unreachable(address, source);
            }
        }
    }
    Err(failure)
}

/// What is at an address, and its version.
async fn look(config: &ClusterConfig, address: &str, cluster: ClusterSettings) -> Asked<(Found, String)> {
    let client = Client::open(connection_info(config, address)?)?;
    let probe_config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(config.connect_timeout))
        .set_response_timeout(Some(config.connect_timeout));
    let mut probe = client.get_multiplexed_async_connection_with_config(&probe_config).await?;
    let mut asking = redis::pipe();
    asking.cmd("INFO").arg("server").cmd("INFO").arg("cluster").cmd("INFO").arg("replication");
    let (server, info, replication): (String, String, String) = asking.query_async(&mut probe).await?;
    let found = if info.contains("cluster_enabled:1") {
        Found::Cluster(cluster(config)?.build()?.get_async_connection().await?)
    } else if replication.contains("role:slave") {
        return Err(REPLICA.into());
    } else {
        Found::Single
    };
    Ok((found, redis_version(&server).to_owned()))
}

/// Why an address does not do.
const REPLICA: &str = "it is a replica: give the address of the master, or of all that may become one";

async fn batches(config: &ClusterConfig, address: usize, purpose: Purpose) -> Result<Batches, ConnectError> {
    let connecting = async { Ok(Batches::connect(config, address, purpose).await?) };
    let place = config.redis.get(address).map(String::as_str).unwrap_or_default();
    within(config.connect_timeout, connecting).await.map_err(|source| unreachable(place, source))
}

fn cluster_client(config: &ClusterConfig) -> RedisResult<ClusterClientBuilder> {
    let nodes = config.redis.iter().map(|address| connection_info(config, address));
    Ok(ClusterClient::builder(nodes.collect::<RedisResult<Vec<_>>>()?)
        .tcp_settings(tcp_settings(config))
        .connection_timeout(config.connect_timeout)
        .response_timeout(config.request_timeout))
}

fn connection_info(config: &ClusterConfig, address: &str) -> RedisResult<ConnectionInfo> {
    let info = address.into_connection_info()?;
    // With version 3 of Redis's protocol a lost connection is noticed, and replaced, before the next request needs it.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp_settings(config)))
}

fn tcp_settings(config: &ClusterConfig) -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    // A peer that vanished without a word would otherwise keep its connection, and fail every request, for a quarter
    // of an hour.
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(config.connect_timeout);
    #[cfg(not(target_os = "linux"))]
    let _ = config;
    settings
}

async fn within<T>(limit: Duration, request: impl Future<Output = Asked<T>>) -> Asked<T> {
    // Around the client library's own time limits, which do not cover the wait for a connection.
    timeout(limit, request).await?
}

/// A parser that meets something else than Redis says so in several lines.
fn in_one_line(error: RequestError) -> RequestError {
    let is_parsers = error.downcast_ref::<RedisError>().is_some_and(|error| error.kind() == ErrorKind::Parse);
    if is_parsers { line(&*error).into() } else { error }
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

fn is_without_resp3(source: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let error = source.downcast_ref::<RedisError>();
    error.is_some_and(|error| error.kind() == ErrorKind::RESP3NotSupported)
}

fn unreachable(address: &str, source: RequestError) -> ConnectError {
    ConnectError::Unreachable { service: SERVICE, address: without_credentials(address).into(), source }
}
