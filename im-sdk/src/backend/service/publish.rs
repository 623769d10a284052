//! Handles publishes of devices: the handler decides, and accepted ones are sent.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt as _;
use prost::Message as _;

use super::{
    Acceptance, Handler, Incoming, LoggedPublish, Refusal,
    budget::Resource,
    call::{Deadline, HandlerFailed},
    change::{ChangeRights, IncomingChange},
    contacts::Permitted,
    context::ServiceContext,
    logged_publish::Publishing,
    queue::{Job, Limits},
    reach::{check_change, check_message, too_many},
    reactions::ReactionCounts,
    references::{Quoted, ReferenceError},
    requester::check_open_to,
    responder::Responder,
    response::{own_rule, rule},
};
use crate::{
    Recipient,
    backend::{
        send,
        send::{
            error::SendError,
            message::{InvalidMessage, Message, check_size, digest},
            validate as check,
        },
    },
    cluster::{DedupKey, LogError, LogId},
    content::{Body, Change, ChangeKind, Content},
    id::{ChannelId, Device, MessageId, ServerId, UserId},
    log_throttle::throttled,
    proto::{frame, limits::MAX_REACTIONS_PER_USER, pb},
    refusal_code::{CHANGE_NOT_ALLOWED, TOO_MANY_REACTIONS},
};

/// The time after which a device may repeat a publish that failed here.
const RETRY_MS: u32 = 1000;

/// The time after which a device may repeat a publish if the store is nearly full: room is not made
/// within a second.
const FULL_RETRY_MS: u32 = 5_000;

/// The number of publishes of one user that are handled at once, and that may wait: a few
/// conversations of each of its devices.
const PER_USER: usize = 16;
const WAITING_PER_USER: usize = 256;

/// The time that a publish may wait, which is how long a server waits for the answer by default.
/// After that the device has been told to retry.
const PATIENCE: Duration = Duration::from_secs(10);

/// Calls the handler, and sends accepted publishes.
pub(in crate::backend) struct Publishes<H> {
    context: Arc<ServiceContext>,
    handler: Arc<H>,
    reactions: ReactionCounts,
}

/// A publish, and the server that its answer goes to.
pub(in crate::backend) struct Request {
    server: ServerId,
    user: UserId,
    publish: pb::UpstreamPublish,
}

impl<H: Handler> Responder for Publishes<H> {
    type Request = Request;

    const NAME: &'static str = "publishes";

    fn limits(&self) -> Limits {
        Limits {
            concurrency: self.context.settings.handler_concurrency,
            batch: 1,
            per_user: PER_USER,
            waiting_per_user: WAITING_PER_USER,
            patience: PATIENCE,
        }
    }

    fn parse(&self, payload: Bytes) -> Vec<Job<Request>> {
        let upstream = pb::Upstream::decode(payload).ok();
        let server = upstream.as_ref().and_then(|upstream| ServerId::parse(&upstream.server).ok());
        let (Some(upstream), Some(server)) = (upstream, server) else {
            throttled!(warn, "a batch of publishes is not valid and was dropped");
            return Vec::new();
        };
        let job = |publish: pb::UpstreamPublish| {
            // The server has the user from a token.
            let user = UserId::parse(&publish.user).ok()?;
            let bytes = publish.publish.len();
            Some(Job::new(user.clone(), Request { server: server.clone(), user, publish }, bytes))
        };
        upstream.publishes.into_iter().filter_map(job).collect()
    }

    async fn handle(self: Arc<Self>, requests: Vec<Request>) {
        for request in requests {
            self.answer(request).await;
        }
    }

    fn refuse(&self, request: Request) -> Option<(ServerId, pb::Record)> {
        let reason = "too many publishes of the user are waiting";
        let refused = refused(pb::RefusalKind::TooMany, reason, RETRY_MS);
        Some((request.server.clone(), request.answered(Err(refused))))
    }
}

