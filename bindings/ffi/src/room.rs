//! Rooms, signals and presence.

use std::time::SystemTime;

use im_sdk::client as sdk;

use crate::{ReceivedMessage, Terminal};

/// A room that the device is in.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct JoinedRoom {
    /// The approximate number of devices in the room.
    pub online: u64,
    /// The application's own answer, often empty.
    pub answer: Vec<u8>,
    /// The last messages, in order, as many as the back end sends.
    pub recent: Vec<ReceivedMessage>,
}

/// The cause for which the device is no longer in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum RoomLeftCause {
    /// The back end has removed the user.
    Kicked,
    /// The room is closed.
    Closed,
    /// The device was not let in again over a new connection.
    Refused,
    /// A cause that this binding does not know.
    Unknown,
}

/// A transient message to connected devices.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Signal {
    /// The user is typing. Repeat it every few seconds.
    Typing {
        /// Set if the user has stopped typing.
        stopped: bool,
    },
    /// A step in setting up or ending a call.
    Call {
        /// The id of the call, the same for all of its steps.
        id: String,
        /// The step.
        step: CallStep,
        /// The data of the devices' media libraries.
        data: Vec<u8>,
    },
    /// A kind that the application defines.
    Custom {
        /// The application's name for the kind.
        kind: String,
        /// The application's bytes.
        data: Vec<u8>,
    },
    /// A kind that this binding does not know. It cannot be sent.
    Unknown,
}

/// The steps of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum CallStep {
    /// Rings all devices of a user.
    Ring,
    /// The caller has given up.
    Cancel,
    /// The user does not take the call.
    Busy,
    /// The offer of the calling device.
    Offer,
    /// The answer of the device that takes the call.
    Answer,
    /// A network path by which the devices may reach each other.
    Candidate,
    /// The call is over.
    Hangup,
    /// Another device of this user has answered or is busy: stop ringing.
    AnsweredElsewhere,
    /// A step that this binding does not know.
    Unknown,
}

/// A signal from another device.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ReceivedSignal {
    /// The user whose device sent it.
    pub from_user: String,
    /// The device, such as `ios/4f1c`, for `signal_device`.
    pub device: String,
    /// The channel that it was sent to. None: it was sent to this user.
    pub channel: Option<String>,
    /// The signal.
    pub signal: Signal,
}

/// The presence of a user.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct UserPresence {
    /// The user.
    pub user: String,
    /// The kinds of devices that are or were connected.
    pub terminals: Vec<TerminalPresence>,
}

/// The presence of one kind of a user's devices.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct TerminalPresence {
    /// The kind.
    pub terminal: Terminal,
    /// Set if at least one device of this kind is connected.
    pub online: bool,
    /// The time at which the last one disconnected, in milliseconds since the Unix epoch. None: unknown.
    pub last_seen_ms: Option<u64>,
}

impl From<sdk::JoinedRoom> for JoinedRoom {
    fn from(joined: sdk::JoinedRoom) -> Self {
        Self {
            online: joined.online,
            answer: joined.answer.into(),
            recent: joined.recent.into_iter().map(ReceivedMessage::from).collect(),
        }
    }
}

impl From<sdk::RoomLeftCause> for RoomLeftCause {
    fn from(cause: sdk::RoomLeftCause) -> Self {
        match cause {
            sdk::RoomLeftCause::Kicked => Self::Kicked,
            sdk::RoomLeftCause::Closed => Self::Closed,
            sdk::RoomLeftCause::Refused => Self::Refused,
            _ => Self::Unknown,
        }
    }
}

impl From<sdk::ReceivedSignal> for ReceivedSignal {
    fn from(signal: sdk::ReceivedSignal) -> Self {
        Self {
            from_user: signal.from.to_string(),
            device: signal.device.to_string(),
            channel: signal.channel.map(|channel| channel.to_string()),
            signal: signal.signal.into(),
        }
    }
}

impl From<im_sdk::Signal> for Signal {
    fn from(signal: im_sdk::Signal) -> Self {
        match signal {
            im_sdk::Signal::Typing { stopped } => Self::Typing { stopped },
            im_sdk::Signal::Call { id, step, data } => {
                Self::Call { id, step: step.into(), data: data.into() }
            }
            im_sdk::Signal::Custom { kind, data } => Self::Custom { kind, data: data.into() },
            _ => Self::Unknown,
        }
    }
}

impl From<Signal> for im_sdk::Signal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Typing { stopped } => Self::Typing { stopped },
            Signal::Call { id, step, data } => Self::call(id, step.into(), data),
            Signal::Custom { kind, data } => Self::custom(kind, data),
            Signal::Unknown => Self::Unknown,
        }
    }
}

impl From<im_sdk::CallStep> for CallStep {
    fn from(step: im_sdk::CallStep) -> Self {
        match step {
            im_sdk::CallStep::Ring => Self::Ring,
            im_sdk::CallStep::Cancel => Self::Cancel,
            im_sdk::CallStep::Busy => Self::Busy,
            im_sdk::CallStep::Offer => Self::Offer,
            im_sdk::CallStep::Answer => Self::Answer,
            im_sdk::CallStep::Candidate => Self::Candidate,
            im_sdk::CallStep::Hangup => Self::Hangup,
            im_sdk::CallStep::AnsweredElsewhere => Self::AnsweredElsewhere,
            _ => Self::Unknown,
        }
    }
}

impl From<CallStep> for im_sdk::CallStep {
    fn from(step: CallStep) -> Self {
        match step {
            CallStep::Ring => Self::Ring,
            CallStep::Cancel => Self::Cancel,
            CallStep::Busy => Self::Busy,
            CallStep::Offer => Self::Offer,
            CallStep::Answer => Self::Answer,
            CallStep::Candidate => Self::Candidate,
            CallStep::Hangup => Self::Hangup,
            CallStep::AnsweredElsewhere => Self::AnsweredElsewhere,
            CallStep::Unknown => Self::Unknown,
        }
    }
}

impl From<im_sdk::UserPresence> for UserPresence {
    fn from(presence: im_sdk::UserPresence) -> Self {
        let terminal = |of: im_sdk::TerminalPresence| TerminalPresence {
            terminal: of.terminal.into(),
            online: of.online,
            last_seen_ms: of
                .last_seen
                .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok())
                .map(|since| since.as_millis() as u64),
        };
        Self {
            user: presence.user.to_string(),
            terminals: presence.terminals.into_iter().map(terminal).collect(),
        }
    }
}
