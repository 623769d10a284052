//! A server's life: it starts, goes on under a new id when it has lost its place in the cluster, and ends. What runs under one
//! id is in `server/run.rs`, its end in `server/end.rs`.

mod end;
mod run;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use im_sdk::{
    cluster::{BusError, Cluster, RoutesError, Subject},
    id::{InvalidId, ServerId},
};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use self::run::Run;
use crate::{
    config::{InvalidConfig, ServerConfig},
    listen::{ListenError, load_identity},
    occurrences::Occurrences,
    rollback::Past,
    shared::Shared,
    tls::Identity,
};

/// Between two tries to go on.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// A running server. [`Server::shutdown`] drains and ends it, [`Server::close`] only ends it. Dropped without either it stops
/// at once and waits for nothing: its devices are closed with `going_away` and their routes released as far as the runtime
/// still comes to that, and its lease runs out by itself, so that back ends count it as alive until then.
///
/// Where its lease runs out, because Redis was away or the process was frozen for that long, or where it alone cannot reach Redis
/// or NATS, back ends do not reach its devices any more. It sends them away then, so that they connect to other servers, and goes
/// on by itself, on the same addresses and under a new id, as soon as it can. An application that wants to do that itself waits for
/// [`Server::stopped`].
#[derive(Debug)]
pub struct Server {
    /// Of its first life.
    id: ServerId,
    endpoints: Vec<String>,
    websocket: Option<SocketAddr>,
    quic: Option<SocketAddr>,
    fingerprint: Option<[u8; 32]>,
    life: Arc<Life>,
    supervisor: JoinHandle<()>,
}

/// What a server shares with the task that has it go on.
#[derive(Debug)]
struct Life {
    /// `None` while it is between two runs, and at the end.
    run: Mutex<Option<Run>>,
    /// Of the last run.
    shared: Mutex<Arc<Shared>>,
    /// The application deals with the end of a run.
    by_hand: AtomicBool,
    over: CancellationToken,
    why: OnceLock<Stopped>,
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
    /// Its lease ran out, so its devices counted as offline: start a new one by [`Server::start_after`], which gets a new id.
    LeaseLost,
    /// It alone could not reach Redis or the bus, while others do: start a new one in the same way.
    Isolated,
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

    async fn begin(
        mut config: ServerConfig,
        cluster: Cluster,
        past: Option<&Past>,
    ) -> Result<Self, StartError> {
        config.check()?;
        let identity = load_identity(&config)?;
        let run = Run::begin(config.clone(), cluster.clone(), identity.as_ref(), past).await?;
        let addresses = &run.addresses;
        // It goes on where its devices look for it.
        (config.websocket, config.quic) = (addresses.websocket, addresses.quic);
        let shared = Arc::clone(&run.shared);
        let (websocket, quic, fingerprint) = (addresses.websocket, addresses.quic, addresses.fingerprint);
        let life = Arc::new(Life {
            run: Mutex::new(Some(run)),
            shared: Mutex::new(Arc::clone(&shared)),
            by_hand: AtomicBool::new(false),
            over: CancellationToken::new(),
            why: OnceLock::new(),
        });
        let supervisor = tokio::spawn(Arc::clone(&life).supervise(config, cluster, identity));
        let (id, endpoints) = (shared.id.clone(), shared.endpoints.clone());
        Ok(Self { id, endpoints, websocket, quic, fingerprint, life, supervisor })
    }

    /// The id under which it has started. One that went on by itself has another one since.
    pub fn id(&self) -> &ServerId {
        &self.id
    }

    /// For tests and the micro-benchmarks.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.life.shared()
    }

    /// The addresses that devices are told.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
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

    /// What the server that takes this one's place must know, see [`Server::start_after`].
    pub fn past(&self) -> Past {
        self.life.shared().past()
    }

    /// How many devices are connected.
    pub fn connections(&self) -> usize {
        self.life.shared().registry.len()
    }

    /// Waits until something ends the server, which does not go on by itself then: its devices are sent away, and the application
    /// starts another one. From the first call on, also if it is cancelled.
    pub async fn stopped(&mut self) -> Stopped {
        self.life.by_hand.store(true, Ordering::Relaxed);
        self.ended().await
    }

    /// Waits until the server has ended for good: the bus is closed, or it would have to go on under a new id, and
    /// [`ServerConfig::incarnation`] is set. Cancel it to shut down.
    pub async fn ended(&self) -> Stopped {
        self.life.over.cancelled().await;
        self.life.why.get().copied().unwrap_or(Stopped::BusClosed)
    }

    /// The run that it is in, for who ends it: from here on it does not go on by itself.
    async fn take_run(&mut self) -> Option<Run> {
        self.supervisor.abort();
        // With it go what it was about to end, and to start.
        let _ = (&mut self.supervisor).await;
        self.life.take_run()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.supervisor.abort();
        drop(self.life.take_run());
    }
}

impl Life {
    /// Ends each run that is over, and begins the next one.
    async fn supervise(self: Arc<Self>, config: ServerConfig, cluster: Cluster, identity: Option<Identity>) {
        loop {
            let shared = self.shared();
            shared.ended.cancelled().await;
            let why = shared.why_ended();
            let Some(run) = self.take_run() else { return };
            tracing::warn!(id = %shared.id, ?why, "this server's devices are not reached any more: they are sent away");
            match why {
                // Others serve them: one after another.
                Stopped::Isolated => run.shutdown().await,
                // Told, they come back at once; over QUIC they would else wait for a server that is gone.
                Stopped::LeaseLost | Stopped::BusClosed => run.close().await,
            }
            let ends = self.by_hand.load(Ordering::Relaxed) || config.incarnation.is_some();
            if ends || why == Stopped::BusClosed {
                let _ = self.why.set(why);
                return self.over.cancel();
            }
            let past = shared.past();
            let run = begin_again(&past, &config, &cluster, identity.as_ref()).await;
            tracing::warn!(id = %run.shared.id, "serving under a new id");
            *lock(&self.shared) = Arc::clone(&run.shared);
            *lock(&self.run) = Some(run);
        }
    }

    fn shared(&self) -> Arc<Shared> {
        Arc::clone(&lock(&self.shared))
    }

    fn take_run(&self) -> Option<Run> {
        lock(&self.run).take()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tries until it works.
async fn begin_again(
    past: &Past,
    config: &ServerConfig,
    cluster: &Cluster,
    identity: Option<&Identity>,
) -> Run {
    let failures = Occurrences::default();
    loop {
        match Run::begin(config.clone(), cluster.clone(), identity, Some(past)).await {
            Ok(run) => return run,
            Err(error) => {
                if let Some(times) = failures.note() {
                    tracing::warn!(%error, times, "the server cannot go on yet");
                }
            }
        }
        sleep(RESTART_PAUSE).await;
    }
}
