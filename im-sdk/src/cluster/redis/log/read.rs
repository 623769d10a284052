//! Reads of logs in Redis.

use std::{collections::HashMap, sync::LazyLock};

use bytes::Bytes;
use futures_util::future::try_join_all;
use redis::{Cmd, Value};

use super::{MAX_TTL, RedisLog, parse_seq, unavailable};
use crate::{
    cluster::{
        log_id::LogId,
        redis::{Script, ScriptForm, is_of_unknown_script},
        time::milliseconds,
        traits::{Entry, LogEnds, LogError, Page, ReadLimit},
    },
    id::MessageId,
};

/// The state of a log at one moment.
#[derive(Clone, Copy)]
struct State {
    ends: LogEnds,
    /// The message id of the first entry.
    first_id: Option<MessageId>,
}

/// The start of a page, and its direction.
#[derive(Clone, Copy)]
pub(super) enum Direction {
    After(u64),
    Before(Option<u64>),
}

impl Direction {
    /// Returns the commands that read the next entries and their replaced payloads.
    fn commands(self, keys: &Keys, count: usize) -> [Cmd; 2] {
        let span = count as u64;
        let (verb, from, to, low, high) = match self {
            Self::After(after) => {
                let (low, high) = (after.saturating_add(1), after.saturating_add(span));
                ("XRANGE", format!("0-{low}"), "+", low.to_string(), high.to_string())
            }
            // A stream has no id `0-0`.
            Self::Before(Some(before)) => {
                let (low, high) = (before.saturating_sub(span), before.saturating_sub(1));
                ("XREVRANGE", format!("0-{high}"), "-", low.to_string(), high.to_string())
            }
            // That many of the newest replacements cover that many of the newest entries.
            Self::Before(None) => ("XREVRANGE", "+".to_owned(), "-", "-inf".to_owned(), "+inf".to_owned()),
        };
        let (mut range, mut replaced) = (redis::cmd(verb), redis::cmd("ZREVRANGEBYSCORE"));
        range.arg(&keys.log).arg(from).arg(to).arg("COUNT").arg(count);
        replaced.arg(&keys.replaced).arg(high).arg(low).arg("LIMIT").arg(0).arg(count);
        [range, replaced]
    }

    /// Returns the actual start, if it differs from the expected one: the log was trimmed, or ends
    /// before. Replacements there are not known yet.
    fn corrected(self, first: &Entry) -> Option<Self> {
        match self {
            Self::After(after) if first.seq != after.saturating_add(1) => {
                Some(Self::After(first.seq.saturating_sub(1)))
            }
            Self::Before(Some(before)) if first.seq != before.saturating_sub(1) => {
                Some(Self::Before(Some(first.seq.saturating_add(1))))
            }
            _ => None,
        }
    }

    /// Returns the position behind an entry.
    fn behind(self, seq: u64) -> Self {
        match self {
            Self::After(_) => Self::After(seq),
            Self::Before(_) => Self::Before(Some(seq)),
        }
    }
}

/// The keys of a log.
struct Keys {
    log: String,
    replaced: String,
}

/// The number of entries requested at once: from a log with unknown sizes, and from any log. Entries
/// that do not fit into the page are sent in vain, and must stay few, however large users make them.
const FIRST_STEP: usize = 4;
const MAX_STEP: usize = 64;

/// Returns the number of entries to request next, if each takes about `usual` bytes.
fn step(limit: ReadLimit, taken: usize, bytes: usize, usual: Option<usize>) -> usize {
    let fitting = usual.map_or(FIRST_STEP, |usual| limit.bytes.saturating_sub(bytes) / usual.max(1));
    fitting.clamp(1, MAX_STEP).min(limit.entries.saturating_sub(taken))
}

