//! Signals of devices, passed on if the handler allows it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message as _;

use super::{
    Handler,
    budget::{Exhausted, RecentMap, Resource},
    call::{Deadline, HandlerFailed},
    context::ServiceContext,
    queue::{Job, Limits},
    reach::{Reach, ReachKind, may_show},
    responder::Responder,
};
use crate::{
    CallStep, Recipient, Signal,
    backend::send::{check_size, dispatch::Freshness},
    cluster::{MembersError, RoutesError},
    id::{ChannelId, Device, UserId},
    log_throttle::throttled,
    proto::{frame, pb},
};

/// The number of signals that are handled at once, of those of one user, and of waiting ones of one
/// user.
const CONCURRENCY: usize = 256;
const PER_USER: usize = 4;
const WAITING_PER_USER: usize = 64;

/// The time that a signal may wait. It matters for a moment.
const PATIENCE: Duration = Duration::from_secs(5);

/// A signal of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IncomingSignal {
    /// The sending user, from the device's token.
    pub from: UserId,
    /// The device.
    pub device: Device,
    /// The recipient. If it is a channel, `from` is a member of it, or the device is in the room.
    pub to: Recipient,
    /// Only this device of the recipient, or all with `None`.
    pub to_device: Option<Device>,
    /// The signal itself.
    pub signal: Signal,
}

impl IncomingSignal {
    /// Passes the signal on unchanged. If it answers a call, or says that the user is busy, the
    /// user's other devices get [`CallStep::AnsweredElsewhere`].
    pub fn relay(self) -> Relay {
        Relay { signal: self, own_devices: false }
    }
}

/// A signal on its way to devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    signal: IncomingSignal,
    own_devices: bool,
}

impl Relay {
    /// Sends the signal to the user's other devices too.
    pub fn also_own_devices(mut self) -> Self {
        self.own_devices = true;
        self
    }
}

/// The number of members of a channel, and of devices in a room, up to which typing is signalled.
/// In larger ones nobody could follow it, and each typing user would cost all others a frame every
/// few seconds.
const MAX_TYPING_AUDIENCE: usize = 100;

/// The time for which the size of a channel is remembered, and the number of remembered channels.
const AUDIENCE_TTL: Duration = Duration::from_secs(10);
const MAX_AUDIENCES: usize = 8192;

/// Calls the handler, and passes on the signals that it allows.
pub(in crate::backend) struct Signals<H> {
    context: Arc<ServiceContext>,
    handler: Arc<H>,
    /// Set if a channel is too large for typing signals, with the time of the look-up.
    is_large: Mutex<RecentMap<ChannelId, Option<(bool, Instant)>>>,
}

