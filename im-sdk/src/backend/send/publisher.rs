//! Publishes records to servers. Records that are ready for one server at the same time travel in one envelope, and each gets its
//! own outcome.

mod link;
mod record;

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use prost::Message as _;
use tokio::{
    sync::oneshot,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    link::{Batch, Job, Link, Waiter},
    record::envelope,
};
use crate::{
    cluster::{BusEvent, Cluster, Publication, Subject, Subscription},
    id::{ConnectionId, ServerId},
    log_throttle::throttled,
    proto::pb,
};

/// The interval in which an idle link repeats its last number.
const LAST_NUMBER_INTERVAL: Duration = Duration::from_secs(1);

/// The id of no server: real ids end with a part that is new at every boot.
const NOBODY: &str = "nobody";

/// The outcome of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::backend) enum Outcome {
    /// The server did it for all connections but these, which are gone.
    Done {
        missed: Vec<ConnectionId>,
        /// For a record that names a channel or everyone, and for a part of a sync. `None` for
        /// everyone: the server did not take the record.
        reached: Option<Reached>,
    },
    /// No such server is listening.
    ServerGone,
    /// The server did not answer in time, or the bus failed.
    Unknown,
}

/// The number of connections that a record without named connections reached, or the state of a
/// connection that takes a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend) struct Reached {
    pub(in crate::backend) connections: u32,
    pub(in crate::backend) shed: u32,
    /// For a part of a sync: the connection's queue is full enough.
    pub(in crate::backend) enough: bool,
}

/// A record on its way to a server. Resolves to the outcome by the deadline that the record was
/// submitted with.
#[derive(Debug)]
#[must_use = "a delivery tells nothing unless it is awaited"]
pub(in crate::backend) struct Delivery(oneshot::Receiver<Outcome>);

impl Future for Delivery {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        // The publisher drops the other end at the deadline.
        Pin::new(&mut self.0).poll(context).map(|outcome| outcome.unwrap_or(Outcome::Unknown))
    }
}

/// The waiters of an envelope, one for each record.
type InFlight = Vec<Option<Waiter>>;

/// Publishes records to servers, one queue for each.
pub(in crate::backend) struct Publisher {
    cluster: Cluster,
    name: String,
    /// The subject on which servers answer.
    answers: Subject,
    /// The time limit of an outcome.
    send_timeout: Duration,
    /// `None` after closing.
    links: Mutex<Option<HashMap<ServerId, Arc<Link>>>>,
    /// Links that take no records any more and may still have some. Their waiters have deadlines
    /// too.
    closing: Mutex<Vec<Arc<Link>>>,
    /// `None` once answers are not received any more.
    in_flight: Mutex<Option<HashMap<(ServerId, u64), InFlight>>>,
    /// The number of calls of [`Publisher::settle`].
    settles: AtomicU64,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Publisher").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Creates a publisher. `name` must be unique among all publishers. The tracker owns the tasks.
    pub(in crate::backend) fn new(
        cluster: Cluster,
        name: String,
        send_timeout: Duration,
        tasks: TaskTracker,
    ) -> Self {
        let links = Mutex::new(Some(HashMap::new()));
        let (in_flight, settles) = (Mutex::new(Some(HashMap::new())), AtomicU64::new(0));
        let answers = cluster.names().answers(&name);
        let closing = Mutex::default();
        Self { cluster, name, answers, send_timeout, links, closing, in_flight, settles, tasks }
    }

    /// Returns the name, which is unique among all publishers.
    pub(in crate::backend) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the subjects that [`Publisher::listen`] needs.
    pub(in crate::backend) fn subjects(&self) -> [Subject; 2] {
        [self.answers.clone(), self.cluster.names().all_undelivered(&self.name)]
    }

    /// Waits until the bus has done everything that this process requested before, such as
    /// subscribing: an envelope to an impossible server comes back undelivered after all that.
    /// Returns `false` if it did not come back within this time.
    ///
    /// Only for a bus that [`Publisher::listen`] listens to.
    pub(in crate::backend) async fn settle(&self, limit: Duration) -> bool {
        let Ok(nobody) = ServerId::parse(NOBODY) else { return false };
        let (done, outcome) = oneshot::channel();
        let number = self.settles.fetch_add(1, Ordering::Relaxed);
        let waiter = Waiter { done, deadline: Instant::now() + limit };
        let subject = self.cluster.names().server(&nobody);
        let batch = Batch { records: Vec::new(), waiters: vec![Some(waiter)] };
        self.publish(&nobody, &subject, number, batch).await;
        matches!(timeout(limit, outcome).await, Ok(Ok(Outcome::ServerGone)))
    }