impl Request {
    pub(in crate::backend) fn new(server: ServerId, user: UserId, publish: pb::UpstreamPublish) -> Self {
        Self { server, user, publish }
    }

    /// Builds the record with the answer to the device.
    fn answered(&self, outcome: Result<pb::Accepted, pb::Refused>) -> pb::Record {
        let number = self.publish.number;
        let outcome = match outcome {
            Ok(accepted) => pb::publish_result::Outcome::Accepted(accepted),
            Err(refused) => pb::publish_result::Outcome::Refused(refused),
        };
        let mut frames = result(number, outcome);
        // The server would drop it, together with the other records of the envelope.
        if let Err(error) = send::check_size(frames.len()) {
            throttled!(error, user = %self.user, %error, "the handler's answer is too large");
            let refused = refused(pb::RefusalKind::Internal, "the backend's answer is too large", 0);
            frames = result(number, pb::publish_result::Outcome::Refused(refused));
        }
        let answer = pb::record::Effect::Answer(pb::PublishAnswer { number, frames });
        let connections = vec![self.publish.connection];
        pb::Record { connections, effect: Some(answer), ..pb::Record::default() }
    }
}

impl<H: Handler> Publishes<H> {
    pub(in crate::backend) fn new(context: Arc<ServiceContext>, handler: Arc<H>) -> Self {
        Self { context, handler, reactions: ReactionCounts::default() }
    }

    async fn answer(&self, request: Request) {
        let decision = AssertUnwindSafe(self.decide(&request)).catch_unwind().await;
        let outcome = decision.unwrap_or_else(|_| {
            throttled!(error, user = %request.user, "handling a publish panicked");
            Err(refused(pb::RefusalKind::Internal, "the backend failed", 0))
        });
        let record = request.answered(outcome);
        self.context.publisher.submit_and_forget(&request.server, record).await;
    }

    /// Handles a publish within the user's budget. A failure that is not the device's fault costs
    /// nothing.
    pub(in crate::backend) async fn decide(&self, request: &Request) -> Result<pb::Accepted, pb::Refused> {
        let Request { user: from, publish, .. } = request;
        let cost = [(Resource::Publishes, 1), (Resource::PublishBytes, publish.publish.len() as u64)];
        let budgets = &self.context.budgets;
        budgets.take(from, cost).map_err(|exhausted| {
            throttled!(info, user = %from, "a user publishes more than its budget has");
            too_many("the user publishes too much", exhausted)
        })?;
        let decided = self.decide_on(from, publish).await;
        if let Err(refused) = &decided
            && matches!(refused.kind(), pb::RefusalKind::Internal | pb::RefusalKind::Unavailable)
        {
            budgets.give_back(from, cost);
        }
        decided
    }

    async fn decide_on(
        &self,
        from: &UserId,
        publish: &pb::UpstreamPublish,
    ) -> Result<pb::Accepted, pb::Refused> {
        if self.context.cluster.is_nearly_full() {
            let reason = "the store is nearly full: try again later";
            return Err(refused(pb::RefusalKind::Unavailable, reason, FULL_RETRY_MS));
        }
        let (mut incoming, Producer { installation, origin }) =
            parse(from, publish).map_err(|reason| refused(pb::RefusalKind::Invalid, &reason, 0))?;
        let (number, digest) = (publish.number, digest([without_origin(&publish.publish, origin)]));
        let name = producer_name(&incoming, installation);
        if let Recipient::Channel(channel) = &incoming.to
            && !incoming.in_room
        {
            check_open_to(&self.context.cluster, from, channel).await?;
        }
        let once = DedupKey::Producer { name, number, digest };
        let quoted = self.resolve(&mut incoming).await?;
        if let Some(change) = incoming.content.as_change().cloned() {
            let of = publishing(&incoming, origin);
            let acceptance = self.change(incoming, change).await?;
            return self.carry_out(of, acceptance, once, quoted).await;
        }
        let budgets = &self.context.budgets;
        let permitted = match &incoming.to {
            Recipient::User(to) => {
                check_message(&self.context, &*self.handler, from, &incoming.device, to).await?
            }
            Recipient::Channel(_) => Permitted::default(),
        };
        let accepted = self.accept(incoming, origin, once, quoted).await;
        match &accepted {
            Ok(_) => self.context.contacts.note_written(from, permitted).await,
            Err(_) => budgets.give_back(from, permitted.cost()),
        }
        accepted
    }

