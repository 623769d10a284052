//! Conversations in Redis: for each user a hash of states and a sorted set of their versions, for
//! each channel a sorted set of how far its members have read.

use std::{collections::HashSet, sync::LazyLock};

use async_trait::async_trait;

use super::{
    connection::{Redis, Script},
    error_context::RequestError,
};
use crate::{
    ConversationState, Recipient,
    cluster::{
        config::{ClusterConfig, ConnectError},
        names::Names,
        traits::{
            CONTACT_TTL, ChangedConversation, ChangedPage, ConversationPatch, ConversationStore,
            ConversationsError, MAX_CONTACTS, MAX_CONVERSATIONS, MAX_DELETED_MESSAGES, MAX_MARKED_SEQ,
            Readers,
            conversation_patch::Stored,
            conversations::{
                CHANGE, COUNT, LIST, LOOK, LOOK_CONTACT, LOOK_DELETED, LOOK_READERS, NOTE, NOTE_CONTACT,
                NOTE_DELETED, REMOVE, name,
            },
        },
    },
    id::{ChannelId, MessageId, UserId},
};

/// The number of attempts of a change that collides with other changes. A user has few devices.
const ATTEMPTS: usize = 32;

/// The number of users named in one command.
const BATCH: usize = 512;

/// The number of states listed at once: some hundred KiB, and a millisecond of Redis's time.
const PAGE: usize = 1024;

/// Conversations in a single Redis or a Redis Cluster.
#[derive(Debug)]
pub struct RedisConversations {
    redis: Redis,
    names: Names,
    max: usize,
}

impl RedisConversations {
    /// Connects to Redis, and detects whether it is a Redis Cluster.
    ///
    /// # Errors
    /// [`ConnectError`], after `connect_timeout` at the latest.
    pub async fn connect(config: &ClusterConfig) -> Result<Self, ConnectError> {
        config.names()?;
        Self::on(Redis::connect(config).await?, config)
    }

    /// Uses a connection that others use too.
    pub(crate) fn on(redis: Redis, config: &ClusterConfig) -> Result<Self, ConnectError> {
        Ok(Self { redis, names: config.names()?, max: MAX_CONVERSATIONS })
    }

    /// Sets another limit than [`MAX_CONVERSATIONS`].
    #[must_use]
    pub fn with_max_conversations(self, max: usize) -> Self {
        Self { max, ..self }
    }

    async fn load(&self, user: &UserId, names: &[String]) -> Result<Vec<Found>, RequestError> {
        let (states, versions) = (self.names.conversations(user), self.names.conversation_versions(user));
        let keys = [&*states, &*versions];
        let call = LOAD.on(&keys).arg(names);
        let found: Vec<(Option<Vec<u8>>, Option<u64>)> = self.redis.run(call).await?;
        Ok(found.into_iter().map(|(bytes, version)| Found { bytes, version: version.unwrap_or(0) }).collect())
    }

    /// Writes a state if the version is still the same. Returns the new version, 0 if it would be
    /// one conversation too many, or `None` if the state has changed meanwhile.
    async fn swap(
        &self,
        user: &UserId,
        name: &str,
        before: &Found,
        after: &Stored,
    ) -> Result<Option<u64>, RequestError> {
        let (states, versions) = (self.names.conversations(user), self.names.conversation_versions(user));
        let keys = [&*states, &*versions];
        let call = SWAP.on(&keys).arg(name).arg(before.version).arg(after.encode());
        self.redis.run(call.arg(self.max)).await
    }
}

/// The stored state of a conversation.
struct Found {
    bytes: Option<Vec<u8>>,
    version: u64,
}

impl Found {
    /// Decodes the state. A value written by another program counts as none.
    fn read(&self, conversation: &Recipient) -> Stored {
        let stored = self.bytes.as_ref().and_then(|bytes| Stored::decode(bytes, self.version));
        stored.unwrap_or_else(|| Stored::new(ConversationState::new(conversation.clone())))
    }
}

#[async_trait]
impl ConversationStore for RedisConversations {
    async fn change(
        &self,
        user: &UserId,
        conversation: &Recipient,
        patch: &ConversationPatch,
    ) -> Result<ChangedConversation, ConversationsError> {
        let name = name(conversation);
        for _ in 0..ATTEMPTS {
            let found = self.load(user, std::slice::from_ref(&name)).await.map_err(failed(CHANGE))?;
            let Some(found) = found.into_iter().next() else { continue };
            let mut stored = found.read(conversation);
            let read_before = stored.state.read.seq;
            if !stored.apply(patch) {
                return Ok(ChangedConversation { state: stored.state, read_before, changed: false });
            }
            match self.swap(user, &name, &found, &stored).await.map_err(failed(CHANGE))? {
                None => {}
                Some(0) => return Err(ConversationsError::too_many(self.max)),
                Some(version) => {
                    stored.state.version = version;
                    return Ok(ChangedConversation { state: stored.state, read_before, changed: true });
                }
            }
        }
        Err(ConversationsError::new(CHANGE, "it was changed again and again meanwhile"))
    }

