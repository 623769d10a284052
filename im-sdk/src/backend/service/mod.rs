//! Serves devices: a handler accepts, changes, refuses or answers what they publish.

mod acks;
pub(super) mod budget;
mod call;
pub(super) mod change;
mod contacts;
mod context;
mod conversations;
mod logged_publish;
mod presence;
pub(super) mod publish;
mod queue;
mod reach;
mod reactions;
mod references;
mod repeated_publish;
pub(super) mod request;
pub(super) mod requester;
mod responder;
mod response;
pub(super) mod rooms;
mod rule;
pub(super) mod signals;
mod store;
mod sync;

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(super) use self::context::{ServiceContext, ServiceParts, ServiceSettings};
use self::{
    acks::Acks,
    change::{ChangeRights, IncomingChange},
    presence::Presences,
    publish::Publishes,
    request::Requests,
    responder::Responders,
    signals::Signals,
    store::StoreChecks,
    sync::{Memberships, Syncs},
};
pub use self::{
    logged_publish::LoggedPublish,
    presence::PresenceEvent,
    reach::{Reach, ReachKind, ReachRights},
    request::{DeviceRequest, RequestKind},
    rooms::{RoomJoin, RoomWelcome},
    rule::ReachRule,
    signals::{IncomingSignal, Relay},
};
use crate::{
    Recipient,
    backend::{
        conversations::Marked,
        send::message::{Durability, Message},
    },
    cluster::{BusError, DeviceAck},
    content::Content,
    id::{Device, UserId},
    log_throttle::throttled,
    refusal_code::NO_SUCH_ROOM,
};

/// A publish of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incoming {
    /// The publishing user, from the device's token.
    pub from: UserId,
    /// The device.
    pub device: Device,
    /// The device's number of the publish. Together with `from` and `device` it is the same for
    /// each repetition, and different for each other publish, even with the same text. Use it as a
    /// key for actions that must not be repeated.
    pub number: u64,
    /// The recipient. If it is a channel, `from` is a member of it, or the device is in the room.
    pub to: Recipient,
    /// `true` if the device is in the room that it publishes to.
    pub in_room: bool,
    /// The content; for an edit, the new content of the message. [`Content::texts`] returns all
    /// texts in it.
    pub content: Content,
    /// Set for a change of an earlier message. An edit has its new content in `content`; a reaction
    /// and a pin are there as [`Body::Change`](crate::content::Body::Change). [`Handler::publish`]
    /// decides about these too, so that refused content does not get through as something else.
    pub change: Option<Box<IncomingChange>>,
}

impl Incoming {
    /// Replaces the text or caption. Mentions, the quote and the thread stay. See
    /// [`Content::replace_text`].
    ///
    /// ```
    /// use im_sdk::backend::{Acceptance, Incoming, Refusal};
    ///
    /// async fn mask(incoming: Incoming) -> Result<Acceptance, Refusal> {
    ///     match incoming.content.as_text() {
    ///         Some(text) if text.contains("damn") => {
    ///             let masked = text.replace("damn", "****");
    ///             Ok(incoming.replace_text(masked).accept())
    ///         }
    ///         _ => Ok(incoming.accept()),
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn replace_text(mut self, text: impl Into<String>) -> Self {
        self.content = self.content.replace_text(text);
        self
    }

    /// Accepts the publish unchanged. It is sent to its recipient, and in a room as
    /// [`Durability::Transient`]. A change is carried out if [`ChangePolicy`](super::ChangePolicy)
    /// allows it.
    pub fn accept(self) -> Acceptance {
        let message = Message::to(self.to).from(&self.from).content(self.content);
        Acceptance::send(if self.in_room { message.durability(Durability::Transient) } else { message })
    }
}

/// An accepted publish, and the message that is sent for it, if any. A handler sends further
/// messages with [`Im::send`](super::Im::send), and with an idempotency key, since it may run
/// again.
///
/// If [`Incoming::change`] is set, the message's content is the new content of an edit, and the
/// rest of the message is ignored: a change goes to the logs of the message that it changes.
#[derive(Clone, Debug)]
pub struct Acceptance {
    message: Option<Message>,
    answer: Bytes,
}

