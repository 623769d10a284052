//! The results of waiting for acknowledgements.

use std::collections::BTreeMap;

use super::watch::MAX_WAITED_FOR;
use crate::{backend::send::device::UserDevice, id::UserId};

/// How far a message got with one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceState {
    /// Its application has processed the message.
    Acked,
    /// Its server has queued the message for it, but it has not acknowledged the message in time.
    Pushed,
    /// It has not acknowledged the message in time, and it is unknown whether its server queued the
    /// message, or the send did not know that the device was connected.
    Unconfirmed,
    /// It was connected when the message was sent and is not any more, and has not acknowledged the
    /// message. It gets the message when it comes back.
    Offline,
}

/// The overall result for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AckOutcome {
    /// Every device that was waited for and is connected has acknowledged it, and at least one has.
    Acked,
    /// No recipient's device is connected, and none has acknowledged it.
    Offline,
    /// Some connected devices have not acknowledged it in time, or it is unknown whether devices
    /// are connected.
    TimedOut,
}

/// The result of [`Im::wait_acked`](crate::backend::Im::wait_acked).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AckReport {
    /// The overall result.
    pub outcome: AckOutcome,
    /// The devices that were connected when the message was sent, and those that connected later
    /// and acknowledged it in time.
    pub devices: BTreeMap<UserDevice, DeviceState>,
    /// Recipients without any of these devices.
    pub offline: Vec<UserId>,
    /// Recipients whose devices could not be located, see [`Receipt::unlocated`], and of whom no
    /// device has acknowledged the message. They are not among the offline ones.
    ///
    /// [`Receipt::unlocated`]: crate::backend::Receipt::unlocated
    pub unlocated: Vec<UserId>,
}

impl AckReport {
    /// Returns `true` if at least one device of the user has acknowledged the message.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use std::time::Duration;
    /// use im_sdk::{backend::{Im, Message, user}, cluster::Cluster, id::UserId};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let receipt = im.send(Message::to(user("bob")).from("alice").text("hi")).await?;
    /// let report = im.wait_acked(&receipt, Duration::ZERO).await?;
    /// assert!(!report.acked_by(&UserId::parse("bob")?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn acked_by(&self, user: &UserId) -> bool {
        self.devices.iter().any(|(device, state)| device.user == *user && *state == DeviceState::Acked)
    }

    /// Returns the devices in a state.
    pub fn devices_in(&self, state: DeviceState) -> impl Iterator<Item = &UserDevice> {
        self.devices.iter().filter(move |(_, other)| **other == state).map(|(device, _)| device)
    }
}

/// Acknowledgements cannot be waited for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// The message is in no log, so no device acknowledges it. The receipt is all that is known.
    #[error("a transient message is not acknowledged: send it with Durability::Logged")]
    Transient,
    /// A channel's members are not waited for. [`Handler::acked`](crate::backend::Handler::acked)
    /// is called for each acknowledgement.
    #[error("a message to a channel is not waited for: Handler::acked hears what its members acknowledge")]
    Channel,
    /// This process waits for too many recipients already.
    #[error("this process waits for {MAX_WAITED_FOR} recipients' acknowledgements already: try again later")]
    TooMany,
    /// The backend was shut down meanwhile.
    #[error("the backend has ended")]
    Ended,
}
