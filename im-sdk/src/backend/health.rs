//! Whether what a back end stands on answers, and who else serves.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prost::Message as _;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    backend::send::{publisher::Publisher, server_directory::Directory},
    cluster::{BusEvent, Cluster, Publication},
    id::ServerId,
    log_throttle::throttled,
    proto::pb,
};

/// How often a back end that serves says so, to all others, and after which time without that it counts as gone.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(30);
const GONE_AFTER: Duration = Duration::from_secs(95);

/// How many back ends are remembered: more than there are node numbers.
const MAX_BACK_ENDS: usize = 1024;

/// How much of a name is kept that came over the bus.
const MAX_NAME_BYTES: usize = 128;

/// What [`Im::health`] found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// How long Redis, which keeps the routes, took to answer; or why it did not. In process, it always answers.
    pub redis: Result<Duration, String>,
    /// The same of NATS: something went there and came back.
    pub nats: Result<Duration, String>,
    /// The servers that live under this prefix. Without one, nothing reaches a device.
    pub servers: Vec<ServerId>,
    /// The back ends that serve under this prefix, this process among them if it does, by their ids.
    pub back_ends: Vec<ServingBackEnd>,
}

/// A back end that serves what devices publish.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct ServingBackEnd {
    /// Its id, new at each start.
    pub id: String,
    /// Its [`ImBuilder::service_name`](super::ImBuilder::service_name).
    pub service: String,
}

impl Health {
    /// Whether Redis and NATS answer: what a readiness probe asks. Servers come and go by themselves, so that a back end without
    /// any is ready too.
    pub fn is_ready(&self) -> bool {
        self.redis.is_ok() && self.nats.is_ok()
    }
}

/// The back ends that have said that they serve.
#[derive(Debug, Default)]
pub(super) struct BackEnds {
    heard: Mutex<HashMap<String, Heard>>,
}

#[derive(Debug)]
struct Heard {
    service: String,
    last: Instant,
}

impl BackEnds {
    /// Notes that a back end serves. Returns `true` if it was not known.
    fn note(&self, id: String, service: String, now: Instant) -> bool {
        let mut heard = self.lock();
        heard.retain(|_, heard| now.saturating_duration_since(heard.last) < GONE_AFTER);
        if heard.len() >= MAX_BACK_ENDS && !heard.contains_key(&id) {
            drop(heard);
            throttled!(
                warn,
                %id,
                %service,
                limit = MAX_BACK_ENDS,
                "too many back ends serve under this prefix: Im::health does not list all of them"
            );
            return false;
        }
        heard.insert(id, Heard { service, last: now }).is_none()
    }

    fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    fn live(&self, now: Instant) -> Vec<ServingBackEnd> {
        let mut live: Vec<_> = self
            .lock()
            .iter()
            .filter(|(_, heard)| now.saturating_duration_since(heard.last) < GONE_AFTER)
            .map(|(id, heard)| ServingBackEnd { id: id.clone(), service: heard.service.clone() })
            .collect();
        live.sort();
        live
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks what a backend depends on, and announces it to others while it serves.
#[derive(Debug)]
pub(super) struct HealthCheck {
    cluster: Cluster,
    directory: Arc<Directory>,
    publisher: Arc<Publisher>,
    backends: BackEnds,
    service_name: String,
    /// The time within which a service has to answer.
    limit: Duration,
}

impl HealthCheck {
    pub(super) fn new(
        cluster: Cluster,
        directory: Arc<Directory>,
        publisher: Arc<Publisher>,
        service_name: String,
        limit: Duration,
    ) -> Self {
        Self { cluster, directory, publisher, backends: BackEnds::default(), service_name, limit }
    }

    /// See [`Im::health`](super::Im::health).
    pub(super) async fn check(&self) -> Health {
        let (redis, nats) = tokio::join!(self.ask_redis(), self.ask_nats());
        let mut servers: Vec<ServerId> = self.directory.live().keys().cloned().collect();
        servers.sort();
        Health { redis, nats, servers, back_ends: self.backends.live(Instant::now()) }
    }

    async fn ask_redis(&self) -> Result<Duration, String> {
        let (began, limit) = (Instant::now(), self.limit);
        match timeout(limit, self.directory.refresh()).await {
            Ok(Ok(())) => Ok(began.elapsed()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {limit:?}")),
        }
    }

    async fn ask_nats(&self) -> Result<Duration, String> {
        let (began, limit) = (Instant::now(), self.limit);
        match self.publisher.settle(limit).await {
            true => Ok(began.elapsed()),
            false => Err(format!("what was published did not come back within {limit:?}")),
        }
    }

    /// Says every few seconds that this process serves, and hears who else does, until the service stops. It ends without a bus.
    pub(super) async fn announce_service(self: Arc<Self>, stop: CancellationToken) {
        let cluster = &self.cluster;
        let subject = cluster.names().back_ends_alive();
        let Ok(mut others) = cluster.bus().subscribe(subject.clone()).await else { return };
        let own = pb::BackEndAlive {
            id: self.publisher.name().to_owned(),
            service: self.service_name.clone(),
            ends: false,
        };
        let say = async |alive: &pb::BackEndAlive| {
            let payload = alive.encode_to_vec().into();
            let publication = Publication { subject: subject.clone(), return_to: None, payload };
            // What is lost is said again.
            let _ = cluster.bus().publish(publication).await;
        };
        let mut ticks = interval(ANNOUNCE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased; // Nothing is announced after the end.
                () = stop.cancelled() => break,
                _ = ticks.tick() => say(&own).await,
                event = others.next() => match event {
                    Some(BusEvent::Message(message)) => {
                        let Ok(alive) = pb::BackEndAlive::decode(message.payload) else { continue };
                        if self.backends.heard(&own, alive) {
                            // It is new, and may not have heard of this one.
                            say(&own).await;
                        }
                    }
                    Some(_) => {}
                    None => break,
                },
            }
        }
        self.backends.forget(&own.id);
        say(&pb::BackEndAlive { ends: true, ..own }).await;
    }
}

impl BackEnds {
    /// Somebody serves. Returns `true` if that is another one, and news.
    fn heard(&self, own: &pb::BackEndAlive, mut alive: pb::BackEndAlive) -> bool {
        for name in [&mut alive.id, &mut alive.service] {
            name.truncate(name.floor_char_boundary(MAX_NAME_BYTES));
        }
        if alive.ends {
            self.forget(&alive.id);
            return false;
        }
        let (is_other, differs) = (alive.id != own.id, alive.service != own.service);
        let (id, service) = (alive.id.clone(), alive.service.clone());
        let is_new = self.note(alive.id, alive.service, Instant::now());
        if is_new && differs {
            tracing::warn!(
                own = %own.service,
                other = %service,
                %id,
                "another service answers what devices publish here as well, so each publish goes to either handler: if that is \
                 not meant, give one of them a ClusterConfig::prefix of its own; if it is, give both one ImBuilder::service_name"
            );
        }
        is_new && is_other
    }
}

/// The name of this program, as [`ImBuilder::service_name`](super::ImBuilder::service_name) has it unless set.
pub(super) fn program_name() -> String {
    let program = std::env::current_exe().ok();
    let stem = program.as_deref().and_then(|path| path.file_stem()).map(|stem| stem.to_string_lossy());
    stem.map_or_else(|| "unnamed".to_owned(), |stem| stem.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::{Im, Incoming},
        cluster::Cluster,
    };

    async fn back_end(cluster: &Cluster, service: &str) -> Im {
        let config = Im::builder().service_name(service.to_owned());
        config.start(cluster.clone()).await.unwrap()
    }

    #[tokio::test]
    async fn back_ends_that_serve_know_of_each_other() {
        let cluster = Cluster::embedded();
        let (shop, forum) = (back_end(&cluster, "shop").await, back_end(&cluster, "forum").await);
        assert!(shop.health().await.back_ends.is_empty(), "nobody serves");
        let accept = |incoming: Incoming| async move { Ok(incoming.accept()) };
        let _shops = shop.serve(accept).await.unwrap();
        let forums = forum.serve(accept).await.unwrap();
        let services = async |im: &Im| {
            let health = im.health().await;
            assert!(health.is_ready() && health.servers.is_empty(), "{health:?}");
            let mut services: Vec<_> = health.back_ends.into_iter().map(|one| one.service).collect();
            services.sort();
            services
        };
        for im in [&shop, &forum] {
            let both = async {
                while services(im).await != ["forum", "shop"] {
                    tokio::task::yield_now().await;
                }
            };
            timeout(Duration::from_secs(20), both).await.expect("each hears of the other");
        }
        forums.shutdown().await;
        assert_eq!(services(&forum).await, ["shop"]);
        let alone = async {
            while services(&shop).await != ["shop"] {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), alone).await.expect("it is told that the other one ended");
    }

    #[test]
    fn who_says_nothing_any_more_is_gone_and_no_flood_fills_it() {
        let (back_ends, start) = (BackEnds::default(), Instant::now());
        assert!(back_ends.note("a".to_owned(), "shop".to_owned(), start));
        assert!(!back_ends.note("a".to_owned(), "shop".to_owned(), start), "known");
        assert_eq!(back_ends.live(start).len(), 1);
        assert!(back_ends.live(start + GONE_AFTER).is_empty());
        for number in 0..3 * MAX_BACK_ENDS {
            back_ends.note(format!("b{number}"), "x".to_owned(), start);
        }
        assert_eq!(back_ends.live(start).len(), MAX_BACK_ENDS);
    }
}
