//! Health of the services that a backend depends on, and the other serving backends.

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

/// The interval in which a serving backend announces itself to the others, and the time without
/// announcements after which it counts as gone.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(30);
const GONE_AFTER: Duration = Duration::from_secs(95);

/// The number of backends that are remembered: more than there are node numbers.
const MAX_BACK_ENDS: usize = 1024;

/// The bytes that are kept of a name from the bus.
const MAX_NAME_BYTES: usize = 128;

/// The result of [`Im::health`](super::Im::health).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// The response time of Redis, which keeps the routes, or its error. An embedded cluster always
    /// responds.
    pub redis: Result<Duration, String>,
    /// The response time of NATS, measured by a message to this process itself, or its error.
    pub nats: Result<Duration, String>,
    /// The live servers under this prefix. Without one, no device can be reached.
    pub servers: Vec<ServerId>,
    /// The ids of the backends that serve under this prefix, including this process if it does.
    pub back_ends: Vec<ServingBackEnd>,
}

/// A backend that serves devices.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct ServingBackEnd {
    /// Its id, which is new at each start.
    pub id: String,
    /// Its [`ImBuilder::service_name`](super::ImBuilder::service_name).
    pub service: String,
}

impl Health {
    /// Returns `true` if Redis and NATS answer, for a readiness probe. Servers come and go by
    /// themselves, so a backend without any is ready too.
    pub fn is_ready(&self) -> bool {
        self.redis.is_ok() && self.nats.is_ok()
    }
}

/// The serving backends that have announced themselves.
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
    /// Notes that a backend serves. Returns `true` if it was unknown.
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
                "too many backends serve under this prefix: Im::health does not list all of them"
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
    /// The time limit of each check.
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

    /// Announces this process as serving, and notes the announcements of others, until the service
    /// stops. Returns at once if the bus is gone.
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
            // A lost announcement is repeated.
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
                            // The other backend is new, and may not have heard of this one.
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
    /// Notes an announcement. Returns `true` if it is of another backend that was unknown.
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

/// Returns the name of this program, the default of
/// [`ImBuilder::service_name`](super::ImBuilder::service_name).
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
