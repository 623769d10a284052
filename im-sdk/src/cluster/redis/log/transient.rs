//! Deduplication of messages that are not logged.

use std::sync::LazyLock;

use super::{
    MAX_TTL, RedisLog,
    append::{unexpected_reply, unreadable},
    unavailable,
};
use crate::{
    cluster::{
        log_id::LogId,
        redis::Script,
        time::milliseconds,
        traits::{DedupKey, LogError},
    },
    id::MessageId,
};

impl RedisLog {
    /// Deduplicates on the connection of requests that wait for no replica: a record is not worth
    /// that wait.
    pub(super) async fn remember_transient(
        &self,
        log: &LogId,
        message_id: MessageId,
        once: &DedupKey,
    ) -> Result<MessageId, LogError> {
        let record = self.names.log_record(log, &once.transient_record_name());
        let keys = [&*record];
        let ttl = milliseconds(once.transient_ttl(&self.bounds).min(MAX_TTL)).max(1);
        let call = REMEMBER.on(&keys).arg(once.number()).arg(once.digest()).arg(message_id.as_u64()).arg(ttl);
        let answer = self.redis.run(call).await.map_err(unavailable("remember a number"))?;
        let (what, number, id): (String, u64, String) = answer;
        match &*what {
            "new" => Ok(message_id),
            "repeated" => id.parse().map_err(unreadable),
            "stale" => Err(LogError::Stale { last: number }),
            "conflict" => Err(LogError::Conflict),
            _ => Err(unexpected_reply()),
        }
    }
}

/// `KEYS`: record. `ARGV`: number, digest, message id, lifetime of the record. Returns the outcome,
/// the last number and the first message id. Numbers are compared as text: Lua's have 53 bits.
static REMEMBER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local record, number, digest, message = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local known = redis.call('GET', record)
if known then
  local last, first, at = string.match(known, '^(%d+) (%d+) ()')
  if not last then
    return redis.error_reply('MALFORMED what was remembered cannot be read')
  end
  if #number < #last or (#number == #last and number < last) then
    return {'stale', last, ''}
  end
  if number == last then
    return {string.sub(known, at) == digest and 'repeated' or 'conflict', last, first}
  end
end
redis.call('SET', record, table.concat({number, message, digest}, ' '), 'PX', ARGV[4])
return {'new', number, message}
",
    )
});
