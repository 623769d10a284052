//! What devices say to each other for the moment, for back ends and devices alike.

use bytes::Bytes;

use crate::proto::pb;

/// Something for the moment, to devices that are connected: kept nowhere, and lost if it is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// Somebody is writing. Say it again every few seconds, and take it as over when it was not.
    Typing {
        /// And does not any more.
        stopped: bool,
    },
    /// One step of setting a call up or ending it.
    Call {
        /// The call's name, the same for all of its steps, chosen by the device that rings.
        id: String,
        /// Which step.
        step: CallStep,
        /// For [`CallStep::Offer`], [`CallStep::Answer`] and [`CallStep::Candidate`]: what the devices' media libraries say
        /// to each other.
        data: Bytes,
    },
    /// Whatever the application defines.
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
    /// Somebody is writing.
    pub fn typing() -> Self {
        Self::Typing { stopped: false }
    }

    /// A step of a call.
    pub fn call(id: impl Into<String>, step: CallStep, data: impl Into<Bytes>) -> Self {
        Self::Call { id: id.into(), step, data: data.into() }
    }

    /// Whatever the application defines.
    pub fn custom(kind: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self::Custom { kind: kind.into(), data: data.into() }
    }
}

/// The steps of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallStep {
    /// To all devices of a user: somebody calls.
    Ring,
    /// Who rang does not any more.
    Cancel,
    /// The user does not take the call.
    Busy,
    /// What the calling device offers.
    Offer,
    /// What the device that takes the call answers.
    Answer,
    /// A way by which the devices may reach each other.
    Candidate,
    /// The call is over.
    Hangup,
    /// From the back end: another device of this user has answered, or has said that it is busy. Stop ringing.
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

/// The two directions carry the same bodies under types of their own.
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
