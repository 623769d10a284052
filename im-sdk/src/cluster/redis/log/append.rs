//! Appends to logs in Redis.

use std::sync::{Arc, LazyLock};

use futures_util::future::join_all;
use redis::{Cmd, RedisError, ServerErrorKind, Value};
use tokio::time::Instant;

use super::{
    MAX_TTL, RedisLog,
    append_path::PipelinedPath,
    idempotency::{deduplicate, remember},
    parse_seq,
    quota::{self, Bounds},
    unavailable,
};
use crate::{
    cluster::{
        log_id::LogId,
        quota::{GROWTH_LIMIT, Limits, foreign_writer, size_of},
        redis::{Commands, Decimal, Reply, Script, ScriptForm, SendError},
        time::milliseconds,
        traits::{Appended, LogError, NewEntry},
    },
    id::MessageId,
};

/// The number of entries in one pipeline, or in flight at once on a Redis Cluster.
const MAX_BATCH: usize = 256;

/// The share of a log's bounds after which it is inspected, and trimmed if need be: about one part
/// in so many.
const LOOKS_PER_LOG: u64 = 16;

/// The maximum number of appends to a log between two inspections, on average.
const MAX_APPENDS_PER_LOOK: u64 = 1_024;

/// The multiple of its bounds to which a log that backends append to may grow before it is inspected.
const HARD_GROWTH_LIMIT: u64 = GROWTH_LIMIT + 1;

/// The usual size of a command beside the payload.
const COMMAND_BYTES: usize = 256;

