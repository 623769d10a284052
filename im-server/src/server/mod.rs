//! The lifecycle of a server: it starts, restarts under a new id when the cluster has lost it, and stops. `run.rs` is one run under
//! one id, `shutdown.rs` the end of a run.

mod drain;
mod failover;
mod lease;
mod route_audit;
mod run;
mod shutdown;
mod shutdown_timer;
mod sweep;

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use im_sdk::{
    cluster::{BusError, Cluster, RoutesError, Subject},
    id::{InvalidId, ServerId},
};
use parking_lot::Mutex;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use self::run::Run;
use crate::{
    config::{InvalidConfig, ServerConfig},
    context::{ServerContext, StoreEpoch},
    lifecycle::StopReason,
    logging::throttle::LogThrottle,
    transport::{self, ListenError, load_identity, tls::Identity},
};

/// The pause between two attempts to restart.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// A running server. [`Server::shutdown`] drains and ends it, [`Server::close`] only ends it.
///
/// A server that is dropped without either stops at once and waits for nothing. Its devices are closed with `going_away`, and their
/// routes are released if the runtime lives long enough. Its lease runs out by itself, so backends count it as alive until then.
///
/// Backends cannot reach the devices of a server whose lease has run out, because Redis was away or the process was frozen for that
/// long, or of one that alone cannot reach Redis or NATS. Such a server sends its devices to other servers, and restarts by itself as
/// soon as it can, on the same addresses and under a new id. To restart it yourself, call [`Server::disable_restart`].
///
/// # Examples
///
/// A server inside the process of its backend, over WebSocket alone:
///
/// ```
/// use im_sdk::{cluster::Cluster, token::{TokenVerifier, VerificationKey, random_secret}};
/// use im_server::{Server, ServerConfig};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let tokens = TokenVerifier::new("my-backend", "im", [VerificationKey::hs256("k1", &random_secret())?]);
/// let mut config = ServerConfig::new("im1", tokens);
/// config.websocket = Some("127.0.0.1:0".parse()?);
/// let server = Server::start(config, Cluster::embedded()).await?;
/// println!("devices connect to {:?}", server.endpoints());
/// server.shutdown().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Server {
    /// The id of its first run.
    id: ServerId,
    endpoints: Vec<String>,
    websocket: Option<SocketAddr>,
    quic: Option<SocketAddr>,
    fingerprint: Option<[u8; 32]>,
    supervisor: Arc<Supervisor>,
    supervision: JoinHandle<()>,
}

/// Ends each run whose devices have become unreachable, and begins the next one.
#[derive(Debug)]
struct Supervisor {
    /// The current run; `None` between two runs, and at the end.
    run: Mutex<Option<Run>>,
    /// The context of the last run.
    context: Mutex<Arc<ServerContext>>,
    /// Whether the application restarts the server itself.
    restart_disabled: AtomicBool,
    /// Cancelled when the server has stopped for good.
    stopped: CancellationToken,
    reason: OnceLock<StopReason>,
}

