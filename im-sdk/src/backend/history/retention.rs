//! The age limits of messages in the message store, and the task that enforces them.

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

/// The number of entries in one deletion, which takes a fraction of a second.
const BATCH: usize = 1000;

/// The number of logs in one read.
const LOGS: usize = 256;

/// The shortest time between two rounds.
const MIN_PERIOD: Duration = Duration::from_millis(10);

/// Age limits of messages, by the logs that they are in. Messages without a rule are kept forever.
///
/// ```
/// use std::time::Duration;
///
/// use im_sdk::backend::Retention;
/// const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// let rules = Retention::new().inboxes(365 * DAY).channels(90 * DAY).channels_with_prefix("room:", DAY);
/// ```
///
/// The age of a message is taken from its id, by the cluster's clock ([`Clock`]). A process whose own clock differs by more than
/// 5 s deletes nothing. The rules apply to the message store alone: a log has bounds of its own,
/// [`LogBounds`](crate::cluster::LogBounds), and shows all its entries, however old. To hide older messages there as well, set
/// its `max_age` no higher than the lowest age here.
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
    /// Creates rules that keep everything forever.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the age limit of messages to users. Each user has a copy, and all copies have the same
    /// age.
    #[must_use]
    pub fn inboxes(self, age: Duration) -> Self {
        Self { inboxes: Some(age), ..self }
    }

    /// Sets the age limit of messages to channels.
    #[must_use]
    pub fn channels(self, age: Duration) -> Self {
        Self { channels: Some(age), ..self }
    }

    /// Sets the age limit of channels whose ids begin with a prefix. The longest prefix counts.
    #[must_use]
    pub fn channels_with_prefix(mut self, prefix: impl Into<String>, age: Duration) -> Self {
        self.prefixes.push((prefix.into(), age));
        self
    }

    /// Sets a function that is called before all other rules, which apply if it returns `None`.
    #[must_use]
    pub fn by(self, rule: impl Fn(&LogId) -> Option<Duration> + Send + Sync + 'static) -> Self {
        Self { function: Some(Arc::new(rule)), ..self }
    }

    /// Returns the age limit of a log, or `None` if its messages are kept forever.
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

/// There is no message store to delete from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the backend has no message store: set ImBuilder::message_store")]
pub struct NoMessageStore;

/// Deletes messages that are older than the rules allow. Made by
/// [`Im::retention`](crate::backend::Im::retention).
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

    /// Starts a task that goes through the store in intervals of `period`, at least 10 ms, until
    /// the handle is dropped or shut down, or the [`Im`](crate::backend::Im) ends.
    pub fn start(self, period: Duration) -> CleanerHandle {
        let (deleted, stop) = (self.deleted.clone(), self.stop.clone());
        let task = tokio::spawn(self.run(period.max(MIN_PERIOD)));
        CleanerHandle { deleted, task, stop: stop.drop_guard() }
    }

    /// Goes through the store once. Returns the number of deleted entries.
    ///
    /// # Errors
    /// [`MessageStoreError`]: some are deleted; the next time does the rest.
    pub async fn run_once(&self) -> Result<u64, MessageStoreError> {
        // Without an answer the time stays unknown.
        let _ = self.clock.read().await;
        if self.clock.expiry_ms().is_none() {
            tracing::debug!("no message is deleted by age while a clock is wrong or the time is unknown");
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
        // Read after the rule, which may depend on the time itself, and for each log, since a round
        // may take long.
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

/// A running [`Cleaner`]. It ends after its current batch when it is dropped.
#[derive(Debug)]
#[must_use = "dropping the handle stops it"]
pub struct CleanerHandle {
    deleted: Arc<AtomicU64>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl CleanerHandle {
    /// Returns the number of deleted entries.
    pub fn deleted(&self) -> u64 {
        self.deleted.load(Ordering::Relaxed)
    }

    /// Ends the task after its current batch.
    pub async fn shutdown(self) {
        drop(self.stop);
        // The next round, in any backend, does what a torn down task has left.
        _ = self.task.await;
    }
}

/// Returns the lowest id that is young enough.
fn first_kept(now_ms: u64, age: Duration) -> MessageId {
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    MessageId::first_at(now_ms.saturating_sub(age_ms))
}

#[cfg(test)]
mod tests;
