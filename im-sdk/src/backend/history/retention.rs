//! How long messages stay in the message store, and the task that deletes what is older.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    backend::message_store::{MessageStore, MessageStoreError},
    cluster::{Clock, LogId},
    id::MessageId,
};

/// How many entries are deleted at once: a fraction of a second of a database's time.
const BATCH: usize = 1000;

/// How many logs are looked at at once.
const LOGS: usize = 256;

/// The least time between two rounds.
const MIN_PERIOD: Duration = Duration::from_millis(10);

/// How long messages are kept, by where they are. What no rule names is kept for ever.
///
/// ```
/// use std::time::Duration;
///
/// use im_sdk::backend::Retention;
/// const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// let rules = Retention::new().inboxes(365 * DAY).channels(90 * DAY).channels_with_prefix("room:", DAY);
/// ```
///
/// An age is that of the time in a message's id, by the cluster's clock ([`Clock`]); a process whose own clock differs from that
/// by more than 5 s deletes nothing. The rules are about the message store alone: a log has bounds of its own,
/// [`LogBounds`](crate::cluster::LogBounds), and shows what it has, however old. Set its `max_age` no higher than the lowest age
/// here where nothing older may be seen.
#[derive(Clone, Default)]
#[doc(alias("delete user", "GDPR", "erase"))]
pub struct Retention {
    inboxes: Option<Duration>,
    channels: Option<Duration>,
    prefixes: Vec<(String, Duration)>,
    function: Option<Arc<Function>>,
}

type Function = dyn Fn(&LogId) -> Option<Duration> + Send + Sync;

impl Retention {
    /// Keeps everything for ever.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is sent to users: each has a copy, and all are as old.
    #[must_use]
    pub fn inboxes(self, age: Duration) -> Self {
        Self { inboxes: Some(age), ..self }
    }

    /// What is sent to channels.
    #[must_use]
    pub fn channels(self, age: Duration) -> Self {
        Self { channels: Some(age), ..self }
    }

    /// What is sent to channels whose ids begin so. The longest prefix counts.
    #[must_use]
    pub fn channels_with_prefix(mut self, prefix: impl Into<String>, age: Duration) -> Self {
        self.prefixes.push((prefix.into(), age));
        self
    }

    /// Whatever the application says of a log. It counts before all other rules; where it says nothing, they do.
    #[must_use]
    pub fn by(self, rule: impl Fn(&LogId) -> Option<Duration> + Send + Sync + 'static) -> Self {
        Self { function: Some(Arc::new(rule)), ..self }
    }

    /// How long messages in a log are kept; `None`: for ever.
    pub fn age(&self, log: &LogId) -> Option<Duration> {
        if let Some(age) = self.function.as_ref().and_then(|rule| rule(log)) {
            return Some(age);
        }
        let LogId::Channel(channel) = log else { return self.inboxes };
        let matching = self.prefixes.iter().filter(|(prefix, _)| channel.as_str().starts_with(prefix));
        let longest = matching.max_by_key(|(prefix, _)| prefix.len());
        longest.map(|(_, age)| *age).or(self.channels)
    }
}

impl fmt::Debug for Retention {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Retention")
            .field("inboxes", &self.inboxes)
            .field("channels", &self.channels)
            .field("prefixes", &self.prefixes)
            .field("function", &self.function.is_some())
            .finish()
    }
}

/// There is nothing to delete from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the back end has no message store: set ImBuilder::message_store")]
pub struct NoMessageStore;

/// Deletes what is older than the rules say. Made by [`Im::retention`].
#[derive(Debug)]
#[must_use = "nothing is deleted until it is started, or run once"]
pub struct Cleaner {
    store: Arc<dyn MessageStore>,
    rules: Retention,
    clock: Clock,
    stop: CancellationToken,
    deleted: Arc<AtomicU64>,
}

impl Cleaner {
    pub(in crate::backend) fn new(
        store: Arc<dyn MessageStore>,
        rules: Retention,
        clock: Clock,
        stop: CancellationToken,
    ) -> Self {
        Self { store, rules, clock, stop, deleted: Arc::default() }
    }

    /// Goes through the store now and then, until the handle is dropped or shut down, or the [`Im`] is. `period` is the time
    /// between two rounds, at least 10 ms.
    pub fn start(self, period: Duration) -> CleanerHandle {
        let (deleted, stop) = (self.deleted.clone(), self.stop.clone());
        let task = tokio::spawn(self.run(period.max(MIN_PERIOD)));
        CleanerHandle { deleted, task, stop: stop.drop_guard() }
    }

    /// Goes through the store once. Returns how many entries of logs it has deleted.
    ///
    /// # Errors
    /// [`MessageStoreError`]: some are deleted; the next time does the rest.
    pub async fn run_once(&self) -> Result<u64, MessageStoreError> {
        // Without an answer the time stays unknown.
        let _ = self.clock.read().await;
        if self.clock.expiry_ms().is_none() {
            tracing::debug!("no message is deleted by age while a clock is wrong, or the time not known");
            return Ok(0);
        }
        let mut deleted = 0;
        let mut after = None;
        loop {
            let logs = self.store.logs(after.as_ref(), LOGS).await?;
            let Some((last, _)) = logs.last() else { return Ok(deleted) };
            after = Some(last.clone());
            for (log, oldest) in &logs {
                deleted += self.clean(log, *oldest).await?;
            }
            if self.stop.is_cancelled() {
                return Ok(deleted);
            }
        }
    }

    async fn clean(&self, log: &LogId, oldest: MessageId) -> Result<u64, MessageStoreError> {
        let Some(age) = self.rules.age(log) else { return Ok(0) };
        // Asked behind the rule, which may know a time of its own: a long run must not delete by the time of its beginning.
        let Some(now_ms) = self.clock.expiry_ms() else { return Ok(0) };
        let before = first_kept(now_ms, age);
        let mut deleted = 0;
        while oldest < before && !self.stop.is_cancelled() {
            let count = self.store.trim(log, before, BATCH).await?;
            deleted += count as u64;
            self.deleted.fetch_add(count as u64, Ordering::Relaxed);
            if count < BATCH {
                break;
            }
        }
        Ok(deleted)
    }

    async fn run(self, period: Duration) {
        loop {
            match self.run_once().await {
                Ok(0) => {}
                Ok(entries) => tracing::info!(entries, "deleted messages that are too old"),
                Err(error) => tracing::warn!(%error, "messages that are too old could not be deleted"),
            }
            tokio::select! {
                biased; // Nothing is begun after the end.
                () = self.stop.cancelled() => return,
                () = sleep(period) => {}
            }
        }
    }
}

/// A running [`Cleaner`]. Dropping it ends it after the batch that it is at.
#[derive(Debug)]
#[must_use = "dropping the handle stops it"]
pub struct CleanerHandle {
    deleted: Arc<AtomicU64>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl CleanerHandle {
    /// How many entries of logs it has deleted.
    pub fn deleted(&self) -> u64 {
        self.deleted.load(Ordering::Relaxed)
    }

    /// Begins nothing more, finishes the batch that it is at, and ends.
    pub async fn shutdown(self) {
        drop(self.stop);
        // What is left when a task was torn down is done by the next round, anywhere.
        _ = self.task.await;
    }
}

/// The lowest id that is young enough.
fn first_kept(now_ms: u64, age: Duration) -> MessageId {
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    MessageId::first_at(now_ms.saturating_sub(age_ms))
}

#[cfg(test)]
mod tests;
