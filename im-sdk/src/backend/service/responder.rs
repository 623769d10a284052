//! The loop of all kinds of requests: receive, decode, queue by user, and handle several at once.
//!
//! Messages are taken from the bus at once, since the bus knows no users, and wait in a
//! [`FairQueue`].

use std::{
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    ServeError,
    context::ServiceContext,
    queue::{FairQueue, Job, Limits, Next},
};
use crate::{
    cluster::{BusEvent, Subject, Subscription},
    id::{ServerId, UserId},
    log_throttle::throttled,
    proto::pb,
};

/// The time for which an ending service still receives messages on their way to it. Without a
/// connection to the bus none come.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// The pause before a failed subscription is tried again.
const SUBSCRIBE_AGAIN: Duration = Duration::from_secs(1);

/// The time for which all calls are in progress before the log says so: a burst is over by then.
const FULL_FOR: Duration = Duration::from_secs(1);

/// The number of refusals on their way at once. Further ones are not sent, and the device asks
/// again.
const REFUSALS: usize = 64;

/// A kind of request: the messages of one subject, shared among backends.
pub(super) trait Responder: Send + Sync + 'static {
    /// The unit of work.
    type Request: Send + 'static;

    /// The name in the log.
    const NAME: &'static str;

    /// `true` if a backend that cannot reach the stores leaves such requests to others.
    const NEEDS_STORES: bool = true;

    fn limits(&self) -> Limits;

    /// Decodes a message of the bus. Invalid parts are logged and dropped.
    fn parse(&self, payload: Bytes) -> Vec<Job<Self::Request>>;

    /// Handles requests, at most [`Limits::batch`].
    fn handle(self: Arc<Self>, requests: Vec<Self::Request>) -> impl Future<Output = ()> + Send;

    /// Builds the answer to a request that is not handled because too many of its user wait. By
    /// default there is none, and the device asks again.
    fn refuse(&self, request: Self::Request) -> Option<(ServerId, pb::Record)> {
        drop(request);
        None
    }
}

/// Runs responders until the service stops.
#[derive(Clone, Debug)]
pub(super) struct Responders {
    pub(super) context: Arc<ServiceContext>,
    pub(super) running: TaskTracker,
    pub(super) stop: CancellationToken,
    /// Drops calls in progress.
    pub(super) abandon: CancellationToken,
}

impl Responders {
    /// Begins to receive this backend's share of a subject.
    pub(super) async fn start<R: Responder>(&self, subject: Subject, responder: R) -> Result<(), ServeError> {
        self.start_shared(subject, Arc::new(responder)).await
    }

    pub(super) async fn start_shared<R: Responder>(
        &self,
        subject: Subject,
        responder: Arc<R>,
    ) -> Result<(), ServeError> {
        let limits = responder.limits();
        // One message for each call in progress.
        let (over, ended) = mpsc::channel(limits.concurrency);
        let receiving = Receiving {
            context: Arc::clone(&self.context),
            intake: Intake::Open(subscribe(&self.context, &subject).await?),
            subject,
            responder,
            queue: FairQueue::new(limits),
            calls: 0,
            limits,
            over,
            ended,
            running: self.running.clone(),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            full_since: None,
            abandon: self.abandon.clone(),
        };
        let (stop, abandon) = (self.stop.clone(), self.abandon.clone());
        let stores = self.context.stores.subscribe();
        self.running.spawn(async move { abandon.run_until_cancelled(receiving.run(stop, stores)).await });
        Ok(())
    }
}

async fn subscribe(context: &ServiceContext, subject: &Subject) -> Result<Subscription, ServeError> {
    let cluster = &context.cluster;
    Ok(cluster.bus().queue_subscribe(subject.clone(), cluster.names().backends()).await?)
}

/// The source of requests.
enum Intake {
    Open(Subscription),
    /// New messages go to other backends; those on their way here are still received.
    Draining(Subscription),
    /// New messages go to other backends. The subscription is opened again at this time.
    Closed(Option<Instant>),
}

