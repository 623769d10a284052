//! Redis, NATS, three servers and two back ends, as processes.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use im_sdk::{
    Content,
    client::Endpoint,
    cluster::{Cluster, ClusterConfig, LogBounds, LogId, ReadLimit},
};
use prost::Message as _;

use super::{Backend, BackendSetup, Checker, DeviceState, Profile, Share, Stamp, load_group, load_user};
use crate::{
    ImServer, NatsServer, RedisOptions, RedisServer, TcpProxy,
    permissions::Role,
    stack::{Certificate, ServerOptions, variables},
};

const SERVERS: usize = 3;
const BACKENDS: usize = 2;

/// Conversations of each back end, unless a scenario holds each of them up more than others do.
const LANES: usize = 100;

/// What back ends wait for Redis by default.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// What each log keeps: everything of a scenario, so that what is missing at the end was lost.
pub fn log_bounds() -> LogBounds {
    LogBounds { max_bytes: 1 << 30, ..LogBounds::default() }
}

/// How many entries are read at once.
const PAGE: usize = 1000;

/// What differs from one scenario to another.
#[derive(Clone, Debug, Default)]
pub struct DeploymentOptions {
    /// How long the back ends send.
    pub seconds: f64,
    /// How many messages in a second the back ends send, together.
    pub rate: f64,
    /// How many devices there are.
    pub devices: usize,
    /// How many of them do not read.
    pub unread: usize,
    /// How many conversations each back end has; 0: as usual.
    pub lanes: usize,
    /// See [`BackendSetup::send_timeout`]. Unless set, the profile's.
    pub send_timeout: Option<Duration>,
    /// See [`BackendSetup::request_timeout`]. Unless set, the default.
    pub request_timeout: Option<Duration>,
    /// How many processes have devices of their own, [`DEVICES_PER_PROCESS`](super::DEVICES_PER_PROCESS) each.
    pub processes: usize,
    /// See [`BackendSetup::drop_percent`].
    pub drop_percent: u32,
    /// Whether Redis has a replica.
    pub replica: bool,
    /// See [`BackendSetup::min_replicas`].
    pub min_replicas: usize,
    /// Variables of the servers.
    pub server_variables: Vec<(String, String)>,
    /// Whether each process reaches Redis and NATS over [`Links`] of its own.
    pub linked: bool,
}

/// One process's links to Redis and NATS, to be broken for this process alone.
#[derive(Debug)]
pub struct Links {
    /// To Redis.
    pub redis: TcpProxy,
    /// To NATS.
    pub nats: TcpProxy,
}

impl Links {
    async fn to(redis: &RedisServer, nats: &NatsServer, role: Role) -> Self {
        let (redis, nats) = (redis.address_as(role), nats.address_as(role));
        Self { redis: TcpProxy::before(&redis).await, nats: TcpProxy::before(&nats).await }
    }
}

/// Redis, NATS, three servers and two back ends, as processes.
#[derive(Debug)]
pub struct Deployment {
    /// Keeps routes and logs, on disk.
    pub redis: RedisServer,
    /// Its replica, where there is one.
    pub replica: Option<RedisServer>,
    /// The bus.
    pub nats: NatsServer,
    /// What devices connect to.
    pub servers: Vec<ImServer>,
    /// What sends and serves now.
    pub backends: Vec<Backend>,
    /// Those that were killed.
    pub dead: Vec<Backend>,
    /// What devices believe.
    pub certificate: Certificate,
    /// The cluster as this process sees it.
    pub cluster: Cluster,
    /// Each server's links, where there are.
    pub server_links: Vec<Links>,
    /// Each back end's links, where there are. One that takes another's place has that one's.
    pub backend_links: Vec<Links>,
    /// This process's links, where there are.
    own_links: Option<Links>,
    options: DeploymentOptions,
    profile: Profile,
    total: Arc<AtomicU64>,
}