impl RedisLog {
    pub(super) async fn page(
        &self,
        action: &'static str,
        log: &LogId,
        direction: Direction,
        limit: ReadLimit,
    ) -> Result<Page, LogError> {
        let keys = Keys { log: self.names.log(log), replaced: self.names.replaced_entries(log) };
        let (mut entries, mut state) = self.look(action, &keys, direction, limit).await?;
        if self.begins_too_old(state) {
            self.trim(log).await?;
            (entries, state) = self.look(action, &keys, direction, limit).await?;
        }
        Ok(Page::new(entries, state.ends))
    }

    /// Reads entries, and the log's state when the first of them were read.
    async fn look(
        &self,
        action: &'static str,
        keys: &Keys,
        direction: Direction,
        limit: ReadLimit,
    ) -> Result<(Vec<Entry>, State), LogError> {
        let permit = self.reads.acquire(limit.bytes).await.map_err(unavailable(action))?;
        let count = step(limit, 0, 0, self.reads.usual_bytes(&keys.log));
        let mut commands = direction.commands(keys, count).to_vec();
        let log = [&*keys.log];
        commands.push(ENDS.on(&log).command(ScriptForm::Hash));
        let mut answers = permit.redis().ask_at_once(commands).await.map_err(unavailable(action))?;
        let state = answers.pop().unwrap_or_default();
        let state = match state {
            // Redis does not know the script yet, and knows it from now on.
            state if is_of_unknown_script(&state) => {
                let mut commands = direction.commands(keys, count).to_vec();
                commands.push(ENDS.on(&log).command(ScriptForm::Source));
                answers = permit.redis().ask_at_once(commands).await.map_err(unavailable(action))?;
                answers.pop().unwrap_or_default()
            }
            state => state,
        };
        let state = read_state(action, &keys.log, state)?;
        let (mut entries, mut bytes, mut asked) = (Vec::new(), 0_usize, count);
        let (mut place, mut looked_at) = (direction, (0, 0));
        loop {
            let found = read_step(action, keys, answers)?;
            if entries.is_empty()
                && let Some(corrected) = found.first().and_then(|first| place.corrected(first))
            {
                place = corrected;
                let again = place.commands(keys, asked).to_vec();
                answers = permit.redis().ask_all(again).await.map_err(unavailable(action))?;
                continue;
            }
            let is_all = found.len() < asked;
            for entry in found {
                looked_at = (looked_at.0 + 1, looked_at.1 + entry.payload.len());
                let fits = bytes.saturating_add(entry.payload.len()) <= limit.bytes;
                // If the log was trimmed meanwhile, the next entry is not adjacent.
                let follows = entries.last().is_none_or(|last: &Entry| last.seq.abs_diff(entry.seq) == 1);
                let is_full = entries.len() >= limit.entries;
                if is_full || !(entries.is_empty() || fits && follows) {
                    self.reads.note_sizes(&keys.log, looked_at);
                    return Ok((entries, state));
                }
                bytes = bytes.saturating_add(entry.payload.len());
                place = direction.behind(entry.seq);
                entries.push(entry);
            }
            let usual = looked_at.1 / looked_at.0.max(1);
            asked = step(limit, entries.len(), bytes, Some(usual));
            // Also ends the page if the next entry is unlikely to fit.
            if is_all || asked == 0 || bytes.saturating_add(usual) > limit.bytes {
                self.reads.note_sizes(&keys.log, looked_at);
                return Ok((entries, state));
            }
            let next = place.commands(keys, asked).to_vec();
            answers = permit.redis().ask_all(next).await.map_err(unavailable(action))?;
        }
    }

    pub(super) async fn find_id(&self, log: &LogId, seq: u64) -> Result<Option<MessageId>, LogError> {
        let found = self.look_up_id(log, seq).await?;
        if found.is_some_and(|id| id < self.cutoffs().age) {
            self.trim(log).await?;
            return self.look_up_id(log, seq).await;
        }
        Ok(found)
    }

    async fn look_up_id(&self, log: &LogId, seq: u64) -> Result<Option<MessageId>, LogError> {
        let key = self.names.log(log);
        let keys = [&*key];
        let call = ID_AT.on(&keys).arg(format!("0-{seq}"));
        let permit = self.reads.acquire(0).await.map_err(unavailable("look up an id"))?;
        let id: Option<String> = permit.redis().run(call).await.map_err(unavailable("look up an id"))?;
        let read = |id: String| id.parse().map_err(|_| malformed("log entry", &format!("{key} 0-{seq}")));
        id.map(read).transpose()
    }

