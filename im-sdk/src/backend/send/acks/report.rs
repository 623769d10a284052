//! What a message came to with its recipients' devices.

use std::collections::BTreeMap;

use super::watch::MAX_WAITED_FOR;
use crate::{backend::send::receipt::UserDevice, id::UserId};

/// How far a message got with one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceState {
    /// Its application has dealt with the message.
    Acked,
    /// Its server has queued the message for it, and it has not acknowledged it in time.
    Pushed,
    /// Its server did not say whether it queued the message, or nobody knew that it was connected, and the device has not
    /// acknowledged it in time.
    Unconfirmed,
    /// It was connected when the message was sent, is not any more, and has not acknowledged it. It gets the message when it
    /// comes back.
    Offline,
}

/// What a message came to, as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AckOutcome {
    /// Every device that was waited for and is connected has acknowledged it, and at least one has.
    Acked,
    /// No recipient's device is connected, and none has acknowledged it.
    Offline,
    /// Some connected devices have not acknowledged it in time, or it was not found out who is connected.
    TimedOut,
}

/// The result of [`Im::wait_acked`](crate::backend::Im::wait_acked).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AckReport {
    /// As a whole.
    pub outcome: AckOutcome,
    /// The devices that were connected when the message was sent, and those that came later and acknowledged it while they
    /// were waited for.
    pub devices: BTreeMap<UserDevice, DeviceState>,
    /// Recipients none of whose devices is among them.
    pub offline: Vec<UserId>,
    /// Recipients of whom it was not found out whether a device is connected, see [`Receipt::unlocated`], and none of whose
    /// devices has acknowledged the message. They are not among those who are offline.
    ///
    /// [`Receipt::unlocated`]: crate::backend::Receipt::unlocated
    pub unlocated: Vec<UserId>,
}

impl AckReport {
    /// True when at least one device of the user has acknowledged the message.
    pub fn acked_by(&self, user: &UserId) -> bool {
        self.devices.iter().any(|(device, state)| device.user == *user && *state == DeviceState::Acked)
    }

    /// The devices in a state.
    pub fn devices_in(&self, state: DeviceState) -> impl Iterator<Item = &UserDevice> {
        self.devices.iter().filter(move |(_, other)| **other == state).map(|(device, _)| device)
    }
}

/// Acknowledgements cannot be waited for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// The message is in no log, so no device acknowledges it. What the receipt itself says is all there is.
    #[error("a transient message is not acknowledged: send it with Durability::Logged")]
    Transient,
    /// A channel's members are not waited for: [`Handler::acked`](crate::backend::Handler::acked) hears of each.
    #[error("a message to a channel is not waited for: Handler::acked hears what its members acknowledge")]
    Channel,
    /// Too many recipients are waited for by this process.
    #[error("this process waits for {MAX_WAITED_FOR} recipients' acknowledgements already: try again later")]
    TooMany,
    /// The back end was shut down meanwhile.
    #[error("the back end has ended")]
    Ended,
}
