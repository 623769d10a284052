//! Acknowledgements: plain commands, so that the many that come at once go out together.

use std::{collections::BTreeSet, sync::LazyLock};

use async_trait::async_trait;
use redis::Cmd;

use super::{
    AckQuestion, AckStore, DeviceAck, LogError, MAX_ACKED_SEQ, MAX_ACKS_PER_USER, MAX_TTL, RedisLog,
    read::unavailable,
};
use crate::{
    cluster::{
        log::{
            acks::{device_of, member},
            entry::{milliseconds, unix_ms},
        },
        redis::Script,
    },
    id::{Device, UserId},
};

const NOTE: &str = "note what devices acknowledged";

/// How many commands note one acknowledgement.
const COMMANDS: usize = 4;

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
        let commands = noted.iter().flat_map(|ack| self.note(ack, now)).collect();
        let answers: Vec<i64> = self.redis.query_all(commands).await.map_err(unavailable(NOTE))?;
        let answers = answers.as_chunks::<COMMANDS>().0;
        let is_new = |(_, answer): &(_, &[i64; COMMANDS])| answer[1] > 0;
        let grown = noted.iter().zip(answers).filter(is_new).map(|(ack, _)| &ack.user);
        self.forget_oldest(&grown.collect()).await?;
        let mut forward = answers.iter().map(|answer| answer[0] > 0);
        Ok(acks.iter().map(|ack| countable(&ack) && forward.next().unwrap_or_default()).collect())
    }

    async fn acked(&self, questions: &[AckQuestion]) -> Result<Vec<Vec<(Device, u64)>>, LogError> {
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
        let lowered = self.redis.query_all::<i64>(vec![command]).await;
        lowered.map(drop).map_err(unavailable("lower what a device acknowledged"))
    }
}

impl RedisLog {
    fn note(&self, ack: &DeviceAck, now: u64) -> [Cmd; COMMANDS] {
        let keys = [self.names.acks(&ack.user), self.names.ack_times(&ack.user)];
        let member = member(&ack.device, &ack.log);
        let (mut seq, mut time) = (redis::cmd("ZADD"), redis::cmd("ZADD"));
        seq.arg(&keys[0]).arg("GT").arg("CH").arg(ack.seq).arg(&member);
        time.arg(&keys[1]).arg(now).arg(&member);
        let ttl = milliseconds(self.bounds.max_age.min(MAX_TTL)).max(1);
        let [expire, expire_times] = keys.map(|key| {
            let mut command = redis::cmd("PEXPIRE");
            command.arg(key).arg(ttl);
            command
        });
        [seq, time, expire, expire_times]
    }

    /// Of users who have got more.
    async fn forget_oldest(&self, users: &BTreeSet<&UserId>) -> Result<(), LogError> {
        for user in users {
            let keys = [&*self.names.ack_times(user), &*self.names.acks(user)];
            let call = FORGET_OLDEST.on(&keys).arg(MAX_ACKS_PER_USER);
            self.redis.run::<i64>(call).await.map_err(unavailable(NOTE))?;
        }
        Ok(())
    }
}

/// What another program wrote there is passed over.
fn read((member, seq): &Scored, log: &str) -> Option<(Device, u64)> {
    let device = device_of(std::str::from_utf8(member).ok()?, log)?;
    Some((device, *seq as u64))
}

/// `KEYS`: times, acknowledgements. `ARGV`: how many may stay. Answers how many went.
static FORGET_OLDEST: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local surplus = redis.call('ZCARD', KEYS[1]) - ARGV[1]
if surplus <= 0 then
  return 0
end
local oldest = redis.call('ZPOPMIN', KEYS[1], surplus)
for i = 1, #oldest, 2 do
  redis.call('ZREM', KEYS[2], oldest[i])
end
return surplus
",
    )
});
