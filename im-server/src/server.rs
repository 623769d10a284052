//! A server's life: bind, register, run, drain.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use im_proto::{ALPN, close::CloseCode, frame, pb};
use im_sdk::{
    cluster::{BusError, Cluster, Route, RoutesError},
    id::{InvalidId, ServerId},
};
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use rand::RngExt as _;
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::ServerConfig,
    deliver, lease, listen,
    outbox::Close,
    registry::{Connection, Registry},
    tls::{Identity, TlsError},
    upstream::{self, Upstream},
};

/// The share of the drain's time over which `GoAway` is spread; the rest is for the last devices to leave.
const SPREAD: f64 = 0.8;

/// After the grace period, how long the last connections may take to hand over their close codes.
const LAST_CLOSE: Duration = Duration::from_secs(3);

/// What every part of the server shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: ServerId,
    pub(crate) config: ServerConfig,
    pub(crate) cluster: Cluster,
    pub(crate) registry: Arc<Registry>,
    pub(crate) upstream: Upstream,
    pub(crate) endpoints: Vec<String>,
    /// Owns every connection's task.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when no new connections are taken.
    pub(crate) draining: CancellationToken,
    /// Cancelled when everything is over.
    pub(crate) stopped: CancellationToken,
    drain_announced: AtomicBool,
}

impl Shared {
    pub(crate) fn drain_announced(&self) -> bool {
        self.drain_announced.load(Ordering::Relaxed)
    }

    pub(crate) fn set_drain_announced(&self, announced: bool) {
        self.drain_announced.store(announced, Ordering::Relaxed);
    }

    /// Removes a connection's route if it still is this one.
    pub(crate) async fn release_route(&self, connection: &Connection) {
        let route = Route { server: self.id.clone(), connection: connection.id };
        let routes = self.cluster.routes();
        if let Err(error) = routes.release(&connection.user, &connection.device, &route).await {
            // Back ends learn from the next delivery that it leads nowhere.
            tracing::warn!(user = %connection.user, %error, "cannot release a route");
        }
    }
}

/// A running server. Dropping it stops it at once, as a crash would; [`Server::shutdown`] drains it first.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    websocket: Option<SocketAddr>,
    quic: Option<SocketAddr>,
    quic_endpoint: Option<Endpoint>,
    fingerprint: Option<[u8; 32]>,
    lease: JoinHandle<()>,
    deliver: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
}

