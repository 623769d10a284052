//! Serving what devices publish: a handler accepts, changes, refuses or answers.

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
    Content, Recipient,
    backend::{
        conversations::Marked,
        send::message::{Durability, Message},
    },
    cluster::{BusError, DeviceAck},
    id::{Device, UserId},
    log_throttle::throttled,
    refusal_code::NO_SUCH_ROOM,
};

/// What a device published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incoming {
    /// The user whose device it is, as its token says.
    pub from: UserId,
    /// The device.
    pub device: Device,
    /// The device's own number of the publish: with `from` and `device` it is the same for each repetition of one publish,
    /// and another one for each other publish, also of the same words. A key for what a handler must not do twice.
    pub number: u64,
    /// Whom it is meant for. Where it is a channel, `from` is a member of it, or the device is in the room.
    pub to: Recipient,
    /// The device is in the room that it is meant for.
    pub in_room: bool,
    /// What it says; of an edit, what the message says from then on. [`Content::texts`] are all texts in it.
    pub content: Content,
    /// Set: this is no message of its own, but a change of an earlier one. An edit has its new content in `content`; a reaction and
    /// a pin are there as [`Body::Change`](crate::content::Body::Change). [`Handler::publish`] is asked about these too, so that
    /// what it refuses does not get through as something else.
    pub change: Option<Box<IncomingChange>>,
}

impl Incoming {
    /// The same with another text or caption: mentions, the quote and the thread stay. See [`Content::replace_text`].
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

    /// Takes it as it is: it is sent to whom it is meant for; to a room that the device has joined as
    /// [`Durability::Transient`]. Of a change: it is carried out, where [`ChangePolicy`](super::ChangePolicy) allows it.
    pub fn accept(self) -> Acceptance {
        let message = Message::to(self.to).from(&self.from).content(self.content);
        Acceptance::send(if self.in_room { message.durability(Durability::Transient) } else { message })
    }
}

/// A publish that was taken, and what is to be done with it: one message is sent, or none. Whatever else is to be sent, the handler
/// sends with [`Im::send`], and with an idempotency key, since it may run again.
///
/// Where [`Incoming::change`] is set, the message's content is what an edit says from then on, and the rest of the message means
/// nothing: a change goes where the message that it changes is.
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
    retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal for a reason that people can read.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), code: 0, retry_after: None }
    }

    /// The application's own code, for programs to read: 0 or more. 0 is that of a refusal without a code. Negative ones are the
    /// [SDK's own](crate::refusal_code), so that the two are never confused: such a code becomes 0, and the log says so.
    pub fn with_code(mut self, code: i32) -> Self {
        if code < 0 {
            throttled!(error, code, "a handler's refusal has a negative code, which is the SDK's: 0 is sent");
        }
        self.code = code.max(0);
        self
    }

    /// Makes it a refusal for now: the same may be asked again after that time, because a database does not answer for example. Devices
    /// do so by themselves, with what their outbox holds. Such a refusal has no code.
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

    /// Whether it is one [for now](Refusal::retry_after).
    pub fn is_temporary(&self) -> bool {
        self.retry_after.is_some()
    }

    /// The reason, for people.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The code, for programs.
    pub fn code(&self) -> i32 {
        self.code
    }
}

