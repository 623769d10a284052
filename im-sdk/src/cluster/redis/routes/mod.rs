//! Routes in Redis.

mod cache;
mod reclaim;

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use prost::Message as _;
use tokio::sync::OnceCell;

use self::cache::RouteCache;
use super::{
    connection::{Redis, Script},
    error_context::RequestError,
    resp::{Commands, Reply},
};
use crate::{
    cluster::{
        config::{ClusterConfig, ConnectError},
        names::Names,
        traits::{
            Claim, Displaced, LoginPolicy, NodeLease, Reclaimed, RegisteredServer, Route, Routes, RoutesError,
        },
    },
    id::{ChannelId, Device, NodeId, ServerId, UserId},
    proto::pb::ServerInfo,
};

/// Routes in a single Redis or a Redis Cluster. All times are by Redis's clock. A Redis whose
/// memory is full still accepts routes: they are bounded by the number of connected devices.
#[derive(Debug)]
pub struct RedisRoutes {
    redis: Redis,
    names: Names,
    /// The cache, if Redis can report changes.
    cache: Option<Arc<RouteCache>>,
    /// The Redis of the logs, if it is another one.
    logs: Option<Logs>,
}

/// The number of channels changed in one pipeline, which Redis processes in a few milliseconds.
const MAX_CHANNELS: usize = 1024;

/// The usual size of the commands that read one user's routes.
const READ_BYTES: usize = 160;

/// A stored field and value. Bytes: another program may have written something other than text.
type Stored = (Vec<u8>, Vec<u8>);

impl RedisRoutes {
    /// Connects to Redis, and detects whether it is a Redis Cluster.
    ///
    /// # Errors
    /// [`ConnectError`], after `connect_timeout` at the latest.
    pub async fn connect(config: &ClusterConfig) -> Result<Self, ConnectError> {
        // First, so that a wrong prefix does not wait for Redis.
        config.names()?;
        let redis = Redis::connect(config).await?;
        redis.warn_of_eviction().await;
        Self::on(redis, config)
    }

    /// Connects to a Redis of its own for routes. The Redis of the logs is only asked for its
    /// incarnation, as far as it answers.
    pub(crate) async fn apart(routes: &ClusterConfig, logs: &ClusterConfig) -> Result<Self, ConnectError> {
        Ok(Self { logs: Some(Logs::new(logs.clone())), ..Self::connect(routes).await? })
    }

    /// Uses a connection that others use too.
    pub(crate) fn on(redis: Redis, config: &ClusterConfig) -> Result<Self, ConnectError> {
        let names = config.names()?;
        let cache = redis.pipelined().and_then(|pipelined| {
            let cache = Arc::new(RouteCache::new(names.clone()));
            pipelined.watch(cache.clone()).then_some(cache)
        });
        Ok(Self { redis, names, cache, logs: None })
    }

    /// Reads routes, and caches them if changes are reported.
    async fn read(&self, users: &[(&UserId, u64)]) -> Result<Vec<Vec<(Device, Route)>>, RoutesError> {
        const ACTION: &str = "locate users";
        let Some(pipelined) = self.redis.pipelined() else { return Ok(Vec::new()) };
        let tracking = pipelined.is_tracking();
        let mut commands = Commands::with_capacity(users.len() * READ_BYTES);
        for (user, _) in users {
            if tracking {
                // Has Redis report when the result of the next command changes.
                commands.add(&[b"CLIENT", b"CACHING", b"YES"]);
            }
            commands.add(&[b"HGETALL", self.names.routes(user).as_bytes()]);
        }
        let answered =
            pipelined.send(commands).await.map_err(|error| unavailable(ACTION)(error.into_cause()))?;
        let mut answers = answered.answers.iter();
        let mut found = Vec::with_capacity(users.len());
        for (user, read) in users {
            // A new connection may refuse it: then nothing reports when the routes change.
            let told = tracking && answers.next().is_some_and(Reply::is_ok);
            let answer = answers.next().ok_or_else(|| unavailable(ACTION)("there is no answer".into()))?;
            let stored: Result<Vec<Stored>, redis::RedisError> =
                answer.value().and_then(|answer| Ok(redis::from_redis_value(answer.extract_error()?)?));
            let stored = stored.map_err(|error| unavailable(ACTION)(error.into()))?;
            let routes = readable(user, stored);
            if let (true, Some(cache)) = (told, &self.cache) {
                cache.fill(user, *read, &routes);
            }
            found.push(routes);
        }
        Ok(found)
    }

