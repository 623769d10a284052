//! Forwards devices' messages to the backends. Publishes, requests, syncs, acknowledgements and signals travel in lanes: bounded
//! queues, each with one task that publishes the queued messages on the bus. [`presence`] reports devices that connect and
//! disconnect.
//!
//! A session never waits here: a message that finds no room is refused or dropped at once.

pub(crate) mod ack;
pub(crate) mod backend_watch;
pub(crate) mod byte_queue;
pub(crate) mod in_flight;
pub(crate) mod lane;
pub(crate) mod pending;
pub(crate) mod presence;
pub(crate) mod publish;
pub(crate) mod refusal;
pub(crate) mod request;
pub(crate) mod signal;
pub(crate) mod sync;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use im_sdk::{
    cluster::{Cluster, Subject},
    id::{ConnectionId, ServerId},
};
use tokio::task::JoinHandle;

use self::{
    ack::{AckEncoder, Acks},
    backend_watch::BackendWatch,
    in_flight::Fate,
    lane::Outgoing,
    presence::Presences,
    publish::{PublishEncoder, Publishes},
    request::{RequestEncoder, Requests},
    signal::{SignalEncoder, Signals},
    sync::{SyncEncoder, Syncs},
};

/// The sending ends of all lanes.
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

/// The receiving ends of all lanes, until [`UpstreamQueues::spawn`].
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
    /// End when the lanes' sending ends are dropped.
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

    /// Passes on a backend's answer to a publish.
    pub(crate) fn answer_publish(&self, connection: ConnectionId, number: u64, frames: Bytes) {
        let taken = self.publishes.pending.answer(connection, number, frames);
        self.refuse(taken.and_then(|publication| self.backends.note_taken(publication)));
    }

    /// Passes on a backend's response to a request.
    pub(crate) fn answer_request(&self, connection: ConnectionId, number: u64, frames: Bytes) {
        let taken = self.requests.pending.answer(connection, number, frames);
        self.refuse(taken.and_then(|publication| self.backends.note_taken(publication)));
    }

    /// Handles a publication that came back because no backend took it.
    pub(crate) fn handle_undelivered(&self, subject: &Subject) {
        self.refuse(self.backends.note_undelivered(subject));
    }

    /// Handles a marker, see [`in_flight`].
    pub(crate) fn handle_marker(&self, number: u64) {
        self.refuse(self.backends.note_marker(number));
    }

    /// Refuses publishes and requests whose fate is known now.
    fn refuse(&self, fate: Option<Fate>) {
        if let Some(fate) = fate {
            self.publishes.pending.no_backend(&fate);
            self.requests.pending.no_backend(&fate);
        }
    }
}

impl UpstreamQueues {
    /// Starts to publish what enters the lanes.
    pub(crate) fn spawn(self, cluster: &Cluster, server: &ServerId, upstream: &Upstream) -> UpstreamTasks {
        let (names, backends) = (cluster.names(), &upstream.backends);
        let own = names.server(server);
        let publish = PublishEncoder {
            server: server.clone(),
            subject: names.upstream_publish(),
            own: own.clone(),
            pending: Arc::clone(&upstream.publishes.pending),
            backends: Arc::clone(backends),
        };
        let request = RequestEncoder {
            server: server.clone(),
            subject: names.upstream_request(),
            own,
            pending: Arc::clone(&upstream.requests.pending),
            backends: Arc::clone(backends),
        };
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
