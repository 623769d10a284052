//! Reading.

use std::sync::LazyLock;

use futures_util::future::try_join_all;
use redis::Value;

use super::{Cause, Ends, LogError, LogId, MAX_TTL, Page, ReadLimit, RedisLog, append::parse_seq};
use crate::{
    cluster::{
        log::{Entry, entry::milliseconds},
        redis::{Answer, Commands, Decimal, RequestError, Script, Sent},
    },
    id::MessageId,
};

/// A log at one moment.
#[derive(Clone, Copy)]
struct State {
    ends: Ends,
    /// The id of the message at its beginning.
    first_id: Option<MessageId>,
}

/// The entries that a page begins with, and its direction.
pub(super) enum Direction {
    After(u64),
    Before(Option<u64>),
}

impl Direction {
    /// A command of Redis for a range, the range's beginning and its end.
    fn range(&self) -> [String; 3] {
        match self {
            Self::After(after) => ["XRANGE".into(), format!("0-{}", after.saturating_add(1)), "+".into()],
            // A stream has no id `0-0`.
            Self::Before(before) => {
                let from =
                    before.map_or_else(|| "+".into(), |before| format!("0-{}", before.saturating_sub(1)));
                ["XREVRANGE".into(), from, "-".into()]
            }
        }
    }
}

impl RedisLog {
    pub(super) async fn page(
        &self,
        action: &'static str,
        log: &LogId,
        direction: Direction,
        limit: ReadLimit,
    ) -> Result<Page, LogError> {
        let (mut entries, mut state) = self.look(action, log, &direction, limit).await?;
        if self.begins_too_old(state) {
            self.trim(log).await?;
            (entries, state) = self.look(action, log, &direction, limit).await?;
        }
        Ok(Page::new(entries, state.ends))
    }

    /// Entries and the log's state at the same moment.
    async fn look(
        &self,
        action: &'static str,
        log: &LogId,
        direction: &Direction,
        limit: ReadLimit,
    ) -> Result<(Vec<Entry>, State), LogError> {
        let (key, replaced) = (self.names.log(log), self.names.replaced_entries(log));
        let keys = [&*key, &*replaced];
        let [command, from, to] = direction.range();
        let (entries, bytes) = (limit.entries.min(i64::MAX as usize), limit.bytes.min(i64::MAX as usize));
        let call = PAGE.on(&keys).arg(command).arg(from).arg(to).arg(entries).arg(bytes);
        let answer: Vec<Value> = self.reads.run(bytes, call).await.map_err(unavailable(action))?;
        let mut values = answer.into_iter();
        let state = read_state(&key, &mut values)?;
        let mut entries = Vec::with_capacity(values.len() / WORDS_PER_ENTRY);
        while values.len() > 0 {
            entries.push(read_entry(&key, &mut values)?);
        }
        Ok((entries, state))
    }

    pub(super) async fn find_id(&self, log: &LogId, seq: u64) -> Result<Option<MessageId>, LogError> {
        let found = self.look_up_id(log, seq).await?;
        if found.is_some_and(|id| id < self.bounds.oldest_id()) {
            self.trim(log).await?;
            return self.look_up_id(log, seq).await;
        }
        Ok(found)
    }

    async fn look_up_id(&self, log: &LogId, seq: u64) -> Result<Option<MessageId>, LogError> {
        let key = self.names.log(log);
        let keys = [&*key];
        let call = ID_AT.on(&keys).arg(format!("0-{seq}"));
        let id: Option<String> = self.reads.run(0, call).await.map_err(unavailable("look up an id"))?;
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
        // No entry that is there now is there for longer.
        let ttl = milliseconds(self.bounds.max_age.min(MAX_TTL)).max(1);
        let call = REPLACE.on(&keys).arg(seq).arg(message_id.as_u64()).arg(payload).arg(ttl);
        self.redis.run(call).await.map_err(unavailable("replace an entry"))
    }

    pub(super) async fn find_ends(&self, logs: &[LogId]) -> Result<Vec<Ends>, LogError> {
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
        let answers: Vec<Vec<Value>> =
            self.reads.run_each(&ENDS, &calls).await.map_err(unavailable(ACTION))?;
        let states = calls.iter().zip(answers);
        states.map(|((key, _), answer)| read_state(key, &mut answer.into_iter())).collect()
    }

    fn begins_too_old(&self, state: State) -> bool {
        state.first_id.is_some_and(|id| id < self.bounds.oldest_id())
    }

    /// Removes what is too old from the beginning of a log.
    pub(super) async fn trim(&self, log: &LogId) -> Result<(), LogError> {
        let key = self.names.log(log);
        let trimmed = self.redis.run(TRIM.on(&[&key]).arg(self.bounds.oldest_id().as_u64())).await;
        trimmed.map_err(unavailable("trim a log"))
    }

    /// The same for who appends, in the same pipeline where that can be. The next reader trims otherwise, or says why not.
    pub(super) async fn trim_beside(&self, log: &LogId) {
        let Some(together) = self.way.together() else {
            let _ = self.trim(log).await;
            return;
        };
        let ([verb, script], key) = (TRIM.words(Sent::AsHash), self.names.log(log));
        let mut commands = Commands::default();
        let oldest = Decimal::new(self.bounds.oldest_id().as_u64());
        commands.add(&[verb, script, b"1", key.as_bytes(), oldest.as_bytes()]);
        if let Ok((answers, _)) = together.send(commands).await
            && answers.iter().any(Answer::is_error)
        {
            // Such as for a script that Redis does not know yet.
            let _ = self.trim(log).await;
        }
    }
}

