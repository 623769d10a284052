//! Appending.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use futures_util::future::join_all;
use redis::{Cmd, RedisError, ServerErrorKind, Value};
use tokio::time::Instant;

use super::{Appended, LogError, LogId, NewEntry, RedisLog, way::Together};
use crate::cluster::{
    log::entry::milliseconds,
    redis::{Answer, Commands, Decimal, Script, SendError, Sent},
};

/// How many entries go out in one pipeline, or are under way at once on a Redis Cluster.
const MAX_BATCH: usize = 256;

/// One in so many appends also has what is too old trimmed, for logs that nobody reads.
const APPENDS_PER_TRIM: u32 = 256;

/// What a command takes beside the payload, nearly always.
const COMMAND_BYTES: usize = 256;

/// The longest time that something is remembered for: a century. Redis refuses much longer ones.
pub(super) const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What an attempt came to. `None`: Redis does not know the script, so nothing was done.
type Attempt = Option<Result<Appended, LogError>>;

impl RedisLog {
    pub(super) async fn append_batches(
        &self,
        entries: &[(LogId, NewEntry)],
    ) -> Vec<Result<Appended, LogError>> {
        if entries.len() <= MAX_BATCH {
            return self.append_batch(entries).await;
        }
        let mut results = Vec::with_capacity(entries.len());
        for batch in entries.chunks(MAX_BATCH) {
            results.append(&mut self.append_batch(batch).await);
        }
        results
    }

    pub(super) async fn append_batch(
        &self,
        entries: &[(LogId, NewEntry)],
    ) -> Vec<Result<Appended, LogError>> {
        if let Some((log, _)) = entries.first()
            && rand::random_ratio(1, APPENDS_PER_TRIM)
        {
            // Boxed: what is rare must not make every append large.
            let both = Box::pin(async { tokio::join!(self.append_all(entries), self.trim_beside(log)) });
            return both.await.0;
        }
        self.append_all(entries).await
    }

    async fn append_all(&self, entries: &[(LogId, NewEntry)]) -> Vec<Result<Appended, LogError>> {
        let deadline = Instant::now() + self.request_timeout;
        let mut attempts = self.attempt(entries, Sent::AsHash, deadline).await;
        if attempts.iter().any(Option::is_none) {
            Box::pin(self.attempt_again(entries, &mut attempts, deadline)).await;
        }
        let results = attempts.into_iter().map(|attempt| attempt.unwrap_or_else(|| Err(no_answer())));
        results.map(|result| result.map_err(|error| self.named(error))).collect()
    }

    /// Says which Redis it was that refused an entry.
    fn named(&self, error: LogError) -> LogError {
        let LogError::NotAppended { source } = &error else { return error };
        match source.downcast_ref::<RedisError>() {
            Some(refused) => {
                LogError::NotAppended { source: Arc::new(self.redis.place().failed(refused.clone())) }
            }
            None => error,
        }
    }

    /// With the script itself.
    async fn attempt_again(
        &self,
        entries: &[(LogId, NewEntry)],
        attempts: &mut [Attempt],
        deadline: Instant,
    ) {
        let unknown = entries.iter().zip(&mut *attempts).filter(|(_, attempt)| attempt.is_none());
        let unknown: Vec<_> = unknown.map(|(entry, _)| entry.clone()).collect();
        let again = self.attempt(&unknown, Sent::InFull, deadline).await;
        let unknown = attempts.iter_mut().filter(|attempt| attempt.is_none());
        unknown.zip(again).for_each(|(attempt, again)| *attempt = again);
    }

    async fn attempt(&self, entries: &[(LogId, NewEntry)], sent: Sent, deadline: Instant) -> Vec<Attempt> {
        match self.way.together() {
            Some(together) => self.attempt_together(together, entries, sent).await,
            None => Box::pin(self.attempt_apart(entries, sent, deadline)).await,
        }
    }