/// The result of an attempt; `None` if Redis does not know the script, so that nothing was done.
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
        let due = self.due_for_a_look(entries);
        if due.is_empty() {
            return self.append_all(entries).await;
        }
        // Boxed, so that the rare case does not make every append large.
        let both = Box::pin(async { tokio::join!(self.append_all(entries), self.trim_beside(&due)) });
        both.await.0
    }

    /// Returns the logs to inspect with this batch, and whether a foreign writer appended. The
    /// chance of an entry is its share of a log's bounds.
    fn due_for_a_look<'e>(&self, entries: &'e [(LogId, NewEntry)]) -> Vec<(&'e LogId, bool)> {
        let step = (self.bounds.max_bytes / LOOKS_PER_LOG).max(1);
        let least = (self.bounds.max_bytes / self.bounds.max_entries.max(1)).max(step / MAX_APPENDS_PER_LOOK);
        let mut due = Vec::new();
        let (mut passed, mut next) =
            (0_u64, entries.first().map_or(0, |(_, entry)| any(entry.message_id, step)));
        for (log, entry) in entries {
            passed = passed.saturating_add(size_of(entry).max(least));
            if passed > next {
                due.push((log, foreign_writer(log, entry).is_some()));
                next = passed.saturating_add(step - (passed - next) % step);
            }
        }
        due
    }

    pub(super) async fn find_room(&self, entries: &[(LogId, NewEntry)]) -> Vec<Result<(), LogError>> {
        const ACTION: &str = "look for room in a log";
        let mut results = vec![Ok(()); entries.len()];
        let wanted =
            entries.iter().zip(&mut results).filter(|((log, entry), _)| foreign_writer(log, entry).is_some());
        let checks = wanted.map(async |((log, entry), result)| {
            let keys = SharedKeys::new(self, log, entry);
            let keys = keys.all();
            let mut call = quota::CHECK.on(&keys);
            let arguments = SharedArguments::new(self, log, entry);
            let bounds = Bounds::of_entry(log, entry, &self.bounds, self.cutoffs());
            let mut arguments = arguments.words(entry);
            // Only its size counts.
            arguments[PAYLOAD] = b"";
            for word in arguments.into_iter().chain(bounds.words()) {
                call = call.arg(word);
            }
            let answer: Result<(String, u64, String), _> = self.redis.run(call).await;
            *result = match answer {
                Ok((what, by_time, oldest)) if what == "full" => Err(self.full(by_time, &oldest)),
                Ok(_) => Ok(()),
                Err(error) => Err(unavailable(ACTION)(error)),
            };
        });
        join_all(checks).await;
        results
    }

    /// Converts the scripts' reply for a log without room.
    fn full(&self, by_time: u64, oldest: &str) -> LogError {
        let oldest = oldest.parse().unwrap_or_else(|_| MessageId::first_at(0));
        LogError::Full { retry_after: self.cutoffs().retry_after(oldest, by_time == 0) }
    }

    async fn append_all(&self, entries: &[(LogId, NewEntry)]) -> Vec<Result<Appended, LogError>> {
        let deadline = Instant::now() + self.request_timeout;
        let mut attempts = self.attempt(entries, ScriptForm::Hash, deadline).await;
        if attempts.iter().any(Option::is_none) {
            Box::pin(self.attempt_again(entries, &mut attempts, deadline)).await;
        }
        let results = attempts.into_iter().map(|attempt| attempt.unwrap_or_else(|| Err(unexpected_reply())));
        results.map(|result| result.map_err(|error| self.with_address(error))).collect()
    }

    /// Adds the address of Redis to its refusal of an entry.
    fn with_address(&self, error: LogError) -> LogError {
        let LogError::NotAppended { source } = &error else { return error };
        match source.downcast_ref::<RedisError>() {
            Some(refused) => {
                LogError::NotAppended { source: Arc::new(self.redis.address().failed(refused.clone())) }
            }
            None => error,
        }
    }

    /// Repeats the entries with the script's source.
    async fn attempt_again(
        &self,
        entries: &[(LogId, NewEntry)],
        attempts: &mut [Attempt],
        deadline: Instant,
    ) {
        let unknown = entries.iter().zip(&mut *attempts).filter(|(_, attempt)| attempt.is_none());
        let unknown: Vec<_> = unknown.map(|(entry, _)| entry.clone()).collect();
        let again = self.attempt(&unknown, ScriptForm::Source, deadline).await;
        let unknown = attempts.iter_mut().filter(|attempt| attempt.is_none());
        unknown.zip(again).for_each(|(attempt, again)| *attempt = again);
    }

    async fn attempt(
        &self,
        entries: &[(LogId, NewEntry)],
        form: ScriptForm,
        deadline: Instant,
    ) -> Vec<Attempt> {
        match self.path.pipelined() {
            Some(pipelined) => self.attempt_pipelined(pipelined, entries, form).await,
            None => Box::pin(self.attempt_direct(entries, form, deadline)).await,
        }
    }

    /// Sends all entries on one connection.
    async fn attempt_pipelined(
        &self,
        pipelined: &PipelinedPath,
        entries: &[(LogId, NewEntry)],
        form: ScriptForm,
    ) -> Vec<Attempt> {
        let bytes = entries.iter().map(|(_, entry)| entry.payload.len() + COMMAND_BYTES).sum();
        let mut commands = Commands::with_capacity(bytes);
        for (log, entry) in entries {
            self.command(log, entry, form, |words| commands.add(words));
        }
        // Behind the entries, whose replies come first.
        for key in entries.iter().filter_map(|(log, entry)| self.to_persist(log, entry)) {
            commands.add(&[b"PERSIST", key.as_bytes()]);
        }
        match pipelined.send(commands).await {
            Ok((answers, confirmed)) => {
                let answers = entries.iter().zip(answers.iter());
                let mut attempts = Vec::with_capacity(entries.len());
                attempts.extend(answers.map(|((_, entry), answer)| self.judge(entry, answer, &confirmed)));
                attempts.resize_with(entries.len(), || Some(Err(unexpected_reply())));
                attempts
            }
            Err(error) => vec![Some(Err(failed(error))); entries.len()],
        }
    }

    /// Sends each entry to its own node of a Redis Cluster.
    async fn attempt_direct(
        &self,
        entries: &[(LogId, NewEntry)],
        form: ScriptForm,
        deadline: Instant,
    ) -> Vec<Attempt> {
        join_all(entries.iter().map(async |(log, entry)| {
            let mut command = Cmd::new();
            self.command(log, entry, form, |words| {
                words.iter().for_each(|word| _ = command.arg(word));
            });
            let key = self.names.log(log);
            let appending = self.path.send(&key, command, deadline);
            let answered = match self.to_persist(log, entry) {
                Some(inbox) => tokio::join!(appending, self.persist(inbox)).0,
                None => appending.await,
            };
            match answered {
                Ok((mut answers, confirmed)) => {
                    self.judge_value(entry, answers.pop().unwrap_or_default(), &confirmed)
                }
                Err(error) => Some(Err(failed(error))),
            }
        }))
        .await
    }

    /// Builds the command that appends an entry.
    fn command(&self, log: &LogId, entry: &NewEntry, form: ScriptForm, send: impl FnOnce(&[&[u8]])) {
        if entry.writer.is_some() {
            return self.shared_command(log, entry, form, send);
        }
        let (key, message_id) = (self.names.log(log), Decimal::new(entry.message_id.as_u64()));
        let (key, message_id, payload) = (key.as_bytes(), message_id.as_bytes(), &*entry.payload);
        let length = Decimal::new(self.hard_length());
        let Some(once) = &entry.dedup_key else {
            let length = length.as_bytes();
            return send(&[b"XADD", key, b"MAXLEN", b"~", length, b"0-*", b"i", message_id, b"p", payload]);
        };
        let record = self.names.log_record(log, &once.record_name());
        let ttl = once.ttl(&self.bounds).min(MAX_TTL);
        let (number, ttl) = (Decimal::new(once.number()), Decimal::new(milliseconds(ttl).max(1)));
        let [verb, script] = APPEND_ONCE.words(form);
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

    /// Builds the command that appends an entry that counts towards its writer's share.
    fn shared_command(&self, log: &LogId, entry: &NewEntry, form: ScriptForm, send: impl FnOnce(&[&[u8]])) {
        let keys = SharedKeys::new(self, log, entry);
        let arguments = SharedArguments::new(self, log, entry);
        let bounds = Bounds::of_entry(log, entry, &self.bounds, self.cutoffs());
        let [verb, script] = quota::APPEND.words(form);
        let mut words: [&[u8]; SHARED_WORDS] = [b""; SHARED_WORDS];
        let keys = keys.all().map(str::as_bytes);
        let all =
            [verb, script, b"4"].into_iter().chain(keys).chain(arguments.words(entry)).chain(bounds.words());
        words.iter_mut().zip(all).for_each(|(word, value)| *word = value);
        send(&words);
    }

    fn hard_length(&self) -> u64 {
        // A number beyond Redis's range is as good as no bound.
        self.bounds.max_entries.saturating_mul(HARD_GROWTH_LIMIT).min(i64::MAX as u64)
    }

    /// Returns the key of an inbox that is to be made permanent because a backend appends to it;
    /// appends of devices alone create one that expires with its entries. Returns `None` for an
    /// inbox that was recently made permanent.
    fn to_persist(&self, log: &LogId, entry: &NewEntry) -> Option<String> {
        let LogId::Inbox(user) = log else { return None };
        let is_due = entry.writer.is_none() && self.persisted.is_due(user, entry.message_id);
        is_due.then(|| self.names.log(log))
    }

    /// Makes an inbox permanent. If that fails, the next attempt comes within the hour.
    async fn persist(&self, key: String) {
        let mut command = redis::cmd("PERSIST");
        command.arg(key);
        let _ = self.redis.query_all::<i64>(vec![command]).await;
    }

    fn judge(&self, entry: &NewEntry, answer: Reply<'_>, confirmed: &Result<(), LogError>) -> Attempt {
        if !is_scripted(entry)
            && confirmed.is_ok()
            && let Some(seq) = answer.string().and_then(|id| parse_seq(std::str::from_utf8(id).ok()?))
        {
            return Some(Ok(Appended { seq, message_id: entry.message_id, repeated: false }));
        }
        match answer.value() {
            Ok(answer) => self.judge_value(entry, answer, confirmed),
            Err(error) => Some(Err(unreadable(error))),
        }
    }

    fn judge_value(&self, entry: &NewEntry, answer: Value, confirmed: &Result<(), LogError>) -> Attempt {
        let appended = match answer {
            Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript) => return None,
            // Redis checks everything for which it may refuse a command or a script before it
            // writes anything.
            Value::ServerError(error) => {
                Err(LogError::NotAppended { source: Arc::new(RedisError::from(error)) })
            }
            answer if is_scripted(entry) => self.script_answer(entry, answer),
            answer => plain_answer(entry, answer),
        };
        // An error of the entry itself takes precedence over one of the replicas.
        Some(appended.and_then(|appended| confirmed.clone().map(|()| appended)))
    }

    /// Converts a reply of [`APPEND_ONCE`] or [`quota::APPEND`].
    fn script_answer(&self, entry: &NewEntry, answer: Value) -> Result<Appended, LogError> {
        let (what, number, id): (String, u64, String) =
            redis::from_redis_value(answer).map_err(unreadable)?;
        let message_id = || id.parse().map_err(unreadable);
        match &*what {
            "appended" => Ok(Appended { seq: number, message_id: entry.message_id, repeated: false }),
            "repeated" => Ok(Appended { seq: number, message_id: message_id()?, repeated: true }),
            "stale" => Err(LogError::Stale { last: number }),
            "conflict" => Err(LogError::Conflict),
            "full" => Err(self.full(number, &id)),
            _ => Err(unexpected_reply()),
        }
    }
}

