//! Serving what devices publish, by pulling: the application takes calls in batches and answers each.
//!
//! ```text
//!  device --> server --> Handler (here) --> queue --> next_calls() --> application
//!                            ^                                             |
//!                            +------------------ answer() -----------------+
//! ```

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use im_sdk::{
    backend::{self as sdk, Handler, Refusal},
    cluster::DeviceAck,
    id::UserId,
};
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

use super::{Backend, BackendError, LoggedMessage, OutgoingMessage, run};
use crate::{ChangeKind, Content, Conversation, ConversationState, Recipient, Signal};

/// The kinds of calls that a service wants. Those that it does not want are answered as the guide says for a handler that says nothing
/// about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ServiceCalls {
    /// Devices that want to join a room.
    #[uniffi(default = false)]
    pub join_room: bool,
    /// Asks whether a user may reach another.
    #[uniffi(default = false)]
    pub may_reach: bool,
    /// Signals.
    #[uniffi(default = false)]
    pub signal: bool,
    /// Devices that come and go.
    #[uniffi(default = false)]
    pub presence: bool,
    /// Asks which users a user may watch.
    #[uniffi(default = false)]
    pub may_watch: bool,
    /// Changes of messages, before they come as publishes.
    #[uniffi(default = false)]
    pub change: bool,
    /// Requests of devices.
    #[uniffi(default = false)]
    pub may_request: bool,
    /// Messages that are in their logs.
    #[uniffi(default = false)]
    pub logged: bool,
    /// Acknowledgements of devices.
    #[uniffi(default = false)]
    pub acked: bool,
    /// Read marks and settings of conversations.
    #[uniffi(default = false)]
    pub marked: bool,
}

/// The way in which a user would reach another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum ReachKind {
    /// With a message.
    Message,
    /// With a change of a message.
    Change,
    /// With a signal.
    Signal,
    /// By being shown how far the other one has read.
    Receipt,
    /// By seeing the other one come and go.
    Presence,
    /// A way that this binding does not know.
    Unknown,
}

/// A request of a device.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum RequestKind {
    /// A page of the past.
    History {
        /// The conversation.
        conversation: Conversation,
    },
    /// A search.
    Search,
    /// Its list of conversations.
    Conversations,
    /// Who has read a message of a channel.
    Readers {
        /// The channel.
        channel: String,
        /// The place of the message.
        seq: u64,
    },
    /// The presence of users.
    Watch {
        /// The users.
        users: Vec<String>,
    },
    /// To set marks in a conversation.
    Mark {
        /// The conversation.
        conversation: Recipient,
    },
    /// A kind that this binding does not know.
    Unknown,
}

/// The place of a message in a log.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct LogPlace {
    /// The user whose inbox it is.
    pub user: Option<String>,
    /// The channel whose log it is.
    pub channel: Option<String>,
    /// The place.
    pub seq: u64,
}

/// A log as a place in it.
pub(super) fn log_place(log: &im_sdk::cluster::LogId, seq: u64) -> LogPlace {
    match log {
        im_sdk::cluster::LogId::Inbox(user) => LogPlace { user: Some(user.to_string()), channel: None, seq },
        im_sdk::cluster::LogId::Channel(channel) => {
            LogPlace { user: None, channel: Some(channel.to_string()), seq }
        }
    }
}