/// A server did not start. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The name or the incarnation cannot be part of a server id.
    #[error("the server's name and incarnation make no server id: {0}")]
    Name(#[from] InvalidId),
    /// Neither WebSocket nor QUIC has an address to listen on.
    #[error("the server has no address to listen on: set one for WebSocket or for QUIC")]
    NoListener,
    /// An address cannot be listened on.
    #[error("cannot listen for {transport} on {address}: {source}")]
    Bind {
        /// `WebSocket` or `QUIC`.
        transport: &'static str,
        /// Which address.
        address: SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server's subject cannot be subscribed to.
    #[error("cannot subscribe to the server's subject: {0}")]
    Bus(#[from] BusError),
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

struct Listeners {
    websocket: Option<(TcpListener, SocketAddr, Option<TlsAcceptor>)>,
    quic: Option<(Endpoint, SocketAddr)>,
    fingerprint: Option<[u8; 32]>,
}

impl Server {
    /// Binds, registers and runs a server.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: ServerConfig, cluster: Cluster) -> Result<Self, StartError> {
        let id = server_id(&config)?;
        let listeners = Listeners::bind(&config).await?;
        let subscription = cluster.bus().subscribe(cluster.names().server(&id)).await?;
        let (upstream, publishes) = Upstream::new();
        let shared = Arc::new(Shared {
            id,
            registry: Arc::new(Registry::new(config.limits.max_connections, rand::rng().random())),
            upstream,
            endpoints: listeners.endpoints(&config),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            stopped: CancellationToken::new(),
            drain_announced: AtomicBool::new(false),
            config,
            cluster,
        });
        register(&shared).await?;
        let deliver = tokio::spawn(deliver::run(Arc::clone(&shared), subscription));
        let forward = upstream::forward(shared.cluster.clone(), shared.id.clone(), publishes);
        let lease = tokio::spawn(lease::keep(Arc::clone(&shared)));
        let others = vec![tokio::spawn(forward), tokio::spawn(lease::sweep(Arc::clone(&shared)))];
        Ok(listeners.serve(shared, lease, deliver, others))
    }

    /// This run's id.
    pub fn id(&self) -> &ServerId {
        &self.shared.id
    }

    /// The addresses that devices are told.
    pub fn endpoints(&self) -> &[String] {
        &self.shared.endpoints
    }

    /// Where it listens for WebSocket.
    pub fn websocket_addr(&self) -> Option<SocketAddr> {
        self.websocket
    }

    /// Where it listens for QUIC.
    pub fn quic_addr(&self) -> Option<SocketAddr> {
        self.quic
    }

    /// SHA-256 of its certificate, which devices pin where it is self-signed.
    pub fn certificate_sha256(&self) -> Option<[u8; 32]> {
        self.fingerprint
    }

    /// How many devices are connected.
    pub fn connections(&self) -> usize {
        self.shared.registry.len()
    }

    /// Runs until something ends the server. Cancel it to shut down.
    pub async fn stopped(&mut self) -> Stopped {
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
        if timeout(left, shared.tasks.wait()).await.is_err() {
            close_all(&shared.registry.all());
            let _ = timeout(LAST_CLOSE, shared.tasks.wait()).await;
        }
        if let Err(error) = shared.cluster.routes().end_server_lease(&shared.id).await {
            tracing::warn!(%error, "cannot end the server's lease, it will run out");
        }
        let _ = shared.cluster.bus().flush().await;
        if let Some(endpoint) = &self.quic_endpoint {
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

async fn register(shared: &Shared) -> Result<(), StartError> {
    let info = pb::ServerInfo { endpoints: shared.endpoints.clone(), ..Default::default() };
    let routes = shared.cluster.routes();
    if routes.lease_server(&shared.id, &info, shared.config.lease, true).await? {
        return Ok(());
    }
    Err(StartError::IdTaken(shared.id.clone()))
}

impl Listeners {
    async fn bind(config: &ServerConfig) -> Result<Self, StartError> {
        let needs_tls = config.quic.is_some() || (config.websocket.is_some() && config.websocket_tls);
        let identity = if needs_tls { Some(Identity::load(&config.tls)?) } else { None };
        let mut listeners = Self {
            websocket: None,
            quic: None,
            fingerprint: identity.as_ref().and_then(Identity::fingerprint),
        };
        if let Some(address) = config.websocket {
            let tls = identity.as_ref().filter(|_| config.websocket_tls);
            listeners.websocket = Some(bind_websocket(address, tls).await?);
        }
        if let (Some(address), Some(identity)) = (config.quic, &identity) {
            listeners.quic = Some(bind_quic(address, identity, config)?);
        }
        if listeners.websocket.is_none() && listeners.quic.is_none() {
            return Err(StartError::NoListener);
        }
        Ok(listeners)
    }

    /// What devices are told: what is configured, else where this server listens.
    fn endpoints(&self, config: &ServerConfig) -> Vec<String> {
        if !config.advertise.is_empty() {
            return config.advertise.clone();
        }
        let quic = self.quic.iter().map(|(_, address)| format!("quic://{address}"));
        let websocket = self.websocket.iter().map(|(_, address, tls)| {
            let scheme = if tls.is_some() { "wss" } else { "ws" };
            format!("{scheme}://{address}")
        });
        quic.chain(websocket).collect()
    }

    fn serve(
        self,
        shared: Arc<Shared>,
        lease: JoinHandle<()>,
        deliver: JoinHandle<()>,
        mut others: Vec<JoinHandle<()>>,
    ) -> Server {
        let websocket = self.websocket.as_ref().map(|(_, address, _)| *address);
        let quic = self.quic.as_ref().map(|(_, address)| *address);
        if let Some((listener, _, tls)) = self.websocket {
            others.push(tokio::spawn(listen::websocket::accept(Arc::clone(&shared), listener, tls)));
        }
        let quic_endpoint = self.quic.map(|(endpoint, _)| endpoint);
        if let Some(endpoint) = quic_endpoint.clone() {
            others.push(tokio::spawn(listen::quic::accept(Arc::clone(&shared), endpoint)));
        }
        let fingerprint = self.fingerprint;
        Server { shared, websocket, quic, quic_endpoint, fingerprint, lease, deliver, others }
    }
}

async fn bind_websocket(
    address: SocketAddr,
    tls: Option<&Identity>,
) -> Result<(TcpListener, SocketAddr, Option<TlsAcceptor>), StartError> {
    let failed = |source| StartError::Bind { transport: "WebSocket", address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    let tls = tls.map(|identity| identity.server_config(&[b"http/1.1"])).transpose()?;
    Ok((listener, local, tls.map(TlsAcceptor::from)))
}

fn bind_quic(
    address: SocketAddr,
    identity: &Identity,
    config: &ServerConfig,
) -> Result<(Endpoint, SocketAddr), StartError> {
    let failed = |source| StartError::Bind { transport: "QUIC", address, source };
    let tls = identity.server_config(&[ALPN])?;
    let quic = listen::quic::server_config(tls, config.idle_timeout())
        .map_err(|error| failed(std::io::Error::other(error)))?;
    let socket = UdpSocket::bind(address).map_err(failed)?;
    let local = socket.local_addr().map_err(failed)?;
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(quic), socket, Arc::new(TokioRuntime));
    Ok((endpoint.map_err(failed)?, local))
}