    /// Queues a record for a server. If the queue is full, waits for room until the deadline.
    ///
    /// The delivery resolves by the deadline in any case: to [`Outcome::Unknown`] if there was no room, if no answer came, or if
    /// the publisher is closed.
    ///
    /// The call itself queues the record if there is room, so that no future of a send holds a record.
    pub(in crate::backend) fn submit<'a>(
        self: &'a Arc<Self>,
        server: &'a ServerId,
        record: pb::Record,
        deadline: Instant,
    ) -> impl Future<Output = Delivery> + Send + use<'a> {
        let (done, outcome) = oneshot::channel();
        let late = self.push(server, Job { record, waiter: Some(Waiter { done, deadline }) }, deadline);
        // Not awaited here: many records are submitted before the first outcome is awaited.
        #[expect(clippy::async_yields_async, reason = "see above")]
        async move {
            if let Some(late) = late {
                late.await;
            }
            Delivery(outcome)
        }
    }

    /// Queues a record without waiting for its outcome. If the queue stays full for the send
    /// timeout, the record is dropped.
    pub(in crate::backend) async fn submit_and_forget(
        self: &Arc<Self>,
        server: &ServerId,
        record: pb::Record,
    ) {
        if let Some(late) = self.push(server, Job { record, waiter: None }, self.deadline()) {
            late.await;
        }
    }

    /// Returns the deadline of a send that begins now.
    pub(in crate::backend) fn deadline(&self) -> Instant {
        Instant::now() + self.send_timeout
    }

    /// Queues a job. If there is no room, returns a future that waits for it. That future drops the
    /// job, so that its outcome is unknown, at the deadline or when the publisher is closed.
    fn push<'a>(
        self: &'a Arc<Self>,
        server: &'a ServerId,
        job: Job,
        deadline: Instant,
    ) -> Option<BoxFuture<'a, ()>> {
        let job = self.link(server)?.try_push(job).err()?;
        Some(Box::pin(async move {
            if timeout_at(deadline, self.push_late(server, job)).await.is_err() {
                throttled!(warn, %server, "the queue to a server stayed full: a record for it was dropped");
            }
        }))
    }

    async fn push_late(self: &Arc<Self>, server: &ServerId, mut job: Job) {
        while let Some(link) = self.link(server) {
            match link.push(job).await {
                Ok(()) => return,
                // The link was closed meanwhile: the next one is new.
                Err(again) => job = again,
            }
        }
    }

    fn link(self: &Arc<Self>, server: &ServerId) -> Option<Arc<Link>> {
        let mut links = lock(&self.links);
        let links = links.as_mut()?;
        if let Some(link) = links.get(server) {
            return Some(Arc::clone(link));
        }
        let link = Arc::new(Link::new());
        links.insert(server.clone(), Arc::clone(&link));
        self.tasks.spawn(Arc::clone(self).run_link(server.clone(), Arc::clone(&link)));
        Some(link)
    }

    /// Closes the links to servers that `lives` does not confirm.
    pub(in crate::backend) fn retain_links(&self, lives: impl Fn(&ServerId) -> bool) {
        if let Some(links) = lock(&self.links).as_mut() {
            let dead = links.extract_if(|server, _| !lives(server));
            self.close_links(dead.map(|(_, link)| link));
        }
    }

    /// Closes all links and opens no new ones.
    pub(in crate::backend) fn close(&self) {
        let links = lock(&self.links).take();
        self.close_links(links.into_iter().flatten().map(|(_, link)| link));
    }

    fn close_links(&self, links: impl Iterator<Item = Arc<Link>>) {
        let mut closing = lock(&self.closing);
        for link in links {
            link.close();
            closing.push(link);
        }
    }

    /// Publishes the queued records of one server until its link is closed. An idle link repeats
    /// its last number: a server could not notice otherwise that the last envelopes of a burst are
    /// missing.
    async fn run_link(self: Arc<Self>, server: ServerId, link: Arc<Link>) {
        let (mut number, subject) = (0, self.cluster.names().server(&server));
        let mut ticks = interval(LAST_NUMBER_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let ready = tokio::select! {
                biased; // Records come first.
                ready = link.ready() => ready,
                _ = ticks.tick() => {
                    self.say(&subject, number, false).await;
                    continue;
                }
            };
            if !ready {
                break;
            }
            number += 1;
            self.publish(&server, &subject, number, link.take()).await;
            ticks.reset();
        }
        self.say(&subject, number, true).await;
    }

    /// Publishes the last number, or a goodbye.
    async fn say(&self, subject: &Subject, number: u64, goodbye: bool) {
        let envelope =
            pb::Envelope { publisher: self.name.clone(), number, goodbye, ..pb::Envelope::default() };
        let publication = Publication {
            subject: subject.clone(),
            return_to: None,
            payload: envelope.encode_to_vec().into(),
        };
        // The next one repeats it; a lost goodbye costs the devices a sync.
        let _ = self.cluster.bus().publish(publication).await;
    }

    async fn publish(&self, server: &ServerId, subject: &Subject, number: u64, batch: Batch) {
        let head = pb::Envelope {
            publisher: self.name.clone(),
            number,
            answer_to: self.answers.to_string(),
            records: Vec::new(),
            goodbye: false,
        };
        let publication = Publication {
            subject: subject.clone(),
            return_to: Some(self.cluster.names().undelivered(&self.name, server, number)),
            payload: envelope(&head, &batch.records).into(),
        };
        let key = (server.clone(), number);
        if let Some(in_flight) = lock(&self.in_flight).as_mut() {
            in_flight.insert(key.clone(), batch.waiters);
        }
        if let Err(error) = self.cluster.bus().publish(publication).await {
            tracing::warn!(%server, %error, "cannot publish an envelope");
            self.finish(&key, |_| Outcome::Unknown);
        }
    }

    /// Receives answers until the bus closes or `stop`.
    pub(in crate::backend) async fn listen(&self, mut subscription: Subscription, stop: CancellationToken) {
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
        let reached = |pb::Reached { record, connections, shed, enough }| {
            (record, Reached { connections, shed, enough })
        };
        let reached: HashMap<u32, Reached> = delivered.reached.into_iter().map(reached).collect();
        let outcome = |index| Outcome::Done {
            missed: missed.remove(&index).unwrap_or_default(),
            reached: reached.get(&index).copied(),
        };
        self.finish(&(server, delivered.number), outcome);
    }

    /// Gives up on overdue outcomes until `stop`. One clock serves all sends.
    pub(in crate::backend) async fn watch(&self, stop: CancellationToken) {
        loop {
            let now = Instant::now();
            // A later send never has an earlier deadline.
            let next = self.expire(now).unwrap_or(now + self.send_timeout);
            tokio::select! {
                biased; // Nobody waits after the end.
                () = stop.cancelled() => break,
                () = sleep_until(next.max(now + MIN_WATCH)) => {}
            }
        }
        // Answers are not received any more: all waiters end without an outcome, also those in
        // queues, and nothing more is queued.
        self.close();
        *lock(&self.in_flight) = None;
        lock(&self.closing).iter().for_each(|link| link.give_up());
    }

    /// Gives up on overdue outcomes. Returns the next deadline.
    fn expire(&self, now: Instant) -> Option<Instant> {
        let mut links: Vec<_> = lock(&self.links).iter().flat_map(HashMap::values).cloned().collect();
        {
            let mut closing = lock(&self.closing);
            closing.retain(|link| !link.is_empty());
            links.extend(closing.iter().cloned());
        }
        let mut next = links.iter().filter_map(|link| link.expire(now)).min();
        if let Some(in_flight) = lock(&self.in_flight).as_mut() {
            in_flight.retain(|_, waiters| {
                let deadline = give_up(waiters, now);
                next = next.into_iter().chain(deadline).min();
                deadline.is_some()
            });
        }
        next
    }

    fn finish(&self, key: &(ServerId, u64), mut outcome: impl FnMut(u32) -> Outcome) {
        let waiters = lock(&self.in_flight).as_mut().and_then(|in_flight| in_flight.remove(key));
        let Some(waiters) = waiters else { return };
        for (index, waiter) in (0..).zip(waiters) {
            if let Some(Waiter { done, .. }) = waiter {
                // The waiter may have given up.
                let _ = done.send(outcome(index));
            }
        }
    }
}

/// Drops overdue waiters. Returns the deadline of the first of the others.
fn give_up(waiters: &mut InFlight, now: Instant) -> Option<Instant> {
    for waiter in waiters {
        match waiter {
            Some(waiting) if waiting.deadline > now => return Some(waiting.deadline),
            _ => *waiter = None,
        }
    }
    None
}

/// The shortest pause between two checks for overdue outcomes.
const MIN_WATCH: Duration = Duration::from_millis(1);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