/// A signal was not passed on. No device is told.
#[derive(Debug, thiserror::Error)]
enum SignalError {
    #[error(transparent)]
    Members(#[from] MembersError),
    #[error(transparent)]
    Routes(#[from] RoutesError),
    #[error("{0} is neither a member of channel {1} nor in the room")]
    Stranger(UserId, ChannelId),
    #[error("it is too large")]
    TooLarge,
    #[error("{0} may not reach {1}")]
    OutOfReach(UserId, UserId),
    #[error("the handler refused what {0} wanted to say last to {1}")]
    Refused(UserId, Recipient),
    #[error("the user signals more than its budget has")]
    Exhausted,
    #[error("who is typing is not told in channels of that size")]
    LargeChannel,
    #[error(transparent)]
    Handler(#[from] HandlerFailed),
}

impl From<Exhausted> for SignalError {
    fn from(_: Exhausted) -> Self {
        Self::Exhausted
    }
}

/// A signal with the details from its server.
pub(super) struct Request {
    incoming: IncomingSignal,
    in_room: bool,
    bytes: u64,
}

impl<H: Handler> Responder for Signals<H> {
    type Request = Request;

    const NAME: &'static str = "signals";

    fn limits(&self) -> Limits {
        Limits {
            concurrency: CONCURRENCY,
            batch: 1,
            per_user: PER_USER,
            waiting_per_user: WAITING_PER_USER,
            patience: PATIENCE,
        }
    }

    fn parse(&self, payload: Bytes) -> Vec<Job<Request>> {
        let Ok(upstream) = pb::UpstreamSignals::decode(payload) else {
            throttled!(warn, "a batch of signals is not valid and was dropped");
            return Vec::new();
        };
        upstream.signals.into_iter().filter_map(incoming).collect()
    }

    async fn handle(self: Arc<Self>, requests: Vec<Request>) {
        for request in requests {
            if let Err(error) = self.pass_on(request).await {
                tracing::debug!(%error, "a signal was dropped");
            }
        }
    }
}

impl<H: Handler> Signals<H> {
    pub(in crate::backend) fn new(context: Arc<ServiceContext>, handler: Arc<H>) -> Self {
        Self { context, handler, is_large: Mutex::new(RecentMap::new(MAX_AUDIENCES)) }
    }

    async fn pass_on(&self, request: Request) -> Result<(), SignalError> {
        match self.decide(request).await? {
            Some(relay) => self.relay(relay).await,
            None => Ok(()),
        }
    }

    /// Returns `true` if a signal of a device that is in no room would be passed on.
    pub(in crate::backend) async fn is_passed_on(&self, incoming: IncomingSignal) -> bool {
        let request = Request { incoming, in_room: false, bytes: 0 };
        matches!(self.decide(request).await, Ok(Some(_)))
    }

    /// Returns the signal to pass on, if there is one.
    async fn decide(
        &self,
        Request { incoming, in_room, bytes }: Request,
    ) -> Result<Option<Relay>, SignalError> {
        let context = &self.context;
        context.budgets.take(&incoming.from, [(Resource::Signals, 1), (Resource::SignalBytes, bytes)])?;
        match &incoming.to {
            Recipient::User(to) => self.check_reach(&incoming, to).await?,
            Recipient::Channel(channel) => self.check_channel(&incoming, channel, in_room).await?,
        }
        let (from, to) = (incoming.from.clone(), incoming.to.clone());
        let call = Deadline::new(context.settings.handler_timeout, "signal", &from).to(&to);
        Ok(call.run(|| self.handler.signal(incoming)).await?)
    }

    async fn check_reach(&self, incoming: &IncomingSignal, to: &UserId) -> Result<(), SignalError> {
        let (from, device) = (incoming.from.clone(), incoming.device.clone());
        let reach = Reach { from, device, to: to.clone(), what: ReachKind::Signal };
        if may_show(&self.context, &*self.handler, &reach, false).await {
            return Ok(());
        }
        Err(SignalError::OutOfReach(reach.from, reach.to))
    }

    async fn check_channel(
        &self,
        incoming: &IncomingSignal,
        channel: &ChannelId,
        in_room: bool,
    ) -> Result<(), SignalError> {
        let from = &incoming.from;
        if !in_room && !self.context.cluster.members().is_member(channel, from).await? {
            return Err(SignalError::Stranger(from.clone(), channel.clone()));
        }
        if self.context.contacts.was_refused(from, &incoming.to) {
            return Err(SignalError::Refused(from.clone(), incoming.to.clone()));
        }
        let is_typing = matches!(incoming.signal, Signal::Typing { .. });
        if is_typing && self.is_large(channel, in_room).await? {
            return Err(SignalError::LargeChannel);
        }
        Ok(())
    }

    /// Returns `true` if a channel has too many members for typing signals, or as a room too many
    /// devices.
    async fn is_large(&self, channel: &ChannelId, in_room: bool) -> Result<bool, SignalError> {
        let known = *self.lock().entry(channel);
        if let Some((is_large, looked_up)) = known
            && looked_up.elapsed() < AUDIENCE_TTL
        {
            return Ok(is_large);
        }
        let members = self.context.cluster.members().members(channel, None, MAX_TYPING_AUDIENCE + 1).await?;
        let is_large = members.len() > MAX_TYPING_AUDIENCE
            || (in_room && self.context.dispatcher.count_online(channel).await? > MAX_TYPING_AUDIENCE as u64);
        *self.lock().entry(channel) = Some((is_large, Instant::now()));
        Ok(is_large)
    }

    fn lock(&self) -> MutexGuard<'_, RecentMap<ChannelId, Option<(bool, Instant)>>> {
        self.is_large.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn relay(&self, Relay { signal, own_devices }: Relay) -> Result<(), SignalError> {
        let frame = signalled(&signal, signal.signal.clone());
        check_size(frame.len()).map_err(|_| SignalError::TooLarge)?;
        match &signal.to {
            Recipient::User(user) => {
                let wanted = |device: &Device| signal.to_device.as_ref().is_none_or(|to| to == device);
                self.push(user, wanted, &signal, &frame).await?;
            }
            Recipient::Channel(channel) => {
                let record = pb::Record { channel: channel.to_string(), ..passing(&frame) };
                for server in self.context.dispatcher.servers_of(channel).await? {
                    self.context.publisher.submit_and_forget(&server, record.clone()).await;
                }
            }
        }
        let to_oneself = signal.to == signal.from;
        if own_devices && !to_oneself {
            self.push(&signal.from, |_| true, &signal, &frame).await?;
        } else if let Some(elsewhere) = answered_elsewhere(&signal.signal)
            && !to_oneself
        {
            let frame = signalled(&signal, elsewhere);
            self.push(&signal.from, |_| true, &signal, &frame).await?;
        }
        Ok(())
    }

    /// Sends to a user's devices, except the one that the signal came from, without waiting for the
    /// outcome.
    async fn push(
        &self,
        user: &UserId,
        wanted: impl Fn(&Device) -> bool,
        signal: &IncomingSignal,
        frame: &Bytes,
    ) -> Result<(), RoutesError> {
        let is_origin = |device: &Device| *user == signal.from && *device == signal.device;
        let wanted = |device: &Device| wanted(device) && !is_origin(device);
        for (server, located) in
            self.context.dispatcher.locate(std::slice::from_ref(user), Freshness::Cached, wanted).await?
        {
            let connections = located.iter().map(|located| located.connection.0).collect();
            let record = pb::Record { connections, ..passing(frame) };
            self.context.publisher.submit_and_forget(&server, record).await;
        }
        Ok(())
    }
}

/// Builds a record that slow devices may miss: they do not lose their connection for a signal.
fn passing(frame: &Bytes) -> pb::Record {
    let effect = Some(pb::record::Effect::Frames(frame.clone()));
    pb::Record { effect, priority: pb::Priority::Low.into(), ..pb::Record::default() }
}

/// Returns the signal for the sender's other devices, if there is one.
fn answered_elsewhere(signal: &Signal) -> Option<Signal> {
    match signal {
        Signal::Call { id, step: CallStep::Answer | CallStep::Busy, .. } => {
            Some(Signal::call(id.clone(), CallStep::AnsweredElsewhere, Bytes::new()))
        }
        _ => None,
    }
}

fn signalled(signal: &IncomingSignal, body: Signal) -> Bytes {
    let channel = signal.to.as_channel().map(ToString::to_string).unwrap_or_default();
    frame::encode(pb::frame::Body::Signalled(pb::Signalled {
        from: signal.from.to_string(),
        device: Some((&signal.device).into()),
        channel,
        body: body.into(),
    }))
}

/// Decodes a signal. Invalid ones are dropped without an answer.
fn incoming(upstream: pb::UpstreamSignal) -> Option<Job<Request>> {
    let bytes = upstream.signal.len();
    let from = UserId::parse(&upstream.user).ok()?;
    let device = Device::try_from(upstream.device?).ok()?;
    let signal = pb::Signal::decode(upstream.signal).ok()?;
    let to = match (&*signal.to, &*signal.channel) {
        (user, "") => Recipient::User(UserId::parse(user).ok()?),
        ("", channel) => Recipient::Channel(ChannelId::parse(channel).ok()?),
        _ => return None,
    };
    let to_device = signal.device.map(Device::try_from).transpose().ok()?;
    let signal = Signal::from(signal.body);
    // Only the backend sends this one. Otherwise anybody could stop the ringing of somebody else's
    // devices.
    let is_elsewhere = matches!(signal, Signal::Call { step: CallStep::AnsweredElsewhere, .. });
    if signal == Signal::Unknown || (is_elsewhere && to != from) {
        return None;
    }
    let incoming = IncomingSignal { from, device, to, to_device, signal };
    let request = Request { incoming, in_room: upstream.in_room, bytes: bytes as u64 };
    Some(Job::new(request.incoming.from.clone(), request, bytes))
}
