//! Background tasks of a backend: the list of live servers, the state of the bus and of the store, and
//! the lease of the node number.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    backend::{
        send::{message_ids::Ids, publisher::Publisher, server_directory::Directory},
        tasks::Tasks,
    },
    cluster::{BusError, Cluster},
    log_throttle::throttled,
};

/// The time for which the route store may fail to answer before devices' requests are left to other
/// backends, which may reach it. It is longer than a failover within Redis, and shorter than devices
/// wait.
const STORES_LOST: Duration = Duration::from_secs(3);

/// The time without a live server after which the log says so: as long as a server takes to start.
const WITHOUT_SERVERS: Duration = Duration::from_secs(10);

/// The interval and the time limit of a probe of the bus, and the number of failed probes after which
/// the connection is given up. The bus itself notices silence within the same 10 s.
const BUS_CHECK_INTERVAL: Duration = Duration::from_millis(2_500);
const BUS_CHECKS: u32 = 3;

/// The parts that the background tasks keep up to date.
#[derive(Debug)]
pub(super) struct Upkeep {
    pub(super) cluster: Cluster,
    pub(super) publisher: Arc<Publisher>,
    pub(super) ids: Arc<Ids>,
    pub(super) directory: Arc<Directory>,
    /// `true` while this process reaches the route store.
    pub(super) stores: watch::Sender<bool>,
    pub(super) directory_refresh: Duration,
}

impl Upkeep {
    /// Spawns the tasks. They hold the token of `tasks` alone, so that dropping the last [`Im`] ends them.
    ///
    /// [`Im`]: super::Im
    pub(super) async fn start(self, tasks: &Tasks) -> Result<(), BusError> {
        let Self { cluster, publisher, ids, directory, stores, directory_refresh } = self;
        for subject in publisher.subjects() {
            let subscription = cluster.bus().subscribe(subject).await?;
            let (publisher, stop) = (Arc::clone(&publisher), tasks.stop().clone());
            tasks.spawn(async move { publisher.listen(subscription, stop).await });
        }
        let (watched, stop) = (Arc::clone(&publisher), tasks.stop().clone());
        tasks.spawn(async move { watched.watch(stop).await });
        let stop = tasks.stop().clone();
        tasks.spawn(async move { ids.keep(stop).await });
        let stop = tasks.stop().clone();
        tasks.spawn(watch_servers(directory, Arc::clone(&publisher), stores, directory_refresh, stop));
        tasks.spawn(watch_bus(cluster.clone(), publisher, tasks.stop().clone()));
        tasks.spawn(watch_fullness(cluster, directory_refresh, tasks.stop().clone()));
        Ok(())
    }
}

/// Keeps the list of live servers, and closes links to dead ones.
async fn watch_servers(
    directory: Arc<Directory>,
    publisher: Arc<Publisher>,
    stores: watch::Sender<bool>,
    every: Duration,
    stop: CancellationToken,
) {
    let mut answered = Instant::now();
    let mut servers = ServerWatch::new(answered);
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased; // The end comes first.
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        match directory.refresh().await {
            Ok(()) => {
                answered = Instant::now();
                if stores.send_if_modified(|reachable| !std::mem::replace(reachable, true)) {
                    tracing::info!("the route store answers again: serving devices");
                }
                let live = directory.live();
                servers.note(live.len(), answered);
                publisher.retain_links(|server| live.contains_key(server));
            }
            Err(error) => {
                throttled!(warn, %error, "cannot list the live servers");
                if answered.elapsed() >= STORES_LOST
                    && stores.send_if_modified(|reachable| std::mem::replace(reachable, false))
                {
                    tracing::error!(
                        %error,
                        "the route store does not answer: requests of devices are left to other backends until it does"
                    );
                }
            }
        }
    }
    publisher.close();
}

/// Logs once that no server lives, since no device can be reached then, and once that one does again.
struct ServerWatch {
    /// The last time with a live server.
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
                tracing::info!(servers = live, "found a live server");
            }
        } else if now.saturating_duration_since(self.last) >= WITHOUT_SERVERS && !self.warned {
            self.warned = true;
            tracing::warn!(
                "no live im-server: no device can be reached, and Im::endpoints is empty; check that a server is \
                 running with this Redis and this prefix"
            );
        }
    }
}

/// Reconnects to the bus if it carries messages in one direction alone. Everything else still arrives
/// then, so the connection does not count as lost.
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
                    tracing::warn!("probes of the bus did not come back: reconnecting");
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

/// Keeps [`Cluster::is_nearly_full`] up to date.
async fn watch_fullness(cluster: Cluster, every: Duration, stop: CancellationToken) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased; // The end comes first.
            () = stop.cancelled() => break,
            _ = ticks.tick() => cluster.look_how_full().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