    pub(super) async fn replace_entry(
        &self,
        log: &LogId,
        seq: u64,
        message_id: MessageId,
        payload: &[u8],
    ) -> Result<bool, LogError> {
        let (key, replaced) = (self.names.log(log), self.names.replaced_entries(log));
        let keys = [&*key, &*replaced];
        // No current entry lives longer than that.
        let ttl = milliseconds(self.bounds.max_age.min(MAX_TTL)).max(1);
        let call = REPLACE.on(&keys).arg(seq).arg(message_id.as_u64()).arg(payload).arg(ttl);
        self.redis.run(call).await.map_err(unavailable("replace an entry"))
    }

    pub(super) async fn find_ends(&self, logs: &[LogId]) -> Result<Vec<LogEnds>, LogError> {
        let states = self.states(logs).await?;
        let begins_too_old = |(_, state): &(&LogId, &State)| self.begins_too_old(**state);
        let too_old = logs.iter().zip(&states).filter(begins_too_old).map(|(log, _)| log);
        let too_old: Vec<&LogId> = too_old.collect();
        if too_old.is_empty() {
            return Ok(states.into_iter().map(|state| state.ends).collect());
        }
        try_join_all(too_old.into_iter().map(|log| self.trim(log))).await?;
        let states = self.states(logs).await?;
        Ok(states.into_iter().map(|state| state.ends).collect())
    }

    async fn states(&self, logs: &[LogId]) -> Result<Vec<State>, LogError> {
        const ACTION: &str = "look where logs end";
        let calls: Vec<_> = logs.iter().map(|log| (self.names.log(log), Vec::new())).collect();
        let permit = self.reads.acquire(0).await.map_err(unavailable(ACTION))?;
        let answers = permit.redis().run_each(&ENDS, &calls).await.map_err(unavailable(ACTION))?;
        let states = calls.iter().zip(answers);
        states.map(|((key, _), answer)| read_state(ACTION, key, answer)).collect()
    }

    fn begins_too_old(&self, state: State) -> bool {
        state.first_id.is_some_and(|id| id < self.cutoffs().age)
    }
}

/// Decodes a reply of [`ENDS`].
fn read_state(action: &'static str, key: &str, answer: Value) -> Result<State, LogError> {
    let values = match answer {
        Value::Array(values) => values,
        Value::ServerError(error) => return Err(unavailable(action)(redis::RedisError::from(error).into())),
        _ => return Err(malformed("log", key)),
    };
    let mut values = values.into_iter();
    let Some(last) = values.next() else { return Ok(State { ends: LogEnds::EMPTY, first_id: None }) };
    let read = || {
        let last = parse_seq(&text(last)?)?;
        let (first, first_id) = (text(values.next()?)?, text(values.next()?)?);
        if first.is_empty() {
            return Some(State { ends: LogEnds { first: last + 1, last }, first_id: None });
        }
        Some(State {
            ends: LogEnds { first: parse_seq(&first)?, last },
            first_id: Some(first_id.parse().ok()?),
        })
    };
    read().ok_or_else(|| malformed("log", key))
}

/// Decodes the replies to [`Direction::commands`].
fn read_step(action: &'static str, keys: &Keys, answers: Vec<Value>) -> Result<Vec<Entry>, LogError> {
    let [entries, replaced] = <[Value; 2]>::try_from(answers).map_err(|_| malformed("answer", &keys.log))?;
    let mut replacements: HashMap<u64, (MessageId, Bytes)> = HashMap::new();
    for member in list(action, &keys.replaced, replaced)? {
        let (seq, message_id, payload) =
            read_replacement(member).ok_or_else(|| malformed("replaced entry", &keys.replaced))?;
        replacements.insert(seq, (message_id, payload));
    }
    let mut read = Vec::new();
    for entry in list(action, &keys.log, entries)? {
        let mut entry = read_entry(&keys.log, entry)?;
        if let Some((message_id, payload)) = replacements.remove(&entry.seq)
            && message_id == entry.message_id
        {
            entry.payload = payload;
        }
        read.push(entry);
    }
    Ok(read)
}

