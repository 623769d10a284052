//! Last-seen times in Redis: a sorted set for each user, which expires as a whole.

use std::sync::LazyLock;

use async_trait::async_trait;

use super::{
    connection::{Redis, Script},
    error_context::RequestError,
};
use crate::{
    cluster::{
        config::{ClusterConfig, ConnectError},
        names::Names,
        traits::{LAST_SEEN_TTL, LastSeen, LastSeenError, LastSeenStore, last_seen::oldest_ms},
    },
    id::{Terminal, UserId},
};

/// The number of commands in one pipeline, which Redis processes in a millisecond.
const BATCH: usize = 512;

/// Last-seen times in a single Redis or a Redis Cluster.
#[derive(Debug)]
pub struct RedisLastSeen {
    redis: Redis,
    names: Names,
}

impl RedisLastSeen {
    /// Connects to Redis, and detects whether it is a Redis Cluster.
    ///
    /// # Errors
    /// [`ConnectError`], after `connect_timeout` at the latest.
    pub async fn connect(config: &ClusterConfig) -> Result<Self, ConnectError> {
        // First, so that a wrong prefix does not wait for Redis.
        config.names()?;
        Self::on(Redis::connect(config).await?, config)
    }

    /// Uses a connection that others use too.
    pub(crate) fn on(redis: Redis, config: &ClusterConfig) -> Result<Self, ConnectError> {
        Ok(Self { redis, names: config.names()? })
    }
}

/// `ARGV`: time, terminal, lifetime. Runs while the memory is full: it adds one small entry for
/// each kind of device.
static NOTE_SEEN: LazyLock<Script> = LazyLock::new(|| {
    Script::also_when_full(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local added = redis.call('ZADD', KEYS[1], 'GT', math.min(tonumber(ARGV[1]), now), ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return added
",
    )
});

#[async_trait]
impl LastSeenStore for RedisLastSeen {
    async fn note_seen(&self, seen: &[LastSeen]) -> Result<(), LastSeenError> {
        let ttl = LAST_SEEN_TTL.as_millis().to_string();
        let call = |seen: &LastSeen| {
            let arguments = [&*seen.at_ms.to_string(), seen.terminal.as_str(), &ttl].map(Vec::from);
            (self.names.last_seen(&seen.user), arguments.into())
        };
        for seen in seen.chunks(BATCH) {
            let calls: Vec<_> = seen.iter().map(call).collect();
            self.redis.run_each::<i64>(&NOTE_SEEN, &calls).await.map_err(failed("note who was seen"))?;
        }
        Ok(())
    }

    async fn last_seen(&self, users: &[UserId]) -> Result<Vec<Vec<(Terminal, u64)>>, LastSeenError> {
        let oldest = oldest_ms();
        let mut all = Vec::with_capacity(users.len());
        for users in users.chunks(BATCH) {
            let commands = users.iter().map(|user| {
                let mut command = redis::cmd("ZRANGEBYSCORE");
                command.arg(self.names.last_seen(user)).arg(oldest).arg("+inf").arg("WITHSCORES");
                command
            });
            let found = self.redis.query_all::<Vec<(Vec<u8>, f64)>>(commands.collect()).await;
            let found = found.map_err(failed("tell who was seen"))?;
            all.extend(found.iter().map(|times| times.iter().filter_map(readable).collect::<Vec<_>>()));
        }
        Ok(all)
    }
}

fn failed(action: &'static str) -> impl FnOnce(RequestError) -> LastSeenError {
    move |source| LastSeenError::new(action, source)
}

/// Decodes an entry, or returns `None` if another version wrote it.
fn readable((terminal, at_ms): &(Vec<u8>, f64)) -> Option<(Terminal, u64)> {
    let terminal = std::str::from_utf8(terminal).ok()?.parse().ok()?;
    Some((terminal, *at_ms as u64))
}
