//! A server's life: bind, register, run, drain.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::{Duration, Instant},
};

use im_proto::{close::CloseCode, frame, pb};
use im_sdk::{
    cluster::{BusError, Cluster, Publication, RoutesError, Subject, Subscription},
    id::{InvalidId, ServerId},
};
use prost::Message as _;
use rand::RngExt as _;
use tokio::{
    task::JoinHandle,
    time::{sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    acks::{self, Acks},
    answers::{self, Answers},
    arrivals::Arrivals,
    audit,
    broadcast::{self, Broadcasts},
    channels::{self, Channels},
    config::{InvalidConfig, ServerConfig},
    deliver, lease,
    listen::{Addresses, ListenError, Listeners},
    outbox::Close,
    presence::{self, Presences},
    registry::{Connection, Registry},
    requests::{self, Requests},
    rollback::Watch,
    shared::Shared,
    signals::{self, Signals},
    sync::{self, Syncs},
    upstream::{self, Upstream},
};

/// The share of the drain's time over which `GoAway` is spread; the rest is for the last devices to leave.
const SPREAD: f64 = 0.8;

/// How long what a server says to itself may take.
const FIRST_ENVELOPE: Duration = Duration::from_secs(5);

/// After the grace period, how long each of the last steps may take: connections that hand over their close codes, what
/// was published and has not left.
const LAST_CLOSE: Duration = Duration::from_secs(3);

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
    /// Its lease ran out, so its devices count as offline: start a new one, which gets a new id.
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
            leased_until: Mutex::new(Instant::now()),
            rolled_back_at: Mutex::new(None),
            config,
            cluster,
        });
        // Before any route is written: what is forgotten from here on is noticed.
        let watch = Watch::start(&shared).await?;
        register(&shared).await?;
        let deliver = tokio::spawn(deliver::run(Arc::clone(&shared), subscription));
        let channels = tokio::spawn(channels::keep(Arc::clone(&shared), changes));
        let forward = upstream::forward(shared.cluster.clone(), shared.id.clone(), publishes);
        let presences = tokio::spawn(presence::forward(shared.cluster.clone(), presence_queue));
        let lease = tokio::spawn(lease::keep(Arc::clone(&shared)));
        let forward_syncs = sync::forward(shared.cluster.clone(), shared.id.clone(), sync_queue);
        let forward_requests = requests::forward(shared.cluster.clone(), shared.id.clone(), request_queue);
        let mut others = vec![
            tokio::spawn(forward),
            tokio::spawn(forward_syncs),
            tokio::spawn(forward_requests),
            tokio::spawn(acks::forward(shared.cluster.clone(), ack_queue)),
            tokio::spawn(answers::forward(shared.cluster.clone(), answer_queue)),
            tokio::spawn(signals::forward(shared.cluster.clone(), signal_queue)),
            tokio::spawn(broadcast::run(Arc::clone(&shared), broadcast_queue)),
            tokio::spawn(lease::sweep(Arc::clone(&shared))),
            tokio::spawn(audit::run(Arc::clone(&shared))),
            tokio::spawn(watch.run(Arc::clone(&shared))),
        ];
        let (addresses, accepting) = listeners.accept(&shared);
        others.extend(accepting);
        Ok(Self { shared, addresses, lease, deliver, channels, presences, others })
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

    /// Drains and stops: takes no new connections, asks the devices to go elsewhere, spread over the grace period,
    /// closes who is left, and releases all routes. Nothing is lost, and no device waits longer than it takes to
    /// reconnect.
    pub async fn shutdown(self) {
        let shared = &self.shared;
        shared.draining.cancel();
        let deadline = Instant::now() + shared.config.drain_grace;
        self.ask_to_leave(deadline).await;
        shared.tasks.close();
        let left = deadline.saturating_duration_since(Instant::now());
        let _ = timeout(left, shared.tasks.wait()).await;
        self.close().await;
    }

    /// Stops without a drain: closes all devices at once, which come back elsewhere, and releases all routes. For a
    /// server that has [`Server::stopped`].
    pub async fn close(mut self) {
        let shared = &self.shared;
        shared.draining.cancel();
        shared.tasks.close();
        close_all(&shared.registry.all());
        let _ = timeout(LAST_CLOSE, shared.tasks.wait()).await;
        // Who has gone now is told of, and nobody after that.
        shared.presences.close();
        let _ = timeout(LAST_CLOSE, &mut self.presences).await;
        shared.leaving_channels.cancel();
        let _ = timeout(LAST_CLOSE, &mut self.channels).await;
        if let Err(error) = shared.cluster.routes().end_server_lease(&shared.id).await {
            tracing::warn!(%error, "cannot end the server's lease, it will run out");
        }
        // Without a connection to the bus a flush waits for the next one.
        let _ = timeout(LAST_CLOSE, shared.cluster.bus().flush()).await;
        if let Some(endpoint) = &self.addresses.quic_endpoint {
            let _ = timeout(LAST_CLOSE, endpoint.wait_idle()).await;
        }
    }

    /// Sends `GoAway` to one connection after another, spread evenly.
    async fn ask_to_leave(&self, deadline: Instant) {
        let connections = self.shared.registry.all();
        let started = Instant::now();
        let spread = deadline.saturating_duration_since(started).mul_f64(SPREAD);
        let step = spread / u32::try_from(connections.len()).unwrap_or(u32::MAX).max(1);
        let within = u32::try_from(step.as_millis()).unwrap_or(u32::MAX);
        let go_away = frame::encode(pb::frame::Body::GoAway(pb::GoAway { reconnect_within_ms: within }));
        for (index, connection) in connections.iter().enumerate() {
            let due = started + step * u32::try_from(index).unwrap_or(u32::MAX);
            sleep_until(due.into()).await;
            connection.outbox.try_push(go_away.clone());
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
        self.others.iter().for_each(JoinHandle::abort);
        close_all(&self.shared.registry.all());
    }
}

fn close_all(connections: &[Arc<Connection>]) {
    for connection in connections {
        connection.outbox.close(Close::new(CloseCode::GoingAway, "the server is stopping"));
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
