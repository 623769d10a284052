//! Acknowledgements in Redis. Concurrent ones are sent in one pipeline. A full Redis still accepts
//! them: they are bounded, and logs may trim what is acknowledged.

use std::sync::LazyLock;

use async_trait::async_trait;
use redis::Cmd;

use super::{MAX_TTL, RedisLog, quota::inbox_member, unavailable};
use crate::{
    cluster::{
        log_id::LogId,
        redis::{Script, ScriptForm, is_of_unknown_script},
        time::{milliseconds, unix_ms},
        traits::{
            AckQuery, AckStore, DeviceAck, LogError, MAX_ACKED_SEQ, MAX_ACKS_PER_USER,
            acks::{device_of, member},
        },
    },
    id::Device,
};

const NOTE: &str = "note what devices acknowledged";

/// A member and its score.
type Scored = (Vec<u8>, f64);

#[async_trait]
impl AckStore for RedisLog {
    async fn note_acks(&self, acks: &[DeviceAck]) -> Result<Vec<bool>, LogError> {
        let countable = |ack: &&DeviceAck| ack.seq <= MAX_ACKED_SEQ;
        let noted: Vec<&DeviceAck> = acks.iter().filter(countable).collect();
        if noted.is_empty() {
            return Ok(vec![false; acks.len()]);
        }
        let now = unix_ms();
        let commands = noted.iter().map(|ack| self.note(ack, now, ScriptForm::Hash)).collect();
        let mut answers = self.redis.ask_all(commands).await.map_err(unavailable(NOTE))?;
        let unknown = || noted.iter().zip(&answers).filter(|(_, answer)| is_of_unknown_script(answer));
        let again: Vec<Cmd> = unknown().map(|(ack, _)| self.note(ack, now, ScriptForm::Source)).collect();
        if !again.is_empty() {
            let again = self.redis.ask_all(again).await.map_err(unavailable(NOTE))?;
            let unknown = answers.iter_mut().filter(|answer| is_of_unknown_script(answer));
            unknown.zip(again).for_each(|(answer, again)| *answer = again);
        }
        let answers = answers.into_iter().map(redis::from_redis_value::<i64>).collect::<Result<Vec<_>, _>>();
        let failed = |error| {
            unavailable(NOTE)(self.redis.address().with_address(redis::RedisError::from(error).into()))
        };
        let mut forward = answers.map_err(failed)?.into_iter().map(|forward| forward > 0);
        Ok(acks.iter().map(|ack| countable(&ack) && forward.next().unwrap_or_default()).collect())
    }

    async fn acked(&self, questions: &[AckQuery]) -> Result<Vec<Vec<(Device, u64)>>, LogError> {
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        let commands = questions.iter().map(|question| {
            let mut command = redis::cmd("ZRANGEBYSCORE");
            command.arg(self.names.acks(&question.user)).arg(question.seq).arg("+inf").arg("WITHSCORES");
            command
        });
        let found = self.redis.query_all(commands.collect()).await;
        let found: Vec<Vec<Scored>> = found.map_err(unavailable("ask what devices acknowledged"))?;
        let devices = questions.iter().zip(found).map(|(question, found)| {
            let log = question.log.to_string();
            found.iter().filter_map(|scored| read(scored, &log)).collect()
        });
        Ok(devices.collect())
    }

    async fn lower_ack(&self, ack: &DeviceAck) -> Result<(), LogError> {
        let mut command = redis::cmd("ZADD");
        command.arg(self.names.acks(&ack.user)).arg("XX").arg("LT").arg(ack.seq);
        command.arg(member(&ack.device, &ack.log));
        if ack.is_of_own_inbox() {
            command.arg(ack.seq).arg(inbox_member(&ack.log));
        }
        let lowered = self.redis.query_all::<i64>(vec![command]).await;
        lowered.map(drop).map_err(unavailable("lower what a device acknowledged"))
    }
}

impl RedisLog {
    fn note(&self, ack: &DeviceAck, now: u64, form: ScriptForm) -> Cmd {
        let mut command = NOTE_ACK.command(form);
        let keys = [self.names.acks(&ack.user), self.names.ack_times(&ack.user)];
        let inbox = LogId::Inbox(ack.user.clone());
        command.arg(3).arg(&keys).arg(self.names.log(&inbox)).arg(ack.seq).arg(member(&ack.device, &ack.log));
        let own = if ack.is_of_own_inbox() { inbox_member(&ack.log) } else { String::new() };
        let ttl = milliseconds(self.bounds.max_age.min(MAX_TTL)).max(1);
        command.arg(now).arg(ttl).arg(MAX_ACKS_PER_USER).arg(own);
        command
    }
}

/// Parses an entry, or returns `None` if another program wrote it.
fn read((member, seq): &Scored, log: &str) -> Option<(Device, u64)> {
    let device = device_of(std::str::from_utf8(member).ok()?, log)?;
    Some((device, *seq as u64))
}

/// `KEYS`: acknowledgements, times, the user's inbox. `ARGV`: seq, member, now, lifetime, the
/// maximum number, and for the user's own inbox its own member (see [`inbox_member`]). Returns
/// whether the device advanced.
///
/// A user who acknowledges exists, so the user's inbox is made permanent.
static NOTE_ACK: LazyLock<Script> = LazyLock::new(|| {
    Script::also_when_full(
        r"
local acks, times, inbox = KEYS[1], KEYS[2], KEYS[3]
local forward = redis.call('ZADD', acks, 'GT', 'CH', ARGV[1], ARGV[2])
if redis.call('ZADD', times, ARGV[3], ARGV[2]) > 0 then
  local surplus = redis.call('ZCARD', times) - ARGV[5]
  if surplus > 0 then
    local oldest = redis.call('ZPOPMIN', times, surplus)
    for i = 1, #oldest, 2 do
      redis.call('ZREM', acks, oldest[i])
    end
  end
end
if ARGV[6] ~= '' then
  redis.call('ZADD', acks, 'GT', ARGV[1], ARGV[6])
  redis.call('PERSIST', inbox)
end
redis.call('PEXPIRE', acks, ARGV[4])
redis.call('PEXPIRE', times, ARGV[4])
return forward
",
    )
});