impl Acceptance {
    /// Sends this message. Without a sender it comes from the publishing user.
    pub fn send(message: Message) -> Self {
        Self { message: Some(message), answer: Bytes::new() }
    }

    /// Sends nothing: the handler has done everything.
    pub fn handled() -> Self {
        Self { message: None, answer: Bytes::new() }
    }

    /// Sends these bytes to the device with the result.
    pub fn with_answer(mut self, answer: impl Into<Bytes>) -> Self {
        self.answer = answer.into();
        self
    }
}

/// A refused publish or request. The device gets the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: String,
    code: i32,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// Creates a refusal with a reason for people.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), code: 0, retry_after: None }
    }

    /// Sets the application's own code for programs, 0 or more. A refusal without a code has 0.
    /// Negative codes are the [SDK's own](crate::refusal_code), so that the two are never confused:
    /// such a code becomes 0, and the log says so.
    pub fn with_code(mut self, code: i32) -> Self {
        if code < 0 {
            throttled!(error, code, "a handler's refusal has a negative code, which is the SDK's: 0 is sent");
        }
        self.code = code.max(0);
        self
    }

    /// Makes the refusal temporary: the device may repeat the request after this time, for example
    /// because a database does not answer. Devices repeat messages of their outbox by themselves. A
    /// temporary refusal has no code.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use im_sdk::backend::Refusal;
    ///
    /// let refusal = Refusal::new("the friends cannot be looked up").retry_after(Duration::from_secs(2));
    /// ```
    pub fn retry_after(self, delay: Duration) -> Self {
        Self { retry_after: Some(delay), ..self }
    }

    /// Returns `true` if the refusal is [temporary](Refusal::retry_after).
    pub fn is_temporary(&self) -> bool {
        self.retry_after.is_some()
    }

    /// Returns the reason, for people.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns the code, for programs.
    pub fn code(&self) -> i32 {
        self.code
    }
}

