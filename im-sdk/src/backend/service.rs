//! Serving what devices publish: a handler accepts, changes, refuses or answers.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use futures_util::FutureExt as _;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    im::Im,
    message::{Message, digest, user},
    send::{SendError, check_size},
    sync,
};
use crate::{
    Content,
    cluster::{BusError, BusEvent, LogError, Once, Subscription},
    id::{Device, MessageId, ServerId, UserId},
    proto::{frame, pb},
};

/// When a device may try again what failed here.
const RETRY_MS: u32 = 1000;

/// What a device published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incoming {
    /// The user whose device it is, as its token says.
    pub from: UserId,
    /// The device.
    pub device: Device,
    /// Whom it is meant for.
    pub to: UserId,
    /// What it says.
    pub content: Content,
}

impl Incoming {
    /// Takes it as it is: it is sent to whom it is meant for.
    pub fn accept(self) -> Acceptance {
        let message = Message::to(user(&self.to)).from(&self.from).content(self.content);
        Acceptance::send(message)
    }
}

/// A publish that was taken, and what is to be done with it.
#[derive(Clone, Debug)]
pub struct Acceptance {
    message: Option<Message>,
    answer: Bytes,
}

impl Acceptance {
    /// Sends this message. Without a sender it comes from the user that published.
    pub fn send(message: Message) -> Self {
        Self { message: Some(message), answer: Bytes::new() }
    }

    /// Sends nothing: the handler did what there was to do.
    pub fn handled() -> Self {
        Self { message: None, answer: Bytes::new() }
    }

    /// The device gets these bytes with the result.
    pub fn with_answer(mut self, answer: impl Into<Bytes>) -> Self {
        self.answer = answer.into();
        self
    }
}

/// A publish that was not taken. The device sees the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: String,
    code: i32,
}

impl Refusal {
    /// A refusal for a reason that people can read.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), code: 0 }
    }

    /// The application's own code, for programs to read.
    pub fn with_code(mut self, code: i32) -> Self {
        self.code = code;
        self
    }
}

/// Decides what becomes of what devices publish. Closures are handlers:
///
/// ```no_run
/// # async fn example(im: im_sdk::backend::Im) -> Result<(), Box<dyn std::error::Error>> {
/// use im_sdk::backend::{Incoming, Refusal};
///
/// let service = im.serve(|incoming: Incoming| async move {
///     match incoming.content.as_text() {
///         Some(text) if text.contains("spam") => Err(Refusal::new("no spam, please")),
///         _ => Ok(incoming.accept()),
///     }
/// }).await?;
/// # Ok(())
/// # }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Decides. Several run at once, also for one user; those of one device and recipient come one after another.
    fn publish(&self, incoming: Incoming) -> impl Future<Output = Result<Acceptance, Refusal>> + Send;
}

impl<F, D> Handler for F
where
    F: Fn(Incoming) -> D + Send + Sync + 'static,
    D: Future<Output = Result<Acceptance, Refusal>> + Send,
{
    fn publish(&self, incoming: Incoming) -> impl Future<Output = Result<Acceptance, Refusal>> + Send {
        self(incoming)
    }
}

