//! Appending.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use futures_util::future::join_all;
use redis::{Cmd, RedisError, ServerErrorKind, Value};
use tokio::time::Instant;

use super::{Appended, LogError, LogId, NewEntry, RedisLog};
use crate::cluster::{
    log::{Once, entry::milliseconds},
    redis::{Script, SendError, Sent},
};

/// How many entries go out in one pipeline, or are under way at once on a Redis Cluster.
const MAX_BATCH: usize = 256;

/// One in so many appends also has what is too old trimmed, for logs that nobody reads.
const APPENDS_PER_TRIM: u32 = 256;

/// The longest time that something is remembered for: a century. Redis refuses much longer ones.
pub(super) const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What an attempt came to. `None`: Redis does not know the script, so nothing was done.
type Attempt = Option<Result<Appended, LogError>>;

struct Call<'a> {
    key: String,
    log: &'a LogId,
    entry: &'a NewEntry,
}

impl RedisLog {
    pub(super) async fn append_batches(
        &self,
        entries: &[(LogId, NewEntry)],
    ) -> Vec<Result<Appended, LogError>> {
        let mut results = Vec::with_capacity(entries.len());
        for batch in entries.chunks(MAX_BATCH) {
            let batch: Vec<_> = batch.iter().map(|(log, entry)| (log, entry)).collect();
            results.append(&mut self.append_batch(&batch).await);
        }
        results
    }

    pub(super) async fn append_batch(
        &self,
        entries: &[(&LogId, &NewEntry)],
    ) -> Vec<Result<Appended, LogError>> {
        if let Some((log, _)) = entries.first()
            && rand::random_ratio(1, APPENDS_PER_TRIM)
        {
            let (results, trimmed) = tokio::join!(self.append_all(entries), self.trim(log));
            // The next reader trims, or says why not.
            let _ = trimmed;
            return results;
        }
        self.append_all(entries).await
    }

    async fn append_all(&self, entries: &[(&LogId, &NewEntry)]) -> Vec<Result<Appended, LogError>> {
        let deadline = Instant::now() + self.request_timeout;
        let call = |&(log, entry)| Call { key: self.names.log(log), log, entry };
        let calls: Vec<Call<'_>> = entries.iter().map(call).collect();
        let mut attempts = self.attempt(calls.iter().collect(), Sent::AsHash, deadline).await;
        let unknown: Vec<usize> = (0..attempts.len()).filter(|&index| attempts[index].is_none()).collect();
        if !unknown.is_empty() {
            let again = unknown.iter().map(|&index| &calls[index]).collect();
            let again = self.attempt(again, Sent::InFull, deadline).await;
            unknown.into_iter().zip(again).for_each(|(index, attempt)| attempts[index] = attempt);
        }
        attempts.into_iter().map(|attempt| attempt.unwrap_or_else(|| Err(no_answer()))).collect()
    }

    async fn attempt(&self, calls: Vec<&Call<'_>>, sent: Sent, deadline: Instant) -> Vec<Attempt> {
        if self.way.is_together() {
            return self.attempt_together(&calls, sent, deadline).await;
        }
        let apart =
            calls.iter().map(|call| self.attempt_together(std::slice::from_ref(call), sent, deadline));
        join_all(apart).await.concat()
    }

