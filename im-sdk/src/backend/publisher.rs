//! Envelopes to servers: records that are ready for one server at the same time travel together, and each learns what
//! became of it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use prost::Message as _;
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    cluster::{BusEvent, Cluster, Publication, Subject, Subscription},
    id::{ConnectionId, ServerId},
    proto::pb,
};

/// Records that wait for one server.
const QUEUE: usize = 8192;

/// The most records, and roughly the most bytes, in one envelope (NATS takes 1 MiB by default).
const BATCH: usize = 512;
const BATCH_BYTES: usize = 256 * 1024;

/// How often a link that has nothing to publish says what its last number was.
const LAST_NUMBER_INTERVAL: Duration = Duration::from_secs(1);

/// No server has this id: theirs end with what is new at every boot.
const NOBODY: &str = "nobody";

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The server did it for all but these connections, which are gone.
    Done {
        missed: Vec<ConnectionId>,
        /// For a record that names a channel or everyone; `None` there: it was not taken.
        reached: Option<Reached>,
    },
    /// No such server is listening.
    ServerGone,
    /// The server did not answer in time, or the bus failed.
    Unknown,
}

/// How many connections a record came to that does not name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) connections: u32,
    pub(super) shed: u32,
}

struct Job {
    record: pb::Record,
    done: Option<oneshot::Sender<Outcome>>,
}

/// Those who wait for an envelope's answer, one for each record.
struct InFlight {
    since: Instant,
    waiting: Vec<Option<oneshot::Sender<Outcome>>>,
}