/// Reads how a log begins and ends, as [`PAGE`] and [`ENDS`] say it.
fn read_state(key: &str, values: &mut impl Iterator<Item = Value>) -> Result<State, LogError> {
    let Some(last) = values.next() else { return Ok(State { ends: Ends::EMPTY, first_id: None }) };
    let read = || {
        let last = parse_seq(&text(last)?)?;
        let (first, first_id) = (text(values.next()?)?, text(values.next()?)?);
        if first.is_empty() {
            return Some(State { ends: Ends { first: last + 1, last }, first_id: None });
        }
        Some(State { ends: Ends { first: parse_seq(&first)?, last }, first_id: Some(first_id.parse().ok()?) })
    };
    read().ok_or_else(|| malformed("log", key))
}

/// Reads an entry, as [`PAGE`] says it.
fn read_entry(key: &str, values: &mut impl Iterator<Item = Value>) -> Result<Entry, LogError> {
    let id = values.next().and_then(text).unwrap_or_default();
    let mut read = || {
        let (message_id, payload) = (text(values.next()?)?.parse().ok()?, values.next()?);
        let Value::BulkString(payload) = payload else { return None };
        Some(Entry { seq: parse_seq(&id)?, message_id, payload: payload.into() })
    };
    read().ok_or_else(|| malformed("log entry", &format!("{key} {id}")))
}

fn text(value: Value) -> Option<String> {
    let Value::BulkString(bytes) = value else { return None };
    String::from_utf8(bytes).ok()
}

fn malformed(what: &'static str, place: &str) -> LogError {
    LogError::Malformed { what, place: place.into() }
}

pub(super) fn unavailable(action: &'static str) -> impl FnOnce(RequestError) -> LogError {
    move |source| LogError::Unavailable { action, source: Cause::from(source) }
}

/// How many values [`PAGE`] says of an entry.
const WORDS_PER_ENTRY: usize = 3;

/// Answers how a log ends and begins: the stream's last id, the first entry's id, and the message id in it. The last two are
/// empty where no entry is left; the answer is empty where there never was one. Payloads stay where they are.
macro_rules! state {
    () => {
        r"
local function state(log)
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
end
"
    };
}

/// `KEYS`: log.
static ENDS: LazyLock<Script> = LazyLock::new(|| Script::new(concat!(state!(), "return state(KEYS[1])")));

/// `KEYS`: log. `ARGV`: the entry's id. Answers the message id in it.
static ID_AT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
return entry and entry[2][2]
",
    )
});

/// `KEYS`: log, replaced entries. `ARGV`: `XRANGE` or `XREVRANGE`, the range's beginning and end, the most entries, the most
/// bytes of payloads. Answers the state, then of each entry its id, the message id and the payload, at least one entry.
///
/// Entries are looked at in steps of at most 32, by the sizes so far: what does not fit is looked at in vain, and must not be
/// much whoever chose the sizes.
static PAGE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        state!(),
        r"
local log, replaced = KEYS[1], KEYS[2]
local command, from, to, left, room = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local answer = state(log)
if #answer == 0 then
  return answer
end
local is_replaced = redis.call('EXISTS', replaced) == 1

local function replacements(entries)
  local found = {}
  if not is_replaced or #entries == 0 then
    return found
  end
  local low, high = string.sub(entries[1][1], 3), string.sub(entries[#entries][1], 3)
  if command == 'XREVRANGE' then
    low, high = high, low
  end
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', replaced, low, high)) do
    local seq, message, at = string.match(member, '^(%d+) (%d+) ()')
    if seq then
      found['0-' .. seq] = {message, string.sub(member, at)}
    end
  end
  return found
end

local step, size, taken, bytes = 8, #answer, 0, 0
while left > 0 do
  local asked = math.min(step, left)
  local entries = redis.call(command, log, from, to, 'COUNT', asked)
  local found = replacements(entries)
  for _, entry in ipairs(entries) do
    local message, payload = entry[2][2], entry[2][4]
    local replacement = found[entry[1]]
    if replacement and replacement[1] == message then
      payload = replacement[2]
    end
    bytes = bytes + #(payload or '')
    if bytes > room and taken > 0 then
      return answer
    end
    answer[size + 1], answer[size + 2], answer[size + 3] = entry[1], message or '', payload or false
    size, taken = size + 3, taken + 1
  end
  if #entries < asked then
    return answer
  end
  left = left - asked
  from = '(' .. entries[asked][1]
  step = math.max(1, math.min(32, math.floor((room - bytes) * taken / math.max(bytes, 1))))
end
return answer
",
    ))
});

/// `KEYS`: log, replaced entries. `ARGV`: seq, message id, payload, how long replaced entries are kept. Answers whether the
/// entry is there. Replaced entries are a sorted set by their seqs, of `<seq> <message id> <payload>`; those that the log has
/// no more go with each new one.
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

/// `ARGV`: the lowest message id that is not too old. Looks for the first entry with such an id by halves: ids rise with
/// the seq but for what clocks differ by. They are compared as text: Lua's numbers have 53 bits, which is enough for a
/// seq.
static TRIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local log, oldest = KEYS[1], ARGV[1]
local function id_of(seq)
  return string.format('0-%.0f', seq)
end
local function is_too_old(seq)
  local entry = redis.call('XRANGE', log, id_of(seq), id_of(seq))[1]
  local id = entry and entry[2][2]
  return id and (#id < #oldest or (#id == #oldest and id < oldest))
end
local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
if not first then
  return 0
end
local old, young = tonumber(string.sub(first[1], 3)), tonumber(string.sub(last[1], 3)) + 1
if not is_too_old(old) then
  return 0
end
while young - old > 1 do
  local middle = math.floor((old + young) / 2)
  if is_too_old(middle) then
    old = middle
  else
    young = middle
  end
end
return redis.call('XTRIM', log, 'MINID', '=', id_of(young))
",
    )
});