impl Deployment {
    /// Starts it. `total` counts what the back ends were told Ok.
    pub async fn start(profile: &Profile, options: DeploymentOptions, total: Arc<AtomicU64>) -> Self {
        let on_disk = RedisOptions { append_only: true, ..RedisOptions::default() };
        let (redis, nats) = (RedisServer::start_with(on_disk).await, NatsServer::start().await);
        let replica = if options.replica { Some(redis.start_replica().await) } else { None };
        let certificate = Certificate::make();
        let defaults =
            ServerOptions { heartbeat: profile.heartbeat, lease: profile.lease, ..ServerOptions::default() };
        let mut environment = variables(&defaults, &certificate);
        let timeout = profile.either(10.0, 1.0).as_millis().to_string();
        environment.push(("IM_SERVER_PUBLISH_TIMEOUT_MS".into(), timeout));
        environment.extend(options.server_variables.iter().cloned());
        let (mut servers, mut server_links, mut backend_links) = (Vec::new(), Vec::new(), Vec::new());
        let mut own_links = None;
        if options.linked {
            for _ in 0..SERVERS {
                server_links.push(Links::to(&redis, &nats, Role::Server).await);
            }
            for _ in 0..BACKENDS {
                backend_links.push(Links::to(&redis, &nats, Role::Backend).await);
            }
            own_links = Some(Links::to(&redis, &nats, Role::Backend).await);
        }
        for number in 0..SERVERS {
            let name = format!("s{}", number + 1);
            let (redis, nats) = addresses(server_links.get(number), Role::Server, &redis, &nats);
            servers.push(ImServer::start(&name, &redis, &nats, &environment).await);
        }
        let own = addresses(own_links.as_ref(), Role::Backend, &redis, &nats);
        let mut config = ClusterConfig::new([own.0], [own.1]);
        config.log_bounds = log_bounds();
        let cluster = Cluster::connect(config).await.expect("Redis and NATS");
        let (backends, dead) = (Vec::new(), Vec::new());
        let mut deployment = Self {
            redis,
            replica,
            nats,
            servers,
            backends,
            dead,
            certificate,
            cluster,
            server_links,
            backend_links,
            own_links,
            options,
            profile: *profile,
            total,
        };
        deployment.fill_groups().await;
        for index in 0..BACKENDS {
            let backend = deployment.backend(index, 1, deployment.options.seconds).await;
            deployment.backends.push(backend);
        }
        deployment
    }

    /// What it was started with.
    pub fn options(&self) -> &DeploymentOptions {
        &self.options
    }

    /// A further run of a back end, which sends for so many seconds when told to go.
    pub async fn backend(&self, index: usize, run: usize, seconds: f64) -> Backend {
        let options = &self.options;
        let share = Share {
            index,
            users: options.devices,
            unread: options.unread,
            lanes: if options.lanes == 0 { LANES } else { options.lanes },
            rate: options.rate / BACKENDS as f64,
            seconds,
        };
        let links = self.backend_links.get(index);
        let (redis, nats) = addresses(links, Role::Backend, &self.redis, &self.nats);
        let setup = BackendSetup {
            redis,
            nats,
            publisher: format!("b{index}.{run}"),
            share,
            drop_percent: options.drop_percent,
            min_replicas: options.min_replicas,
            send_timeout: options.send_timeout.unwrap_or(self.profile.send_timeout()),
            request_timeout: options.request_timeout.unwrap_or(REQUEST_TIMEOUT),
        };
        Backend::start(setup, Arc::clone(&self.total)).await
    }

    /// Loses Redis to a replica, which answers in its place from then on, and gets a replica of its own.
    pub async fn lose_redis_to(&mut self, mut replica: RedisServer) {
        std::mem::swap(&mut self.redis, &mut replica);
        self.redis.take_over(replica).await;
        self.replica = Some(self.redis.start_replica().await);
    }

