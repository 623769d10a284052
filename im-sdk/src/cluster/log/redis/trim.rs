//! Trimming.

use futures_util::future::join_all;

use super::{
    LogError, LogId, RedisLog,
    read::unavailable,
    room::{self, Bounds},
};
use crate::cluster::redis::{Commands, Sent};

impl RedisLog {
    /// Removes what is too old from the beginning of a log, and of what is beyond the bounds what may go, for who reads it: only who
    /// appends may push out more.
    pub(super) async fn trim(&self, log: &LogId) -> Result<(), LogError> {
        self.trim_for(log, true).await
    }

    async fn trim_for(&self, log: &LogId, for_stranger: bool) -> Result<(), LogError> {
        let keys = self.trim_keys(log);
        let keys = keys.each_ref().map(String::as_str);
        let bounds = Bounds::of_trim(log, for_stranger, &self.bounds, self.cutoffs());
        let call = bounds.words().into_iter().fold(room::TRIM.on(&keys), |call, word| call.arg(word));
        self.redis.run::<u64>(call).await.map(drop).map_err(unavailable("trim a log"))
    }

    /// The same for who appends, a stranger or not, in the same pipeline where that can be. Who appends or reads next trims otherwise.
    pub(super) async fn trim_beside(&self, logs: &[(&LogId, bool)]) {
        let Some(together) = self.way.together() else {
            join_all(logs.iter().map(|&(log, for_stranger)| self.trim_for(log, for_stranger))).await;
            return;
        };
        let [verb, script] = room::TRIM.words(Sent::AsHash);
        let mut commands = Commands::default();
        for &(log, for_stranger) in logs {
            let keys = self.trim_keys(log);
            let bounds = Bounds::of_trim(log, for_stranger, &self.bounds, self.cutoffs());
            let mut words = vec![verb, script, b"3"];
            words.extend(keys.iter().map(String::as_bytes));
            words.extend(bounds.words());
            commands.add(&words);
        }
        let answered = together.send(commands).await;
        let Ok((answers, _)) = answered else { return };
        // Such as for a script that Redis does not know yet.
        let failed = logs.iter().zip(answers.iter()).filter(|(_, answer)| answer.is_error());
        join_all(failed.map(|(&(log, for_stranger), _)| self.trim_for(log, for_stranger))).await;
    }

    fn trim_keys(&self, log: &LogId) -> [String; 3] {
        [self.names.log(log), self.names.log_writers(log), room::acks_key(&self.names, log)]
    }
}