    /// Removes routes that cannot be read, unless they were replaced meanwhile.
    async fn remove_malformed(&self, user: &UserId, stored: &[Stored]) -> Result<(), RoutesError> {
        for (device, route) in stored.iter().filter(|stored| parse(stored).is_none()) {
            self.remove(user, device, route).await?;
            warn_malformed(user, device);
        }
        Ok(())
    }

    async fn remove(&self, user: &UserId, device: &[u8], route: &[u8]) -> Result<bool, RoutesError> {
        let keys = [&*self.names.routes(user)];
        let removed = self.redis.run(RELEASE.on(&keys).arg(device).arg(route)).await;
        if let Some(cache) = &self.cache {
            cache.forget(user);
        }
        removed.map_err(unavailable("release a route"))
    }

    /// Changes each channel's set of servers, in one call each.
    async fn change_channels(
        &self,
        action: &'static str,
        script: &Script,
        server: &ServerId,
        channels: &[ChannelId],
    ) -> Result<(), RoutesError> {
        for channels in channels.chunks(MAX_CHANNELS) {
            let call = |channel| (self.names.channel_servers(channel), vec![server.as_str().into()]);
            let calls: Vec<_> = channels.iter().map(call).collect();
            self.redis.run_each::<i64>(script, &calls).await.map_err(unavailable(action))?;
        }
        Ok(())
    }
}

#[async_trait]
impl Routes for RedisRoutes {
    async fn claim(&self, claim: &Claim) -> Result<Vec<Displaced>, RoutesError> {
        let keys = [&*self.names.routes(&claim.user)];
        let script = CLAIM.on(&keys).arg(claim.device.to_string()).arg(claim.route.to_string());
        let script = script.arg(scope(claim.policy));
        let claimed = self.redis.run(script).await;
        let (displaced, remaining): (Vec<Stored>, Vec<Stored>) =
            claimed.map_err(unavailable("claim a route"))?;
        self.remove_malformed(&claim.user, &remaining).await?;
        let routes = readable(&claim.user, displaced);
        Ok(routes.into_iter().map(|(device, route)| Displaced { device, route }).collect())
    }

    async fn reclaim(&self, claim: &Claim) -> Result<Reclaimed, RoutesError> {
        self.claim_again(claim).await
    }

    async fn release(&self, user: &UserId, device: &Device, route: &Route) -> Result<bool, RoutesError> {
        self.remove(user, device.to_string().as_bytes(), route.to_string().as_bytes()).await
    }