/// Publishes cannot be received.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve publishes: {0}")]
pub struct ServeError(#[from] BusError);

/// A running service. Dropping it stops receiving at once; [`Service::shutdown`] also waits for what was begun.
#[derive(Debug)]
#[must_use = "dropping the service stops it"]
pub struct Service {
    stop: CancellationToken,
    running: TaskTracker,
}

impl Service {
    /// Receives nothing more and waits until everything that was begun is answered.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.running.close();
        self.running.wait().await;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Im {
    /// Receives this back end's share of what devices publish, from now until the service is dropped or shut down.
    /// Any number of back ends may serve; each publish goes to one of them.
    ///
    /// # Errors
    /// [`ServeError`] when the bus does not take the subscription.
    pub async fn serve<H: Handler>(&self, handler: H) -> Result<Service, ServeError> {
        let names = self.inner.cluster.names();
        let (subject, group) = (names.upstream_publish(), names.backends());
        let subscription = self.inner.cluster.bus().queue_subscribe(subject, group).await?;
        let stop = self.inner.stop.child_token();
        let running = TaskTracker::new();
        let worker = Arc::new(Worker {
            im: self.clone(),
            handler,
            places: Arc::new(Semaphore::new(self.inner.config.handler_concurrency)),
            running: running.clone(),
        });
        running.spawn(worker.run(subscription, stop.clone()));
        let (subject, group) = (names.upstream_sync(), names.backends());
        let syncs = self.inner.cluster.bus().queue_subscribe(subject, group).await?;
        running.spawn(sync::serve(self.clone(), syncs, running.clone(), stop.clone()));
        Ok(Service { stop, running })
    }
}

struct Worker<H> {
    im: Im,
    handler: H,
    places: Arc<Semaphore>,
    running: TaskTracker,
}

impl<H: Handler> Worker<H> {
    async fn run(self: Arc<Self>, mut subscription: Subscription, stop: CancellationToken) {
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
        // What the bus had handed over before the end would be lost with the subscription.
        while let Some(event) = subscription.try_next() {
            if let BusEvent::Message(message) = event {
                self.begin(message.payload).await;
            }
        }
    }

    /// Starts handling a batch, waiting while as many are handled as may be.
    async fn begin(self: &Arc<Self>, payload: Bytes) {
        let upstream = pb::Upstream::decode(payload).ok();
        let server = upstream.as_ref().and_then(|upstream| ServerId::parse(&upstream.server).ok());
        let (Some(upstream), Some(server)) = (upstream, server) else {
            return tracing::warn!("a batch of publishes is not valid and was dropped");
        };
        for publish in upstream.publishes {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            self.running.spawn(Arc::clone(self).handle(server.clone(), publish, place));
        }
    }

    async fn handle(
        self: Arc<Self>,
        server: ServerId,
        publish: pb::UpstreamPublish,
        _place: OwnedSemaphorePermit,
    ) {
        let (connection, number) = (publish.connection, publish.number);
        let decision = AssertUnwindSafe(self.decide(publish)).catch_unwind().await;
        let outcome = decision.unwrap_or_else(|_| {
            tracing::error!("the handler panicked");
            Err(refused(pb::RefusalKind::Internal, "the back end failed", 0))
        });
        let outcome = match outcome {
            Ok(accepted) => pb::publish_result::Outcome::Accepted(accepted),
            Err(refused) => pb::publish_result::Outcome::Refused(refused),
        };
        let mut frames = result(number, outcome);
        // It would be lost, and with it what travels in the same envelope.
        if let Err(error) = check_size(frames.len()) {
            tracing::error!(%error, "the handler's answer is too large");
            let refused = refused(pb::RefusalKind::Internal, "the back end's answer is too large", 0);
            frames = result(number, pb::publish_result::Outcome::Refused(refused));
        }
        let answer = pb::record::Effect::Answer(pb::PublishAnswer { number, frames });
        let record = pb::Record { connections: vec![connection], effect: Some(answer) };
        self.im.inner.publisher.submit_and_forget(&server, record).await;
    }

    async fn decide(&self, publish: pb::UpstreamPublish) -> Result<pb::Accepted, pb::Refused> {
        let (number, digest) = (publish.number, digest([&publish.publish[..]]));
        let incoming = parse(publish).map_err(|reason| refused(pb::RefusalKind::Invalid, &reason, 0))?;
        let from = incoming.from.clone();
        // A device has one unanswered publish per conversation, so that in each log these numbers only rise.
        let name = format!("{from}/{}>{}", incoming.device, incoming.to);
        let once = Once::Producer { name, number, digest };
        let acceptance = self.handler.publish(incoming).await.map_err(rule)?;
        let message_id = match acceptance.message {
            Some(message) => self.send_for(&from, message, once).await?.as_u64(),
            None => 0,
        };
        Ok(pb::Accepted { message_id, answer: acceptance.answer })
    }

    async fn send_for(&self, from: &UserId, message: Message, once: Once) -> Result<MessageId, pb::Refused> {
        let message = if message.has_sender() { message } else { message.from(from) };
        match self.im.send_once(message, Some(once)).await {
            Ok(receipt) => Ok(receipt.message_id),
            Err(error) => {
                tracing::warn!(%from, %error, "an accepted publish could not be sent");
                Err(not_sent(&error))
            }
        }
    }
}

fn parse(publish: pb::UpstreamPublish) -> Result<Incoming, String> {
    let from = UserId::parse(&publish.user).map_err(|error| error.to_string())?;
    let device = publish.device.ok_or("the device is missing")?;
    let device = Device::try_from(device).map_err(|error| error.to_string())?;
    let body = pb::Publish::decode(publish.publish).map_err(|error| error.to_string())?;
    let to = UserId::parse(&body.to).map_err(|error| error.to_string())?;
    let content = Content::from(body.content);
    if content == Content::Unknown {
        return Err("the content is empty or of a kind that this back end does not know".into());
    }
    Ok(Incoming { from, device, to, content })
}

fn not_sent(error: &SendError) -> pb::Refused {
    let internal =
        |retry_after_ms| refused(pb::RefusalKind::Internal, "the message could not be sent", retry_after_ms);
    match error {
        SendError::TooLarge { .. } => refused(pb::RefusalKind::Invalid, &error.to_string(), 0),
        SendError::Conflict | SendError::NotLogged { source: LogError::Stale { .. }, .. } => {
            let reason = "the number was used for another message";
            refused(pb::RefusalKind::Invalid, reason, 0)
        }
        SendError::Id(_) | SendError::Routes(_) | SendError::NotLogged { .. } => internal(RETRY_MS),
        // What the handler made of it makes no sense, and will not the next time.
        _ => internal(0),
    }
}

fn result(number: u64, outcome: pb::publish_result::Outcome) -> Bytes {
    let result = pb::PublishResult { number, outcome: Some(outcome) };
    frame::encode(pb::frame::Body::PublishResult(result))
}

fn rule(refusal: Refusal) -> pb::Refused {
    let code = refusal.code;
    pb::Refused { code, ..refused(pb::RefusalKind::Rule, &refusal.reason, 0) }
}

fn refused(kind: pb::RefusalKind, reason: &str, retry_after_ms: u32) -> pb::Refused {
    pb::Refused { kind: kind.into(), reason: reason.to_owned(), code: 0, retry_after_ms }
}
