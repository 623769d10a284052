//! [`Im`]: one per process, shared by cloning.

use std::{sync::Arc, time::Duration};

use rand::RngExt as _;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    acks::AckWatch,
    amend::MAX_FINISHING,
    budget::{Budgets, UserBudgets},
    change::ChangePolicy,
    counts::Counts,
    directory::Directory,
    health::{BackEnds, program_name},
    history::KnownMarks,
    ids::Ids,
    message::Durability,
    publisher::Publisher,
    search::Searches,
    service::Contacts,
    store::MessageStore,
};
use crate::{
    cluster::{BusError, Cluster, ClusterConfig, ConnectError, RoutesError},
    id::UserId,
    log_throttle::throttled,
};

/// How long a back end waits for things, with defaults.
///
/// ```
/// use im_sdk::backend::ImConfig;
/// use std::time::Duration;
/// let mut config = ImConfig::default();
/// config.send_timeout = Duration::from_secs(2);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImConfig {
    /// How long a send waits for the servers' answers. Default 5 s.
    pub send_timeout: Duration,
    /// How often the back end asks which servers live. Default 1 s.
    pub directory_refresh: Duration,
    /// How long this process's node number stays its own after it was last renewed; renewed at a third of it.
    /// Default 30 s.
    pub node_lease: Duration,
    /// How many publishes of devices are handled at once; further ones wait on the bus. Default 1024.
    pub handler_concurrency: usize,
    /// How well messages are kept that do not say it themselves, those that devices publish among them. Default
    /// [`Durability::Logged`].
    pub default_durability: Durability,
    /// Where history goes on that the logs do not reach back to, and what is searched. Default `None`: history ends there, and
    /// nothing can be searched.
    pub message_store: Option<Arc<dyn MessageStore>>,
    /// What devices may do to messages that were sent.
    pub changes: ChangePolicy,
    /// How long a method of the [`Handler`](super::Handler) may take. Then it is dropped, the device is told to try again
    /// where it waits for an answer, and the log says which method it was, and for whom. A handler that waits for ever, for a
    /// database that does not answer, would else take one place of `handler_concurrency` after the other. Default 10 s, as long
    /// as servers wait for what becomes of a publish (`server.publish_timeout_ms`): later nobody hears the answer.
    pub handler_timeout: Duration,
    /// How much the devices of one user may have this back end do. On by default.
    pub user_budgets: UserBudgets,
    /// The name of the service whose handler this is. Back ends that serve under one prefix share what devices publish, so they
    /// should be one service: the log warns where another name serves, and [`Im::health`] lists them. Default: the program's name.
    pub service_name: String,
    /// The sender of what the back end sends to users without a sender, so that a welcome stands in a conversation, in the
    /// list, and counts as unread. It is a user id like any other, which nobody has to log in with; its inbox gets no
    /// copies of what is sent like that. What users answer is published to it. Default `None`: such a message belongs to no
    /// conversation.
    pub system_user: Option<UserId>,
}

impl Default for ImConfig {
    fn default() -> Self {
        Self {
            send_timeout: Duration::from_secs(5),
            directory_refresh: Duration::from_secs(1),
            node_lease: Duration::from_secs(30),
            handler_concurrency: 1024,
            default_durability: Durability::default(),
            message_store: None,
            changes: ChangePolicy::default(),
            handler_timeout: Duration::from_secs(10),
            user_budgets: UserBudgets::default(),
            service_name: program_name(),
            system_user: None,
        }
    }
}

/// For how long the route store may fail to answer before devices' requests are left to other back ends, which may reach it:
/// longer than a failover within Redis takes, shorter than devices wait.
const STORES_LOST: Duration = Duration::from_secs(3);

/// For how long no server may live before the log says so: as long as one takes to start.
const WITHOUT_SERVERS: Duration = Duration::from_secs(10);

/// Tasks that run more often than this do nothing else.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

impl ImConfig {
    fn check(&self) -> Result<(), StartError> {
        if self.directory_refresh < MIN_INTERVAL {
            return Err(StartError::Config("directory_refresh must be at least 10 ms"));
        }
        if self.node_lease < MIN_INTERVAL * 3 {
            return Err(StartError::Config("node_lease must be at least 30 ms"));
        }
        if !(1..=Semaphore::MAX_PERMITS).contains(&self.handler_concurrency) {
            return Err(StartError::Config("handler_concurrency must be at least 1"));
        }
        if self.handler_timeout < MIN_INTERVAL {
            return Err(StartError::Config("handler_timeout must be at least 10 ms"));
        }
        Ok(())
    }
}

/// A back end did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting makes no sense.
    #[error("the back end's configuration is not valid: {0}")]
    Config(&'static str),
    /// Redis or NATS could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The route store did not answer.
    #[error(transparent)]
    Routes(#[from] RoutesError),
    /// The bus did not take the subscriptions.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// As many processes issue message ids as there are node numbers.
    #[error(
        "all {} node numbers are taken: stop a back end, or wait until the lease of one that died runs out",
        crate::id::NodeId::COUNT
    )]
    NoNode,
}