/// The server did not start. It leaves nothing behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is out of range.
    #[error("the server's configuration is not valid: {0}")]
    Config(#[from] InvalidConfig),
    /// The name or the incarnation cannot be part of a server id.
    #[error("the server's name and incarnation make no server id: {0}")]
    Name(#[from] InvalidId),
    /// The server cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The server cannot subscribe to its subject.
    #[error("cannot subscribe to the server's subject: {0}")]
    Bus(#[from] BusError),
    /// The server's own publications on its subject do not arrive.
    #[error(
        "nothing arrives on the server's subject {0}: the bus is out of reach, or does not let this user publish and \
         subscribe there"
    )]
    Deaf(Subject),
    /// The lease cannot be taken.
    #[error("cannot register the server: {0}")]
    Routes(#[from] RoutesError),
    /// A live server has this id.
    #[error("a live server has the id {0}: set an incarnation that is new at every boot")]
    IdTaken(ServerId),
}

impl Server {
    /// Binds, registers and runs a server.
    ///
    /// ```no_run
    /// use im_sdk::cluster::Cluster;
    /// use im_server::{Server, ServerConfig, StartError};
    ///
    /// # async fn run(config: ServerConfig) -> Result<(), StartError> {
    /// let server = Server::start(config, Cluster::embedded()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: ServerConfig, cluster: Cluster) -> Result<Self, StartError> {
        Self::begin(config, cluster, None).await
    }

    /// Checks the settings, the server's name, and the files of the certificate and its key, for which no cluster is needed.
    /// [`Server::start`] checks them too.
    ///
    /// ```no_run
    /// use im_server::{Server, ServerConfig, StartError};
    ///
    /// # fn run(config: ServerConfig) -> Result<(), StartError> {
    /// Server::check(&config)?; // before the first connection to Redis or NATS
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StartError`].
    pub fn check(config: &ServerConfig) -> Result<(), StartError> {
        config.check()?;
        run::server_id(config)?;
        Ok(transport::check(config)?)
    }

    /// Starts a server that replaces one that has [stopped](Server::stopped), and continues from that one's [`Server::store_epoch`].
    ///
    /// If the route store was replaced since, as in a failover in which the lease was lost too, devices that reconnect are asked to
    /// compare their logs. Their last entry alone need not show that earlier ones were replaced.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_replacing(
        epoch: &StoreEpoch,
        config: ServerConfig,
        cluster: Cluster,
    ) -> Result<Self, StartError> {
        Self::begin(config, cluster, Some(epoch)).await
    }

    async fn begin(
        mut config: ServerConfig,
        cluster: Cluster,
        epoch: Option<&StoreEpoch>,
    ) -> Result<Self, StartError> {
        Self::check(&config)?;
        let identity = load_identity(&config)?;
        let run = Run::begin(config.clone(), cluster.clone(), identity.as_ref(), epoch).await?;
        let addresses = &run.addresses;
        // A later run listens on the addresses that the devices know.
        (config.websocket, config.quic) = (addresses.websocket, addresses.quic);
        let context = Arc::clone(&run.context);
        let (websocket, quic, fingerprint) = (addresses.websocket, addresses.quic, addresses.fingerprint);
        let supervisor = Arc::new(Supervisor {
            run: Mutex::new(Some(run)),
            context: Mutex::new(Arc::clone(&context)),
            restart_disabled: AtomicBool::new(false),
            stopped: CancellationToken::new(),
            reason: OnceLock::new(),
        });
        let supervision = tokio::spawn(Arc::clone(&supervisor).run(config, cluster, identity));
        let (id, endpoints) = (context.id.clone(), context.endpoints.clone());
        Ok(Self { id, endpoints, websocket, quic, fingerprint, supervisor, supervision })
    }

    /// Returns the id of the server's first run. A server that has restarted since has another one.
    pub fn id(&self) -> &ServerId {
        &self.id
    }

    /// Returns the context of the last run, for tests and the micro-benchmarks.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn context(&self) -> Arc<ServerContext> {
        self.supervisor.context()
    }

    /// Returns the addresses announced to devices.
    ///
    /// ```no_run
    /// # fn run(server: &im_server::Server) {
    /// for endpoint in server.endpoints() {
    ///     println!("devices connect to {endpoint}");
    /// }
    /// # }
    /// ```
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// Returns the address on which the server listens for WebSocket.
    pub fn websocket_addr(&self) -> Option<SocketAddr> {
        self.websocket
    }

    /// Returns the address on which the server listens for QUIC.
    pub fn quic_addr(&self) -> Option<SocketAddr> {
        self.quic
    }

    /// Returns the SHA-256 digest of the server's certificate, which devices pin if it is self-signed.
    ///
    /// ```no_run
    /// use im_sdk::client::{ClientConfig, Trust};
    ///
    /// # fn run(server: &im_server::Server, config: &mut ClientConfig) {
    /// if let Some(digest) = server.certificate_sha256() {
    ///     config.trust = Trust::CertificateSha256(digest);
    /// }
    /// # }
    /// ```
    pub fn certificate_sha256(&self) -> Option<[u8; 32]> {
        self.fingerprint
    }

    /// Returns the state that a server that replaces this one continues from, see [`Server::start_replacing`].
    pub fn store_epoch(&self) -> StoreEpoch {
        self.supervisor.context().store_epoch()
    }

    /// Returns the number of connected devices.
    ///
    /// ```no_run
    /// # fn run(server: &im_server::Server) {
    /// println!("{} devices are connected", server.connections());
    /// # }
    /// ```
    pub fn connections(&self) -> usize {
        self.supervisor.context().registry.len()
    }

    /// Prevents the server from restarting by itself when backends cannot reach its devices any more. It then sends its devices
    /// away and stops, and the application starts the next one.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use im_sdk::cluster::Cluster;
    /// use im_server::{Server, ServerConfig};
    ///
    /// # async fn run(config: ServerConfig, cluster: Cluster) -> Result<(), im_server::StartError> {
    /// let mut server = Server::start(config.clone(), cluster.clone()).await?;
    /// loop {
    ///     server.disable_restart();
    ///     let reason = server.stopped().await;
    ///     println!("the server has stopped: {reason:?}");
    ///     server = Server::start_replacing(&server.store_epoch(), config.clone(), cluster.clone()).await?;
    /// }
    /// # }
    /// ```
    pub fn disable_restart(&self) {
        self.supervisor.restart_disabled.store(true, Ordering::Relaxed);
    }

    /// Waits until the server has stopped for good: the bus is closed, or backends cannot reach its devices any more and it may not
    /// restart, because of [`Server::disable_restart`] or [`ServerConfig::incarnation`].
    ///
    /// May be cancelled at any time, to shut down, and called again.
    ///
    /// ```no_run
    /// # async fn run(server: im_server::Server) {
    /// tokio::select! {
    ///     reason = server.stopped() => println!("the server has stopped: {reason:?}"),
    ///     _ = tokio::signal::ctrl_c() => server.shutdown().await,
    /// }
    /// # }
    /// ```
    pub async fn stopped(&self) -> StopReason {
        self.supervisor.stopped.cancelled().await;
        self.supervisor.reason.get().copied().unwrap_or(StopReason::BusClosed)
    }

    /// Takes the current run, to end it. From now on the server does not restart.
    async fn take_run(&mut self) -> Option<Run> {
        self.supervision.abort();
        // If the supervision was about to end or begin a run, that run is dropped.
        let _ = (&mut self.supervision).await;
        self.supervisor.take_run()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.supervision.abort();
        drop(self.supervisor.take_run());
    }
}

