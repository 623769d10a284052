//! A Redis connection that pipelines concurrent requests.
//!
//! One task takes the queued requests, writes them as one pipeline, then reads the replies and
//! distributes them. This is natural batching: it adds no delay while there are few requests. The
//! task has a socket of its own: on the client library's connection, every request crosses another
//! task twice, and a general parser decodes its replies value by value.
//!
//! A new connection is opened only when nothing is in flight on the previous one. So a reply always
//! comes from the newest connection, and invalidations that Redis pushed before it (see
//! [`InvalidationListener`]) were handled before it.
//!
//! A connection is replaced when it breaks, when it has been silent for `request_timeout` although
//! requests are in flight, and when a reply states that this is the wrong node, such as a master
//! that has become a replica. The address is then resolved anew, and must lead to a master;
//! otherwise the next configured address is tried. So requests work again at most twice
//! `request_timeout` plus a second after an address leads to the master.

mod connection;
mod in_flight;
mod opener;
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
use super::{
    error_context::{RedisAddress, RequestError},
    no_retry::SendError,
    resp::{Commands, Replies},
};
use crate::cluster::config::ClusterConfig;

/// The maximum number of queued requests; further ones wait for a place in the queue. Redis
/// processes as many in 0.2 s.
const WAITING_REQUESTS: usize = 16_384;

/// A cache of values, told by Redis when they have changed.
pub(crate) trait InvalidationListener: Send + Sync + 'static {
    /// Drops the value at a key: it has changed, or may have.
    fn invalidate(&self, key: &[u8]);

    /// Drops all values: any of them may have changed.
    fn invalidate_all(&self);

    /// Returns whether the cache is empty.
    fn is_empty(&self) -> bool;
}

/// The replies to a request.
#[derive(Debug)]
pub(crate) struct PipelineReply {
    /// The replies to its commands.
    pub(crate) answers: Replies,
    /// The number of replicas that have the writes of this connection; 0 if the connection does not
    /// wait for replicas.
    pub(crate) replicas: redis::RedisResult<usize>,
}

/// Commands, with the receiver of their replies.
struct Request {
    commands: Commands,
    since: Instant,
    answer: oneshot::Sender<Result<PipelineReply, SendError>>,
}

/// A connection that pipelines concurrent requests. Cloning is cheap; the task ends when the last
/// clone is dropped.
#[derive(Clone)]
pub(crate) struct PipelinedConnection {
    queue: mpsc::Sender<Request>,
    shared: Arc<Shared>,
}

/// The purpose of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionOptions {
    /// The number of replicas that must have the writes of a pipeline; 0 to wait for none.
    /// Otherwise each pipeline ends with `WAIT`, and the next one is sent when that has been
    /// answered.
    pub(crate) replicas: usize,
    /// Whether Redis is to push invalidations.
    pub(crate) tracking: bool,
    /// Shared by all connections to the same Redis.
    pub(crate) failovers: Failovers,
}

/// The number of detected failovers: how often a node turned out not to be the master. All
/// connections to the same Redis share it, since those that only read would never be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failovers(Arc<FailoverState>);

#[derive(Debug, Default)]
struct FailoverState {
    count: AtomicU64,
    logged_at: Mutex<Option<Instant>>,
}

/// The minimum time between two log messages about a failover.
const FAILOVER_LOG_INTERVAL: Duration = Duration::from_secs(10);

impl Failovers {
    fn count(&self) -> u64 {
        self.0.count.load(Ordering::Acquire)
    }

    /// Counts a failover once, although many connections detect it.
    fn note_after(&self, count: u64, address: &RedisAddress) {
        if self.0.count.compare_exchange(count, count + 1, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        let mut logged_at = self.0.logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        if logged_at.is_none_or(|logged_at| logged_at.elapsed() >= FAILOVER_LOG_INTERVAL) {
            *logged_at = Some(Instant::now());
            tracing::warn!(redis = %address, "this Redis is no longer a master; reconnecting");
        }
    }
}

/// State shared by the task, its connection and the requesters.
struct Shared {
    /// The address, for error messages.
    address: RedisAddress,
    /// The maximum duration of a request.
    limit: Duration,
    options: ConnectionOptions,
    /// Whether Redis pushes invalidations.
    tracking: AtomicBool,
    listener: OnceLock<Arc<dyn InvalidationListener>>,
}

impl PipelinedConnection {
    /// Connects to the first address, from `index` on, at which a master answers.
    pub(crate) async fn connect(
        config: &ClusterConfig,
        index: usize,
        options: ConnectionOptions,
    ) -> redis::RedisResult<Self> {
        let (queue, requests) = mpsc::channel(WAITING_REQUESTS);
        let (tracking, listener) = (AtomicBool::new(false), OnceLock::new());
        let (address, limit) = (RedisAddress::any(config), config.request_timeout);
        let shared = Arc::new(Shared { address, limit, options, tracking, listener });
        let opener = Opener::new(config.clone(), index, Arc::clone(&shared));
        let task = Task::connect(opener, Arc::clone(&shared)).await?;
        // The task ends with the queue: when the last handle is dropped.
        tokio::spawn(task.run(requests));
        Ok(Self { queue, shared })
    }

    /// Sets the listener for invalidations of values read behind `CLIENT CACHING YES` while
    /// [`PipelinedConnection::is_tracking`]. Returns `false` if there is a listener already.
    pub(crate) fn watch(&self, listener: Arc<dyn InvalidationListener>) -> bool {
        self.shared.listener.set(listener).is_ok()
    }

    /// Returns whether Redis pushes invalidations.
    pub(crate) fn is_tracking(&self) -> bool {
        self.shared.tracking.load(Ordering::Acquire)
    }

    /// Sends commands one after the other, with nothing in between.
    pub(crate) async fn send(&self, commands: Commands) -> Result<PipelineReply, SendError> {
        if commands.count() == 0 {
            return Ok(PipelineReply { answers: Replies::default(), replicas: Ok(0) });
        }
        let (answer, answered) = oneshot::channel();
        let since = Instant::now();
        // The queue nearly always has room, and then no timer is needed.
        if let Err(full) = self.queue.try_send(Request { commands, since, answer }) {
            let waiting = self.queue.send(full.into_inner());
            let late = |_| not_done(self.shared.address.busy());
            timeout_at(since + self.shared.limit, waiting).await.map_err(late)?.map_err(|_| ended())?;
        }
        answered.await.map_err(|_| ended())?
    }
}

impl std::fmt::Debug for PipelinedConnection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PipelinedConnection").finish_non_exhaustive()
    }
}

impl Shared {
    fn invalidate_all(&self) {
        if let Some(listener) = self.listener.get() {
            listener.invalidate_all();
        }
    }

    /// Returns how long a request may wait to be sent.
    fn patience(&self) -> Duration {
        // `WAIT` needs time of its own.
        if self.options.replicas > 0 { self.limit / 2 } else { self.limit }
    }

    fn keeps(&self) -> bool {
        self.listener.get().is_some_and(|listener| !listener.is_empty())
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
