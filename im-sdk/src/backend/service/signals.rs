//! What devices signal: passed on to those who are meant, if the handler says so.

use std::{panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use futures_util::FutureExt as _;
use prost::Message as _;

use super::{Handler, responder::Responder};
use crate::{
    CallStep, Recipient, Signal,
    backend::{im::Im, send::check_size},
    cluster::{MembersError, RoutesError},
    id::{ChannelId, Device, UserId},
    proto::{frame, pb},
};

/// How many signals are handled at once; further ones wait on the bus.
const CONCURRENCY: usize = 256;

/// What a device signalled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IncomingSignal {
    /// The user whose device it is, as its token says.
    pub from: UserId,
    /// The device.
    pub device: Device,
    /// Whom it is meant for. Where it is a channel, `from` is a member of it, or the device is in the room.
    pub to: Recipient,
    /// Only this device of the user that it is meant for; `None`: all.
    pub to_device: Option<Device>,
    /// What it says.
    pub signal: Signal,
}

impl IncomingSignal {
    /// Passes it on as it is. Where it answers a call, or says that the user is busy, the user's other devices are told
    /// [`CallStep::AnsweredElsewhere`].
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
    /// The other devices of the user that sends it get it too.
    pub fn also_own_devices(mut self) -> Self {
        self.own_devices = true;
        self
    }
}

/// Asks the handler, and passes on what it says.
pub(super) struct Signals<H> {
    pub(super) im: Im,
    pub(super) handler: Arc<H>,
}

/// Why a signal was not passed on. Nobody is told.
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
    #[error("the handler panicked")]
    Panicked,
}

impl<H: Handler> Responder for Signals<H> {
    type Request = (IncomingSignal, bool);

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }

    fn parse(&self, payload: Bytes) -> Vec<(IncomingSignal, bool)> {
        let Ok(upstream) = pb::UpstreamSignals::decode(payload) else {
            tracing::warn!("a batch of signals is not valid and was dropped");
            return Vec::new();
        };
        upstream.signals.into_iter().filter_map(incoming).collect()
    }

    async fn handle(self: Arc<Self>, (incoming, in_room): (IncomingSignal, bool)) {
        if let Err(error) = self.pass_on(incoming, in_room).await {
            tracing::debug!(%error, "a signal was not passed on");
        }
    }
}

impl<H: Handler> Signals<H> {
    async fn pass_on(&self, incoming: IncomingSignal, in_room: bool) -> Result<(), SignalError> {
        if let Recipient::Channel(channel) = &incoming.to
            && !in_room
            && !self.im.inner.cluster.members().is_member(channel, &incoming.from).await?
        {
            return Err(SignalError::Stranger(incoming.from, channel.clone()));
        }
        let decision = AssertUnwindSafe(self.handler.signal(incoming)).catch_unwind().await;
        match decision.map_err(|_| SignalError::Panicked)? {
            Some(relay) => self.relay(relay).await,
            None => Ok(()),
        }
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
                let effect = Some(pb::record::Effect::Frames(frame.clone()));
                let record = pb::Record { channel: channel.to_string(), effect, ..pb::Record::default() };
                for server in self.im.servers_of(channel).await? {
                    self.im.inner.publisher.submit_and_forget(&server, record.clone()).await;
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

    /// To a user's devices, without the one that the signal came from. Nobody waits for what becomes of it.
    async fn push(
        &self,
        user: &UserId,
        wanted: impl Fn(&Device) -> bool,
        signal: &IncomingSignal,
        frame: &Bytes,
    ) -> Result<(), RoutesError> {
        let is_origin = |device: &Device| *user == signal.from && *device == signal.device;
        let wanted = |device: &Device| wanted(device) && !is_origin(device);
        for (server, located) in self.im.locate_heard(std::slice::from_ref(user), wanted).await? {
            let connections = located.iter().map(|located| located.connection.0).collect();
            let effect = Some(pb::record::Effect::Frames(frame.clone()));
            let record = pb::Record { connections, effect, ..pb::Record::default() };
            self.im.inner.publisher.submit_and_forget(&server, record).await;
        }
        Ok(())
    }
}

/// What the other devices of whoever sent it are told.
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

/// What makes no sense is passed over: who sent it is not told.
fn incoming(upstream: pb::UpstreamSignal) -> Option<(IncomingSignal, bool)> {
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
    // The last one is the back end's to say: else anybody could end the ringing at somebody else's.
    let is_elsewhere = matches!(signal, Signal::Call { step: CallStep::AnsweredElsewhere, .. });
    if signal == Signal::Unknown || (is_elsewhere && to != from) {
        return None;
    }
    Some((IncomingSignal { from, device, to, to_device, signal }, upstream.in_room))
}