    /// Calls the handler, and sends what it accepts.
    async fn accept(
        &self,
        incoming: Incoming,
        origin: u64,
        once: DedupKey,
        quoted: Option<Quoted>,
    ) -> Result<pb::Accepted, pb::Refused> {
        let of = publishing(&incoming, origin);
        let acceptance = self.ask(incoming).await?;
        self.carry_out(of, acceptance, once, quoted).await
    }

    /// Sends the message that the handler accepted.
    async fn carry_out(
        &self,
        of: Publishing,
        Acceptance { message, answer }: Acceptance,
        once: DedupKey,
        quoted: Option<Quoted>,
    ) -> Result<pb::Accepted, pb::Refused> {
        let (from, to) = (of.from.clone(), of.to.clone());
        let message_id = match message {
            Some(message) => self.send_for(of, message, once).await?.as_u64(),
            None => 0,
        };
        self.check_quoted(&from, &to, quoted).await?;
        Ok(pb::Accepted { message_id, answer })
    }

    /// Calls the handler's `publish`.
    async fn ask(&self, incoming: Incoming) -> Result<Acceptance, pb::Refused> {
        let (from, to, number) = (incoming.from.clone(), incoming.to.clone(), incoming.number);
        let limit = self.context.settings.handler_timeout;
        let call = Deadline::new(limit, "publish", &from).to(&to).number(number);
        let decision = call.run(|| self.handler.publish(incoming)).await.map_err(HandlerFailed::refused)?;
        // A temporary refusal says nothing about the two users.
        if !decision.as_ref().is_err_and(Refusal::is_temporary) {
            self.context.contacts.note_decision(&from, &to, decision.is_err());
        }
        decision.map_err(rule)
    }

    /// Looks up quoted and forwarded messages.
    async fn resolve(&self, incoming: &mut Incoming) -> Result<Option<Quoted>, pb::Refused> {
        let Incoming { from, to, content, .. } = incoming;
        let content = match &mut content.body {
            Body::Change(change) => match &mut change.kind {
                ChangeKind::Edit(content) => &mut **content,
                _ => return Ok(None),
            },
            _ => content,
        };
        let has_references = content.quote.is_some() || matches!(content.body, Body::Forwarded(_));
        if !has_references && content.amended.is_none() {
            return Ok(None);
        }
        let quoted = self.context.references.resolve(from, to, content).await.map_err(|error| {
            throttled!(warn, %from, %error, "cannot look up a quoted or forwarded message");
            refused(
                pb::RefusalKind::Unavailable,
                "the message that is referred to could not be read",
                RETRY_MS,
            )
        })?;
        if matches!(&content.body, Body::Forwarded(forwarded) if forwarded.entries.is_empty()) {
            let reason = "nothing is forwarded, or all of it was recalled";
            return Err(refused(pb::RefusalKind::Invalid, reason, 0));
        }
        // The found messages may be larger and nested deeper than those of the device.
        let invalid = |reason: String| refused(pb::RefusalKind::Invalid, &reason, 0);
        let content = pb::Content::from(content.clone());
        check::check(&content).map_err(|error| invalid(error.to_string()))?;
        check_size(&content).map_err(|error| invalid(error.to_string()))?;
        Ok(quoted)
    }