    async fn locate(&self, users: &[UserId]) -> Result<Vec<Vec<(Device, Route)>>, RoutesError> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let commands = users.iter().map(|user| command("HGETALL", &self.names.routes(user))).collect();
        let found = self.redis.query_all(commands).await;
        let found: Vec<Vec<Stored>> = found.map_err(unavailable("locate users"))?;
        Ok(users.iter().zip(found).map(|(user, stored)| readable(user, stored)).collect())
    }

    async fn locate_cached(&self, users: &[UserId]) -> Result<Vec<Vec<(Device, Route)>>, RoutesError> {
        let Some(cache) = &self.cache else { return self.locate(users).await };
        let found = cache.find(users);
        let missing = users.iter().zip(&found);
        let missing: Vec<_> =
            missing.filter_map(|(user, found)| found.as_ref().err().map(|read| (user, *read))).collect();
        let read = if missing.is_empty() { Vec::new() } else { self.read(&missing).await? };
        let mut read = read.into_iter();
        Ok(found.into_iter().map(|found| found.unwrap_or_else(|_| read.next().unwrap_or_default())).collect())
    }

    async fn join_channels(&self, server: &ServerId, channels: &[ChannelId]) -> Result<(), RoutesError> {
        self.change_channels("join channels", &JOIN_CHANNEL, server, channels).await
    }

    async fn leave_channels(&self, server: &ServerId, channels: &[ChannelId]) -> Result<(), RoutesError> {
        self.change_channels("leave channels", &LEAVE_CHANNEL, server, channels).await
    }

    async fn channel_servers(&self, channel: &ChannelId) -> Result<Vec<ServerId>, RoutesError> {
        let commands = vec![command("SMEMBERS", &self.names.channel_servers(channel))];
        let found = self.redis.query_all(commands).await;
        let mut found: Vec<Vec<Vec<u8>>> = found.map_err(unavailable("locate a channel"))?;
        Ok(found.pop().unwrap_or_default().iter().filter_map(|id| server_id(id)).collect())
    }

    async fn lease_server(
        &self,
        server: &ServerId,
        info: &ServerInfo,
        ttl: Duration,
        first: bool,
    ) -> Result<bool, RoutesError> {
        let keys = [&*self.names.server_leases(), &*self.names.server_infos()];
        let script = LEASE_SERVER.on(&keys).arg(server.as_str()).arg(info.encode_to_vec());
        let leased = self.redis.run(script.arg(milliseconds(ttl)).arg(first)).await;
        leased.map_err(unavailable("lease a server"))
    }

    async fn end_server_lease(&self, server: &ServerId) -> Result<(), RoutesError> {
        let keys = [&*self.names.server_leases(), &*self.names.server_infos()];
        let ended = self.redis.run(END_SERVER_LEASE.on(&keys).arg(server.as_str())).await;
        ended.map_err(unavailable("end a server's lease"))
    }

    async fn live_servers(&self) -> Result<Vec<RegisteredServer>, RoutesError> {
        let keys = [&*self.names.server_leases(), &*self.names.server_infos()];
        let servers = self.redis.run(LIVE_SERVERS.on(&keys)).await;
        let servers: Vec<Stored> = servers.map_err(unavailable("list servers"))?;
        Ok(servers.iter().filter_map(registered).collect())
    }

    async fn lease_node(
        &self,
        owner: &str,
        ttl: Duration,
        floor_ms: u64,
    ) -> Result<Option<NodeLease>, RoutesError> {
        let keys = [&*self.names.node_leases(), &*self.names.node_owners(), &*self.names.node_floors()];
        // From a random number on, so that a number is not used again right after its holder died.
        let start = rand::random_range(0..NodeId::COUNT);
        let script = LEASE_NODE.on(&keys).arg(owner).arg(milliseconds(ttl)).arg(floor_ms);
        let leased = self.redis.run(script.arg(start).arg(NodeId::COUNT)).await;
        let leased: Option<(u16, u64)> = leased.map_err(unavailable("lease a node number"))?;
        let lease = |(node, after_ms)| Some(NodeLease { node: NodeId::new(node)?, after_ms });
        Ok(leased.and_then(lease))
    }

    async fn renew_node(
        &self,
        owner: &str,
        node: NodeId,
        ttl: Duration,
        floor_ms: u64,
    ) -> Result<bool, RoutesError> {
        let keys = [&*self.names.node_leases(), &*self.names.node_owners(), &*self.names.node_floors()];
        let script = RENEW_NODE.on(&keys).arg(owner).arg(milliseconds(ttl)).arg(floor_ms);
        let renewed = self.redis.run(script.arg(node.get())).await;
        renewed.map_err(unavailable("renew a node number"))
    }

    async fn release_node(&self, owner: &str, node: NodeId) -> Result<(), RoutesError> {
        let keys = [&*self.names.node_leases(), &*self.names.node_owners()];
        let released = self.redis.run(RELEASE_NODE.on(&keys).arg(owner).arg(node.get())).await;
        released.map_err(unavailable("release a node number"))
    }

    async fn time(&self) -> Result<u64, RoutesError> {
        const ACTION: &str = "tell the time";
        // The clock of one node: the nodes of a Redis Cluster have a clock each. Servers, too, may
        // access this key.
        let keys = [&*self.names.server_leases()];
        let time = self.redis.run(TIME.on(&keys)).await;
        time.map_err(unavailable(ACTION))
    }

    /// Returns the ids that masters give to their replication history: new at every start, and when a
    /// replica takes over.
    async fn incarnation(&self) -> Result<String, RoutesError> {
        let histories = histories(&self.redis).await;
        let histories = histories.map_err(unavailable("tell which life of it this is"))?;
        match &self.logs {
            // Devices compare their logs if either of the two may have lost something.
            Some(logs) => Ok(format!("{histories}, {}", logs.histories().await)),
            None => Ok(histories),
        }
    }
}

