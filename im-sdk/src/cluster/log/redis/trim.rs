//! Trimming.

use futures_util::future::join_all;

use super::{
    LogError, LogId, RedisLog,
    read::unavailable,
    room::{self, Bounds},
};
use crate::cluster::redis::{Commands, Sent};

impl RedisLog {
    /// Removes what is too old, or beyond the bounds, from the beginning of a log.
    pub(super) async fn trim(&self, log: &LogId) -> Result<(), LogError> {
        let keys = self.trim_keys(log);
        let keys = keys.each_ref().map(String::as_str);
        let bounds = Bounds::new(log, None, &self.bounds, self.cutoffs());
        let call = bounds.words().into_iter().fold(room::TRIM.on(&keys), |call, word| call.arg(word));
        self.redis.run::<u64>(call).await.map(drop).map_err(unavailable("trim a log"))
    }

    /// The same for who appends, in the same pipeline where that can be. The next reader trims otherwise, or says why not.
    pub(super) async fn trim_beside(&self, logs: &[&LogId]) {
        let Some(together) = self.way.together() else {
            join_all(logs.iter().map(|log| self.trim(log))).await;
            return;
        };
        let [verb, script] = room::TRIM.words(Sent::AsHash);
        let mut commands = Commands::default();
        for log in logs {
            let keys = self.trim_keys(log);
            let bounds = Bounds::new(log, None, &self.bounds, self.cutoffs());
            let mut words = vec![verb, script, b"3"];
            words.extend(keys.iter().map(String::as_bytes));
            words.extend(bounds.words());
            commands.add(&words);
        }
        let answered = together.send(commands).await;
        let Ok((answers, _)) = answered else { return };
        // Such as for a script that Redis does not know yet.
        let failed = logs.iter().zip(answers.iter()).filter(|(_, answer)| answer.is_error());
        join_all(failed.map(|(log, _)| self.trim(log))).await;
    }

    fn trim_keys(&self, log: &LogId) -> [String; 3] {
        [self.names.log(log), self.names.log_writers(log), room::acks_key(&self.names, log)]
    }
}