    /// Amends a quote whose message was recalled or edited between the look-up and the append.
    async fn check_quoted(
        &self,
        from: &UserId,
        to: &Recipient,
        quoted: Option<Quoted>,
    ) -> Result<(), pb::Refused> {
        let Some(quoted) = quoted else { return Ok(()) };
        let logs = match to {
            Recipient::User(user) => vec![LogId::Inbox(from.clone()), LogId::Inbox(user.clone())],
            Recipient::Channel(channel) => vec![LogId::Channel(channel.clone())],
        };
        let followed = async {
            if self.context.references.is_outdated(&quoted).await? {
                self.context.amender.amend_quotes(quoted.message_id, quoted.seq, &logs).await?;
            }
            Ok::<(), ReferenceError>(())
        };
        followed.await.map_err(|error| {
            tracing::warn!(%from, %error, "cannot look up whether a quoted message was changed");
            refused(pb::RefusalKind::Unavailable, "the quoted message could not be read", RETRY_MS)
        })
    }

    /// Checks a change, and returns the message to send for it if the handler and the policy allow
    /// it.
    async fn change(&self, incoming: Incoming, change: Change) -> Result<Acceptance, pb::Refused> {
        let Incoming { from, device, number, to, in_room, .. } = incoming;
        let invalid = |reason: String| refused(pb::RefusalKind::Invalid, &reason, 0);
        let log = IncomingChange::log(&from, &to);
        let found =
            self.context.history.message_at(&log, change.seq, change.message_id).await.map_err(|error| {
                throttled!(warn, %from, %error, "cannot read the message that a device wants to change");
                refused(
                    pb::RefusalKind::Unavailable,
                    "the message that is changed could not be read",
                    RETRY_MS,
                )
            })?;
        let message = found.ok_or_else(|| {
            let (seq, id) = (change.seq, change.message_id);
            invalid(format!("there is no message {id} at seq {seq}: it is gone, or another one"))
        })?;
        let mut incoming = IncomingChange { from, device, to, change, message };
        incoming.check().map_err(invalid)?;
        if let Recipient::User(to) = &incoming.to
            && incoming.change.kind != ChangeKind::DeleteForMe
        {
            check_change(&self.context, &*self.handler, &incoming.from, &incoming.device, to).await?;
        }
        let settings = &self.context.settings;
        let call = Deadline::new(settings.handler_timeout, "change", &incoming.from);
        let call = call.to(&incoming.to).number(number);
        let rights = call.run(|| self.handler.change(&incoming)).await.map_err(HandlerFailed::refused)?;
        let rights = rights.map_err(rule)?;
        if rights != ChangeRights::Granted {
            let not_allowed = |reason: String| own_rule(CHANGE_NOT_ALLOWED, reason);
            let now_ms = self.context.cluster.clock().read().await.map_err(|error| {
                throttled!(warn, from = %incoming.from, %error, "cannot read the time, to check the age of a message");
                let reason = "the age of the message that is changed could not be told";
                refused(pb::RefusalKind::Unavailable, reason, RETRY_MS)
            })?;
            incoming.permit(&settings.changes, now_ms).map_err(not_allowed)?;
        }
        let mut answer = Bytes::new();
        if rights == ChangeRights::ByPolicy && incoming.says_something() {
            let acceptance = self.ask(saying(&incoming, number, in_room)).await?;
            let Some(message) = acceptance.message else { return Ok(acceptance) };
            answer = acceptance.answer;
            if let ChangeKind::Edit(content) = &mut incoming.change.kind {
                **content = message.into_content();
            }
        }
        if !self.reactions.admit(&incoming.from, &incoming.change) {
            let reason = format!("one user has at most {MAX_REACTIONS_PER_USER} reactions to a message");
            return Err(own_rule(TOO_MANY_REACTIONS, reason));
        }
        let durability = settings.changes.durability(settings.default_durability);
        Ok(Acceptance { message: Some(incoming.into_message().durability(durability)), answer })
    }

    /// Calls the handler's `logged`. The message is safe, so a failure is only logged.
    async fn tell_logged(&self, logged: LoggedPublish) {
        let (from, to, number) = (logged.from.clone(), logged.to.clone(), logged.number);
        let limit = self.context.settings.handler_timeout;
        let call = Deadline::new(limit, "logged", &from).to(&to).number(number);
        let _ = call.run(|| self.handler.logged(logged)).await;
    }