async fn histories(redis: &Redis) -> Result<String, RequestError> {
    let masters = redis.ask_masters(redis::cmd("INFO").arg("replication")).await?;
    let history = |info: &String| {
        let line = info.lines().find_map(|line| line.strip_prefix("master_replid:"));
        line.unwrap_or_default().to_owned()
    };
    let histories: BTreeSet<String> = masters.iter().map(history).collect();
    Ok(histories.into_iter().collect::<Vec<_>>().join(" "))
}

/// The Redis of the logs, for a process that keeps its routes in another one and must not depend on
/// this one.
#[derive(Debug)]
struct Logs {
    config: ClusterConfig,
    redis: OnceCell<Redis>,
    /// The last known histories.
    histories: Mutex<String>,
}

impl Logs {
    fn new(config: ClusterConfig) -> Self {
        Self { config, redis: OnceCell::new(), histories: Mutex::new("unknown".to_owned()) }
    }

    /// Returns the histories of its masters; the last known ones while it does not answer. A
    /// different answer when it is back means that it may have lost data.
    async fn histories(&self) -> String {
        let connected = self.redis.get_or_try_init(|| Redis::connect(&self.config)).await;
        let said = match connected {
            Ok(redis) => histories(redis).await.ok(),
            Err(_) => None,
        };
        let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = said {
            *histories = said;
        }
        histories.clone()
    }
}

/// Returns the scope of a policy, as [`CLAIM`] expects it.
fn scope(policy: LoginPolicy) -> &'static str {
    match policy {
        LoginPolicy::OnePerTerminal => "terminal",
        LoginPolicy::Single => "user",
        LoginPolicy::Unlimited => "device",
    }
}

/// Parses stored routes. One that cannot be read is left out, so that it does not make the user's
/// other devices unreachable.
fn readable(user: &UserId, stored: Vec<Stored>) -> Vec<(Device, Route)> {
    let read = |stored: &Stored| {
        let route = parse(stored);
        if route.is_none() {
            warn_malformed(user, &stored.0);
        }
        route
    };
    stored.iter().filter_map(read).collect()
}

fn parse((device, route): &Stored) -> Option<(Device, Route)> {
    let device = std::str::from_utf8(device).ok()?.parse().ok()?;
    let route = std::str::from_utf8(route).ok()?.parse().ok()?;
    Some((device, route))
}

fn warn_malformed(user: &UserId, device: &[u8]) {
    let device = String::from_utf8_lossy(device);
    tracing::warn!(%user, %device, "ignored a stored route that cannot be read");
}

fn server_id(id: &[u8]) -> Option<ServerId> {
    let parsed = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
    if parsed.is_none() {
        tracing::warn!(id = %String::from_utf8_lossy(id), "ignored a stored server id that cannot be read");
    }
    parsed
}

fn registered((id, info): &Stored) -> Option<RegisteredServer> {
    let id = server_id(id)?;
    // A server lives by its lease, even if its description cannot be read.
    let info = ServerInfo::decode(&**info).unwrap_or_else(|error| {
        tracing::warn!(%id, %error, "a server's description cannot be read");
        ServerInfo::default()
    });
    Some(RegisteredServer { id, info })
}

fn command(name: &str, key: &str) -> redis::Cmd {
    let mut command = redis::cmd(name);
    command.arg(key);
    command
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn unavailable(action: &'static str) -> impl FnOnce(RequestError) -> RoutesError {
    move |source| RoutesError::Unavailable { action, source }
}

/// `ARGV`: device, route, scope. Returns the displaced routes and the remaining ones, without the
/// claimed one. The same route again displaces nothing, so a claim can be repeated.
static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::also_when_full(
        r"
local device, route, scope = ARGV[1], ARGV[2], ARGV[3]
local terminal = string.match(device, '^[^/]*/')
local displaced, remaining = {}, {}
local stored = redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do
  local other = stored[i]
  local same_terminal = string.sub(other, 1, #terminal) == terminal
  local goes = other == device or scope == 'user' or (scope == 'terminal' and same_terminal)
  if goes then
    redis.call('HDEL', KEYS[1], other)
  end
  if other ~= device or stored[i + 1] ~= route then
    local list = goes and displaced or remaining
    list[#list + 1] = other
    list[#list + 1] = stored[i + 1]
  end
end
redis.call('HSET', KEYS[1], device, route)
return {displaced, remaining}
",
    )
});

/// `ARGV`: device, route. Returns whether that was the device's route.
static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::also_when_full(
        r"
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
return redis.call('HDEL', KEYS[1], ARGV[1])
",
    )
});