    async fn states(
        &self,
        user: &UserId,
        conversations: &[Recipient],
    ) -> Result<Vec<ConversationState>, ConversationsError> {
        if conversations.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = conversations.iter().map(name).collect();
        let found = self.load(user, &names).await.map_err(failed(LOOK))?;
        Ok(conversations.iter().zip(found).map(|(name, found)| found.read(name).state).collect())
    }

    async fn changed_since(
        &self,
        user: &UserId,
        version: u64,
        limit: usize,
    ) -> Result<ChangedPage, ConversationsError> {
        let (states, versions) = (self.names.conversations(user), self.names.conversation_versions(user));
        // One more, which tells whether there are others.
        let wanted = limit.min(PAGE) + 1;
        let keys = [&*states, &*versions];
        let call = SINCE.on(&keys).arg(version).arg(wanted);
        let (last, found): (u64, Vec<(u64, Vec<u8>)>) = self.redis.run(call).await.map_err(failed(LIST))?;
        let more = found.len() == wanted;
        let states = found.iter().take(wanted - 1).filter_map(|(version, bytes)| {
            let stored = Stored::decode(bytes, *version);
            if stored.is_none() {
                tracing::warn!(%user, "ignored a stored conversation that cannot be read");
            }
            stored.map(|stored| stored.state)
        });
        Ok(ChangedPage { states: states.collect(), more, version: last })
    }

    async fn note_readers(
        &self,
        channel: &ChannelId,
        users: &[UserId],
        seq: u64,
    ) -> Result<(), ConversationsError> {
        if users.is_empty() {
            return Ok(());
        }
        let readers = self.names.readers(channel);
        let keys = [&*readers];
        for users in users.chunks(BATCH) {
            let call = NOTE_READERS.on(&keys).arg(seq.min(MAX_MARKED_SEQ));
            let call = users.iter().fold(call, |call, user| call.arg(user.as_str()));
            self.redis.run::<i64>(call).await.map_err(failed(NOTE))?;
        }
        Ok(())
    }

    async fn noted_readers(
        &self,
        channel: &ChannelId,
        users: &[UserId],
    ) -> Result<Vec<Option<u64>>, ConversationsError> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let commands = users.chunks(BATCH).map(|users| {
            let mut command = redis::cmd("ZMSCORE");
            command.arg(self.names.readers(channel));
            users.iter().for_each(|user| _ = command.arg(user.as_str()));
            command
        });
        let found = self.redis.query_all::<Vec<Option<f64>>>(commands.collect()).await;
        let found = found.map_err(failed(LOOK_READERS))?.concat();
        // A score holds these values exactly, see `MAX_MARKED_SEQ`.
        Ok(found.into_iter().map(|score| score.map(|score| score as u64)).collect())
    }

    async fn readers(
        &self,
        channel: &ChannelId,
        seq: u64,
        limit: usize,
    ) -> Result<Readers, ConversationsError> {
        let readers = self.names.readers(channel);
        let keys = [&*readers];
        let limit = limit.min(i64::MAX as usize);
        let call = COUNT_READERS.on(&keys).arg(seq.min(MAX_MARKED_SEQ)).arg(limit);
        let (count, users): (u64, Vec<Vec<u8>>) = self.redis.run(call).await.map_err(failed(COUNT))?;
        let users = users.iter().filter_map(|user| UserId::parse(std::str::from_utf8(user).ok()?).ok());
        Ok(Readers { count, users: users.collect() })
    }

    async fn remove_readers(&self, channel: &ChannelId, users: &[UserId]) -> Result<(), ConversationsError> {
        if users.is_empty() {
            return Ok(());
        }
        let commands = users.chunks(BATCH).map(|users| {
            let mut command = redis::cmd("ZREM");
            command.arg(self.names.readers(channel));
            users.iter().for_each(|user| _ = command.arg(user.as_str()));
            command
        });
        self.redis.query_all::<i64>(commands.collect()).await.map(drop).map_err(failed(REMOVE))
    }

    async fn note_contact(&self, user: &UserId, contact: &UserId) -> Result<(), ConversationsError> {
        let contacts = self.names.contacts(user);
        let keys = [&*contacts];
        let call = NOTE_CONTACTS.on(&keys).arg(contact.as_str()).arg(contact_ttl_ms()).arg(MAX_CONTACTS);
        self.redis.run::<i64>(call).await.map(drop).map_err(failed(NOTE_CONTACT))
    }

    async fn note_deleted(&self, user: &UserId, messages: &[MessageId]) -> Result<(), ConversationsError> {
        let deleted = self.names.deleted_messages(user);
        let keys = [&*deleted];
        for messages in messages.chunks(BATCH) {
            let call = NOTE_DELETED_MESSAGES.on(&keys).arg(MAX_DELETED_MESSAGES);
            let call = messages.iter().fold(call, |call, id| call.arg(id.unix_ms()).arg(id.as_u64()));
            self.redis.run::<i64>(call).await.map_err(failed(NOTE_DELETED))?;
        }
        Ok(())
    }

    async fn find_deleted(
        &self,
        user: &UserId,
        messages: &[MessageId],
    ) -> Result<HashSet<MessageId>, ConversationsError> {
        let commands = messages.chunks(BATCH).map(|messages| {
            let mut command = redis::cmd("ZMSCORE");
            command.arg(self.names.deleted_messages(user));
            messages.iter().for_each(|message| _ = command.arg(message.as_u64()));
            command
        });
        let commands: Vec<_> = commands.collect();
        if commands.is_empty() {
            return Ok(HashSet::new());
        }
        let scores =
            self.redis.query_all::<Vec<Option<f64>>>(commands).await.map_err(failed(LOOK_DELETED))?;
        let found = messages.iter().zip(scores.into_iter().flatten());
        Ok(found.filter(|(_, score)| score.is_some()).map(|(message, _)| *message).collect())
    }

    async fn has_contact(&self, user: &UserId, contact: &UserId) -> Result<bool, ConversationsError> {
        let contacts = self.names.contacts(user);
        let keys = [&*contacts];
        let call = FIND_CONTACT.on(&keys).arg(contact.as_str()).arg(contact_ttl_ms());
        let found: i64 = self.redis.run(call).await.map_err(failed(LOOK_CONTACT))?;
        Ok(found == 1)
    }
}

