//! The loop that every kind of request from servers runs through: receive, divide, handle several at once.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::ServeError;
use crate::{
    backend::im::Im,
    cluster::{BusEvent, Subject, Subscription},
};

/// How long a service that ends takes in what is on its way to it. Without a connection to the bus nothing comes.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// One kind of request: what arrives on one subject, shared among the back ends.
pub(super) trait Responder: Send + Sync + 'static {
    /// What is handled at once.
    type Request: Send + 'static;

    /// How many are handled at once; further ones wait on the bus.
    fn concurrency(&self) -> usize;

    /// Takes a bus message apart. What is not valid is logged and left out.
    fn parse(&self, payload: Bytes) -> Vec<Self::Request>;

    /// Handles one.
    fn handle(self: Arc<Self>, request: Self::Request) -> impl Future<Output = ()> + Send;
}

/// Runs responders until the service stops.
#[derive(Clone, Debug)]
pub(super) struct Responders {
    pub(super) im: Im,
    pub(super) running: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl Responders {
    /// Receives this back end's share of a subject from here on.
    pub(super) async fn start<R: Responder>(&self, subject: Subject, responder: R) -> Result<(), ServeError> {
        let cluster = &self.im.inner.cluster;
        let subscription = cluster.bus().queue_subscribe(subject, cluster.names().backends()).await?;
        let places = Arc::new(Semaphore::new(responder.concurrency()));
        let receiving = Receiving { responder: Arc::new(responder), places, running: self.running.clone() };
        self.running.spawn(receiving.run(subscription, self.stop.clone()));
        Ok(())
    }
}

struct Receiving<R> {
    responder: Arc<R>,
    places: Arc<Semaphore>,
    running: TaskTracker,
}

impl<R: Responder> Receiving<R> {
    async fn run(self, mut subscription: Subscription, stop: CancellationToken) {
        loop {
            let event = tokio::select! {
                biased; // A stopping service begins nothing.
                () = stop.cancelled() => break,
                event = subscription.next() => event,
            };
            match event {
                Some(BusEvent::Message(message)) => self.begin(message.payload).await,
                Some(_) => {}
                None => return,
            }
        }
        self.finish(subscription).await;
    }

    /// Others get what comes from here on; what is on its way here would be lost with the subscription.
    async fn finish(&self, mut subscription: Subscription) {
        let mut next = timeout(LAST_REQUESTS, async {
            subscription.drain().await;
            subscription.next().await
        })
        .await;
        while let Ok(Some(event)) = next {
            if let BusEvent::Message(message) = event {
                self.begin(message.payload).await;
            }
            next = timeout(LAST_REQUESTS, subscription.next()).await;
        }
        if next.is_err() {
            tracing::warn!("the bus did not end a subscription in time: devices may have to ask again");
        }
    }

    /// Starts handling a message, waiting while as many requests are handled as may be.
    async fn begin(&self, payload: Bytes) {
        for request in self.responder.parse(payload) {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            let responder = Arc::clone(&self.responder);
            self.running.spawn(async move {
                responder.handle(request).await;
                drop(place);
            });
        }
    }
}
