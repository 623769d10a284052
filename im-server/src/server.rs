//! A server's life: bind, register, run; its end is in `server/end.rs`.

mod end;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::{Duration, Instant},
};

use im_proto::pb;
use im_sdk::{
    cluster::{BusError, Cluster, Publication, RoutesError, Subject, Subscription},
    id::{InvalidId, ServerId},
};
use prost::Message as _;
use rand::RngExt as _;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    acks::{self, Acks},
    answers::{self, Answers},
    arrivals::Arrivals,
    audit, back_ends,
    broadcast::{self, Broadcasts},
    channels::{self, Channels},
    config::{InvalidConfig, ServerConfig},
    deliver,
    haste::Haste,
    lease,
    listen::{Addresses, ListenError, Listeners},
    presence::{self, Presences},
    registry::Registry,
    requests::{self, Requests},
    rollback::{self, Past},
    shared::Shared,
    signals::{self, Signals},
    strangers::Strangers,
    sync::{self, Syncs},
    upstream::{self, Upstream},
};

/// How long what a server says to itself may take.
const FIRST_ENVELOPE: Duration = Duration::from_secs(5);

/// A running server. [`Server::shutdown`] drains and ends it, [`Server::close`] only ends it. Dropped without either it stops
/// at once and waits for nothing: its devices are closed with `going_away` and their routes released as far as the runtime
/// still comes to that, and its lease runs out by itself, so that back ends count it as alive until then.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    addresses: Addresses,
    lease: JoinHandle<()>,
    deliver: JoinHandle<()>,
    channels: JoinHandle<()>,
    presences: JoinHandle<()>,
    accepting: Vec<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
}

/// A server did not start. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting makes no sense.
    #[error("the server's configuration is not valid: {0}")]
    Config(#[from] InvalidConfig),
    /// The name or the incarnation cannot be part of a server id.
    #[error("the server's name and incarnation make no server id: {0}")]
    Name(#[from] InvalidId),
    /// It cannot be reached by anybody.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The server's subject cannot be subscribed to.
    #[error("cannot subscribe to the server's subject: {0}")]
    Bus(#[from] BusError),
    /// What the server publishes on its own subject does not come back.
    #[error(
        "nothing comes in on the server's subject {0}: the bus is out of reach, or does not let this user publish and \
         subscribe there"
    )]
    Deaf(Subject),
    /// The lease cannot be taken.
    #[error("cannot register the server: {0}")]
    Routes(#[from] RoutesError),
    /// A live server has this id.
    #[error("a live server has the id {0}: the incarnation must be new at every boot")]
    IdTaken(ServerId),
}

/// Why a server is not running any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// Its lease ran out, so its devices count as offline: start a new one by [`Server::start_after`], which gets a new id.
    LeaseLost,
    /// The bus is closed for good.
    BusClosed,
}

