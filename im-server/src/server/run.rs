//! One run of a server, under one id: it binds, registers and serves. `shutdown.rs` ends it.

use std::{sync::Arc, time::Instant};

use im_proto::pb;
use im_sdk::{
    cluster::{BusError, Cluster, Publication, Subscription},
    id::{InvalidId, ServerId},
};
use parking_lot::Mutex;
use prost::Message as _;
use rand::RngExt as _;
use tokio::{
    task::JoinHandle,
    time::{Duration, timeout},
};
use tokio_util::task::TaskTracker;

use super::{StartError, failover, lease, route_audit, shutdown, sweep};
use crate::{
    config::ServerConfig,
    context::{ServerContext, StoreEpoch},
    downstream::{Downstream, DownstreamQueues},
    lifecycle::{Lifecycle, StopReason},
    logging::{rejections::RejectionLog, throttle::LogThrottles},
    registry::{Registry, admission::Admission},
    transport::{Addresses, Listeners, tls::Identity},
    upstream::{Upstream, UpstreamQueues, backend_watch},
};

/// The time limit for the server's first probe to come back.
const FIRST_ENVELOPE_TIMEOUT: Duration = Duration::from_secs(5);

/// A run. Dropping it closes its devices and waits for nothing.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) context: Arc<ServerContext>,
    pub(super) addresses: Addresses,
    lease: JoinHandle<()>,
    dispatch: JoinHandle<()>,
    pub(super) channel_routes: JoinHandle<()>,
    pub(super) presences: JoinHandle<()>,
    pub(super) accepting: Vec<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
}

impl Run {
    /// Begins a run, which continues from `epoch` if it replaces another one.
    pub(super) async fn begin(
        config: ServerConfig,
        cluster: Cluster,
        identity: Option<&Identity>,
        epoch: Option<&StoreEpoch>,
    ) -> Result<Self, StartError> {
        let id = server_id(&config)?;
        let listeners = Listeners::bind(&config, identity)?;
        let subscription = subscribe(&cluster, &id).await?;
        let endpoints = listeners.endpoints(&config);
        let (context, upstream_queues, downstream_queues) = build(id, config, cluster, endpoints);
        failover::begin(&context, epoch).await?;
        register(&context).await?;

        let dispatch = tokio::spawn(dispatch(Arc::clone(&context), subscription));
        let upstream = upstream_queues.spawn(&context.cluster, &context.id, &context.upstream);
        let downstream = downstream_queues.spawn(&context.downstream);
        let lease = tokio::spawn(keep_lease(Arc::clone(&context)));
        let watch = backend_watch::run(
            Arc::clone(&context.upstream.backends),
            context.cluster.clone(),
            context.id.clone(),
            context.lifecycle.stopped.clone(),
        );
        let mut others = vec![
            tokio::spawn(watch),
            tokio::spawn(sweep::run(Arc::clone(&context))),
            tokio::spawn(route_audit::run(Arc::clone(&context))),
            tokio::spawn(failover::watch(Arc::clone(&context))),
        ];
        others.extend(upstream.lanes);
        others.extend(downstream.others);
        let (addresses, accepting) = listeners.accept(&context);
        Ok(Self {
            context,
            addresses,
            lease,
            dispatch,
            channel_routes: downstream.channel_routes,
            presences: upstream.presences,
            accepting,
            others,
        })
    }
}

/// Builds the context and the queues of its tasks.
fn build(
    id: ServerId,
    config: ServerConfig,
    cluster: Cluster,
    endpoints: Vec<String>,
) -> (Arc<ServerContext>, UpstreamQueues, DownstreamQueues) {
    let (upstream, upstream_queues) = Upstream::new(config.presence_delay);
    let upstream = Arc::new(upstream);
    let registry = Arc::new(Registry::new(config.limits.max_connections, rand::rng().random()));
    let lifecycle = Arc::new(Lifecycle::new());
    let throttles = Arc::<LogThrottles>::default();
    let (downstream, downstream_queues) = Downstream::new(
        id.clone(),
        &config,
        cluster.clone(),
        Arc::clone(&registry),
        Arc::clone(&upstream),
        Arc::clone(&lifecycle),
        Arc::clone(&throttles),
    );
    let context = ServerContext {
        id,
        admission: Arc::new(Admission::new(&config.limits)),
        config,
        cluster,
        registry,
        upstream,
        downstream: Arc::new(downstream),
        lifecycle,
        rejections: RejectionLog::default(),
        throttles,
        endpoints,
        tasks: TaskTracker::new(),
        store_epoch: Mutex::default(),
    };
    (Arc::new(context), upstream_queues, downstream_queues)
}

impl Drop for Run {
    fn drop(&mut self) {
        self.context.lifecycle.draining.cancel();
        self.context.lifecycle.stopped.cancel();
        self.lease.abort();
        self.dispatch.abort();
        self.channel_routes.abort();
        // Not `presences`: it ends with the last session, when its route is released.
        self.accepting.iter().chain(&self.others).for_each(JoinHandle::abort);
        shutdown::close_all(&self.context.registry.all());
    }
}

/// Keeps the lease. The run is over when the lease is lost.
async fn keep_lease(context: Arc<ServerContext>) {
    lease::keep(Arc::clone(&context)).await;
    if !context.lifecycle.stopped.is_cancelled() {
        context.lifecycle.lease_lost.cancel();
        context.lifecycle.become_unreachable(StopReason::LeaseLost);
    }
}

/// Dispatches what arrives. The run is over when the subscription ends.
async fn dispatch(context: Arc<ServerContext>, subscription: Subscription) {
    Arc::clone(&context.downstream).run(subscription).await;
    context.lifecycle.become_unreachable(StopReason::BusClosed);
}

pub(super) fn server_id(config: &ServerConfig) -> Result<ServerId, InvalidId> {
    let random = || format!("{:08x}", rand::rng().random::<u32>());
    let incarnation = config.incarnation.clone().unwrap_or_else(random);
    ServerId::parse(&format!("{}-{incarnation}", config.name))
}

/// Subscribes to the server's subject, and waits until an envelope has arrived on it. The first device's backend may be quicker
/// than the subscription, and would count the server as dead.
async fn subscribe(cluster: &Cluster, id: &ServerId) -> Result<Subscription, StartError> {
    let subject = cluster.names().server(id);
    let mut subscription = cluster.bus().subscribe(subject.clone()).await?;
    let probe = pb::Envelope { publisher: id.to_string(), ..pb::Envelope::default() };
    let publication =
        Publication { subject: subject.clone(), return_to: None, payload: probe.encode_to_vec().into() };
    let first = async {
        cluster.bus().publish(publication).await?;
        subscription.next().await.ok_or(BusError::Closed)
    };
    match timeout(FIRST_ENVELOPE_TIMEOUT, first).await {
        Ok(first) => first.map(|_| subscription).map_err(StartError::from),
        Err(_) => Err(StartError::Deaf(subject)),
    }
}

async fn register(context: &ServerContext) -> Result<(), StartError> {
    let info = pb::ServerInfo { endpoints: context.endpoints.clone(), ..Default::default() };
    let routes = context.cluster.routes();
    let asked = Instant::now();
    if routes.lease_server(&context.id, &info, context.config.lease, true).await? {
        context.lifecycle.set_leased_until(asked + context.config.lease);
        lease::sample_clock(context).await;
        return Ok(());
    }
    Err(StartError::IdTaken(context.id.clone()))
}
