//! Delivers the records that arrive on this server's subject: [`dispatch`] hands each one to the connections that it names.
//!
//! Nothing here waits for a device. Slower work has tasks of its own: [`channel_routes`], [`broadcast`], [`sync_hint`].

pub(crate) mod broadcast;
pub(crate) mod channel_routes;
pub(crate) mod coalesce;
pub(crate) mod dispatch;
pub(crate) mod flush;
pub(crate) mod gap_detector;
pub(crate) mod isolation;
pub(crate) mod replies;
pub(crate) mod sync_hint;

use std::{sync::Arc, time::Duration};

use im_proto::pb;
use im_sdk::{
    cluster::{Cluster, Subject},
    id::ServerId,
};
use tokio::{sync::mpsc, task::JoinHandle};

use self::{
    broadcast::{Broadcast, Broadcasts},
    channel_routes::{ChannelRoutes, SubscriptionChanges},
    isolation::Isolation,
    replies::{Replies, ReplyEncoder},
    sync_hint::SyncHints,
};
use crate::{
    lifecycle::Lifecycle, logging::throttle::LogThrottles, registry::Registry, upstream::Upstream,
    upstream::lane::Outgoing,
};

/// The state that records can touch.
#[derive(Debug)]
pub(crate) struct Downstream {
    pub(crate) id: ServerId,
    pub(crate) cluster: Cluster,
    pub(crate) registry: Arc<Registry>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) throttles: Arc<LogThrottles>,
    /// See [`crate::ServerConfig::lease`].
    pub(crate) lease: Duration,
    /// See [`crate::Limits::outbox_bytes`].
    pub(crate) outbox_bytes: usize,
    pub(crate) sync_hints: SyncHints,
    pub(crate) channel_routes: ChannelRoutes,
    pub(crate) broadcasts: Broadcasts,
    pub(crate) replies: Replies,
    pub(crate) isolation: Isolation,
}

/// The queues of the tasks that [`Downstream`] hands work to.
pub(crate) struct DownstreamQueues {
    channel_routes: mpsc::Receiver<SubscriptionChanges>,
    broadcasts: mpsc::Receiver<Broadcast>,
    replies: Outgoing<ReplyEncoder>,
}

/// The tasks that [`Downstream`] hands work to.
#[derive(Debug)]
pub(crate) struct DownstreamTasks {
    /// Ends after [`Lifecycle::leaving_channels`].
    pub(crate) channel_routes: JoinHandle<()>,
    pub(crate) others: Vec<JoinHandle<()>>,
}

impl Downstream {
    pub(crate) fn new(
        id: ServerId,
        config: &crate::config::ServerConfig,
        cluster: Cluster,
        registry: Arc<Registry>,
        upstream: Arc<Upstream>,
        lifecycle: Arc<Lifecycle>,
        throttles: Arc<LogThrottles>,
    ) -> (Self, DownstreamQueues) {
        let (channel_routes, changes) = ChannelRoutes::new();
        let (broadcasts, broadcast_queue) = Broadcasts::new();
        let (replies, reply_queue) = Replies::new();
        let downstream = Self {
            id,
            cluster,
            registry,
            upstream,
            lifecycle,
            throttles,
            lease: config.lease,
            outbox_bytes: config.limits.outbox_bytes,
            sync_hints: SyncHints::default(),
            channel_routes,
            broadcasts,
            replies,
            isolation: Isolation::new(),
        };
        let queues =
            DownstreamQueues { channel_routes: changes, broadcasts: broadcast_queue, replies: reply_queue };
        (downstream, queues)
    }

    /// Replies to an envelope whose publisher asked for a reply.
    fn reply(&self, reply_to: &str, reply: pb::Delivered) {
        if reply_to.is_empty() {
            return;
        }
        match Subject::answer(self.cluster.names(), reply_to) {
            Some(subject) => self.replies.try_send(subject, reply),
            None => tracing::warn!("reply dropped: an envelope names a subject that is none for replies"),
        }
    }
}

impl DownstreamQueues {
    /// Starts the tasks.
    pub(crate) fn spawn(self, downstream: &Arc<Downstream>) -> DownstreamTasks {
        let shared = || Arc::clone(downstream);
        let channel_routes = tokio::spawn(channel_routes::run(shared(), self.channel_routes));
        let others = vec![
            tokio::spawn(self.replies.run(downstream.cluster.clone(), ReplyEncoder)),
            tokio::spawn(broadcast::run(Arc::clone(&downstream.registry), self.broadcasts)),
            tokio::spawn(isolation::watch(shared())),
            tokio::spawn(sync_hint::run(shared())),
        ];
        DownstreamTasks { channel_routes, others }
    }
}