/// The number of arguments of a command with [`quota::APPEND`].
const SHARED_WORDS: usize = 3 + 4 + 8 + 11;

/// The index of the payload in [`SharedArguments::words`].
const PAYLOAD: usize = 3;

/// The keys of [`quota::APPEND`].
struct SharedKeys([String; 4]);

impl SharedKeys {
    fn new(log: &RedisLog, id: &LogId, entry: &NewEntry) -> Self {
        let names = &log.names;
        let record = entry.dedup_key.as_ref().map(|once| names.log_record(id, &once.record_name()));
        let (log, writers) = (names.log(id), names.log_writers(id));
        // An unused key has to be in the same slot.
        let record = record.unwrap_or_else(|| writers.clone());
        Self([log, record, writers, quota::acks_key(names, id)])
    }

    fn all(&self) -> [&str; 4] {
        self.0.each_ref().map(String::as_str)
    }
}

/// The arguments of [`quota::APPEND`] before the bounds, as far as they are not borrowed from the
/// entry.
struct SharedArguments {
    number: Option<Decimal>,
    message_id: Decimal,
    record_ttl: Decimal,
    cost: Decimal,
    lifetime: Option<Decimal>,
}

impl SharedArguments {
    fn new(log: &RedisLog, id: &LogId, entry: &NewEntry) -> Self {
        let once = entry.dedup_key.as_ref();
        let ttl = once.map_or(log.bounds.max_age, |once| once.ttl(&log.bounds));
        let lifetime = match id {
            // A log whose user is known to exist is permanent; a user who publishes exists.
            LogId::Inbox(_) if foreign_writer(id, entry).is_none() => Some(0),
            LogId::Inbox(_) => Some(milliseconds(log.bounds.max_age.min(MAX_TTL)).max(1)),
            LogId::Channel(_) => None,
        };
        Self {
            number: once.map(|once| Decimal::new(once.number())),
            message_id: Decimal::new(entry.message_id.as_u64()),
            record_ttl: Decimal::new(milliseconds(ttl.min(MAX_TTL)).max(1)),
            cost: Decimal::new(Limits::of(id, &log.bounds).cost(size_of(entry)).min(quota::MAX_COUNT)),
            lifetime: lifetime.map(Decimal::new),
        }
    }