impl Server {
    /// Binds, registers and runs a server.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: ServerConfig, cluster: Cluster) -> Result<Self, StartError> {
        Self::begin(config, cluster, None).await
    }

    /// The same in place of a server that has [`Server::stopped`], with what that one knew ([`Server::past`]): where the route
    /// store has begun another life since, as in a failover in which the lease was lost too, the devices that come back are
    /// asked to compare their logs. Their last entry alone need not show that what stood before it was replaced.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_after(
        past: &Past,
        config: ServerConfig,
        cluster: Cluster,
    ) -> Result<Self, StartError> {
        Self::begin(config, cluster, Some(past)).await
    }

    async fn begin(config: ServerConfig, cluster: Cluster, past: Option<&Past>) -> Result<Self, StartError> {
        config.check()?;
        let id = server_id(&config)?;
        let listeners = Listeners::bind(&config)?;
        let subscription = subscribe(&cluster, &id).await?;
        let (upstream, publishes) = Upstream::new();
        let (syncs, sync_queue) = Syncs::new();
        let (requests, request_queue) = Requests::new(&id);
        let (channels, changes) = Channels::new();
        let (acks, ack_queue) = Acks::new();
        let (answers, answer_queue) = Answers::new();
        let (signals, signal_queue) = Signals::new();
        let (presences, presence_queue) = Presences::new();
        let (broadcasts, broadcast_queue) = Broadcasts::new();
        let shared = Arc::new(Shared {
            id,
            strangers: Strangers::default(),
            back_ends: Arc::default(),
            arrivals: Arc::new(Arrivals::new(&config.limits)),
            registry: Arc::new(Registry::new(config.limits.max_connections, rand::rng().random())),
            upstream,
            syncs,
            requests,
            channels,
            acks,
            answers,
            signals,
            presences,
            broadcasts,
            endpoints: listeners.endpoints(&config),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            leaving_channels: CancellationToken::new(),
            stopped: CancellationToken::new(),
            drain_announced: AtomicBool::new(false),
            haste: Haste::default(),
            leased_until: Mutex::new(Instant::now()),
            past: Mutex::default(),
            config,
            cluster,
        });
        rollback::begin(&shared, past).await?;
        register(&shared).await?;
        let deliver = tokio::spawn(deliver::run(Arc::clone(&shared), subscription));
        let channels = tokio::spawn(channels::keep(Arc::clone(&shared), changes));
        let forward = upstream::forward(shared.cluster.clone(), shared.id.clone(), publishes);
        let presences = tokio::spawn(presence::forward(shared.cluster.clone(), presence_queue));
        let lease = tokio::spawn(lease::keep(Arc::clone(&shared)));
        let forward_syncs = sync::forward(
            shared.cluster.clone(),
            shared.id.clone(),
            Arc::clone(&shared.back_ends),
            sync_queue,
        );
        let forward_requests = requests::forward(shared.cluster.clone(), shared.id.clone(), request_queue);
        let others = vec![
            tokio::spawn(forward),
            tokio::spawn(forward_syncs),
            tokio::spawn(forward_requests),
            tokio::spawn(acks::forward(shared.cluster.clone(), ack_queue)),
            tokio::spawn(answers::forward(shared.cluster.clone(), answer_queue)),
            tokio::spawn(signals::forward(shared.cluster.clone(), signal_queue)),
            tokio::spawn(broadcast::run(Arc::clone(&shared), broadcast_queue)),
            tokio::spawn(lease::sweep(Arc::clone(&shared))),
            tokio::spawn(audit::run(Arc::clone(&shared))),
            tokio::spawn(rollback::watch(Arc::clone(&shared))),
            tokio::spawn(back_ends::watch(Arc::clone(&shared))),
        ];
        let (addresses, accepting) = listeners.accept(&shared);
        Ok(Self { shared, addresses, lease, deliver, channels, presences, accepting, others })
    }

    /// This run's id.
    pub fn id(&self) -> &ServerId {
        &self.shared.id
    }

    /// For tests and the micro-benchmarks.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The addresses that devices are told.
    pub fn endpoints(&self) -> &[String] {
        &self.shared.endpoints
    }

    /// Where it listens for WebSocket.
    pub fn websocket_addr(&self) -> Option<SocketAddr> {
        self.addresses.websocket
    }

    /// Where it listens for QUIC.
    pub fn quic_addr(&self) -> Option<SocketAddr> {
        self.addresses.quic
    }

    /// SHA-256 of its certificate, which devices pin where it is self-signed.
    pub fn certificate_sha256(&self) -> Option<[u8; 32]> {
        self.addresses.fingerprint
    }

    /// What the server that takes this one's place must know, see [`Server::start_after`]. Ask before [`Server::close`].
    pub fn past(&self) -> Past {
        self.shared.past()
    }

    /// How many devices are connected.
    pub fn connections(&self) -> usize {
        self.shared.registry.len()
    }

    /// Runs until something ends the server; [`Server::close`] it then. Cancel it to shut down.
    pub async fn stopped(&mut self) -> Stopped {
        // A task's handle tells its end once.
        if self.lease.is_finished() {
            return Stopped::LeaseLost;
        }
        if self.deliver.is_finished() {
            return Stopped::BusClosed;
        }
        tokio::select! {
            _ = &mut self.lease => Stopped::LeaseLost,
            _ = &mut self.deliver => Stopped::BusClosed,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.draining.cancel();
        self.shared.stopped.cancel();
        self.lease.abort();
        self.deliver.abort();
        self.channels.abort();
        // Not `presences`: it ends with the last session, whose route is released.
        self.accepting.iter().chain(&self.others).for_each(JoinHandle::abort);
        end::close_all(&self.shared.registry.all());
    }
}

fn server_id(config: &ServerConfig) -> Result<ServerId, InvalidId> {
    let random = || format!("{:08x}", rand::rng().random::<u32>());
    let incarnation = config.incarnation.clone().unwrap_or_else(random);
    ServerId::parse(&format!("{}-{incarnation}", config.name))
}

/// Subscribes to the server's subject, and waits until something came in on it: the first device's back end may be quicker
/// than the subscription, and would take the server for dead.
async fn subscribe(cluster: &Cluster, id: &ServerId) -> Result<Subscription, StartError> {
    let subject = cluster.names().server(id);
    let mut subscription = cluster.bus().subscribe(subject.clone()).await?;
    let nothing = pb::Envelope { publisher: id.to_string(), ..pb::Envelope::default() };
    let publication =
        Publication { subject: subject.clone(), return_to: None, payload: nothing.encode_to_vec().into() };
    let first = async {
        cluster.bus().publish(publication).await?;
        subscription.next().await.ok_or(BusError::Closed)
    };
    match timeout(FIRST_ENVELOPE, first).await {
        Ok(first) => first.map(|_| subscription).map_err(StartError::from),
        Err(_) => Err(StartError::Deaf(subject)),
    }
}

async fn register(shared: &Shared) -> Result<(), StartError> {
    let info = pb::ServerInfo { endpoints: shared.endpoints.clone(), ..Default::default() };
    let routes = shared.cluster.routes();
    let asked = Instant::now();
    if routes.lease_server(&shared.id, &info, shared.config.lease, true).await? {
        shared.set_leased_until(asked + shared.config.lease);
        return Ok(());
    }
    Err(StartError::IdTaken(shared.id.clone()))
}
