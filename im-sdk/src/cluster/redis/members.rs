//! Members in Redis.
//!
//! A channel's members and a user's channels are in two slots of a Redis Cluster, so no script can
//! change both at once. The user's set is authoritative. It is written last when a user is added,
//! and first when one is removed. So a user's channels are always among those that list the user,
//! and repeating an interrupted call completes it.

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
        traits::{MemberStore, MembersError},
    },
    id::{ChannelId, InvalidId, UserId},
};

/// The number of users added or removed in one pipeline, which Redis processes in a millisecond.
const BATCH: usize = 512;

/// Members in a single Redis or a Redis Cluster.
///
/// If two backends add and remove the same user at the same time, either may win, and the
/// channel's list of members may differ from the outcome: repeat the call that should have won.
#[derive(Debug)]
pub struct RedisMembers {
    redis: Redis,
    names: Names,
}

impl RedisMembers {
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

    /// Changes the channel's set of members, in one call.
    async fn change_channel(
        &self,
        change: &Change,
        channel: &ChannelId,
        users: &[UserId],
    ) -> Result<(), RequestError> {
        let users = users.iter().map(|user| user.as_str().into()).collect();
        self.redis.run_each::<i64>(&change.members, &[(self.names.members(channel), users)]).await.map(drop)
    }

    /// Changes each user's set of channels, in one call each.
    async fn change_users(
        &self,
        change: &Change,
        channel: &ChannelId,
        users: &[UserId],
    ) -> Result<(), RequestError> {
        let call = |user| (self.names.user_channels(user), vec![channel.as_str().into()]);
        let calls: Vec<_> = users.iter().map(call).collect();
        self.redis.run_each::<i64>(&change.channels, &calls).await.map(drop)
    }

    /// Returns stored names behind `after`.
    async fn page(
        &self,
        channel: &ChannelId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, RequestError> {
        let from = after.map_or_else(|| b"-".to_vec(), |after| [b"(", after].concat());
        let mut command = redis::cmd("ZRANGEBYLEX");
        command.arg(self.names.members(channel)).arg(from).arg("+").arg("LIMIT").arg(0);
        command.arg(limit.min(i64::MAX as usize));
        Ok(self.redis.query_all(vec![command]).await?.pop().unwrap_or_default())
    }
}

/// The scripts that change sets. They run while the memory is full: who may read and write must not
/// depend on how much others have sent. Backends bound what they add here.
struct Change {
    members: Script,
    channels: Script,
}

/// All members have the same score, so that the set is in the order of their names.
static ADD: LazyLock<Change> = LazyLock::new(|| Change {
    members: Script::also_when_full(
        r"
local added = 0
for _, user in ipairs(ARGV) do
  added = added + redis.call('ZADD', KEYS[1], 0, user)
end
return added
",
    ),
    channels: Script::also_when_full("return redis.call('SADD', KEYS[1], ARGV[1])\n"),
});

static REMOVE: LazyLock<Change> = LazyLock::new(|| Change {
    members: Script::also_when_full(
        r"
local removed = 0
for _, user in ipairs(ARGV) do
  removed = removed + redis.call('ZREM', KEYS[1], user)
end
return removed
",
    ),
    channels: Script::also_when_full("return redis.call('SREM', KEYS[1], ARGV[1])\n"),
});

#[async_trait]
impl MemberStore for RedisMembers {
    async fn channels(&self, user: &UserId) -> Result<Vec<ChannelId>, MembersError> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(self.names.user_channels(user));
        let found = self.redis.query_all::<Vec<Vec<u8>>>(vec![command]).await;
        let found = found.map_err(failed("list a user's channels"))?.pop().unwrap_or_default();
        Ok(found.iter().filter_map(|name| readable(name, ChannelId::parse)).collect())
    }

    async fn is_member(&self, channel: &ChannelId, user: &UserId) -> Result<bool, MembersError> {
        let mut command = redis::cmd("SISMEMBER");
        command.arg(self.names.user_channels(user)).arg(channel.as_str());
        let found = self.redis.query_all::<bool>(vec![command]).await;
        Ok(found.map_err(failed("look for a member"))?.pop().unwrap_or_default())
    }

    async fn is_member_of(&self, user: &UserId, channels: &[ChannelId]) -> Result<Vec<bool>, MembersError> {
        if channels.is_empty() {
            return Ok(Vec::new());
        }
        let commands = channels.chunks(BATCH).map(|channels| {
            let mut command = redis::cmd("SMISMEMBER");
            command.arg(self.names.user_channels(user));
            channels.iter().for_each(|channel| _ = command.arg(channel.as_str()));
            command
        });
        let found = self.redis.query_all::<Vec<bool>>(commands.collect()).await;
        Ok(found.map_err(failed("look for a member"))?.concat())
    }

    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, MembersError> {
        let mut after = after.map(|user| user.as_str().as_bytes().to_vec());
        let mut users = Vec::new();
        loop {
            let wanted = limit - users.len();
            let page = self.page(channel, after.as_deref(), wanted).await;
            let page = page.map_err(failed("list a channel's members"))?;
            users.extend(page.iter().filter_map(|name| readable(name, UserId::parse)));
            // A name that cannot be read must not make the page look like the last one.
            if page.len() < wanted || users.len() >= limit {
                return Ok(users);
            }
            after = page.into_iter().next_back();
        }
    }

    async fn add(&self, channel: &ChannelId, users: &[UserId]) -> Result<(), MembersError> {
        for users in users.chunks(BATCH) {
            self.change_channel(&ADD, channel, users).await.map_err(failed("add members"))?;
            self.change_users(&ADD, channel, users).await.map_err(failed("add members"))?;
        }
        Ok(())
    }

    async fn remove(&self, channel: &ChannelId, users: &[UserId]) -> Result<(), MembersError> {
        for users in users.chunks(BATCH) {
            self.change_users(&REMOVE, channel, users).await.map_err(failed("remove members"))?;
            self.change_channel(&REMOVE, channel, users).await.map_err(failed("remove members"))?;
        }
        Ok(())
    }

    fn forgets_removed(&self) -> bool {
        true
    }
}

fn failed(action: &'static str) -> impl FnOnce(RequestError) -> MembersError {
    move |source| MembersError::new(action, source)
}

/// Parses a stored name, or returns `None` if another program wrote something else.
fn readable<T>(name: &[u8], parse: impl FnOnce(&str) -> Result<T, InvalidId>) -> Option<T> {
    let name = String::from_utf8_lossy(name);
    parse(&name).inspect_err(|error| tracing::warn!(%error, "ignored a stored name that cannot be read")).ok()
}
