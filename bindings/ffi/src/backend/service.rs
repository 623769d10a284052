//! A pull-based service: the application takes devices' calls in batches and answers each.
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

/// The kinds of calls that a service wants. The other kinds are answered like those of a handler without a method for them, see
/// the guide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ServiceCalls {
    /// Requests of devices to join a room.
    #[uniffi(default = false)]
    pub join_room: bool,
    /// Asks whether a user may reach another.
    #[uniffi(default = false)]
    pub may_reach: bool,
    /// Signals.
    #[uniffi(default = false)]
    pub signal: bool,
    /// Devices that connect and disconnect.
    #[uniffi(default = false)]
    pub presence: bool,
    /// Asks which users a user may watch.
    #[uniffi(default = false)]
    pub may_watch: bool,
    /// Changes of messages, before they arrive as publishes.
    #[uniffi(default = false)]
    pub change: bool,
    /// Requests of devices.
    #[uniffi(default = false)]
    pub may_request: bool,
    /// Notices of messages that have been logged.
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
    /// By seeing the other user's read mark.
    Receipt,
    /// By seeing the other user's presence.
    Presence,
    /// A way that this binding does not know.
    Unknown,
}

/// A request of a device.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum RequestKind {
    /// A page of history.
    History {
        /// The conversation.
        conversation: Conversation,
    },
    /// A search.
    Search,
    /// Its list of conversations.
    Conversations,
    /// The readers of a message of a channel.
    Readers {
        /// The channel.
        channel: String,
        /// The position of the message.
        seq: u64,
    },
    /// The presence of users.
    Watch {
        /// The users.
        users: Vec<String>,
    },
    /// Setting marks in a conversation.
    Mark {
        /// The conversation.
        conversation: Recipient,
    },
    /// A kind that this binding does not know.
    Unknown,
}

/// The position of a message in a log.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct LogPlace {
    /// The user whose inbox it is.
    pub user: Option<String>,
    /// The channel whose log it is.
    pub channel: Option<String>,
    /// The position.
    pub seq: u64,
}

/// Returns a position in a log.
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
    /// A device publishes a message or a change.
    Publish {
        /// The user.
        from_user: String,
        /// The device.
        device: String,
        /// The device's number of the publish, which is the same for each retry.
        number: u64,
        /// The recipient.
        to: Recipient,
        /// The device is in the room that it publishes to.
        in_room: bool,
        /// The content.
        content: Content,
        /// The message that is changed, if this is a change.
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
        /// Application data sent by the device.
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
        /// The way in which the user would reach the other.
        kind: ReachKind,
    },
    /// A device signals something.
    Signal {
        /// The user.
        from_user: String,
        /// The device.
        device: String,
        /// The recipient.
        to: Recipient,
        /// The device that the signal is addressed to. None: all of them.
        to_device: Option<String>,
        /// The signal.
        signal: Signal,
    },
    /// A device has connected or disconnected.
    Presence {
        /// The user.
        user: String,
        /// The device.
        device: String,
        /// The device has connected.
        online: bool,
        /// The time, in milliseconds since the Unix epoch.
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
    /// A device makes a request.
    MayRequest {
        /// The user.
        from_user: String,
        /// The device.
        device: String,
        /// The requested data or change.
        kind: RequestKind,
    },
    /// A published message has been logged.
    Logged {
        /// The message's id.
        message_id: u64,
        /// The user.
        from_user: String,
        /// The device.
        device: String,
        /// The device's number of the publish.
        number: u64,
        /// The recipient.
        to: Recipient,
        /// The content that was sent.
        content: Content,
        /// Its positions.
        places: Vec<LogPlace>,
        /// The notice may be a repetition.
        repeated: bool,
    },
    /// A device has processed everything in a log up to a position.
    Acked {
        /// The user.
        user: String,
        /// The device.
        device: String,
        /// The position.
        place: LogPlace,
    },
    /// A user has read further, or has changed a conversation's settings.
    Marked {
        /// The user.
        user: String,
        /// The device. None: the back end itself.
        device: Option<String>,
        /// The conversation's new state.
        state: ConversationState,
        /// The previous read mark.
        read_before: u64,
    },
}

