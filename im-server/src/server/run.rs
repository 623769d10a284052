//! One life of a server, under one id: bind, register, run; its end is in `end.rs`.

use std::{
    sync::{Arc, Mutex, OnceLock, atomic::AtomicBool},
    time::{Duration, Instant},
};

use im_proto::pb;
use im_sdk::{
    cluster::{BusError, Cluster, Publication, Subscription},
    id::{InvalidId, ServerId},
};
use prost::Message as _;
use rand::RngExt as _;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{StartError, Stopped, end};
use crate::{
    acks::{self, Acks},
    answers::{self, Answers},
    arrivals::Arrivals,
    audit, back_ends,
    broadcast::{self, Broadcasts},
    channels::{self, Channels},
    config::ServerConfig,
    deliver,
    haste::Haste,
    hints::{self, SyncHints},
    isolation::{self, Isolation},
    lease,
    listen::{Addresses, Listeners},
    occurrences::Throttles,
    presence::{self, Presences},
    registry::Registry,
    requests::{self, Requests},
    rollback::{self, Past},
    shared::Shared,
    signals::{self, Signals},
    strangers::Strangers,
    sync::{self, Syncs},
    tls::Identity,
    upstream::{self, Upstream},
};

/// How long what a server says to itself may take.
const FIRST_ENVELOPE: Duration = Duration::from_secs(5);

/// See the module's description. Dropped, it closes its devices and waits for nothing.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) addresses: Addresses,
    lease: JoinHandle<()>,
    deliver: JoinHandle<()>,
    pub(super) channels: JoinHandle<()>,
    pub(super) presences: JoinHandle<()>,
    pub(super) accepting: Vec<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
}

impl Run {
    /// Begins one, after the one of which `past` tells.
    pub(super) async fn begin(
        config: ServerConfig,
        cluster: Cluster,
        identity: Option<&Identity>,
        past: Option<&Past>,
    ) -> Result<Self, StartError> {
        let id = server_id(&config)?;
        let listeners = Listeners::bind(&config, identity)?;
        let subscription = subscribe(&cluster, &id).await?;
        let (upstream, publishes) = Upstream::new();
        let (syncs, sync_queue) = Syncs::new();
        let (requests, request_queue) = Requests::new(&id);
        let (channels, changes) = Channels::new();
        let (acks, ack_queue) = Acks::new();
        let (answers, answer_queue) = Answers::new();
        let (signals, signal_queue) = Signals::new();
        let (presences, presence_queue) = Presences::new(config.presence_delay);
        let (broadcasts, broadcast_queue) = Broadcasts::new();
        let shared = Arc::new(Shared {
            id,
            strangers: Strangers::default(),
            throttles: Throttles::default(),
            back_ends: Arc::default(),
            arrivals: Arc::new(Arrivals::new(&config.limits)),
            registry: Arc::new(Registry::new(config.limits.max_connections, rand::rng().random())),
            upstream,
            syncs,
            hints: SyncHints::default(),
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
            isolation: Isolation::new(),
            lease_lost: CancellationToken::new(),
            ended: CancellationToken::new(),
            why_ended: OnceLock::new(),
            config,
            cluster,
        });
        rollback::begin(&shared, past).await?;
        register(&shared).await?;
        let deliver = tokio::spawn(deliver(Arc::clone(&shared), subscription));
        let channels = tokio::spawn(channels::keep(Arc::clone(&shared), changes));
        let forward = upstream::forward(shared.cluster.clone(), shared.id.clone(), publishes);
        let presences = tokio::spawn(presence::forward(shared.cluster.clone(), presence_queue));
        let lease = tokio::spawn(keep_lease(Arc::clone(&shared)));
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
            tokio::spawn(isolation::watch(Arc::clone(&shared))),
            tokio::spawn(hints::run(Arc::clone(&shared))),
        ];
        let (addresses, accepting) = listeners.accept(&shared);
        Ok(Self { shared, addresses, lease, deliver, channels, presences, accepting, others })
    }
}

impl Drop for Run {
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

/// Keeps the lease; without it the run is over.
async fn keep_lease(shared: Arc<Shared>) {
    lease::keep(Arc::clone(&shared)).await;
    if !shared.stopped.is_cancelled() {
        shared.lease_lost.cancel();
        shared.end(Stopped::LeaseLost);
    }
}

/// Delivers; when nothing can come any more, the run is over.
async fn deliver(shared: Arc<Shared>, subscription: Subscription) {
    deliver::run(Arc::clone(&shared), subscription).await;
    shared.end(Stopped::BusClosed);
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
        lease::sample_clock(shared).await;
        return Ok(());
    }
    Err(StartError::IdTaken(shared.id.clone()))
}