    async fn send_for(
        &self,
        of: Publishing,
        message: Message,
        once: DedupKey,
    ) -> Result<MessageId, pb::Refused> {
        let from = &of.from;
        let message = if message.has_sender() { message } else { message.from(from) };
        let message = message.origin(of.origin);
        let content = message.content_ref().clone();
        match self.context.sender.send_once(message, once, from).await {
            Ok(receipt) => {
                if let Some(logged) = LoggedPublish::new(of, content, &receipt) {
                    self.tell_logged(logged).await;
                }
                Ok(receipt.message_id)
            }
            Err(error) => {
                if is_used_number(&error)
                    && let Some(message_id) = self.context.find_published(&of, &content).await
                {
                    return Ok(message_id);
                }
                if is_device_fault(&error) {
                    tracing::debug!(%from, %error, "an accepted publish was refused by a log");
                } else {
                    throttled!(warn, %from, %error, "cannot send an accepted publish");
                }
                Err(not_sent(&error))
            }
        }
    }
}

fn publishing(incoming: &Incoming, origin: u64) -> Publishing {
    let Incoming { from, device, number, to, .. } = incoming;
    Publishing { from: from.clone(), device: device.clone(), number: *number, to: to.clone(), origin }
}

/// Returns the new content of a change as a publish of its own, for the handler.
fn saying(change: &IncomingChange, number: u64, in_room: bool) -> Incoming {
    let content = match &change.change.kind {
        ChangeKind::Edit(content) => (**content).clone(),
        _ => change.change.clone().into(),
    };
    let (from, device, to) = (change.from.clone(), change.device.clone(), change.to.clone());
    Incoming { from, device, number, to, in_room, content, change: Some(Box::new(change.clone())) }
}

/// Returns the name under which a device's numbers are remembered. A device has one unanswered
/// publish per conversation, so the numbers of an installation only rise in each log. A new
/// installation begins anew, whatever became of the former store or clock.
fn producer_name(incoming: &Incoming, installation: u64) -> String {
    let Incoming { from, device, to, .. } = incoming;
    let installation = match installation {
        0 => String::new(),
        // No device's name contains a space.
        random => format!(" {random:016x}"),
    };
    match to {
        Recipient::User(user) => format!("{from}/{device}{installation}>{user}"),
        // No user's name begins with a space.
        Recipient::Channel(channel) => format!("{from}/{device}{installation}> {channel}"),
    }
}

/// The parts of a publish that concern the device's own numbering.
struct Producer {
    /// The installation that numbered the publish.
    installation: u64,
    origin: u64,
}

/// Returns the bytes of a publish that are equal in its repetition. An earlier version of the
/// device's software, which may have sent it first, has no origin.
fn without_origin(publish: &[u8], origin: u64) -> &[u8] {
    let mut field = [ORIGIN_KEY; 1 + size_of::<u64>()];
    field[1..].copy_from_slice(&origin.to_le_bytes());
    publish.strip_suffix(&field[..]).filter(|_| origin != 0).unwrap_or(publish)
}

/// Field 6 with the wire type of a fixed64. Writers put it last.
const ORIGIN_KEY: u8 = 6 << 3 | 1;

/// Parses a publish.
fn parse(from: &UserId, publish: &pb::UpstreamPublish) -> Result<(Incoming, Producer), String> {
    let (number, in_room, from) = (publish.number, publish.in_room, from.clone());
    let device = publish.device.clone().ok_or("the device is missing")?;
    let device = Device::try_from(device).map_err(|error| error.to_string())?;
    let body = pb::Publish::decode(publish.publish.clone()).map_err(|error| error.to_string())?;
    let (to, producer) =
        (recipient(&body)?, Producer { installation: body.installation, origin: body.origin });
    let content = body.content.unwrap_or_default();
    check::check(&content).map_err(|error| error.to_string())?;
    check_size(&content).map_err(|error| error.to_string())?;
    let content = Content::from(content);
    if content.is_empty() {
        return Err("the content is empty".into());
    }
    match &said(&content).body {
        Body::Unknown => {
            return Err("the content is of a kind that this backend does not know".into());
        }
        Body::Notice(_) => {
            return Err("a notice is what the system says: devices cannot send it".into());
        }
        _ => {}
    }
    Ok((Incoming { from, device, number, to, in_room, content, change: None }, producer))
}