    /// Makes the replica the master, and the master its replica, as a managed Redis does for its maintenance: both stay, and so
    /// do all connections. New ones lead to the new master.
    ///
    /// # Panics
    /// When there are no replica and no links, or the two do not change places.
    pub async fn change_masters(&mut self) {
        let replica = self.replica.take().expect("a replica");
        self.redis.hand_over_to(&replica).await;
        let old = std::mem::replace(&mut self.redis, replica);
        self.replica = Some(old);
        let links = self.server_links.iter().chain(&self.backend_links).chain(&self.own_links);
        links.for_each(|links| links.redis.lead_to(&self.redis.address()));
    }

    /// Every server's addresses: QUIC, then WebSocket.
    pub fn endpoints(&self) -> Vec<[Endpoint; 2]> {
        let parse = |server: &ImServer| {
            [0, 1].map(|transport| server.endpoints()[transport].parse().expect("an endpoint"))
        };
        self.servers.iter().map(parse).collect()
    }

    /// Every user is in a group.
    async fn fill_groups(&self) {
        for user in 0..self.options.devices {
            let joined = self.cluster.members().add(&load_group(user), &[load_user(user)]).await;
            joined.expect("Redis takes the members");
        }
    }

    /// Every user's log, and every group's.
    pub fn logs(&self) -> Vec<LogId> {
        let users = 0..self.options.devices;
        let groups: BTreeSet<_> = users.clone().map(load_group).map(LogId::Channel).collect();
        users.map(load_user).map(LogId::Inbox).chain(groups).collect()
    }

    /// Where the logs end.
    ///
    /// # Panics
    /// When Redis does not answer.
    pub async fn ends(&self) -> HashMap<LogId, u64> {
        let logs = self.logs();
        let ends = self.cluster.log().ends(&logs).await.expect("the logs' ends");
        logs.into_iter().zip(ends.into_iter().map(|ends| ends.last)).collect()
    }

    /// Whether what each device saw last stands where its logs end.
    pub async fn agrees_with(&self, devices: &[Arc<DeviceState>], ends: &HashMap<LogId, u64>) -> bool {
        for device in devices {
            for log in device.logs() {
                let Some(seen) = device.last_id(&log) else { continue };
                let log = device.stored(&log);
                match self.cluster.log().id_at(&log, ends[&log]).await {
                    Ok(Some(id)) if id == seen => {}
                    _ => return false,
                }
            }
        }
        true
    }

    /// How often servers have asked their devices to sync.
    pub fn hints(&self) -> usize {
        let hints = |server: &ImServer| server.output().matches("devices are asked to sync").count();
        self.servers.iter().map(hints).sum()
    }

    /// Everything that the back ends reported and the logs hold.
    ///
    /// # Panics
    /// When Redis does not answer.
    pub async fn feed(&self, checker: &mut Checker) {
        self.backends.iter().chain(&self.dead).for_each(|backend| backend.feed(checker));
        for log in self.logs() {
            let mut after = 0;
            loop {
                let page = self
                    .cluster
                    .log()
                    .read(&log, after, ReadLimit::new(PAGE))
                    .await
                    .expect("a log's entries");
                let Some(last) = page.entries.last() else { break };
                after = last.seq;
                for entry in page.entries {
                    checker.stored(&log, entry.seq, entry.message_id, stamp(entry.payload));
                }
            }
        }
    }
}

/// Where a process that has these links finds Redis and NATS.
fn addresses(links: Option<&Links>, role: Role, redis: &RedisServer, nats: &NatsServer) -> (String, String) {
    match links {
        Some(links) => (links.redis.url().to_owned(), links.nats.url().to_owned()),
        None => (redis.address_as(role), nats.address_as(role)),
    }
}

/// The stamp of a message as logs keep it.
fn stamp(payload: bytes::Bytes) -> Option<Stamp> {
    let message = im_proto::pb::Message::decode(payload).ok()?;
    Stamp::of(Content::from(message.content).as_text())
}