impl Intake {
    async fn next(&mut self) -> Came {
        match self {
            Self::Open(subscription) => subscription.next().await.map_or(Came::Closed, Came::Event),
            Self::Draining(subscription) => subscription.next().await.map_or(Came::Drained, Came::Event),
            Self::Closed(Some(at)) => {
                sleep_until((*at).into()).await;
                Came::Reopening
            }
            Self::Closed(None) => pending().await,
        }
    }
}

/// The next event of an [`Intake`].
enum Came {
    Event(BusEvent),
    /// All messages on their way have been received.
    Drained,
    /// The subscription is to be opened again.
    Reopening,
    /// The bus is closed for good.
    Closed,
}

struct Receiving<R: Responder> {
    context: Arc<ServiceContext>,
    subject: Subject,
    intake: Intake,
    responder: Arc<R>,
    queue: FairQueue<R::Request>,
    /// The number of calls in progress.
    calls: usize,
    limits: Limits,
    over: mpsc::Sender<Vec<UserId>>,
    ended: mpsc::Receiver<Vec<UserId>>,
    running: TaskTracker,
    refusals: Arc<Semaphore>,
    /// The time since when all calls are in progress and requests wait.
    full_since: Option<Instant>,
    abandon: CancellationToken,
}

impl<R: Responder> Receiving<R> {
    async fn run(mut self, stop: CancellationToken, mut stores: watch::Receiver<bool>) {
        loop {
            self.begin();
            let still_full = self.full_since.map_or_else(Instant::now, |since| since + FULL_FOR);
            tokio::select! {
                biased; // A stopping service takes nothing more.
                () = stop.cancelled() => break,
                Some(users) = self.ended.recv() => self.end(users),
                // Before more is received, so that a flood does not delay it.
                Ok(()) = stores.changed(), if R::NEEDS_STORES => {
                    let reachable = *stores.borrow_and_update();
                    self.follow(reachable).await;
                }
                came = self.intake.next() => match came {
                    Came::Event(BusEvent::Message(message)) => self.take(message.payload),
                    Came::Event(_) => {}
                    Came::Drained => {
                        let reachable = *stores.borrow();
                        self.intake = Intake::Closed(reachable.then(Instant::now));
                    }
                    Came::Reopening => self.open().await,
                    Came::Closed => break,
                },
                // Wakes the loop even if all calls hang and nothing else happens, to log that.
                () = sleep_until(still_full.into()), if self.full_since.is_some() => {}
            }
        }
        self.finish().await;
    }

    /// Leaves new messages to other backends while this one cannot reach the stores. Requests that
    /// are here are handled all the same, so that their devices learn of the failure.
    async fn follow(&mut self, reachable: bool) {
        match (&mut self.intake, reachable) {
            (Intake::Open(_), false) => self.drain().await,
            (Intake::Closed(at), true) => *at = Some(Instant::now()),
            (Intake::Closed(at), false) => *at = None,
            // It is open already, or reopens when the draining ends.
            (Intake::Open(_) | Intake::Draining(_), _) => {}
        }
    }

    async fn drain(&mut self) {
        if let Intake::Open(mut subscription) = std::mem::replace(&mut self.intake, Intake::Closed(None)) {
            // Without a connection to the bus, draining ends with the connection, and no messages come
            // meanwhile.
            let _ = timeout(LAST_REQUESTS, subscription.drain()).await;
            self.intake = Intake::Draining(subscription);
        }
    }

    async fn open(&mut self) {
        self.intake = match subscribe(&self.context, &self.subject).await {
            Ok(subscription) => Intake::Open(subscription),
            Err(error) => {
                throttled!(warn, %error, kind = R::NAME, "cannot subscribe to requests of devices again");
                Intake::Closed(Some(Instant::now() + SUBSCRIBE_AGAIN))
            }
        };
    }