/// The answer to a call.
#[expect(clippy::large_enum_variant, reason = "one at a time is handed over")]
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Decision {
    /// Allows the call. A publish is sent with `text` if it is set. A publish and a join give the device `answer`, and a join also gives
    /// it `recent` messages. A signal goes to the sender's other devices as well if `own_devices` is set. Reach checks and changes bypass
    /// the built-in rules.
    Allow {
        /// For a publish: a text that replaces the device's.
        text: Option<String>,
        /// For a publish or a join: the answer for the device.
        answer: Vec<u8>,
        /// For a join: the number of recent messages that the device gets.
        recent: u32,
        /// For a signal: passes it to the sender's other devices as well.
        own_devices: bool,
    },
    /// For a publish: sends this message instead.
    Send {
        /// The message.
        message: OutgoingMessage,
        /// The answer for the device.
        answer: Vec<u8>,
    },
    /// For a publish: completes it without sending anything. For a signal: drops it. For a notice: confirms it.
    Done {
        /// For a publish: the answer for the device.
        answer: Vec<u8>,
    },
    /// For reach checks and changes: applies the built-in rules.
    Default,
    /// For a change: allows it if the policy does, without a publish call.
    Checked,
    /// For watch checks: allows these users.
    Users {
        /// The users.
        users: Vec<String>,
    },
    /// Refuses the call, with a reason that the user may read.
    Refuse {
        /// The reason.
        reason: String,
        /// The application's own code, 0 or more.
        code: i32,
        /// The time after which the device may retry. None: never.
        retry_after_ms: Option<u64>,
    },
}

/// A call that waits for its answer.
#[derive(Clone, Debug, uniffi::Record)]
pub struct IncomingCall {
    /// The call.
    pub call: Call,
    /// The handle to answer it with.
    pub reply: Arc<CallReply>,
}

/// The handle to answer a call with.
#[derive(Debug, uniffi::Object)]
pub struct CallReply {
    waiter: Mutex<Option<oneshot::Sender<Decision>>>,
}

#[uniffi::export]
impl CallReply {
    /// Answers. Returns `false` if the call was answered before, or timed out. A dropped call is refused temporarily.
    pub fn answer(&self, decision: Decision) -> bool {
        let waiter = self.waiter.lock().unwrap_or_else(PoisonError::into_inner).take();
        waiter.is_some_and(|waiter| waiter.send(decision).is_ok())
    }
}

/// A service of a back end.
#[derive(Debug, uniffi::Object)]
pub struct Service {
    calls: AsyncMutex<mpsc::Receiver<IncomingCall>>,
    /// `None` after shutdown.
    inner: Mutex<Option<sdk::Service>>,
}

#[uniffi::export]
impl Backend {
    /// Receives this back end's share of devices' publishes, and of the calls asked for.
    ///
    /// # Errors
    /// [`BackendError`] if the bus rejects the subscription.
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
    /// Waits for calls and takes at most `max`. Returns an empty list only when the service has ended.
    pub async fn next_calls(&self, max: u32) -> Vec<IncomingCall> {
        let mut calls = Vec::new();
        self.calls.lock().await.recv_many(&mut calls, (max as usize).max(1)).await;
        calls
    }

    /// Stops receiving, and waits until all pending calls are answered. Keep taking calls until there are none.
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

/// A handler with the default answers.
struct Defaults;

impl Handler for Defaults {
    async fn publish(&self, incoming: sdk::Incoming) -> Result<sdk::Acceptance, Refusal> {
        Ok(incoming.accept())
    }
}

/// A handler that queues calls for the application to pull.
struct Pulled {
    wanted: ServiceCalls,
    calls: mpsc::Sender<IncomingCall>,
}

impl Pulled {
    /// Asks the application. Returns `None` if it dropped the call, or takes no more calls.
    async fn ask(&self, call: Call) -> Option<Decision> {
        let (waiter, decision) = oneshot::channel();
        let reply = Arc::new(CallReply { waiter: Mutex::new(Some(waiter)) });
        self.calls.send(IncomingCall { call, reply }).await.ok()?;
        decision.await.ok()
    }
}

/// Converts a decision into a refusal, for calls that can only be refused. A decision that does not fit is an application error.
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

/// The delay after which a device retries when the application has failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);