/// The back end's half of the SDK. Cloning is cheap and shares everything; the last clone that is dropped ends its
/// tasks.
#[derive(Clone, Debug)]
pub struct Im {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) cluster: Cluster,
    pub(super) config: ImConfig,
    pub(super) ids: Arc<Ids>,
    pub(super) directory: Arc<Directory>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) acks: Arc<AckWatch>,
    pub(super) counts: Arc<Counts>,
    pub(super) marks: KnownMarks,
    pub(super) searches: Searches,
    pub(super) budgets: Budgets,
    pub(super) contacts: Contacts,
    pub(super) back_ends: BackEnds,
    /// Whether this process reaches the route store, and with it the others in the same Redis.
    pub(super) stores: watch::Sender<bool>,
    /// How many changes that were left undone may be carried out.
    pub(super) finishing: Arc<Semaphore>,
    /// Owns this process's tasks.
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Im {
    /// Connects to Redis and NATS.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn connect(config: ClusterConfig) -> Result<Self, StartError> {
        Self::with_cluster(Cluster::connect(config).await?).await
    }

    /// Starts on a cluster, for example [`Cluster::embedded`].
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn with_cluster(cluster: Cluster) -> Result<Self, StartError> {
        Self::start(cluster, ImConfig::default()).await
    }

    /// Starts on a cluster with settings of your own.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(cluster: Cluster, config: ImConfig) -> Result<Self, StartError> {
        config.check()?;
        if config.default_durability == Durability::Archived && cluster.archive().is_none() {
            return Err(StartError::Config("default_durability is Archived, but the cluster has no archive"));
        }
        let name = format!("be-{:016x}", rand::rng().random::<u64>());
        let ids = Ids::lease(&cluster, &name, config.node_lease).await?.ok_or(StartError::NoNode)?;
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let inner = Inner {
            ids: Arc::new(ids),
            directory: Arc::new(Directory::new(cluster.clone())),
            publisher: Arc::new(Publisher::new(cluster.clone(), name, config.send_timeout, tasks.clone())),
            marks: KnownMarks::default(),
            searches: Searches::default(),
            budgets: Budgets::new(config.user_budgets.clone()),
            contacts: Contacts::default(),
            back_ends: BackEnds::default(),
            stores: watch::Sender::new(true),
            finishing: Arc::new(Semaphore::new(MAX_FINISHING)),
            acks: Arc::new(AckWatch::new(cluster.clone(), tasks.clone(), stop.clone())),
            counts: Arc::default(),
            cluster,
            config,
            tasks,
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        };
        inner.directory.refresh().await?;
        inner.spawn_tasks().await?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The cluster that it runs on.
    pub fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    /// Gives the node number back and ends this process's tasks, within [`ImConfig::send_timeout`]. Sends that are under
    /// way end as unconfirmed.
    pub async fn shutdown(self) {
        self.inner.stop.cancel();
        self.inner.publisher.close();
        self.inner.tasks.close();
        let ending = async {
            self.inner.tasks.wait().await;
            self.inner.cluster.bus().flush().await
        };
        // Without a connection to the bus, neither ends before it is back.
        let _ = timeout(self.inner.config.send_timeout, ending).await;
    }
}

impl Inner {
    /// None of the tasks holds `Inner` itself, so that dropping the last [`Im`] ends them.
    async fn spawn_tasks(&self) -> Result<(), StartError> {
        for subject in self.publisher.subjects() {
            let subscription = self.cluster.bus().subscribe(subject).await?;
            let (publisher, stop) = (Arc::clone(&self.publisher), self.stop.clone());
            self.tasks.spawn(async move { publisher.listen(subscription, stop).await });
        }
        let (publisher, stop) = (Arc::clone(&self.publisher), self.stop.clone());
        self.tasks.spawn(async move { publisher.watch(stop).await });
        let (ids, stop) = (Arc::clone(&self.ids), self.stop.clone());
        self.tasks.spawn(async move { ids.keep(stop).await });
        let (directory, publisher) = (Arc::clone(&self.directory), Arc::clone(&self.publisher));
        let stores = self.stores.clone();
        let upkeep = upkeep(directory, publisher, stores, self.config.clone(), self.stop.clone());
        self.tasks.spawn(upkeep);
        let watch = watch_bus(self.cluster.clone(), Arc::clone(&self.publisher), self.stop.clone());
        self.tasks.spawn(watch);
        let fullness = watch_fullness(self.cluster.clone(), self.config.directory_refresh, self.stop.clone());
        self.tasks.spawn(fullness);
        Ok(())
    }
}