    /// Ends the subscription. New messages go to other backends; those on their way here are still received,
    /// since they would be lost with the subscription.
    async fn finish(mut self) {
        self.drain().await;
        let deadline = Instant::now() + LAST_REQUESTS;
        let mut is_over = !matches!(self.intake, Intake::Draining(_));
        while !is_over {
            self.begin();
            tokio::select! {
                Some(users) = self.ended.recv() => self.end(users),
                came = self.intake.next() => match came {
                    Came::Event(BusEvent::Message(message)) => self.take(message.payload),
                    Came::Event(_) => {}
                    Came::Drained | Came::Reopening | Came::Closed => is_over = true,
                },
                () = sleep_until(deadline.into()) => {
                    tracing::warn!("the bus did not end a subscription in time: devices may have to ask again");
                    is_over = true;
                }
            }
        }
        self.begin();
        while !self.queue.is_empty() {
            let Some(users) = self.ended.recv().await else { return };
            self.end(users);
            self.begin();
        }
    }

    fn take(&mut self, payload: Bytes) {
        let now = Instant::now();
        for job in self.responder.parse(payload) {
            let user = job.user.clone();
            if let Err(request) = self.queue.push(job, now) {
                throttled!(warn, kind = R::NAME, %user, "too much work of a user is waiting: refusing more");
                self.refuse(request);
            }
        }
    }

    /// Sends a refusal in the background, within a limit.
    fn refuse(&self, request: R::Request) {
        let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        let Some((server, record)) = self.responder.refuse(request) else { return };
        let (publisher, abandon) = (Arc::clone(&self.context.publisher), self.abandon.clone());
        self.running.spawn(async move {
            let submitting = publisher.submit_and_forget(&server, record);
            let _ = abandon.run_until_cancelled(submitting).await;
            drop(permit);
        });
    }

    /// Begins as many calls as the limits allow.
    fn begin(&mut self) {
        self.begin_some();
        self.watch_fullness(Instant::now());
    }

    fn begin_some(&mut self) {
        while self.calls < self.limits.concurrency {
            let (mut users, mut requests) = (Vec::new(), Vec::new());
            let now = Instant::now();
            while requests.len() < self.limits.batch
                && let Some(next) = self.queue.next(now)
            {
                match next {
                    Next::Begin(user, request) => {
                        users.push(user);
                        requests.push(request);
                    }
                    Next::Expired(user, _) => {
                        let kind = R::NAME;
                        throttled!(warn, kind, %user, "requests waited for too long and were dropped");
                    }
                }
            }
            if requests.is_empty() {
                return;
            }
            self.calls += 1;
            let responder = Arc::clone(&self.responder);
            let over = Over { users, over: self.over.clone() };
            let abandon = self.abandon.clone();
            self.running.spawn(async move {
                let _ = abandon.run_until_cancelled(responder.handle(requests)).await;
                drop(over);
            });
        }
    }

    /// Logs if all calls have been in progress for a while and requests wait.
    fn watch_fullness(&mut self, now: Instant) {
        let concurrency = self.limits.concurrency;
        if self.calls < concurrency || self.queue.is_empty() {
            self.full_since = None;
            return;
        }
        let since = *self.full_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= FULL_FOR {
            self.full_since = Some(now);
            throttled!(
                warn,
                kind = R::NAME,
                concurrency,
                "all calls of this backend are in progress, and requests of devices are waiting: is the handler slow, or a service that it uses? \
                 ImBuilder::handler_concurrency sets how many publishes are handled at once"
            );
        }
    }

    fn end(&mut self, users: Vec<UserId>) {
        self.calls -= 1;
        users.iter().for_each(|user| self.queue.done(user));
    }
}

/// Notes the end of a call, even of one that panicked.
struct Over {
    users: Vec<UserId>,
    over: mpsc::Sender<Vec<UserId>>,
}

impl Drop for Over {
    fn drop(&mut self) {
        // The channel has room for each call.
        let _ = self.over.try_send(std::mem::take(&mut self.users));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::Im,
        cluster::{Cluster, Publication},
    };

    const PATIENCE: Duration = Duration::from_secs(1);