/// See the module's description.
pub(super) struct Publisher {
    cluster: Cluster,
    name: String,
    /// `None` once closed.
    links: Mutex<Option<HashMap<ServerId, mpsc::Sender<Job>>>>,
    in_flight: Mutex<HashMap<(ServerId, u64), InFlight>>,
    /// How often [`Publisher::settle`] has asked.
    settles: AtomicU64,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Publisher").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Publisher {
    /// `name` must be unique among all publishers. The tracker owns the tasks.
    pub(super) fn new(cluster: Cluster, name: String, tasks: TaskTracker) -> Self {
        let links = Mutex::new(Some(HashMap::new()));
        Self { cluster, name, links, in_flight: Mutex::default(), settles: AtomicU64::new(0), tasks }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The subjects that [`Publisher::listen`] needs.
    pub(super) fn subjects(&self) -> [Subject; 2] {
        let names = self.cluster.names();
        [names.answers(&self.name), names.all_undelivered(&self.name)]
    }

    /// Waits until the bus has done everything that this process asked it for before, such as subscribing: an envelope to a
    /// server that cannot be comes back undelivered, behind all that. False: it did not within this time.
    ///
    /// Only for a bus that [`Publisher::listen`] listens to.
    pub(super) async fn settle(&self, limit: Duration) -> bool {
        let Ok(nobody) = ServerId::parse(NOBODY) else { return false };
        let (done, outcome) = oneshot::channel();
        let number = self.settles.fetch_add(1, Ordering::Relaxed);
        self.publish(&nobody, number, Vec::new(), vec![Some(done)]).await;
        matches!(timeout(limit, outcome).await, Ok(Ok(Outcome::ServerGone)))
    }

    /// Queues a record, waiting while the queue is full; the outcome comes by the receiver.
    pub(super) async fn submit(
        self: &Arc<Self>,
        server: &ServerId,
        record: pb::Record,
    ) -> oneshot::Receiver<Outcome> {
        let (done, outcome) = oneshot::channel();
        // Should the link be closing, the dropped sender makes the outcome unknown.
        let _ = self.link(server).send(Job { record, done: Some(done) }).await;
        outcome
    }

    /// Queues a record whose outcome nobody waits for.
    pub(super) async fn submit_and_forget(self: &Arc<Self>, server: &ServerId, record: pb::Record) {
        let _ = self.link(server).send(Job { record, done: None }).await;
    }

    fn link(self: &Arc<Self>, server: &ServerId) -> mpsc::Sender<Job> {
        let mut links = lock(&self.links);
        if let Some(link) = links.as_ref().and_then(|links| links.get(server)) {
            return link.clone();
        }
        let (sender, queue) = mpsc::channel(QUEUE);
        let Some(links) = links.as_mut() else {
            return sender; // The queue ends here: what is sent into it is dropped at once.
        };
        links.insert(server.clone(), sender.clone());
        self.tasks.spawn(Arc::clone(self).run_link(server.clone(), queue));
        sender
    }

    /// Forgets the links to servers that `lives` does not confirm.
    pub(super) fn retain_links(&self, lives: impl Fn(&ServerId) -> bool) {
        if let Some(links) = lock(&self.links).as_mut() {
            links.retain(|server, _| lives(server));
        }
    }

    /// Forgets all links and makes no new ones.
    pub(super) fn close(&self) {
        *lock(&self.links) = None;
    }

    /// Publishes what is queued for one server until its link is forgotten. In between, it says what its last number was:
    /// only so can a server notice that the last envelopes of a burst are missing.
    async fn run_link(self: Arc<Self>, server: ServerId, mut queue: mpsc::Receiver<Job>) {
        let mut number = 0;
        let mut ticks = interval(LAST_NUMBER_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let first = tokio::select! {
                biased; // Records come first.
                first = queue.recv() => first,
                _ = ticks.tick() => {
                    self.say(&server, number, false).await;
                    continue;
                }
            };
            let Some(first) = first else { break };
            let (records, waiting) = batch(first, &mut queue);
            number += 1;
            self.publish(&server, number, records, waiting).await;
            ticks.reset();
        }
        self.say(&server, number, true).await;
    }

    /// Says what the last number was, or goodbye.
    async fn say(&self, server: &ServerId, number: u64, goodbye: bool) {
        let envelope =
            pb::Envelope { publisher: self.name.clone(), number, goodbye, ..pb::Envelope::default() };
        let publication = Publication {
            subject: self.cluster.names().server(server),
            return_to: None,
            payload: envelope.encode_to_vec().into(),
        };
        // The next one says it again; a goodbye that is lost costs the devices a sync.
        let _ = self.cluster.bus().publish(publication).await;
    }

    async fn publish(
        &self,
        server: &ServerId,
        number: u64,
        records: Vec<pb::Record>,
        waiting: Vec<Option<oneshot::Sender<Outcome>>>,
    ) {
        let names = self.cluster.names();
        let envelope = pb::Envelope {
            publisher: self.name.clone(),
            number,
            answer_to: names.answers(&self.name).to_string(),
            records,
            goodbye: false,
        };
        let publication = Publication {
            subject: names.server(server),
            return_to: Some(names.undelivered(&self.name, server, number)),
            payload: envelope.encode_to_vec().into(),
        };
        let key = (server.clone(), number);
        lock(&self.in_flight).insert(key.clone(), InFlight { since: Instant::now(), waiting });
        if let Err(error) = self.cluster.bus().publish(publication).await {
            tracing::warn!(%server, %error, "cannot publish an envelope");
            self.finish(&key, |_| Outcome::Unknown);
        }
    }

    /// Takes answers in until the bus closes or `stop`.
    pub(super) async fn listen(&self, mut subscription: Subscription, stop: CancellationToken) {
        loop {
            let event = tokio::select! {
                biased; // Nobody waits after the end.
                () = stop.cancelled() => return,
                event = subscription.next() => event,
            };
            match event {
                Some(BusEvent::Message(message)) => self.delivered(message.payload),
                Some(BusEvent::Undelivered(subject)) => {
                    if let Some(key) = self.cluster.names().parse_undelivered(&subject) {
                        self.finish(&key, |_| Outcome::ServerGone);
                    }
                }
                Some(_) => {}
                None => return,
            }
        }
    }

    fn delivered(&self, payload: bytes::Bytes) {
        let Ok(delivered) = pb::Delivered::decode(payload) else {
            return tracing::warn!("a server's answer is not valid and was dropped");
        };
        let Ok(server) = ServerId::parse(&delivered.server) else {
            return tracing::warn!("a server's answer names no valid server and was dropped");
        };
        let mut missed: HashMap<u32, Vec<ConnectionId>> = HashMap::new();
        for miss in delivered.missed {
            missed.insert(miss.record, miss.connections.into_iter().map(ConnectionId).collect());
        }
        let reached = |of: pb::Reached| (of.record, Reached { connections: of.connections, shed: of.shed });
        let reached: HashMap<u32, Reached> = delivered.reached.into_iter().map(reached).collect();
        let outcome = |index| Outcome::Done {
            missed: missed.remove(&index).unwrap_or_default(),
            reached: reached.get(&index).copied(),
        };
        self.finish(&(server, delivered.number), outcome);
    }

    /// Gives up on envelopes that were not answered for longer than this.
    pub(super) fn expire(&self, timeout: Duration) {
        lock(&self.in_flight).retain(|_, in_flight| in_flight.since.elapsed() < timeout);
    }

    fn finish(&self, key: &(ServerId, u64), mut outcome: impl FnMut(u32) -> Outcome) {
        let Some(in_flight) = lock(&self.in_flight).remove(key) else { return };
        for (index, waiting) in (0..).zip(in_flight.waiting) {
            if let Some(waiting) = waiting {
                // Whoever waited may have given up.
                let _ = waiting.send(outcome(index));
            }
        }
    }
}

/// What is ready goes together.
fn batch(
    first: Job,
    queue: &mut mpsc::Receiver<Job>,
) -> (Vec<pb::Record>, Vec<Option<oneshot::Sender<Outcome>>>) {
    let mut bytes = first.record.encoded_len();
    let (mut records, mut waiting) = (vec![first.record], vec![first.done]);
    while records.len() < BATCH && bytes < BATCH_BYTES {
        let Ok(job) = queue.try_recv() else { break };
        bytes += job.record.encoded_len();
        records.push(job.record);
        waiting.push(job.done);
    }
    (records, waiting)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
