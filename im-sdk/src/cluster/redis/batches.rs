//! A connection on which what many ask at the same time goes out together.
//!
//! One task takes what is queued, writes it as one pipeline, reads and divides the answers: natural batching, without a delay
//! while little is asked. It does so on a socket of its own, since with the client library's connection every request crosses
//! another task twice, and its answers are taken apart by a general parser, value by value.
//!
//! A next connection is made only when nothing is under way on the last one any more. So whoever has an answer has it from
//! the newest connection, and what Redis said before that answer (that values have changed which a [`Watcher`] keeps) was
//! heard before it.
//!
//! A connection is replaced when it breaks, when it has said nothing for `request_timeout` although something was asked,
//! and when an answer says that this is the wrong node, such as a master that has become a replica. The address is looked
//! up anew then, and whoever is there must be a master; otherwise the next of the configured addresses is tried. So
//! requests work again at most twice `request_timeout` and a second after an address leads to the master.

mod connection;
mod opener;
mod pipelines;
mod task;

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use self::{opener::Opener, task::Task};
use super::{Answers, Commands, Place, RequestError, SendError};
use crate::cluster::config::ClusterConfig;

/// Requests that wait for their turn; further ones wait to be let in. Redis is through with as many in 0.2 s.
const WAITING_REQUESTS: usize = 16_384;

/// Keeps values that were read, and is told when they have changed.
pub(crate) trait Watcher: Send + Sync + 'static {
    /// What is at this key has changed, or may have.
    fn changed(&self, key: &[u8]);

    /// Everything may have changed.
    fn all_changed(&self);

    /// Nothing is kept.
    fn is_empty(&self) -> bool;
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The answers to its commands.
    pub(crate) answers: Answers,
    /// How many replicas have what was written on this connection; 0 where nobody waits for them.
    pub(crate) replicas: redis::RedisResult<usize>,
}

/// Commands, and where their answers go.
struct Ask {
    commands: Commands,
    since: Instant,
    answer: oneshot::Sender<Result<Answered, SendError>>,
}

/// See the module's description. Cloning is cheap; the task ends when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Batches {
    queue: mpsc::Sender<Ask>,
    shared: Arc<Shared>,
}

/// What one connection is for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Purpose {
    /// How many replicas are to have what a pipeline wrote; 0: nobody waits for them. Otherwise each pipeline ends with
    /// `WAIT`, and the next one is sent when it has been answered.
    pub(crate) replicas: usize,
    /// Whether Redis is to say when something that was read has changed.
    pub(crate) tracks: bool,
    /// Shared by all connections to the same Redis.
    pub(crate) moves: Moves,
}

/// How often a node turned out to be the wrong one. What one connection notices, all others to the same Redis heed: those
/// that only read would never be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moves(Arc<MovesState>);

#[derive(Debug, Default)]
struct MovesState {
    count: AtomicU64,
    logged_at: Mutex<Option<Instant>>,
}

/// How often it is logged that a node is the wrong one.
const MOVES_LOG_INTERVAL: Duration = Duration::from_secs(10);

impl Moves {
    fn count(&self) -> u64 {
        self.0.count.load(Ordering::Acquire)
    }

    /// Many notice the same one: it counts once.
    fn note_after(&self, count: u64, place: &Place) {
        if self.0.count.compare_exchange(count, count + 1, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        let mut logged_at = self.0.logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        if logged_at.is_none_or(|logged_at| logged_at.elapsed() >= MOVES_LOG_INTERVAL) {
            *logged_at = Some(Instant::now());
            tracing::warn!(redis = %place, "this Redis does not work as a master any more: connecting anew");
        }
    }
}

/// What the task, its connection and those who ask share.
struct Shared {
    /// For what is said when something fails.
    place: Place,
    /// How long a request may take in all.
    limit: Duration,
    purpose: Purpose,
    /// Whether Redis says when something that was read has changed.
    tells: AtomicBool,
    watcher: OnceLock<Arc<dyn Watcher>>,
}

impl Batches {
    /// Connects to the first address, from `address` on, at which a master answers.
    pub(crate) async fn connect(
        config: &ClusterConfig,
        address: usize,
        purpose: Purpose,
    ) -> redis::RedisResult<Self> {
        let (queue, asked) = mpsc::channel(WAITING_REQUESTS);
        let (tells, watcher) = (AtomicBool::new(false), OnceLock::new());
        let (place, limit) = (Place::any(config), config.request_timeout);
        let shared = Arc::new(Shared { place, limit, purpose, tells, watcher });
        let opener = Opener::new(config.clone(), address, Arc::clone(&shared));
        let task = Task::connect(opener, Arc::clone(&shared)).await?;
        // It ends with the queue: when the last handle is dropped.
        tokio::spawn(task.run(asked));
        Ok(Self { queue, shared })
    }

    /// Who is told of changes: to values that were read behind `CLIENT CACHING YES` while [`Batches::tells_changes`]. False:
    /// somebody else is.
    pub(crate) fn watch(&self, watcher: Arc<dyn Watcher>) -> bool {
        self.shared.watcher.set(watcher).is_ok()
    }

    /// Whether Redis says when something that was read has changed.
    pub(crate) fn tells_changes(&self) -> bool {
        self.shared.tells.load(Ordering::Acquire)
    }

    /// Sends commands one behind the other, with nothing in between.
    pub(crate) async fn send(&self, commands: Commands) -> Result<Answered, SendError> {
        if commands.count() == 0 {
            return Ok(Answered { answers: Answers::default(), replicas: Ok(0) });
        }
        let (answer, answered) = oneshot::channel();
        let since = Instant::now();
        // Nearly always there is room, and then there is no need for a timer.
        if let Err(full) = self.queue.try_send(Ask { commands, since, answer }) {
            let waiting = self.queue.send(full.into_inner());
            let late = |_| not_done(self.shared.place.busy());
            timeout_at(since + self.shared.limit, waiting).await.map_err(late)?.map_err(|_| ended())?;
        }
        answered.await.map_err(|_| ended())?
    }
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Batches").finish_non_exhaustive()
    }
}

impl Shared {
    fn all_changed(&self) {
        if let Some(watcher) = self.watcher.get() {
            watcher.all_changed();
        }
    }

    /// How long a request may wait to be sent.
    fn patience(&self) -> Duration {
        // `WAIT` needs time of its own.
        if self.purpose.replicas > 0 { self.limit / 2 } else { self.limit }
    }

    fn keeps(&self) -> bool {
        self.watcher.get().is_some_and(|watcher| !watcher.is_empty())
    }
}

fn not_done(error: impl Into<RequestError>) -> SendError {
    SendError::NotDone(error.into())
}

fn ended() -> SendError {
    SendError::Unknown("the connection's task has ended".into())
}

#[cfg(test)]
mod tests;