    /// On one connection.
    async fn attempt_together(&self, calls: &[&Call<'_>], sent: Sent, deadline: Instant) -> Vec<Attempt> {
        let Some(first) = calls.first() else {
            return Vec::new();
        };
        let commands = calls.iter().map(|call| self.command(call, sent)).collect();
        match self.way.send(&first.key, commands, deadline).await {
            Ok((answers, confirmed)) => {
                let answers = calls.iter().zip(answers);
                answers.map(|(call, answer)| judge(call, answer, &confirmed)).collect()
            }
            Err(error) => vec![Some(Err(failed(error))); calls.len()],
        }
    }

    fn command(&self, call: &Call<'_>, sent: Sent) -> Cmd {
        match &call.entry.once {
            None => self.plain_command(call),
            Some(once) => self.once_command(call, once, sent),
        }
    }

    fn plain_command(&self, Call { key, entry, .. }: &Call<'_>) -> Cmd {
        let mut command = Cmd::with_capacity(10, key.len() + entry.payload.len() + 64);
        command.arg("XADD").arg(key).arg("MAXLEN").arg("~").arg(self.max_entries()).arg("0-*");
        command.arg("i").arg(entry.message_id.as_u64()).arg("p").arg(&*entry.payload);
        command
    }

    fn once_command(&self, Call { key, log, entry }: &Call<'_>, once: &Once, sent: Sent) -> Cmd {
        let mut command = APPEND_ONCE.command(sent);
        command.arg(2).arg(key).arg(self.names.log_record(log, &once.record_name()));
        command.arg(once.number()).arg(once.digest());
        command.arg(entry.message_id.as_u64()).arg(&*entry.payload);
        let ttl = once.remembered_for(&self.bounds).min(MAX_TTL);
        command.arg(self.max_entries()).arg(milliseconds(ttl).max(1));
        command
    }

    fn max_entries(&self) -> u64 {
        // More than Redis counts to is as good as without a bound.
        self.bounds.max_entries.min(i64::MAX as u64)
    }
}

fn judge(call: &Call<'_>, answer: Value, confirmed: &Result<(), LogError>) -> Attempt {
    let appended = match answer {
        Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript) => return None,
        // Redis checks all that it may refuse a command or a script for before it writes anything.
        Value::ServerError(error) => Err(LogError::NotAppended { source: Arc::new(RedisError::from(error)) }),
        answer if call.entry.once.is_none() => plain_answer(call.entry, answer),
        answer => once_answer(call.entry, answer),
    };
    // What is wrong with the entry itself comes before what is wrong with the replicas.
    Some(appended.and_then(|appended| confirmed.clone().map(|()| appended)))
}

fn plain_answer(entry: &NewEntry, answer: Value) -> Result<Appended, LogError> {
    let id: String = redis::from_redis_value(answer).map_err(unreadable)?;
    let seq = parse_seq(&id).ok_or_else(no_answer)?;
    Ok(Appended { seq, message_id: entry.message_id, repeated: false })
}

/// As [`APPEND_ONCE`] answers.
fn once_answer(entry: &NewEntry, answer: Value) -> Result<Appended, LogError> {
    let (what, number, id): (String, u64, String) = redis::from_redis_value(answer).map_err(unreadable)?;
    let message_id = || id.parse().map_err(unreadable);
    match &*what {
        "appended" => Ok(Appended { seq: number, message_id: entry.message_id, repeated: false }),
        "repeated" => Ok(Appended { seq: number, message_id: message_id()?, repeated: true }),
        "stale" => Err(LogError::Stale { last: number }),
        "conflict" => Err(LogError::Conflict),
        _ => Err(no_answer()),
    }
}

/// The seq in a stream's id.
pub(super) fn parse_seq(id: &str) -> Option<u64> {
    id.strip_prefix("0-")?.parse().ok()
}

fn failed(error: SendError) -> LogError {
    match error {
        SendError::NotDone(source) => LogError::NotAppended { source: source.into() },
        SendError::Unknown(source) => LogError::OutcomeUnknown { source: source.into() },
    }
}

pub(super) fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> LogError {
    LogError::OutcomeUnknown { source: Arc::new(error) }
}

/// Redis answered with something else than what it is known to answer with.
pub(super) fn no_answer() -> LogError {
    unreadable(NoAnswer)
}

#[derive(Debug, thiserror::Error)]
#[error("Redis did not answer as expected")]
struct NoAnswer;

/// `KEYS`: log, record. `ARGV`: number, digest, message id, payload, length, how long the record lasts. Answers what
/// became of it, the seq or the last number, and the first message id.
///
/// Numbers are compared as text: Lua's have 53 bits. A repetition writes the record again as it was, so that `WAIT` behind
/// it has a write to wait for: the first attempt may have failed because no replica had the entry.
static APPEND_ONCE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local log, record, number, digest, message, payload = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local known = redis.call('GET', record)
if known then
  local last, seq, first, at = string.match(known, '^(%d+) (%d+) (%d+) ()')
  if not last then
    return redis.error_reply('MALFORMED the record of an earlier append cannot be read')
  end
  if #number < #last or (#number == #last and number < last) then
    return {'stale', last, ''}
  end
  if number == last then
    if string.sub(known, at) ~= digest then
      return {'conflict', '0', ''}
    end
    redis.call('SET', record, known, 'KEEPTTL')
    return {'repeated', seq, first}
  end
end
local id = redis.call('XADD', log, 'MAXLEN', '~', ARGV[5], '0-*', 'i', message, 'p', payload)
local seq = string.sub(id, 3)
redis.call('SET', record, table.concat({number, seq, message, digest}, ' '), 'PX', ARGV[6])
return {'appended', seq, message}
",
    )
});