impl Supervisor {
    async fn run(self: Arc<Self>, config: ServerConfig, cluster: Cluster, identity: Option<Identity>) {
        loop {
            let context = self.context();
            context.lifecycle.unreachable.cancelled().await;
            let reason = context.lifecycle.stop_reason();
            let Some(run) = self.take_run() else { return };
            tracing::warn!(id = %context.id, ?reason, "backends cannot reach this server's devices any more, sending them to other servers");
            match reason {
                // Other servers receive the devices, one after another.
                StopReason::Isolated => run.shutdown().await,
                // Devices that get a close code reconnect at once. Over QUIC they would otherwise wait for a server that is gone.
                StopReason::LeaseLost | StopReason::BusClosed => run.close().await,
            }
            let ends = self.restart_disabled.load(Ordering::Relaxed) || config.incarnation.is_some();
            if ends || reason == StopReason::BusClosed {
                let _ = self.reason.set(reason);
                return self.stopped.cancel();
            }
            let epoch = context.store_epoch();
            let run = begin_again(&epoch, &config, &cluster, identity.as_ref()).await;
            tracing::warn!(id = %run.context.id, "serving under a new id");
            *self.context.lock() = Arc::clone(&run.context);
            *self.run.lock() = Some(run);
        }
    }

    fn context(&self) -> Arc<ServerContext> {
        Arc::clone(&self.context.lock())
    }

    fn take_run(&self) -> Option<Run> {
        self.run.lock().take()
    }
}

/// Begins a run, and repeats that until it succeeds.
async fn begin_again(
    epoch: &StoreEpoch,
    config: &ServerConfig,
    cluster: &Cluster,
    identity: Option<&Identity>,
) -> Run {
    let failures = LogThrottle::default();
    loop {
        match Run::begin(config.clone(), cluster.clone(), identity, Some(epoch)).await {
            Ok(run) => return run,
            Err(error) => {
                if let Some(count) = failures.note() {
                    tracing::warn!(%error, count, "cannot restart yet");
                }
            }
        }
        sleep(RESTART_PAUSE).await;
    }
}
