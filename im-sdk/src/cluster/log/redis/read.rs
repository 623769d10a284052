//! Reading.

use std::sync::LazyLock;

use futures_util::future::try_join_all;
use redis::{Cmd, Value};

use super::{Cause, Ends, LogError, LogId, Page, RedisLog, append::parse_seq};
use crate::{
    cluster::{
        log::Entry,
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

impl RedisLog {
    pub(super) fn range_after(&self, log: &LogId, after: u64, limit: usize) -> Cmd {
        let from = format!("0-{}", after.saturating_add(1));
        range("XRANGE", &self.names.log(log), &from, "+", limit)
    }

    pub(super) fn range_before(&self, log: &LogId, before: Option<u64>, limit: usize) -> Cmd {
        // A stream has no id `0-0`.
        let to = before.map_or_else(|| "+".into(), |before| format!("0-{}", before.saturating_sub(1)));
        range("XREVRANGE", &self.names.log(log), &to, "-", limit)
    }

    pub(super) async fn page(&self, action: &'static str, log: &LogId, range: Cmd) -> Result<Page, LogError> {
        let (mut entries, mut state) = self.look(action, log, &range).await?;
        if self.begins_too_old(state) {
            self.trim(log).await?;
            (entries, state) = self.look(action, log, &range).await?;
        }
        Ok(Page::new(entries, state.ends))
    }

    /// Entries and the log's state at the same moment.
    async fn look(
        &self,
        action: &'static str,
        log: &LogId,
        range: &Cmd,
    ) -> Result<(Vec<Entry>, State), LogError> {
        let key = self.names.log(log);
        let answers = self.redis.ask_at_once(vec![range.clone(), info(&key)]).await;
        let answers = answers.map_err(unavailable(action))?;
        let [entries, state] = <[Value; 2]>::try_from(answers).map_err(|_| malformed("answer", &key))?;
        Ok((read_entries(action, &key, entries)?, read_state(action, &key, state)?))
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
        const ACTION: &str = "look up an id";
        let (key, id) = (self.names.log(log), format!("0-{seq}"));
        let answers = self.redis.ask_all(vec![range("XRANGE", &key, &id, &id, 1)]).await;
        let mut answers = answers.map_err(unavailable(ACTION))?;
        let entries = read_entries(ACTION, &key, answers.pop().unwrap_or_default())?;
        Ok(entries.first().map(|entry| entry.message_id))
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
        if logs.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = logs.iter().map(|log| self.names.log(log)).collect();
        let answers = self.redis.ask_all(keys.iter().map(|key| info(key)).collect()).await;
        let answers = answers.map_err(unavailable(ACTION))?;
        keys.iter().zip(answers).map(|(key, answer)| read_state(ACTION, key, answer)).collect()
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

fn range(verb: &str, key: &str, from: &str, to: &str, limit: usize) -> Cmd {
    let mut command = redis::cmd(verb);
    command.arg(key).arg(from).arg(to).arg("COUNT").arg(limit.min(i64::MAX as usize));
    command
}

fn info(key: &str) -> Cmd {
    let mut command = redis::cmd("XINFO");
    command.arg("STREAM").arg(key);
    command
}

fn read_entries(action: &'static str, key: &str, answer: Value) -> Result<Vec<Entry>, LogError> {
    match answer {
        Value::Array(entries) => entries.into_iter().map(|entry| read_entry(key, entry)).collect(),
        // When none were wanted.
        Value::Nil => Ok(Vec::new()),
        Value::ServerError(error) => Err(unavailable(action)(redis::RedisError::from(error).into())),
        _ => Err(malformed("log", key)),
    }
}

fn read_entry(key: &str, entry: Value) -> Result<Entry, LogError> {
    let (id, fields): (String, Vec<Value>) =
        redis::from_redis_value(entry).map_err(|_| malformed("log entry", key))?;
    let read = || {
        // What a later version adds comes behind.
        let mut fields = fields.into_iter().skip(1).step_by(2);
        let message_id = redis::from_redis_value(fields.next()?).ok().and_then(MessageId::from_u64)?;
        let Value::BulkString(payload) = fields.next()? else {
            return None;
        };
        Some(Entry { seq: parse_seq(&id)?, message_id, payload: payload.into() })
    };
    read().ok_or_else(|| malformed("log entry", &format!("{key} {id}")))
}

fn read_state(action: &'static str, key: &str, answer: Value) -> Result<State, LogError> {
    let empty = State { ends: Ends::EMPTY, first_id: None };
    let fields = match answer {
        Value::ServerError(error) if error.details() == Some("no such key") => return Ok(empty),
        Value::ServerError(error) => {
            return Err(unavailable(action)(redis::RedisError::from(error).into()));
        }
        answer => answer.into_map_iter().map_err(|_| malformed("log", key))?,
    };
    let (mut last, mut first) = (None, None);
    for (name, value) in fields {
        match &*redis::from_redis_value::<String>(name).unwrap_or_default() {
            "last-generated-id" => last = redis::from_redis_value::<String>(value).ok(),
            "first-entry" if value != Value::Nil => first = Some(read_entry(key, value)?),
            _ => {}
        }
    }
    let last = last.as_deref().and_then(parse_seq).ok_or_else(|| malformed("log", key))?;
    let first_seq = first.as_ref().map_or(last + 1, |entry| entry.seq);
    let first_id = first.map(|entry| entry.message_id);
    Ok(State { ends: Ends { first: first_seq, last }, first_id })
}

fn malformed(what: &'static str, place: &str) -> LogError {
    LogError::Malformed { what, place: place.into() }
}

pub(super) fn unavailable(action: &'static str) -> impl FnOnce(RequestError) -> LogError {
    move |source| LogError::Unavailable { action, source: Cause::from(source) }
}

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
