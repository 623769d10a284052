//! A connection on which what many ask at the same time goes out together.
//!
//! One task takes what is queued, writes it as one pipeline, reads and divides the answers: natural batching, without a delay
//! while little is asked. It does so on a socket of its own, since with the client library's connection every request crosses
//! another task twice, and its answers are taken apart by a general parser, value by value.
//!
//! A next connection is made only when nothing is under way on the last one any more. So whoever has an answer has it from
//! the newest connection, and what Redis said before that answer (that values have changed which a [`Watcher`] keeps) was
//! heard before it.

mod connection;
mod pipelines;
mod task;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use self::{connection::Connection, task::Task};
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

/// What the task, its connection and those who ask share.
struct Shared {
    /// For what is said when something fails.
    place: Place,
    /// How long a request may take in all.
    limit: Duration,
    /// How many replicas are to have what a pipeline wrote; 0: nobody waits for them.
    replicas: usize,
    /// Whether Redis says when something that was read has changed.
    tells: AtomicBool,
    watcher: OnceLock<Arc<dyn Watcher>>,
}

impl Batches {
    /// Connects. With `replicas`, each pipeline ends with `WAIT`, and the next one is sent when it has been answered.
    pub(crate) async fn connect(
        config: &ClusterConfig,
        address: &str,
        replicas: usize,
    ) -> redis::RedisResult<Self> {
        let (queue, asked) = mpsc::channel(WAITING_REQUESTS);
        let (tells, watcher) = (AtomicBool::new(false), OnceLock::new());
        let (place, limit) = (Place::server(config, address), config.request_timeout);
        let shared = Arc::new(Shared { place, limit, replicas, tells, watcher });
        let connection = Connection::open(config, address, &shared).await?;
        let task = Task::new(config.clone(), address.to_owned(), Arc::clone(&shared), connection);
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