/// Asks who lives, and forgets links to who does not.
async fn upkeep(
    directory: Arc<Directory>,
    publisher: Arc<Publisher>,
    stores: watch::Sender<bool>,
    config: ImConfig,
    stop: CancellationToken,
) {
    let mut answered = Instant::now();
    let mut servers = ServerWatch::new(answered);
    let mut ticks = interval(config.directory_refresh);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased; // Nothing is asked after the end.
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        match directory.refresh().await {
            Ok(()) => {
                answered = Instant::now();
                if stores.send_if_modified(|reachable| !std::mem::replace(reachable, true)) {
                    tracing::info!("the route store answers again: devices are served");
                }
                let live = directory.live();
                servers.note(live.len(), answered);
                publisher.retain_links(|server| live.contains_key(server));
            }
            Err(error) => {
                throttled!(warn, %error, "cannot ask which servers live");
                if answered.elapsed() >= STORES_LOST
                    && stores.send_if_modified(|reachable| std::mem::replace(reachable, false))
                {
                    tracing::error!(
                        %error,
                        "the route store does not answer this back end: what devices want is left to others, \
                         until it does"
                    );
                }
            }
        }
    }
    publisher.close();
}

/// Says once that no server lives, and once that one does again: nothing reaches a device meanwhile.
struct ServerWatch {
    /// When one lived last.
    last: Instant,
    warned: bool,
}

impl ServerWatch {
    fn new(now: Instant) -> Self {
        Self { last: now, warned: false }
    }

    fn note(&mut self, live: usize, now: Instant) {
        if live > 0 {
            self.last = now;
            if std::mem::take(&mut self.warned) {
                tracing::info!(servers = live, "a server is there");
            }
        } else if now.saturating_duration_since(self.last) >= WITHOUT_SERVERS && !self.warned {
            self.warned = true;
            tracing::warn!(
                "no im-server is there: nothing reaches a device, and Im::endpoints is empty. Is one running, with this Redis and \
                 this prefix?"
            );
        }
    }
}

/// How often it is tried whether the bus carries what this process publishes, how long that may take, and how often it may
/// fail. The bus itself notices in the same time, 10 s, when nothing comes any more.
const BUS_CHECK_INTERVAL: Duration = Duration::from_millis(2_500);
const BUS_CHECKS: u32 = 3;

/// Gives a connection to the bus up that leads in one direction alone: on it everything else comes as ever, so nothing would
/// count as lost.
async fn watch_bus(cluster: Cluster, publisher: Arc<Publisher>, stop: CancellationToken) {
    let checking = async {
        let mut failed = 0;
        loop {
            let next = Instant::now() + BUS_CHECK_INTERVAL;
            let carries = publisher.settle(BUS_CHECK_INTERVAL).await;
            failed = if carries { 0 } else { failed + 1 };
            if failed == BUS_CHECKS {
                failed = 0;
                if cluster.bus().reconnect().await {
                    tracing::warn!("what was published did not come back: connecting to the bus anew");
                }
            }
            sleep_until(next).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = checking => {}
    }
}

/// Keeps [`Cluster::is_nearly_full`] true.
async fn watch_fullness(cluster: Cluster, every: Duration, stop: CancellationToken) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased; // Nothing is asked after the end.
            () = stop.cancelled() => break,
            _ = ticks.tick() => cluster.look_how_full().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_bus_confirms_what_it_was_asked_for() {
        let im = Im::with_cluster(Cluster::embedded()).await.unwrap();
        let publisher = &im.inner.publisher;
        for _ in 0..3 {
            assert!(publisher.settle(Duration::from_secs(5)).await);
        }
        im.inner.stop.cancel();
        im.inner.tasks.close();
        im.inner.tasks.wait().await;
        assert!(!publisher.settle(Duration::from_millis(10)).await, "nobody listens any more");
    }

    #[tokio::test]
    async fn a_deployment_without_servers_is_told_once() {
        let start = Instant::now();
        let mut watch = ServerWatch::new(start);
        let after = |seconds| start + Duration::from_secs(seconds);
        watch.note(0, after(9));
        assert!(!watch.warned, "one may be starting");
        watch.note(0, after(10));
        assert!(watch.warned);
        watch.note(1, after(11));
        assert!(!watch.warned);
        watch.note(0, after(20));
        assert!(!watch.warned, "counted anew");
        watch.note(0, after(21));
        assert!(watch.warned);
    }

    #[tokio::test]
    async fn settings_that_make_no_sense_are_refused() {
        let wrong: [fn(&mut ImConfig); 5] = [
            |config| config.directory_refresh = Duration::ZERO,
            |config| config.node_lease = Duration::ZERO,
            |config| config.handler_concurrency = 0,
            |config| config.handler_concurrency = usize::MAX,
            |config| config.handler_timeout = Duration::ZERO,
        ];
        for change in wrong {
            let mut config = ImConfig::default();
            change(&mut config);
            let started = Im::start(Cluster::embedded(), config).await;
            assert!(matches!(started, Err(StartError::Config(_))), "{started:?}");
        }
    }
}