/// Decides about publishes and requests of devices. The methods are async, so there is no `dyn
/// Handler`: use one handler that chooses between rules, by an enum or a trait of the application.
/// Closures are handlers:
///
/// ```no_run
/// # async fn example(im: im_sdk::backend::Im) -> Result<(), Box<dyn std::error::Error>> {
/// use im_sdk::backend::{Incoming, Refusal};
///
/// let service = im.serve(|incoming: Incoming| async move {
///     if incoming.content.texts().iter().any(|text| text.contains("spam")) {
///         return Err(Refusal::new("no spam, please"));
///     }
///     Ok(incoming.accept())
/// }).await?;
/// # Ok(())
/// # }
/// ```
///
/// A closure decides what may be said. [`ReachRule`] adds a rule for who may reach whom.
#[doc(alias("webhook", "bot", "callback", "moderation", "rules"))]
pub trait Handler: Send + Sync + 'static {
    /// Decides about a message, and about edits, reactions and pins ([`Incoming::change`]), so that
    /// one rule covers all content of a device, unless [`Handler::change`] decides about the change
    /// alone. Recalls and deletions for oneself have no content and are not passed here.
    ///
    /// Several calls run at once, also for one user. Those of one device and recipient run one
    /// after the other.
    fn publish(&self, incoming: Incoming) -> impl Future<Output = Result<Acceptance, Refusal>> + Send;

    /// Decides whether a device may join a room. It asks again over every new connection. By
    /// default nobody may.
    ///
    /// ```
    /// use im_sdk::backend::{Acceptance, Handler, Incoming, Refusal, RoomJoin, RoomWelcome};
    ///
    /// struct Lobby;
    ///
    /// impl Handler for Lobby {
    ///     async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
    ///         Ok(incoming.accept())
    ///     }
    ///
    ///     async fn join_room(&self, join: RoomJoin) -> Result<RoomWelcome, Refusal> {
    ///         match join.channel.as_str() {
    ///             "lobby" => Ok(RoomWelcome::new().with_answer("be kind")),
    ///             _ => Err(Refusal::new("there is no such room")),
    ///         }
    ///     }
    /// }
    /// ```
    fn join_room(&self, join: RoomJoin) -> impl Future<Output = Result<RoomWelcome, Refusal>> + Send {
        let reason = format!("this backend has no room {}", join.channel);
        // Without `with_code`, since the code is the SDK's.
        std::future::ready(Err(Refusal { reason, code: NO_SUCH_ROOM, retry_after: None }))
    }

    /// Decides whether a user's device may reach another user: with a message, before
    /// [`Handler::publish`] is called; with a change of their message; with a signal; by showing
    /// how far the user has read; and by watching the other user, after [`Handler::may_watch`]. For
    /// a refused message or change the device gets the reason; signals, read marks and presence are
    /// dropped.
    ///
    /// **Override it**: only the application knows who may write to whom, who has blocked whom and
    /// who has left. The default is undecided, which is logged once. Then these rules limit
    /// strangers:
    ///
    /// - A message may go to anybody. Messages to users who have no contact with the sender, in either direction, are limited in
    ///   number, and those to users that the deployment has never seen are limited further: see
    ///   [`UserBudgets::new_contacts`](super::UserBudgets::new_contacts).
    /// - A change may go where the message that it changes went.
    /// - A signal or a read mark is shown only to users who have written to the user before. Only messages that a device
    ///   published count, not those that a backend sent in a user's name.
    /// - If [`Handler::publish`] has refused a user's last message to another one, neither a signal nor a read mark is shown,
    ///   until it accepts a message. The backend that refused remembers that until it ends, in channels too; other backends do
    ///   not know of it. A refusal by [`Handler::publish`] is an answer to one message and no rule: it may be about the words. A
    ///   rule that must hold at every backend belongs in this method, which all of them call.
    ///
    /// Channels are for their members, and rooms for devices that have joined: this method is not
    /// called for them.
    ///
    /// ```
    /// use im_sdk::backend::{Acceptance, Handler, Incoming, Reach, ReachKind, ReachRights, Refusal};
    ///
    /// struct FriendsOnly;
    /// # async fn are_friends(a: &im_sdk::id::UserId, b: &im_sdk::id::UserId) -> bool { true }
    ///
    /// impl Handler for FriendsOnly {
    ///     async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
    ///         Ok(incoming.accept())
    ///     }
    ///
    ///     async fn may_reach(&self, reach: &Reach) -> Result<ReachRights, Refusal> {
    ///         match reach.what {
    ///             // What was said stays between the two, also if they are friends no more.
    ///             ReachKind::Change => Ok(ReachRights::Granted),
    ///             _ if are_friends(&reach.from, &reach.to).await => Ok(ReachRights::Granted),
    ///             _ => Err(Refusal::new("you are not friends")),
    ///         }
    ///     }
    /// }
    /// ```
    #[doc(alias("block", "ban", "friend", "blacklist"))]
    fn may_reach(&self, reach: &Reach) -> impl Future<Output = Result<ReachRights, Refusal>> + Send {
        let _ = reach;
        std::future::ready(Ok(ReachRights::Undecided))
    }

    /// Decides about a signal of a device. `None` drops it; no device is told. By default, signals
    /// pass that [`Handler::may_reach`] allows, and those to channels that the user is a member of
    /// or rooms that the device is in.
    ///
    /// ```
    /// use im_sdk::{Signal, backend::{Acceptance, Handler, Incoming, IncomingSignal, Refusal, Relay}};
    ///
    /// struct NoCalls;
    ///
    /// impl Handler for NoCalls {
    ///     async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
    ///         Ok(incoming.accept())
    ///     }
    ///
    ///     async fn signal(&self, signal: IncomingSignal) -> Option<Relay> {
    ///         match signal.signal {
    ///             Signal::Call { .. } => None,
    ///             _ => Some(signal.relay()),
    ///         }
    ///     }
    /// }
    /// ```
    fn signal(&self, signal: IncomingSignal) -> impl Future<Output = Option<Relay>> + Send {
        std::future::ready(Some(signal.relay()))
    }

    /// Receives presence events. Each event is passed to one of the backends, unless it is lost.
    /// Several calls run at once, so a connect and a disconnect in quick succession may change
    /// places. If a server dies, its devices' events come when somebody locates them. The default
    /// does nothing.
    fn presence(&self, event: PresenceEvent) -> impl Future<Output = ()> + Send {
        let _ = event;
        std::future::ready(())
    }

    /// Returns those of these users whom a user's device may watch. The user's own devices may
    /// always be watched. The default allows nobody else: presence is private. Users whom
    /// [`Handler::may_reach`] refuses to the watcher ([`ReachKind::Presence`]) are left out in any
    /// case.
    fn may_watch(&self, watcher: UserId, users: Vec<UserId>) -> impl Future<Output = Vec<UserId>> + Send {
        let _ = (watcher, users);
        std::future::ready(Vec::new())
    }

    /// Decides about a [change](crate::content::Change) of an earlier message: refuses it, leaves
    /// it to [`ChangePolicy`](super::ChangePolicy) and [`Handler::publish`], which is the default,
    /// or allows it without them. See [`ChangeRights`].
    fn change(
        &self,
        incoming: &IncomingChange,
    ) -> impl Future<Output = Result<ChangeRights, Refusal>> + Send {
        let _ = incoming;
        std::future::ready(Ok(ChangeRights::default()))
    }

    /// Decides about a request of a device: for history, a search, its list, the readers of a
    /// message, presence, or a mark. It is called after the fixed rules, such as that a channel is
    /// for its members. The device gets the reason and the code of a refusal. By default everything
    /// is allowed.
    ///
    /// ```
    /// use im_sdk::backend::{Acceptance, DeviceRequest, Handler, Incoming, Refusal, RequestKind};
    ///
    /// struct PaidSearch;
    /// # async fn has_paid(user: &im_sdk::id::UserId) -> bool { true }
    ///
    /// impl Handler for PaidSearch {
    ///     async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
    ///         Ok(incoming.accept())
    ///     }
    ///
    ///     async fn may_request(&self, request: &DeviceRequest) -> Result<(), Refusal> {
    ///         match request.kind {
    ///             RequestKind::Search(_) if !has_paid(&request.from).await => {
    ///                 Err(Refusal::new("search is for subscribers").with_code(402))
    ///             }
    ///             _ => Ok(()),
    ///         }
    ///     }
    /// }
    /// ```
    fn may_request(&self, request: &DeviceRequest) -> impl Future<Output = Result<(), Refusal>> + Send {
        let _ = request;
        std::future::ready(Ok(()))
    }

    /// Receives messages and changes of devices once they are logged, for example to notify offline
    /// users, or to keep records. The call comes before the device hears that the publish was
    /// accepted, so it should be quick; it may take
    /// [`ImBuilder::handler_timeout`](super::ImBuilder::handler_timeout). The default does nothing.
    ///
    /// **At least once**, as long as the device repeats an unanswered publish: if this backend dies
    /// before the call, another one calls it for the repetition, with [`LoggedPublish::repeated`]
    /// set. A call that panics or takes too long is logged and not repeated. Messages that are
    /// [`Durability::Transient`], or that the handler sends itself with
    /// [`Im::send`](super::Im::send), are not passed here: that method returns a receipt.
    ///
    /// ```
    /// use im_sdk::backend::{Acceptance, Handler, Incoming, LoggedPublish, Refusal};
    ///
    /// struct Audited;
    /// # async fn keep(id: u64, from: &str) {}
    ///
    /// impl Handler for Audited {
    ///     async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
    ///         Ok(incoming.accept())
    ///     }
    ///
    ///     async fn logged(&self, message: LoggedPublish) {
    ///         // Keyed by the message's id, so that a repetition changes nothing.
    ///         keep(message.message_id.as_u64(), message.from.as_str()).await;
    ///     }
    /// }
    /// ```
    #[doc(alias("push", "notification", "audit", "webhook"))]
    fn logged(&self, message: LoggedPublish) -> impl Future<Output = ()> + Send {
        let _ = message;
        std::future::ready(())
    }

    /// Receives acknowledgements: a device's application has processed a log up to a seq that is
    /// further than before. Each is passed once, to one of the backends, unless it is lost; the
    /// next one covers it. Several calls run at once; those of one device may change places.
    fn acked(&self, ack: DeviceAck) -> impl Future<Output = ()> + Send {
        let _ = ack;
        std::future::ready(())
    }

    /// Receives read marks and settings of users' devices. Each is passed once, to one of the
    /// backends, unless it is lost. Several calls run at once.
    fn marked(&self, marked: Marked) -> impl Future<Output = ()> + Send {
        let _ = marked;
        std::future::ready(())
    }
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

