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

use crate::{
    backend::{
        builder::{Config, ImBuilder, StartError},
        channels::room_counters::Counts,
        health::BackEnds,
        history::{KnownMarks, archiver::Archiver, search::Searches},
        message_store::MessageStore,
        send::{
            acks::AckWatch,
            amend::MAX_FINISHING,
            message_ids::{Ids, unix_ms},
            publisher::Publisher,
            server_directory::Directory,
        },
        service::{Contacts, budget::Budgets},
    },
    cluster::{Cluster, ClusterConfig},
    log_throttle::throttled,
};

/// For how long the route store may fail to answer before devices' requests are left to other back ends, which may reach it:
/// longer than a failover within Redis takes, shorter than devices wait.
const STORES_LOST: Duration = Duration::from_secs(3);

/// For how long no server may live before the log says so: as long as one takes to start.
const WITHOUT_SERVERS: Duration = Duration::from_secs(10);

/// The back end's half of the SDK. Cloning is cheap and shares everything; the last clone that is dropped ends its
/// tasks.
#[derive(Clone, Debug)]
pub struct Im {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) cluster: Cluster,
    pub(super) config: Config,
    /// The archiver that [`ImBuilder::archive_to`] has started.
    pub(super) archiver: Option<Archiver>,
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
    /// Returns a builder for a back end with settings of its own.
    pub fn builder() -> ImBuilder {
        ImBuilder::default()
    }

    /// Connects to Redis and NATS, with the default settings. [`Im::builder`] has others.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use im_sdk::{backend::Im, cluster::ClusterConfig};
    ///
    /// let im = Im::connect(ClusterConfig::new(["redis://127.0.0.1:6379"], ["nats://127.0.0.1:4222"])).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn connect(config: ClusterConfig) -> Result<Self, StartError> {
        Self::builder().connect(config).await
    }

    /// Starts on a cluster that exists already, such as [`Cluster::embedded`], with the default settings. [`Im::builder`] has others.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn with_cluster(cluster: Cluster) -> Result<Self, StartError> {
        Self::builder().start(cluster).await
    }

    pub(super) async fn start(
        cluster: Cluster,
        config: Config,
        archive_to: Option<Arc<dyn MessageStore>>,
    ) -> Result<Self, StartError> {
        let name = format!("be-{:016x}", rand::rng().random::<u64>());
        let ids = Ids::lease(&cluster, &name, config.node_lease).await?.ok_or(StartError::NoNode)?;
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let archiver = match archive_to {
            Some(store) => Some(Archiver::start(&cluster, store, &tasks, &stop)?),
            None => None,
        };
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
            archiver,
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

    /// Returns the cluster that the back end runs on.
    pub fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    /// Returns the cluster's time, or this machine's where the cluster's is not known at the moment.
    pub(super) fn now_ms(&self) -> u64 {
        self.inner.cluster.clock().now_ms().unwrap_or_else(unix_ms)
    }

    /// Gives the node number back and ends this process's tasks, archivers after the batch that they are at, within
    /// [`ImBuilder::send_timeout`]. Sends that are under way end as unconfirmed.
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
    config: Config,
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
        let wrong: [fn(ImBuilder) -> ImBuilder; 6] = [
            |im| im.directory_refresh(Duration::ZERO),
            |im| im.node_lease(Duration::ZERO),
            |im| im.handler_concurrency(0),
            |im| im.handler_concurrency(usize::MAX),
            |im| im.handler_timeout(Duration::ZERO),
            |im| im.system_user("no user"),
        ];
        for change in wrong {
            let started = change(Im::builder()).start(Cluster::embedded()).await;
            assert!(matches!(started, Err(StartError::Config(_) | StartError::SystemUser(_))), "{started:?}");
        }
    }
}