fn list(action: &'static str, key: &str, answer: Value) -> Result<Vec<Value>, LogError> {
    match answer {
        Value::Array(values) => Ok(values),
        // When none were requested.
        Value::Nil => Ok(Vec::new()),
        Value::ServerError(error) => Err(unavailable(action)(redis::RedisError::from(error).into())),
        _ => Err(malformed("log", key)),
    }
}

fn read_entry(key: &str, entry: Value) -> Result<Entry, LogError> {
    let (id, fields): (String, Vec<Value>) =
        redis::from_redis_value(entry).map_err(|_| malformed("log entry", key))?;
    let read = || {
        // Fields added by a later version come behind.
        let mut fields = fields.into_iter().skip(1).step_by(2);
        let message_id = redis::from_redis_value(fields.next()?).ok().and_then(MessageId::from_u64)?;
        let Value::BulkString(payload) = fields.next()? else { return None };
        Some(Entry { seq: parse_seq(&id)?, message_id, payload: payload.into() })
    };
    read().ok_or_else(|| malformed("log entry", &format!("{key} {id}")))
}

/// Decodes `<seq> <message id> <payload>`.
fn read_replacement(member: Value) -> Option<(u64, MessageId, Bytes)> {
    let Value::BulkString(member) = member else { return None };
    let member = Bytes::from(member);
    let mut words = member.splitn(3, |byte| *byte == b' ');
    let mut number = || std::str::from_utf8(words.next()?).ok();
    let (seq, message_id) = (number()?.parse().ok()?, number()?.parse().ok()?);
    let payload = member.slice_ref(words.next()?);
    Some((seq, message_id, payload))
}

fn text(value: Value) -> Option<String> {
    let Value::BulkString(bytes) = value else { return None };
    String::from_utf8(bytes).ok()
}

fn malformed(what: &'static str, place: &str) -> LogError {
    LogError::Malformed { what, place: place.into() }
}

/// `KEYS`: log. Returns the stream's last id, the first entry's id, and the message id in it. The
/// last two are empty if no entry is left; the reply is empty for a log that never was. Payloads
/// are not transferred.
static ENDS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local log = KEYS[1]
if redis.call('EXISTS', log) == 0 then
  return {}
end
local info, last, first = redis.call('XINFO', 'STREAM', log), '', false
for at = 1, #info, 2 do
  if info[at] == 'last-generated-id' then
    last = info[at + 1]
  elseif info[at] == 'first-entry' then
    first = info[at + 1]
  end
end
if not first then
  return {last, '', ''}
end
return {last, first[1], first[2][2] or ''}
",
    )
});

/// `KEYS`: log. `ARGV`: the entry's id. Returns the message id in it.
static ID_AT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
return entry and entry[2][2]
",
    )
});

/// `KEYS`: log, replaced entries. `ARGV`: seq, message id, payload, lifetime of replaced entries.
/// Returns whether the entry is there.
///
/// Replaced entries are a sorted set by seq of `<seq> <message id> <payload>`. Those that the log
/// no longer has are removed with each new one.
static REPLACE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local log, replaced, seq, message, payload = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local entry = redis.call('XRANGE', log, '0-' .. seq, '0-' .. seq)[1]
if not entry or entry[2][2] ~= message then
  return 0
end
local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
redis.call('ZREMRANGEBYSCORE', replaced, '-inf', '(' .. string.sub(first[1], 3))
redis.call('ZREMRANGEBYSCORE', replaced, seq, seq)
redis.call('ZADD', replaced, seq, seq .. ' ' .. message .. ' ' .. payload)
redis.call('PEXPIRE', replaced, ARGV[4])
return 1
",
    )
});