/// Returns the new content: for an edit, that of the message.
fn said(content: &Content) -> &Content {
    match content.as_change() {
        Some(Change { kind: ChangeKind::Edit(content), .. }) => content,
        _ => content,
    }
}

fn recipient(publish: &pb::Publish) -> Result<Recipient, String> {
    match (&*publish.to, &*publish.channel) {
        (user, "") => UserId::parse(user).map(Recipient::User).map_err(|error| error.to_string()),
        ("", channel) => ChannelId::parse(channel).map(Recipient::Channel).map_err(|error| error.to_string()),
        _ => Err("the publish is meant for a user and a channel at once".into()),
    }
}

/// Returns `true` if the number of the publish was used for a later one, or for another one.
fn is_used_number(error: &SendError) -> bool {
    matches!(error, SendError::Conflict | SendError::NotLogged { cause: LogError::Stale { .. }, .. })
}

/// Returns `true` if the device's numbers alone are at fault, so that operators need not know.
fn is_device_fault(error: &SendError) -> bool {
    match error {
        SendError::Trimmed { .. } | SendError::Invalid(InvalidMessage::TooLarge { .. }) => true,
        SendError::NotLogged { cause: LogError::Full { .. }, .. } => true,
        error => is_used_number(error),
    }
}

fn not_sent(error: &SendError) -> pb::Refused {
    let internal =
        |retry_after_ms| refused(pb::RefusalKind::Internal, "the message could not be sent", retry_after_ms);
    match error {
        SendError::Invalid(error @ InvalidMessage::TooLarge { .. }) => {
            refused(pb::RefusalKind::Invalid, &error.to_string(), 0)
        }
        SendError::NotAmended { .. } => {
            let reason = "the change is in the logs, but was not carried out everywhere yet";
            refused(pb::RefusalKind::Unavailable, reason, RETRY_MS)
        }
        error if is_used_number(error) => {
            let reason = "the number was used for another message";
            refused(pb::RefusalKind::NumberUsed, reason, 0)
        }
        SendError::NotLogged { cause: LogError::Full { retry_after }, .. } => {
            let reason = "the recipient has not read what you sent before, and there is no room for more";
            let retry_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX).max(RETRY_MS);
            refused(pb::RefusalKind::TooMany, reason, retry_ms)
        }
        SendError::NotLookedUp(_)
        | SendError::Id(_)
        | SendError::Routes(_)
        | SendError::Conflict
        | SendError::NotLogged { .. }
        | SendError::NotArchived { .. } => internal(RETRY_MS),
        // An earlier attempt has left an entry in a log.
        SendError::Trimmed { .. } => internal(0),
        // The handler's message cannot be sent, now or later. Nothing was sent.
        SendError::Invalid(_) | SendError::NoSuchMessage { .. } | SendError::NoArchive => {
            let reason = "the backend made a message of it that cannot be sent";
            refused(pb::RefusalKind::Invalid, reason, 0)
        }
    }
}

fn result(number: u64, outcome: pb::publish_result::Outcome) -> Bytes {
    let result = pb::PublishResult { number, outcome: Some(outcome) };
    frame::encode(pb::frame::Body::PublishResult(result))
}

fn refused(kind: pb::RefusalKind, reason: &str, retry_after_ms: u32) -> pb::Refused {
    pb::Refused { kind: kind.into(), reason: reason.to_owned(), code: 0, retry_after_ms }
}