    /// Reports the requests that it handles. The first one waits until the test releases it.
    struct Recorder {
        patience: Duration,
        gate: Semaphore,
        handled: mpsc::UnboundedSender<u32>,
    }

    impl Responder for Recorder {
        type Request = u32;

        const NAME: &'static str = "numbers";

        fn limits(&self) -> Limits {
            Limits { concurrency: 1, batch: 1, per_user: 1, waiting_per_user: 100, patience: self.patience }
        }

        fn parse(&self, payload: Bytes) -> Vec<Job<u32>> {
            let number = u32::from_be_bytes(payload[..].try_into().unwrap());
            vec![Job::new(UserId::parse(&format!("u{}", number % 1000)).unwrap(), number, payload.len())]
        }

        async fn handle(self: Arc<Self>, requests: Vec<u32>) {
            for number in requests {
                self.handled.send(number).unwrap();
                self.gate.acquire().await.unwrap().forget();
            }
        }
    }

    async fn start(
        cluster: &Cluster,
        permits: usize,
        patience: Duration,
    ) -> (Responders, mpsc::UnboundedReceiver<u32>, Arc<Recorder>) {
        let im = Im::with_cluster(cluster.clone()).await.unwrap();
        // Only the tests say whether the stores answer: the upkeep, which probes them at once, would say that
        // they do.
        im.inner.tasks.stop().cancel();
        im.inner.tasks.tracker().close();
        im.inner.tasks.tracker().wait().await;
        let (handled, heard) = mpsc::unbounded_channel();
        let recorder = Arc::new(Recorder { patience, gate: Semaphore::new(permits), handled });
        let (stop, abandon) = (CancellationToken::new(), CancellationToken::new());
        let context = Arc::clone(&im.inner.service);
        let responders = Responders { context, running: TaskTracker::new(), stop, abandon };
        let subject = cluster.names().upstream_sync();
        responders.start_shared(subject, Arc::clone(&recorder)).await.unwrap();
        (responders, heard, recorder)
    }

    async fn publish(cluster: &Cluster, number: u32) {
        let subject = cluster.names().upstream_sync();
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        cluster.bus().publish(Publication { subject, return_to: None, payload }).await.unwrap();
    }

    /// Without this a backlog would never drain: each handled request was given up by its device, which asks
    /// again meanwhile.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_backlog_that_nobody_waits_for_holds_up_nobody() {
        let cluster = Cluster::embedded();
        let (responders, mut heard, recorder) = start(&cluster, 0, PATIENCE).await;
        publish(&cluster, 0).await;
        assert_eq!(heard.recv().await, Some(0), "and it holds everything up");
        for number in 1..=10_000 {
            publish(&cluster, number).await;
        }
        let given_up = Instant::now() + PATIENCE * 2;
        sleep_until(given_up.into()).await;
        publish(&cluster, 77_777).await;
        recorder.gate.add_permits(1_000_000);
        assert_eq!(heard.recv().await, Some(77_777));
        assert_eq!(heard.try_recv().ok(), None);
        responders.stop.cancel();
        responders.running.close();
        responders.running.wait().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_back_end_without_its_stores_leaves_requests_to_others() {
        let cluster = Cluster::embedded();
        let patience = Duration::from_secs(60);
        let (cut_off, mut unheard, _) = start(&cluster, 1_000_000, patience).await;
        let (_well, mut heard, _) = start(&cluster, 1_000_000, patience).await;
        cut_off.context.stores.send_replace(false);
        // Until it notices the failure, it takes its share.
        let mut number = 0;
        let mut in_a_row = 0;
        while in_a_row < 50 {
            number += 1;
            publish(&cluster, number).await;
            tokio::select! {
                Some(_) = heard.recv() => in_a_row += 1,
                Some(_) = unheard.recv() => in_a_row = 0,
            }
        }
        cut_off.context.stores.send_replace(true);
        loop {
            number += 1;
            publish(&cluster, number).await;
            tokio::select! {
                Some(_) = heard.recv() => {}
                Some(_) = unheard.recv() => break,
            }
        }
    }
}