    /// On one connection.
    async fn attempt_together(
        &self,
        together: &Together,
        entries: &[(LogId, NewEntry)],
        sent: Sent,
    ) -> Vec<Attempt> {
        let bytes = entries.iter().map(|(_, entry)| entry.payload.len() + COMMAND_BYTES).sum();
        let mut commands = Commands::with_capacity(bytes);
        for (log, entry) in entries {
            self.command(log, entry, sent, |words| commands.add(words));
        }
        match together.send(commands).await {
            Ok((answers, confirmed)) => {
                let answers = entries.iter().zip(answers.iter());
                let mut attempts = Vec::with_capacity(entries.len());
                attempts.extend(answers.map(|((_, entry), answer)| judge(entry, answer, &confirmed)));
                attempts.resize_with(entries.len(), || Some(Err(no_answer())));
                attempts
            }
            Err(error) => vec![Some(Err(failed(error))); entries.len()],
        }
    }

    /// Each on the way to its own node of a Redis Cluster.
    async fn attempt_apart(
        &self,
        entries: &[(LogId, NewEntry)],
        sent: Sent,
        deadline: Instant,
    ) -> Vec<Attempt> {
        join_all(entries.iter().map(async |(log, entry)| {
            let mut command = Cmd::new();
            self.command(log, entry, sent, |words| {
                words.iter().for_each(|word| _ = command.arg(word));
            });
            match self.way.send(&self.names.log(log), command, deadline).await {
                Ok((mut answers, confirmed)) => {
                    judge_value(entry, answers.pop().unwrap_or_default(), &confirmed)
                }
                Err(error) => Some(Err(failed(error))),
            }
        }))
        .await
    }

    /// What appends an entry.
    fn command(&self, log: &LogId, entry: &NewEntry, sent: Sent, send: impl FnOnce(&[&[u8]])) {
        let (key, message_id) = (self.names.log(log), Decimal::new(entry.message_id.as_u64()));
        let (key, message_id, payload) = (key.as_bytes(), message_id.as_bytes(), &*entry.payload);
        let length = Decimal::new(self.max_entries());
        let Some(once) = &entry.once else {
            let length = length.as_bytes();
            return send(&[b"XADD", key, b"MAXLEN", b"~", length, b"0-*", b"i", message_id, b"p", payload]);
        };
        let record = self.names.log_record(log, &once.record_name());
        let ttl = once.remembered_for(&self.bounds).min(MAX_TTL);
        let (number, ttl) = (Decimal::new(once.number()), Decimal::new(milliseconds(ttl).max(1)));
        let [verb, script] = APPEND_ONCE.words(sent);
        send(&[
            verb,
            script,
            b"2",
            key,
            record.as_bytes(),
            number.as_bytes(),
            once.digest(),
            message_id,
            payload,
            length.as_bytes(),
            ttl.as_bytes(),
        ]);
    }

    fn max_entries(&self) -> u64 {
        // More than Redis counts to is as good as without a bound.
        self.bounds.max_entries.min(i64::MAX as u64)
    }
}

fn judge(entry: &NewEntry, answer: Answer<'_>, confirmed: &Result<(), LogError>) -> Attempt {
    if entry.once.is_none()
        && confirmed.is_ok()
        && let Some(seq) = answer.string().and_then(|id| parse_seq(std::str::from_utf8(id).ok()?))
    {
        return Some(Ok(Appended { seq, message_id: entry.message_id, repeated: false }));
    }
    match answer.value() {
        Ok(answer) => judge_value(entry, answer, confirmed),
        Err(error) => Some(Err(unreadable(error))),
    }
}

fn judge_value(entry: &NewEntry, answer: Value, confirmed: &Result<(), LogError>) -> Attempt {
    let appended = match answer {
        Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript) => return None,
        // Redis checks all that it may refuse a command or a script for before it writes anything.
        Value::ServerError(error) => Err(LogError::NotAppended { source: Arc::new(RedisError::from(error)) }),
        answer if entry.once.is_none() => plain_answer(entry, answer),
        answer => once_answer(entry, answer),
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