/// A call of the service.
#[expect(clippy::large_enum_variant, reason = "most calls are publishes, and one at a time is handed over")]
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Call {
    /// A device publishes a message, or what a change says.
    Publish {
        /// The user.
        from_user: String,
        /// The device.
        device: String,
        /// The device's number of the publish, the same for each repetition.
        number: u64,
        /// The receiver.
        to: Recipient,
        /// The device is in the room that it is meant for.
        in_room: bool,
        /// The content.
        content: Content,
        /// The message that is changed, if this is no message of its own.
        changed: Option<LoggedMessage>,
    },
    /// A device wants to join a room.
    JoinRoom {
        /// The user.
        user: String,
        /// The device.
        device: String,
        /// The room.
        room: String,
        /// The device's own words.
        data: Vec<u8>,
    },
    /// Asks whether a user may reach another.
    MayReach {
        /// The user.
        from_user: String,
        /// The device.
        device: String,
        /// The other user.
        to_user: String,
        /// The way.
        kind: ReachKind,
    },
    /// A device signals something.
    Signal {
        /// The user.
        from_user: String,
        /// The device.
        device: String,
        /// The receiver.
        to: Recipient,
        /// The one device that it is meant for.
        to_device: Option<String>,
        /// The signal.
        signal: Signal,
    },
    /// A device has come or gone.
    Presence {
        /// The user.
        user: String,
        /// The device.
        device: String,
        /// It has come.
        online: bool,
        /// When, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// Asks which users a user may watch.
    MayWatch {
        /// The user that wants to watch.
        watcher: String,
        /// The users that it wants to watch.
        users: Vec<String>,
    },
    /// A device changes a message.
    Change {
        /// The user.
        from_user: String,
        /// The device.
        device: String,
        /// The conversation.
        to: Recipient,
        /// The message.
        message: LoggedMessage,
        /// The change.
        kind: ChangeKind,
    },
    /// A device asks for something.
    MayRequest {
        /// The user.
        from_user: String,
        /// The device.
        device: String,
        /// The purpose.
        kind: RequestKind,
    },
    /// A published message is in its logs.
    Logged {
        /// The message's id.
        message_id: u64,
        /// The user.
        from_user: String,
        /// The device.
        device: String,
        /// The device's number of the publish.
        number: u64,
        /// The receiver.
        to: Recipient,
        /// The content that was sent.
        content: Content,
        /// Its places.
        places: Vec<LogPlace>,
        /// It may have been told before.
        repeated: bool,
    },
    /// A device has dealt with everything in a log up to a place.
    Acked {
        /// The user.
        user: String,
        /// The device.
        device: String,
        /// The place.
        place: LogPlace,
    },
    /// A user has read further, or has set something in a conversation.
    Marked {
        /// The user.
        user: String,
        /// The device. None: the back end itself.
        device: Option<String>,
        /// How the conversation stands now.
        state: ConversationState,
        /// How far the user had read before.
        read_before: u64,
    },
}

/// The answer to a call.
#[expect(clippy::large_enum_variant, reason = "one at a time is handed over")]
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Decision {
    /// It may be as it is. Of a publish with another text, if there is one, and with an answer to the device; of a join, with an answer
    /// and that many of the last messages; of a signal, to the other devices of the sender as well, if so said; of who may reach whom
    /// and of a change, without the built-in rules.
    Allow {
        /// Of a publish: its text instead of the device's.
        text: Option<String>,
        /// Of a publish and a join: for the device.
        answer: Vec<u8>,
        /// Of a join: how many of the last messages the device gets.
        recent: u32,
        /// Of a signal: to the sender's other devices as well.
        own_devices: bool,
    },
    /// Of a publish: this message is sent instead.
    Send {
        /// The message.
        message: OutgoingMessage,
        /// For the device.
        answer: Vec<u8>,
    },
    /// Of a publish: nothing is sent, and all is done. Of a signal: it goes no further. Of a notice: it was taken.
    Done {
        /// Of a publish: for the device.
        answer: Vec<u8>,
    },
    /// The built-in rules decide: of who may reach whom, and of a change.
    Default,
    /// Of a change: it is allowed if the policy allows it, and does not come as a publish.
    Checked,
    /// Of which users may be watched: these.
    Users {
        /// The users.
        users: Vec<String>,
    },
    /// No, for the user to read.
    Refuse {
        /// The reason.
        reason: String,
        /// The application's own code, 0 or more.
        code: i32,
        /// When the same may be asked again; none: never.
        retry_after_ms: Option<u64>,
    },
}

/// A call that waits for its answer.
#[derive(Clone, Debug, uniffi::Record)]
pub struct IncomingCall {
    /// The call.
    pub call: Call,
    /// Where the answer goes.
    pub reply: Arc<CallReply>,
}

/// Where the answer to a call goes.
#[derive(Debug, uniffi::Object)]
pub struct CallReply {
    waiter: Mutex<Option<oneshot::Sender<Decision>>>,
}

#[uniffi::export]
impl CallReply {
    /// Answers. Returns false if it was answered before, or came too late. A call that is dropped without an answer is refused for now.
    pub fn answer(&self, decision: Decision) -> bool {
        let waiter = self.waiter.lock().unwrap_or_else(PoisonError::into_inner).take();
        waiter.is_some_and(|waiter| waiter.send(decision).is_ok())
    }
}

/// A service of a back end.
#[derive(Debug, uniffi::Object)]
pub struct Service {
    calls: AsyncMutex<mpsc::Receiver<IncomingCall>>,
    /// None once it is shut down.
    inner: Mutex<Option<sdk::Service>>,
}

#[uniffi::export]
impl Backend {
    /// Receives this back end's share of what devices publish, and of the calls that are wanted.
    ///
    /// # Errors
    /// [`BackendError`] when the bus does not take the subscription.
    pub async fn serve(&self, calls: ServiceCalls) -> Result<Arc<Service>, BackendError> {
        let im = self.im()?;
        run(async move {
            let (sender, receiver) = mpsc::channel(MAX_QUEUED_CALLS);
            let service = im.serve(Pulled { wanted: calls, calls: sender }).await?;
            Ok(Arc::new(Service { calls: AsyncMutex::new(receiver), inner: Mutex::new(Some(service)) }))
        })
        .await
    }
}

#[uniffi::export]
impl Service {
    /// Takes the next calls: at least one, waiting for it if need be, and at most `max`. Empty only when the service has ended.
    pub async fn next_calls(&self, max: u32) -> Vec<IncomingCall> {
        let mut calls = Vec::new();
        self.calls.lock().await.recv_many(&mut calls, (max as usize).max(1)).await;
        calls
    }

    /// Receives nothing more, and waits until everything that was begun is answered: go on taking calls until there are none.
    pub async fn shutdown(&self) {
        let service = self.inner.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(service) = service else { return };
        let ended = run(async move {
            service.shutdown().await;
            Ok(())
        });
        drop(ended.await);
    }
}

/// The answers of a handler that says nothing.
struct Defaults;

impl Handler for Defaults {
    async fn publish(&self, incoming: sdk::Incoming) -> Result<sdk::Acceptance, Refusal> {
        Ok(incoming.accept())
    }
}

/// The handler whose calls are pulled.
struct Pulled {
    wanted: ServiceCalls,
    calls: mpsc::Sender<IncomingCall>,
}

impl Pulled {
    /// Has the application decide. None: it has dropped the call, or takes none any more.
    async fn ask(&self, call: Call) -> Option<Decision> {
        let (waiter, decision) = oneshot::channel();
        let reply = Arc::new(CallReply { waiter: Mutex::new(Some(waiter)) });
        self.calls.send(IncomingCall { call, reply }).await.ok()?;
        decision.await.ok()
    }
}

/// The refusal that a decision is, of what can be refused alone: whatever does not fit the call is the application's fault.
fn refusal(decision: Option<Decision>) -> Refusal {
    match decision {
        Some(Decision::Refuse { reason, code, retry_after_ms: None }) => Refusal::new(reason).with_code(code),
        Some(Decision::Refuse { reason, retry_after_ms: Some(ms), .. }) => {
            Refusal::new(reason).retry_after(Duration::from_millis(ms))
        }
        _ => Refusal::new("the back end failed").retry_after(RETRY_AFTER),
    }
}

impl Handler for Pulled {
    async fn publish(&self, incoming: sdk::Incoming) -> Result<sdk::Acceptance, Refusal> {
        let call = Call::Publish {
            from_user: incoming.from.to_string(),
            device: incoming.device.to_string(),
            number: incoming.number,
            to: incoming.to.clone().into(),
            in_room: incoming.in_room,
            content: incoming.content.clone().into(),
            changed: incoming.change.as_ref().map(|change| change.message.clone().into()),
        };
        match self.ask(call).await {
            Some(Decision::Allow { text, answer, .. }) => {
                let incoming = match text {
                    Some(text) => incoming.replace_text(text),
                    None => incoming,
                };
                Ok(incoming.accept().with_answer(answer))
            }
            Some(Decision::Send { message, answer }) => match message.parse() {
                Ok(message) => Ok(sdk::Acceptance::send(message).with_answer(answer)),
                Err(error) => Err(Refusal::new(error.to_string())),
            },
            Some(Decision::Done { answer }) => Ok(sdk::Acceptance::handled().with_answer(answer)),
            other => Err(refusal(other)),
        }
    }

    async fn join_room(&self, join: sdk::RoomJoin) -> Result<sdk::RoomWelcome, Refusal> {
        if !self.wanted.join_room {
            return Defaults.join_room(join).await;
        }
        let call = Call::JoinRoom {
            user: join.user.to_string(),
            device: join.device.to_string(),
            room: join.channel.to_string(),
            data: join.data.into(),
        };
        match self.ask(call).await {
            Some(Decision::Allow { answer, recent, .. }) => {
                Ok(sdk::RoomWelcome::new().with_answer(answer).with_recent(recent as usize))
            }
            other => Err(refusal(other)),
        }
    }

    async fn may_reach(&self, reach: &sdk::Reach) -> Result<sdk::ReachRights, Refusal> {
        if !self.wanted.may_reach {
            return Ok(sdk::ReachRights::Undecided);
        }
        let kind = match reach.what {
            sdk::ReachKind::Message => ReachKind::Message,
            sdk::ReachKind::Change => ReachKind::Change,
            sdk::ReachKind::Signal => ReachKind::Signal,
            sdk::ReachKind::Receipt => ReachKind::Receipt,
            sdk::ReachKind::Presence => ReachKind::Presence,
            _ => ReachKind::Unknown,
        };
        let call = Call::MayReach {
            from_user: reach.from.to_string(),
            device: reach.device.to_string(),
            to_user: reach.to.to_string(),
            kind,
        };
        match self.ask(call).await {
            Some(Decision::Allow { .. }) => Ok(sdk::ReachRights::Granted),
            Some(Decision::Default) => Ok(sdk::ReachRights::Undecided),
            other => Err(refusal(other)),
        }
    }

    async fn signal(&self, signal: sdk::IncomingSignal) -> Option<sdk::Relay> {
        if !self.wanted.signal {
            return Some(signal.relay());
        }
        let call = Call::Signal {
            from_user: signal.from.to_string(),
            device: signal.device.to_string(),
            to: signal.to.clone().into(),
            to_device: signal.to_device.as_ref().map(ToString::to_string),
            signal: signal.signal.clone().into(),
        };
        match self.ask(call).await {
            Some(Decision::Allow { own_devices: true, .. }) => Some(signal.relay().also_own_devices()),
            Some(Decision::Allow { .. }) => Some(signal.relay()),
            _ => None,
        }
    }

    async fn presence(&self, event: sdk::PresenceEvent) {
        if self.wanted.presence {
            let at = event.at.duration_since(UNIX_EPOCH).unwrap_or_default();
            let call = Call::Presence {
                user: event.user.to_string(),
                device: event.device.to_string(),
                online: event.online,
                at_ms: at.as_millis() as u64,
            };
            self.ask(call).await;
        }
    }

    async fn may_watch(&self, watcher: UserId, users: Vec<UserId>) -> Vec<UserId> {
        if !self.wanted.may_watch {
            return Vec::new();
        }
        let names = users.iter().map(ToString::to_string).collect();
        match self.ask(Call::MayWatch { watcher: watcher.to_string(), users: names }).await {
            Some(Decision::Allow { .. }) => users,
            Some(Decision::Users { users: allowed }) => {
                users.into_iter().filter(|user| allowed.iter().any(|name| name == user.as_str())).collect()
            }
            _ => Vec::new(),
        }
    }

    async fn change(&self, incoming: &sdk::IncomingChange) -> Result<sdk::ChangeRights, Refusal> {
        if !self.wanted.change {
            return Ok(sdk::ChangeRights::default());
        }
        let call = Call::Change {
            from_user: incoming.from.to_string(),
            device: incoming.device.to_string(),
            to: incoming.to.clone().into(),
            message: incoming.message.clone().into(),
            kind: incoming.change.kind.clone().into(),
        };
        match self.ask(call).await {
            Some(Decision::Allow { .. }) => Ok(sdk::ChangeRights::Granted),
            Some(Decision::Checked) => Ok(sdk::ChangeRights::Checked),
            Some(Decision::Default) => Ok(sdk::ChangeRights::ByPolicy),
            other => Err(refusal(other)),
        }
    }

    async fn may_request(&self, request: &sdk::DeviceRequest) -> Result<(), Refusal> {
        if !self.wanted.may_request {
            return Ok(());
        }
        let call = Call::MayRequest {
            from_user: request.from.to_string(),
            device: request.device.to_string(),
            kind: (&request.kind).into(),
        };
        match self.ask(call).await {
            Some(Decision::Allow { .. } | Decision::Default) => Ok(()),
            other => Err(refusal(other)),
        }
    }

    async fn logged(&self, message: sdk::LoggedPublish) {
        if self.wanted.logged {
            let call = Call::Logged {
                message_id: message.message_id.as_u64(),
                from_user: message.from.to_string(),
                device: message.device.to_string(),
                number: message.number,
                to: message.to.into(),
                content: message.content.into(),
                places: message.places.iter().map(|(log, seq)| log_place(log, *seq)).collect(),
                repeated: message.repeated,
            };
            self.ask(call).await;
        }
    }

    async fn acked(&self, ack: DeviceAck) {
        if self.wanted.acked {
            let place = log_place(&ack.log, ack.seq);
            let call = Call::Acked { user: ack.user.to_string(), device: ack.device.to_string(), place };
            self.ask(call).await;
        }
    }

    async fn marked(&self, marked: sdk::Marked) {
        if self.wanted.marked {
            let call = Call::Marked {
                user: marked.user.to_string(),
                device: marked.device.map(|device| device.to_string()),
                state: marked.state.into(),
                read_before: marked.read_before,
            };
            self.ask(call).await;
        }
    }
}

impl From<&sdk::RequestKind> for RequestKind {
    fn from(kind: &sdk::RequestKind) -> Self {
        match kind {
            sdk::RequestKind::History(conversation) => {
                Self::History { conversation: conversation.clone().into() }
            }
            sdk::RequestKind::Search(_) => Self::Search,
            sdk::RequestKind::Conversations => Self::Conversations,
            sdk::RequestKind::Readers(channel, seq) => {
                Self::Readers { channel: channel.to_string(), seq: *seq }
            }
            sdk::RequestKind::Watch(users) => {
                Self::Watch { users: users.iter().map(ToString::to_string).collect() }
            }
            sdk::RequestKind::Mark(conversation, _) => {
                Self::Mark { conversation: conversation.clone().into() }
            }
            _ => Self::Unknown,
        }
    }
}

/// The number of calls that wait for the application. Further ones wait in their handlers, whose number is limited.
const MAX_QUEUED_CALLS: usize = 256;

/// When a device asks again after the application has failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);