fn contact_ttl_ms() -> u64 {
    u64::try_from(CONTACT_TTL.as_millis()).unwrap_or(u64::MAX)
}

fn failed(action: &'static str) -> impl FnOnce(RequestError) -> ConversationsError {
    move |source| ConversationsError::new(action, source)
}

/// `KEYS`: states, versions. `ARGV`: conversations. Returns the state and the version of each.
static LOAD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local found = {}
for i, name in ipairs(ARGV) do
  found[i] = { redis.call('HGET', KEYS[1], name), redis.call('ZSCORE', KEYS[2], name) }
end
return found
",
    )
});

/// `KEYS`: states, versions. `ARGV`: conversation, its expected version (0: none), its new state,
/// the maximum number of conversations. Returns its new version, nothing if its version is another
/// one by now, or 0 if it would be one too many.
///
/// The last version is stored among the states, under a name that no conversation has.
static SWAP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local known = redis.call('ZSCORE', KEYS[2], ARGV[1])
if tonumber(known or 0) ~= tonumber(ARGV[2]) then
  return false
end
if not known and redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) then
  return 0
end
local version = redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[2], version, ARGV[1])
return version
",
    )
});

/// `KEYS`: states, versions. `ARGV`: a version, the limit. Returns the last version, and version
/// and state of each conversation that changed after the given one.
static SINCE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local last = tonumber(redis.call('HGET', KEYS[1], 'version') or 0)
local found = {}
local changed = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for i = 1, #changed, 2 do
  found[#found + 1] = { tonumber(changed[i + 1]), redis.call('HGET', KEYS[1], changed[i]) or '' }
end
return { last, found }
",
    )
});

/// `KEYS`: readers. `ARGV`: a seq, the number of readers to name. Returns the number of readers who
/// have read that far, and names.
static COUNT_READERS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local count = redis.call('ZCOUNT', KEYS[1], ARGV[1], '+inf')
return { count, redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'LIMIT', 0, ARGV[2]) }
",
    )
});

/// `KEYS`: readers. `ARGV`: the seq that they have read, and each reader. Runs while the memory is
/// full: members come and go then, too.
static NOTE_READERS: LazyLock<Script> = LazyLock::new(|| {
    Script::also_when_full(
        r"
for reader = 2, #ARGV do
    redis.call('ZADD', KEYS[1], 'GT', ARGV[1], ARGV[reader])
end
return 1
",
    )
});

/// `KEYS`: contacts. `ARGV`: contact, its lifetime in ms, the maximum number of contacts.
static NOTE_CONTACTS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
",
    )
});

/// `KEYS`: deleted messages. `ARGV`: the maximum number; for each message the time in its id, and
/// the id.
static NOTE_DELETED_MESSAGES: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
for i = 2, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[1])
return 1
",
    )
});

/// `KEYS`: contacts. `ARGV`: contact, its lifetime in ms. Returns 1 if it is stored.
static FIND_CONTACT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local time = redis.call('TIME')
local noted = redis.call('ZSCORE', KEYS[1], ARGV[1])
if noted and tonumber(noted) > time[1] * 1000 - ARGV[2] then
  return 1
end
return 0
",
    )
});