    fn words<'a>(&'a self, entry: &'a NewEntry) -> [&'a [u8]; 8] {
        [
            self.number.as_ref().map_or(b"", Decimal::as_bytes),
            entry.dedup_key.as_ref().map_or(b"", |once| once.digest()),
            self.message_id.as_bytes(),
            &entry.payload,
            self.record_ttl.as_bytes(),
            entry.writer.as_ref().map_or(b"", |writer| writer.as_str().as_bytes()),
            self.cost.as_bytes(),
            self.lifetime.as_ref().map_or(b"", Decimal::as_bytes),
        ]
    }
}

/// Returns a number below `bound` that is as good as random for consecutive ids, by Fibonacci hashing
/// (Knuth, The Art of Computer Programming 6.4). A random number would cost more than every other
/// decision about an entry here.
fn any(id: MessageId, bound: u64) -> u64 {
    let mixed = id.as_u64().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) % bound
}

/// Returns whether a script appends the entry.
fn is_scripted(entry: &NewEntry) -> bool {
    entry.dedup_key.is_some() || entry.writer.is_some()
}

fn plain_answer(entry: &NewEntry, answer: Value) -> Result<Appended, LogError> {
    let id: String = redis::from_redis_value(answer).map_err(unreadable)?;
    let seq = parse_seq(&id).ok_or_else(unexpected_reply)?;
    Ok(Appended { seq, message_id: entry.message_id, repeated: false })
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

/// Returns the error for a reply of an unknown form.
pub(super) fn unexpected_reply() -> LogError {
    unreadable(UnexpectedReply)
}

#[derive(Debug, thiserror::Error)]
#[error("Redis sent an unexpected reply")]
struct UnexpectedReply;

/// `KEYS`: log, record. `ARGV`: number, digest, message id, payload, length, lifetime of the
/// record. Returns the outcome, the seq or the last number, and the first message id; see
/// [`deduplicate`].
static APPEND_ONCE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        r"
local log, record, attempt, digest, message, payload = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
",
        deduplicate!(),
        r"
local id = redis.call('XADD', log, 'MAXLEN', '~', ARGV[5], '0-*', 'i', message, 'p', payload)
local seq = string.sub(id, 3)
",
        remember!("seq", "ARGV[6]"),
        "return {'appended', seq, message}\n",
    ))
});
