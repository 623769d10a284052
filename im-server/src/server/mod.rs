//! A server's life: it starts, goes on under a new id when it has lost its place in the cluster, and ends. `run.rs` has one run under
//! one id, `shutdown.rs` its end.

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

/// The pause between two attempts to go on.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// A running server. [`Server::shutdown`] drains and ends it, [`Server::close`] only ends it.
///
/// Dropped without either, it stops at once and waits for nothing. Its devices are closed with `going_away`, and their routes are
/// released as far as the runtime still gets to that. Its lease runs out by itself, so backends count it as alive until then.
///
/// Backends cannot reach its devices any more if its lease runs out, because Redis was away or the process was frozen for that long, or
/// if it alone cannot reach Redis or NATS. Then it sends its devices away, so that they connect to other servers, and goes on by itself
/// as soon as it can, on the same addresses and under a new id. An application that wants to do that itself waits for
/// [`Server::stopped`].
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

/// Ends each run that is over, and begins the next one.
#[derive(Debug)]
struct Supervisor {
    /// `None` between two runs, and at the end.
    run: Mutex<Option<Run>>,
    /// The context of the last run.
    context: Mutex<Arc<ServerContext>>,
    /// Whether the application deals with the end of a run itself.
    is_manual: AtomicBool,
    over: CancellationToken,
    reason: OnceLock<StopReason>,
}

/// A server did not start. Nothing is left of it.
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
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: ServerConfig, cluster: Cluster) -> Result<Self, StartError> {
        Self::begin(config, cluster, None).await
    }

    /// Checks what can be checked before there is a cluster: the settings, the server's name, and the files of the certificate and its
    /// key. [`Server::start`] checks the same.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn check(config: &ServerConfig) -> Result<(), StartError> {
        config.check()?;
        run::server_id(config)?;
        Ok(transport::check(config)?)
    }

    /// Starts a server that replaces one that has [`Server::stopped`], and goes on from the [`Server::store_epoch`] of that one.
    ///
    /// If the route store has begun another life since, as in a failover in which the lease was lost too, the devices that come back
    /// are asked to compare their logs. Their last entry alone need not show that earlier ones were replaced.
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
        // A later run listens where the devices look for it.
        (config.websocket, config.quic) = (addresses.websocket, addresses.quic);
        let context = Arc::clone(&run.context);
        let (websocket, quic, fingerprint) = (addresses.websocket, addresses.quic, addresses.fingerprint);
        let supervisor = Arc::new(Supervisor {
            run: Mutex::new(Some(run)),
            context: Mutex::new(Arc::clone(&context)),
            is_manual: AtomicBool::new(false),
            over: CancellationToken::new(),
            reason: OnceLock::new(),
        });
        let supervision = tokio::spawn(Arc::clone(&supervisor).run(config, cluster, identity));
        let (id, endpoints) = (context.id.clone(), context.endpoints.clone());
        Ok(Self { id, endpoints, websocket, quic, fingerprint, supervisor, supervision })
    }

    /// Returns the id under which the server has started. One that went on by itself has another id since.
    pub fn id(&self) -> &ServerId {
        &self.id
    }

    /// Returns the context of the last run, for tests and the micro-benchmarks.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn context(&self) -> Arc<ServerContext> {
        self.supervisor.context()
    }

    /// Returns the addresses that devices are told.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// Returns the address on which it listens for WebSocket.
    pub fn websocket_addr(&self) -> Option<SocketAddr> {
        self.websocket
    }

    /// Returns the address on which it listens for QUIC.
    pub fn quic_addr(&self) -> Option<SocketAddr> {
        self.quic
    }

    /// Returns SHA-256 of its certificate, which devices pin if it is self-signed.
    pub fn certificate_sha256(&self) -> Option<[u8; 32]> {
        self.fingerprint
    }

    /// Returns what a server that replaces this one goes on from, see [`Server::start_replacing`].
    pub fn store_epoch(&self) -> StoreEpoch {
        self.supervisor.context().store_epoch()
    }

    /// Returns how many devices are connected.
    pub fn connections(&self) -> usize {
        self.supervisor.context().registry.len()
    }

    /// Waits until something ends the run, and keeps the server from going on by itself: its devices are sent away, and the
    /// application starts another one. The server stays like that from the first call on, also if the call is cancelled.
    pub async fn stopped(&mut self) -> StopReason {
        self.supervisor.is_manual.store(true, Ordering::Relaxed);
        self.ended().await
    }

    /// Waits until the server has ended for good: the bus is closed, or the server would have to go on under a new id and
    /// [`ServerConfig::incarnation`] is set. This may be cancelled at any time, to shut down.
    pub async fn ended(&self) -> StopReason {
        self.supervisor.over.cancelled().await;
        self.supervisor.reason.get().copied().unwrap_or(StopReason::BusClosed)
    }

    /// Takes the current run, to end it. From here on the server does not go on by itself.
    async fn take_run(&mut self) -> Option<Run> {
        self.supervision.abort();
        // A run that it was about to end or to begin goes with it.
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
            context.lifecycle.ended.cancelled().await;
            let reason = context.lifecycle.end_reason();
            let Some(run) = self.take_run() else { return };
            tracing::warn!(id = %context.id, ?reason, "nothing reaches this server's devices any more: they are sent away");
            match reason {
                // Other servers take the devices, one after another.
                StopReason::Isolated => run.shutdown().await,
                // Devices that are told come back at once. Over QUIC they would otherwise wait for a server that is gone.
                StopReason::LeaseLost | StopReason::BusClosed => run.close().await,
            }
            let ends = self.is_manual.load(Ordering::Relaxed) || config.incarnation.is_some();
            if ends || reason == StopReason::BusClosed {
                let _ = self.reason.set(reason);
                return self.over.cancel();
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

/// Begins a run, and tries until it works.
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
                    tracing::warn!(%error, count, "the server cannot go on yet");
                }
            }
        }
        sleep(RESTART_PAUSE).await;
    }
}