/// Publishes cannot be received, because the bus did not accept the subscriptions.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve publishes")]
pub struct ServeError(#[from] BusError);

/// A running service. Dropping it stops receiving at once; [`Service::shutdown`] also waits for
/// calls in progress.
#[derive(Debug)]
#[must_use = "dropping the service stops it"]
pub struct Service {
    stop: CancellationToken,
    /// Drops calls in progress.
    abandon: CancellationToken,
    running: TaskTracker,
    /// The time limit of a shutdown.
    limit: Duration,
}

impl Service {
    /// Stops receiving, and waits until everything in progress or on its way here is answered. On
    /// NATS that takes about a second with little traffic.
    ///
    /// It takes at most [`ImBuilder::handler_timeout`](super::ImBuilder::handler_timeout) and twice
    /// [`ImBuilder::send_timeout`](super::ImBuilder::send_timeout), 20 s by default. Remaining
    /// calls are then dropped, the log says how many, and devices ask other backends.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.running.close();
        if timeout(self.limit, self.running.wait()).await.is_err() {
            let (left, limit) = (self.running.len(), self.limit);
            tracing::warn!(left, ?limit, "the service did not end in time: dropping calls in progress");
            self.abandon.cancel();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts to serve devices. See [`Im::serve`](super::Im::serve).
pub(super) async fn serve<H: Handler>(
    context: &Arc<ServiceContext>,
    handler: H,
) -> Result<Service, ServeError> {
    let names = context.cluster.names();
    let (stop, running) = (context.tasks.stop().child_token(), TaskTracker::new());
    let abandon = CancellationToken::new();
    let responders = Responders {
        context: Arc::clone(context),
        running: running.clone(),
        stop: stop.clone(),
        abandon: abandon.clone(),
    };
    // A send that was begun ends with an error within this time.
    let limit =
        context.settings.handler_timeout.saturating_add(context.settings.send_timeout.saturating_mul(2));
    let service = Service { stop, abandon, running, limit };
    let handler = Arc::new(handler);
    let publishes = Publishes::new(Arc::clone(context), Arc::clone(&handler));
    responders.start(names.upstream_publish(), publishes).await?;
    responders.start(names.upstream_sync(), Syncs::new(Arc::clone(context))).await?;
    let memberships = Memberships { context: Arc::clone(context), handler: Arc::clone(&handler) };
    responders.start(names.upstream_membership(), memberships).await?;
    responders.start(names.upstream_store(), StoreChecks { context: Arc::clone(context) }).await?;
    let requests = Requests { context: Arc::clone(context), handler: Arc::clone(&handler) };
    responders.start(names.upstream_request(), requests).await?;
    let signals = Signals::new(Arc::clone(context), Arc::clone(&handler));
    responders.start(names.upstream_signal(), signals).await?;
    let presences = Presences::new(Arc::clone(context), Arc::clone(&handler));
    responders.running.spawn(Arc::clone(&presences).announce_later(responders.stop.clone()));
    responders.start_shared(names.upstream_presence(), presences).await?;
    responders.start(names.upstream_ack(), Acks { context: Arc::clone(context), handler }).await?;
    responders.running.spawn(Arc::clone(&context.health).announce_service(responders.stop.clone()));
    if !context.publisher.settle(context.settings.send_timeout).await {
        tracing::warn!(
            "the bus has not confirmed this backend's subscriptions: devices may have to ask again"
        );
    }
    Ok(service)
}