/// Decides what becomes of what devices publish. Its methods are async, so there is no `dyn Handler`: one handler that chooses
/// between rules, by an enum or a trait of the application's own, is what takes its place. Closures are handlers:
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
/// A closure decides what may be said; [`ReachRule`] adds to it who may reach whom.
#[doc(alias("webhook", "bot", "callback", "moderation", "rules"))]
pub trait Handler: Send + Sync + 'static {
    /// Decides what becomes of a message, and whether an edit, a reaction or a pin may be made ([`Incoming::change`]), so that
    /// one rule holds for all that a device says: unless [`Handler::change`] decides about the change alone. A recall, and the
    /// deletion for oneself, say nothing and do not come here.
    ///
    /// Several run at once, also for one user; those of one device and recipient come one after another.
    fn publish(&self, incoming: Incoming) -> impl Future<Output = Result<Acceptance, Refusal>> + Send;

    /// A device wants to come into a room. It asks again over every new connection. The default lets nobody in.
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
        let reason = format!("this back end has no room {}", join.channel);
        // Not through `with_code`: it is the SDK that says so.
        std::future::ready(Err(Refusal { reason, code: NO_SUCH_ROOM, retry_after: None }))
    }

    /// Decides whether a user's device may reach another user: with a message, before [`Handler::publish`] is asked; with a
    /// change of a message of theirs; with a signal; whether the other one is shown how far the user has read; and whether the
    /// user may see the other one come and go, once [`Handler::may_watch`] has said so. What this refuses goes no further: of a
    /// message and a change the device is told why, a signal, a read mark and a presence are dropped.
    ///
    /// **Override it**: who may write to whom, who has blocked whom and who has left, only the application knows. The default
    /// is undecided, and the log says so once. Then these rules keep a stranger from doing harm:
    ///
    /// - A message may go to anybody. To users that the user has not written to before, and who have not written to it, only
    ///   so many may go in a time, and to users that the deployment has never seen, fewer: see
    ///   [`UserBudgets::new_contacts`](super::UserBudgets::new_contacts).
    /// - A change may go where the message that it changes is.
    /// - A signal is passed on, and a read mark is shown, to users who have written to the user before. Messages count that a
    ///   device published, not those that a back end sent in a user's name.
    /// - Of a user whose last message to another one [`Handler::publish`] has refused, neither is shown, until it accepts one. The
    ///   back end that has refused it remembers that, in channels too; others do not know of it, and it is forgotten when that
    ///   one ends. A refusal by [`Handler::publish`] is an answer to one message and no rule: it may be about its words. What
    ///   must hold at every back end belongs in this method, which all of them ask.
    ///
    /// Channels are for their members, and rooms for those who have joined: this is not asked.
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

    /// A device signals something to others. `None`: it goes no further; nobody is told. The default passes on what
    /// [`Handler::may_reach`] allows, and what is for channels that the user is a member of or rooms that the device is in.
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

    /// A device has come or gone. Told to one of the back ends if nothing is lost; several run at once, so that a coming
    /// and a going that follow each other closely may change places. Of a server that died it is told when somebody looks
    /// for the device. The default does nothing.
    fn presence(&self, event: PresenceEvent) -> impl Future<Output = ()> + Send {
        let _ = event;
        std::future::ready(())
    }

    /// Which of these users a user's device may watch. Everybody may watch the own user's devices. The default shows nobody:
    /// when somebody is online is not for everybody to know. Whom [`Handler::may_reach`] refuses the watcher
    /// ([`ReachKind::Presence`]) is left out whatever this says.
    fn may_watch(&self, watcher: UserId, users: Vec<UserId>) -> impl Future<Output = Vec<UserId>> + Send {
        let _ = (watcher, users);
        std::future::ready(Vec::new())
    }

    /// Decides what becomes of a [change](crate::content::Change) to an earlier message: refuses it, leaves it to
    /// [`ChangePolicy`](super::ChangePolicy) and [`Handler::publish`], which is the default, or allows it without them. See
    /// [`ChangeRights`].
    fn change(
        &self,
        incoming: &IncomingChange,
    ) -> impl Future<Output = Result<ChangeRights, Refusal>> + Send {
        let _ = incoming;
        std::future::ready(Ok(ChangeRights::default()))
    }

    /// Decides whether a device may ask something: for history, for a search, for its list, for who has read a message, to watch
    /// others, or to set a mark. It is asked after the rules that always hold, such as that a channel is for its members. The
    /// device is told the reason and the code of a refusal. The default lets everybody.
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

    /// A message that a device published, or a change, is in its logs: for notifying who is offline, and for records of who said
    /// what. Told before the device hears that it was accepted, so it should be quick; it may take
    /// [`ImBuilder::handler_timeout`](super::ImBuilder::handler_timeout). The default does nothing.
    ///
    /// **At least once**, as long as the device repeats what is not answered: should this back end die before, the repetition is
    /// told by another one, with [`LoggedPublish::repeated`] set. A call that panics or takes too long is in the log and not made
    /// again. Messages that are [`Durability::Transient`], or that the handler sends itself with [`Im::send`], are not told of: that
    /// returns a receipt.
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

    /// A device's application has dealt with everything in a log up to a place, which is further than what was told
    /// before. Told once, to one of the back ends, if nothing is lost: an acknowledgement is no transaction, and the
    /// next one says the same and more. Several run at once; those of one device may change places.
    fn acked(&self, ack: DeviceAck) -> impl Future<Output = ()> + Send {
        let _ = ack;
        std::future::ready(())
    }

    /// A user has read further, or has set something in a conversation, on a device. Told once, to one of the back ends,
    /// if nothing is lost; several run at once.
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

/// Publishes cannot be received, because the bus does not take the subscriptions.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve publishes")]
pub struct ServeError(#[from] BusError);

/// A running service. Dropping it stops receiving at once; [`Service::shutdown`] also waits for what was begun.
#[derive(Debug)]
#[must_use = "dropping the service stops it"]
pub struct Service {
    stop: CancellationToken,
    /// Drops what is still under way.
    abandon: CancellationToken,
    running: TaskTracker,
    /// How long a shutdown waits.
    limit: Duration,
}

impl Service {
    /// Receives nothing more and waits until everything that was begun, or was on its way here, is answered. On NATS that takes
    /// about a second where little comes in.
    ///
    /// It waits for [`ImBuilder::handler_timeout`](super::ImBuilder::handler_timeout) and twice
    /// [`ImBuilder::send_timeout`](super::ImBuilder::send_timeout) at most, 20 s by default. What is not over then is dropped, the
    /// log says how much that is, and devices ask others again.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.running.close();
        if timeout(self.limit, self.running.wait()).await.is_err() {
            let (left, limit) = (self.running.len(), self.limit);
            tracing::warn!(
                left,
                ?limit,
                "the service did not end in time: what is still under way is dropped"
            );
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
