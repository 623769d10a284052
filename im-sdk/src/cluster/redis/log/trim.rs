//! Trims of logs in Redis.

use futures_util::future::join_all;

use super::{
    RedisLog,
    quota::{self, Bounds},
    unavailable,
};
use crate::cluster::{
    log_id::LogId,
    redis::{Commands, ScriptForm},
    traits::LogError,
};

impl RedisLog {
    /// Trims a log for a reader: removes entries that are too old, and of those beyond the bounds
    /// the ones that may be evicted. Only an append may evict more.
    pub(super) async fn trim(&self, log: &LogId) -> Result<(), LogError> {
        self.trim_for(log, true).await
    }

    async fn trim_for(&self, log: &LogId, for_foreign: bool) -> Result<(), LogError> {
        let keys = self.trim_keys(log);
        let keys = keys.each_ref().map(String::as_str);
        let bounds = Bounds::of_trim(log, for_foreign, &self.bounds, self.cutoffs());
        let call = bounds.words().into_iter().fold(quota::TRIM.on(&keys), |call, word| call.arg(word));
        self.redis.run::<u64>(call).await.map(drop).map_err(unavailable("trim a log"))
    }

    /// Trims logs for appends, each by a foreign writer or not, in the same pipeline if possible.
    /// If it fails, the next append or read trims.
    pub(super) async fn trim_beside(&self, logs: &[(&LogId, bool)]) {
        let Some(pipelined) = self.path.pipelined() else {
            join_all(logs.iter().map(|&(log, for_foreign)| self.trim_for(log, for_foreign))).await;
            return;
        };
        let [verb, script] = quota::TRIM.words(ScriptForm::Hash);
        let mut commands = Commands::default();
        for &(log, for_foreign) in logs {
            let keys = self.trim_keys(log);
            let bounds = Bounds::of_trim(log, for_foreign, &self.bounds, self.cutoffs());
            let mut words = vec![verb, script, b"3"];
            words.extend(keys.iter().map(String::as_bytes));
            words.extend(bounds.words());
            commands.add(&words);
        }
        let answered = pipelined.send(commands).await;
        let Ok((answers, _)) = answered else { return };
        // Redis may not know the script yet, for example.
        let failed = logs.iter().zip(answers.iter()).filter(|(_, answer)| answer.is_error());
        join_all(failed.map(|(&(log, for_foreign), _)| self.trim_for(log, for_foreign))).await;
    }

    fn trim_keys(&self, log: &LogId) -> [String; 3] {
        [self.names.log(log), self.names.log_writers(log), quota::acks_key(&self.names, log)]
    }
}