/// `ARGV`: server.
static JOIN_CHANNEL: LazyLock<Script> =
    LazyLock::new(|| Script::also_when_full("return redis.call('SADD', KEYS[1], ARGV[1])\n"));

/// `ARGV`: server.
static LEAVE_CHANNEL: LazyLock<Script> =
    LazyLock::new(|| Script::also_when_full("return redis.call('SREM', KEYS[1], ARGV[1])\n"));

/// Prefixes a script with Redis's clock in milliseconds.
macro_rules! with_clock {
    ($code:literal) => {
        concat!(
            "local time = redis.call('TIME')\n",
            "local now = time[1] * 1000 + math.floor(time[2] / 1000)\n",
            $code
        )
    };
}

/// Returns the time.
static TIME: LazyLock<Script> = LazyLock::new(|| Script::also_when_full(with_clock!("return now\n")));

/// `ARGV`: server, description, lease time, whether it is the first lease. Returns whether it was
/// granted.
static LEASE_SERVER: LazyLock<Script> = LazyLock::new(|| {
    Script::also_when_full(with_clock!(
        r"
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
local live = ends ~= false and tonumber(ends) > now
if live == (ARGV[4] == '1') then
  return 0
end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return 1
"
    ))
});

/// `ARGV`: server.
static END_SERVER_LEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::also_when_full(
        r"
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return redis.status_reply('OK')
",
    )
});

/// Returns server, description, server, description and so on.
static LIVE_SERVERS: LazyLock<Script> = LazyLock::new(|| {
    Script::also_when_full(with_clock!(
        r"
for _, server in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], server)
  redis.call('HDEL', KEYS[2], server)
end
local live = {}
for _, server in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  live[#live + 1] = server
  live[#live + 1] = redis.call('HGET', KEYS[2], server) or ''
end
return live
"
    ))
});

/// `ARGV`: owner, lease time, floor, the number to start at, the number of numbers. Returns the
/// number and its previous floor, or nothing.
///
/// A number whose floor cannot be read could issue an id twice, so it is not used; nor is one whose
/// floor is in the future, under which no id could be issued yet.
static LEASE_NODE: LazyLock<Script> = LazyLock::new(|| {
    Script::also_when_full(with_clock!(
        r"
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local start, count = tonumber(ARGV[4]), tonumber(ARGV[5])
for i = 0, count - 1 do
  local node = (start + i) % count
  if not redis.call('ZSCORE', KEYS[1], node) then
    local floor = redis.call('HGET', KEYS[3], node) or '0'
    if string.match(floor, '^%d+$') and tonumber(floor) <= now then
      redis.call('ZADD', KEYS[1], now + ARGV[2], node)
      redis.call('HSET', KEYS[2], node, ARGV[1])
      if tonumber(ARGV[3]) > tonumber(floor) then
        redis.call('HSET', KEYS[3], node, ARGV[3])
      end
      return {node, floor}
    end
  end
end
return false
"
    ))
});

/// `ARGV`: owner, lease time, floor, number. Returns whether the lease was renewed.
static RENEW_NODE: LazyLock<Script> = LazyLock::new(|| {
    Script::also_when_full(with_clock!(
        r"
local node = ARGV[4]
local ends = redis.call('ZSCORE', KEYS[1], node)
if not ends or tonumber(ends) <= now or redis.call('HGET', KEYS[2], node) ~= ARGV[1] then
  return 0
end
redis.call('ZADD', KEYS[1], now + ARGV[2], node)
if tonumber(ARGV[3]) > tonumber(redis.call('HGET', KEYS[3], node) or '0') then
  redis.call('HSET', KEYS[3], node, ARGV[3])
end
return 1
"
    ))
});

/// `ARGV`: owner, number. The floor stays.
static RELEASE_NODE: LazyLock<Script> = LazyLock::new(|| {
    Script::also_when_full(
        r"
if redis.call('HGET', KEYS[2], ARGV[2]) == ARGV[1] then
  redis.call('ZREM', KEYS[1], ARGV[2])
  redis.call('HDEL', KEYS[2], ARGV[2])
end
return redis.status_reply('OK')
",
    )
});
