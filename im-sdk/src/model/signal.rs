//! Signals: transient messages between devices.

use bytes::Bytes;

use crate::proto::pb;

/// A transient message to connected devices: never stored, and lost if its delivery fails.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// A user is typing. Repeat it every few seconds; without a repetition, it is over.
    Typing {
        /// Whether the user has stopped typing.
        stopped: bool,
    },
    /// A step in setting up or ending a call.
    Call {
        /// The id of the call, the same for all of its steps, chosen by the device that rings.
        id: String,
        /// The step.
        step: CallStep,
        /// For [`CallStep::Offer`], [`CallStep::Answer`] and [`CallStep::Candidate`]: the data of
        /// the devices' media libraries.
        data: Bytes,
    },
    /// A signal that the application defines.
    Custom {
        /// The application's name for the kind, such as `cursor.moved`.
        kind: String,
        /// The application's bytes.
        data: Bytes,
    },
    /// A kind that this version does not know.
    Unknown,
}

impl Signal {
    /// Creates a signal that the user is typing.
    pub fn typing() -> Self {
        Self::Typing { stopped: false }
    }

    /// Creates a step of a call.
    pub fn call(id: impl Into<String>, step: CallStep, data: impl Into<Bytes>) -> Self {
        Self::Call { id: id.into(), step, data: data.into() }
    }

    /// Creates a signal that the application defines.
    pub fn custom(kind: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self::Custom { kind: kind.into(), data: data.into() }
    }
}

/// A step of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallStep {
    /// To all devices of a user: an incoming call.
    Ring,
    /// The caller has stopped ringing.
    Cancel,
    /// The user declines the call.
    Busy,
    /// The session description of the calling device.
    Offer,
    /// The session description of the device that takes the call.
    Answer,
    /// A network candidate by which the devices may reach each other.
    Candidate,
    /// The call is over.
    Hangup,
    /// From the backend: another device of this user has taken or declined the call. Stop ringing.
    AnsweredElsewhere,
    /// A step that this version does not know.
    Unknown,
}

impl From<CallStep> for pb::CallStep {
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
            CallStep::Unknown => Self::Unspecified,
        }
    }
}

impl From<pb::CallStep> for CallStep {
    fn from(step: pb::CallStep) -> Self {
        match step {
            pb::CallStep::Ring => Self::Ring,
            pb::CallStep::Cancel => Self::Cancel,
            pb::CallStep::Busy => Self::Busy,
            pb::CallStep::Offer => Self::Offer,
            pb::CallStep::Answer => Self::Answer,
            pb::CallStep::Candidate => Self::Candidate,
            pb::CallStep::Hangup => Self::Hangup,
            pb::CallStep::AnsweredElsewhere => Self::AnsweredElsewhere,
            pb::CallStep::Unspecified => Self::Unknown,
        }
    }
}

/// Implements conversions for both directions, which carry the same bodies in types of their own.
macro_rules! bodies {
    ($($body:ident),+) => {$(
        impl From<Signal> for Option<pb::$body::Body> {
            fn from(signal: Signal) -> Self {
                match signal {
                    Signal::Typing { stopped } => Some(pb::$body::Body::Typing(pb::Typing { stopped })),
                    Signal::Call { id, step, data } => {
                        let step = pb::CallStep::from(step).into();
                        Some(pb::$body::Body::Call(pb::Call { id, step, data }))
                    }
                    Signal::Custom { kind, data } => Some(pb::$body::Body::Custom(pb::Custom { kind, data })),
                    Signal::Unknown => None,
                }
            }
        }

        impl From<Option<pb::$body::Body>> for Signal {
            fn from(body: Option<pb::$body::Body>) -> Self {
                match body {
                    Some(pb::$body::Body::Typing(typing)) => Self::Typing { stopped: typing.stopped },
                    Some(pb::$body::Body::Call(call)) => {
                        Self::Call { step: call.step().into(), id: call.id, data: call.data }
                    }
                    Some(pb::$body::Body::Custom(custom)) => Self::Custom { kind: custom.kind, data: custom.data },
                    None => Self::Unknown,
                }
            }
        }
    )+};
}

bodies!(signal, signalled);
