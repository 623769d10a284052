//! What devices send to the backends. Publishes, requests, syncs, acknowledgements and signals travel in lanes: bounded queues,
//! each with one task that puts what has queued up onto the bus. Devices that come and go are told by [`presence`].
//!
//! A session never waits here: what finds no room is refused or dropped at once.

pub(crate) mod ack;
pub(crate) mod backend_watch;
pub(crate) mod byte_queue;
pub(crate) mod lane;
pub(crate) mod pending;
pub(crate) mod presence;
pub(crate) mod publish;
pub(crate) mod refusal;
pub(crate) mod request;
pub(crate) mod signal;
pub(crate) mod sync;

use std::{sync::Arc, time::Duration};

use im_sdk::{cluster::Cluster, id::ServerId};
use tokio::task::JoinHandle;

use self::{
    ack::{AckEncoder, Acks},
    backend_watch::BackendWatch,
    lane::Outgoing,
    presence::Presences,
    publish::{PublishEncoder, Publishes},
    request::{RequestEncoder, Requests},
    signal::{SignalEncoder, Signals},
    sync::{SyncEncoder, Syncs},
};

/// The entrances of all lanes.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) publishes: Publishes,
    pub(crate) requests: Requests,
    pub(crate) syncs: Syncs,
    pub(crate) acks: Acks,
    pub(crate) signals: Signals,
    pub(crate) presences: Presences,
    pub(crate) backends: Arc<BackendWatch>,
}

/// The exits of all lanes, until [`UpstreamQueues::spawn`].
pub(crate) struct UpstreamQueues {
    publishes: Outgoing<PublishEncoder>,
    requests: Outgoing<RequestEncoder>,
    syncs: Outgoing<SyncEncoder>,
    acks: Outgoing<AckEncoder>,
    signals: Outgoing<SignalEncoder>,
    presences: presence::Receiver,
}

/// The tasks behind the lanes.
#[derive(Debug)]
pub(crate) struct UpstreamTasks {
    /// End with the lanes' entrances.
    pub(crate) lanes: Vec<JoinHandle<()>>,
    /// Ends after [`Presences::close`].
    pub(crate) presences: JoinHandle<()>,
}

impl Upstream {
    pub(crate) fn new(presence_delay: Duration) -> (Self, UpstreamQueues) {
        let (publishes, publish_queue) = Publishes::new();
        let (requests, request_queue) = Requests::new();
        let (syncs, sync_queue) = Syncs::new();
        let (acks, ack_queue) = Acks::new();
        let (signals, signal_queue) = Signals::new();
        let (presences, presence_queue) = Presences::new(presence_delay);
        let backends = Arc::default();
        let upstream = Self { publishes, requests, syncs, acks, signals, presences, backends };
        let queues = UpstreamQueues {
            publishes: publish_queue,
            requests: request_queue,
            syncs: sync_queue,
            acks: ack_queue,
            signals: signal_queue,
            presences: presence_queue,
        };
        (upstream, queues)
    }
}

impl UpstreamQueues {
    /// Starts to publish what enters the lanes.
    pub(crate) fn spawn(
        self,
        cluster: &Cluster,
        server: &ServerId,
        backends: &Arc<BackendWatch>,
    ) -> UpstreamTasks {
        let names = cluster.names();
        let own = names.server(server);
        let publish =
            PublishEncoder { server: server.clone(), subject: names.upstream_publish(), own: own.clone() };
        let request = RequestEncoder { server: server.clone(), subject: names.upstream_request(), own };
        let sync = SyncEncoder {
            server: server.clone(),
            subject: names.upstream_sync(),
            backends: Arc::clone(backends),
        };
        let ack = AckEncoder { subject: names.upstream_ack() };
        let signal = SignalEncoder { subject: names.upstream_signal() };
        let lanes = vec![
            tokio::spawn(self.publishes.run(cluster.clone(), publish)),
            tokio::spawn(self.requests.run(cluster.clone(), request)),
            tokio::spawn(self.syncs.run(cluster.clone(), sync)),
            tokio::spawn(self.acks.run(cluster.clone(), ack)),
            tokio::spawn(self.signals.run(cluster.clone(), signal)),
        ];
        let presences = tokio::spawn(presence::run(cluster.clone(), self.presences));
        UpstreamTasks { lanes, presences }
    }
}
