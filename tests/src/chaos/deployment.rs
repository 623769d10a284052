//! A deployment of Redis, NATS, three servers and two back ends, each a process.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use im_sdk::{
    Endpoint,
    cluster::{Cluster, ClusterConfig, LogBounds, LogId, ReadLimit},
    content::Content,
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

/// Number of conversations of each back end, unless a scenario delays each of them more than usual.
const LANES: usize = 100;

/// Default request timeout of back ends.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Bounds of each log: it keeps a whole scenario, so that a missing entry was lost.
pub fn log_bounds() -> LogBounds {
    LogBounds { max_bytes: 1 << 30, ..LogBounds::default() }
}

/// Number of entries that are read at once.
const PAGE: usize = 1000;

/// Settings of a scenario.
#[derive(Clone, Debug, Default)]
pub struct DeploymentOptions {
    /// Duration of the back ends' load.
    pub seconds: f64,
    /// Messages per second of all back ends together.
    pub rate: f64,
    /// Number of devices.
    pub devices: usize,
    /// Number of devices that do not read.
    pub unread: usize,
    /// Number of conversations of each back end; 0 for the default.
    pub lanes: usize,
    /// See [`BackendSetup::send_timeout`]. Defaults to the profile's.
    pub send_timeout: Option<Duration>,
    /// See [`BackendSetup::request_timeout`].
    pub request_timeout: Option<Duration>,
    /// Number of processes with [`DEVICES_PER_PROCESS`](super::DEVICES_PER_PROCESS) devices each.
    pub processes: usize,
    /// See [`BackendSetup::drop_percent`].
    pub drop_percent: u32,
    /// Set if Redis has a replica.
    pub replica: bool,
    /// See [`BackendSetup::min_replicas`].
    pub min_replicas: usize,
    /// Environment variables of the servers.
    pub server_variables: Vec<(String, String)>,
    /// Set if each process reaches Redis and NATS over [`Links`] of its own.
    pub linked: bool,
}

/// Links of one process to Redis and NATS, which can be broken for this process alone.
#[derive(Debug)]
pub struct Links {
    /// Link to Redis.
    pub redis: TcpProxy,
    /// Link to NATS.
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
    /// Stores routes and logs, on disk.
    pub redis: RedisServer,
    /// Replica of Redis, if any.
    pub replica: Option<RedisServer>,
    /// The bus.
    pub nats: NatsServer,
    /// The servers.
    pub servers: Vec<ImServer>,
    /// The running back ends.
    pub backends: Vec<Backend>,
    /// Back ends that were killed.
    pub dead: Vec<Backend>,
    /// Certificate of the servers.
    pub certificate: Certificate,
    /// Connection of this process to the cluster.
    pub cluster: Cluster,
    /// Links of each server, if any.
    pub server_links: Vec<Links>,
    /// Links of each back end, if any. A replacement uses the links of its predecessor.
    pub backend_links: Vec<Links>,
    /// Links of this process, if any.
    own_links: Option<Links>,
    options: DeploymentOptions,
    profile: Profile,
    total: Arc<AtomicU64>,
}

impl Deployment {
    /// Starts it. `total` counts accepted messages of the back ends.
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

    /// Returns its settings.
    pub fn options(&self) -> &DeploymentOptions {
        &self.options
    }

    /// Starts another run of a back end, which sends for some seconds once started.
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

    /// Kills Redis. Its replica takes over the address and gets a replica of its own.
    pub async fn lose_redis_to(&mut self, mut replica: RedisServer) {
        std::mem::swap(&mut self.redis, &mut replica);
        self.redis.take_over(replica).await;
        self.replica = Some(self.redis.start_replica().await);
    }

    /// Fails over to the replica without a crash, as a managed Redis does for maintenance: both servers and all
    /// connections stay, and new connections lead to the new master.
    ///
    /// # Panics
    /// Panics if there is no replica or no links, or if the failover does not complete.
    pub async fn change_masters(&mut self) {
        let replica = self.replica.take().expect("a replica");
        self.redis.hand_over_to(&replica).await;
        let old = std::mem::replace(&mut self.redis, replica);
        self.replica = Some(old);
        let links = self.server_links.iter().chain(&self.backend_links).chain(&self.own_links);
        links.for_each(|links| links.redis.lead_to(&self.redis.address()));
    }

    /// Returns every server's endpoints: QUIC, then WebSocket.
    pub fn endpoints(&self) -> Vec<[Endpoint; 2]> {
        let parse = |server: &ImServer| {
            [0, 1].map(|transport| server.endpoints()[transport].parse().expect("an endpoint"))
        };
        self.servers.iter().map(parse).collect()
    }

    /// Adds every user to a group.
    async fn fill_groups(&self) {
        for user in 0..self.options.devices {
            let joined = self.cluster.members().add(&load_group(user), &[load_user(user)]).await;
            joined.expect("Redis takes the members");
        }
    }

    /// Returns the ids of every user's and every group's log.
    pub fn logs(&self) -> Vec<LogId> {
        let users = 0..self.options.devices;
        let groups: BTreeSet<_> = users.clone().map(load_group).map(LogId::Channel).collect();
        users.map(load_user).map(LogId::Inbox).chain(groups).collect()
    }

    /// Returns the last seq of each log.
    ///
    /// # Panics
    /// Panics if Redis does not answer.
    pub async fn ends(&self) -> HashMap<LogId, u64> {
        let logs = self.logs();
        let ends = self.cluster.log().ends(&logs).await.expect("the logs' ends");
        logs.into_iter().zip(ends.into_iter().map(|ends| ends.last)).collect()
    }

    /// Returns whether the last entry that each device saw is the last of its log.
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

    /// Returns how often servers have asked their devices to sync.
    pub fn hints(&self) -> usize {
        let hints = |server: &ImServer| server.output().matches("devices are asked to sync").count();
        self.servers.iter().map(hints).sum()
    }

    /// Feeds the checker with the back ends' reports and the contents of the logs.
    ///
    /// # Panics
    /// Panics if Redis does not answer.
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

/// Returns the addresses of Redis and NATS for a process with these links.
fn addresses(links: Option<&Links>, role: Role, redis: &RedisServer, nats: &NatsServer) -> (String, String) {
    match links {
        Some(links) => (links.redis.url().to_owned(), links.nats.url().to_owned()),
        None => (redis.address_as(role), nats.address_as(role)),
    }
}

/// Returns the stamp of a logged message.
fn stamp(payload: bytes::Bytes) -> Option<Stamp> {
    let message = im_proto::pb::Message::decode(payload).ok()?;
    Stamp::of(Content::from(message.content).as_text())
}
