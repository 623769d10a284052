//! Acknowledgements: up to which entry of a log each device has processed messages.
//!
//! The conformance suite of logs states what an implementation must do.

use async_trait::async_trait;

use super::log_error::LogError;
use crate::cluster::log_id::LogId;
use crate::{
    id::{Device, UserId},
    proto::limits,
};

/// The maximum number of acknowledgements (one for each device and log) remembered for one user: a
/// hundred groups on ten devices. Beyond, those that were not repeated for the longest time are
/// forgotten.
pub const MAX_ACKS_PER_USER: usize = limits::MAX_ACKS_PER_USER;

/// The highest seq that can be acknowledged: a store may count in floating point. No log gets
/// there.
pub const MAX_ACKED_SEQ: u64 = limits::MAX_SEQ;

/// A device's acknowledgement of all entries of a log up to a seq.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DeviceAck {
    /// The owner of the device.
    pub user: UserId,
    /// The device.
    pub device: Device,
    /// The acknowledged log.
    pub log: LogId,
    /// The last acknowledged entry.
    pub seq: u64,
}

impl DeviceAck {
    /// Creates an acknowledgement.
    pub fn new(user: UserId, device: Device, log: LogId, seq: u64) -> Self {
        Self { user, device, log, seq }
    }

    /// Returns whether the log is the user's own inbox.
    pub(in crate::cluster) fn is_of_own_inbox(&self) -> bool {
        matches!(&self.log, LogId::Inbox(owner) if *owner == self.user)
    }
}

/// A query for the devices of a user that have acknowledged an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AckQuery {
    /// The owner of the devices.
    pub user: UserId,
    /// The log of the entry.
    pub log: LogId,
    /// The seq of the entry.
    pub seq: u64,
}

/// Stores the last seq that each device acknowledged in each log.
///
/// The store is a hint, not the truth: acknowledgements may get lost, and a device may claim
/// anything. A reader compares them with the log.
#[async_trait]
pub trait AckStore: Send + Sync + std::fmt::Debug + 'static {
    /// Stores acknowledgements. Returns for each whether the device advanced.
    ///
    /// A device never goes back, whatever the order of its acknowledgements. A seq beyond
    /// [`MAX_ACKED_SEQ`] is ignored. Acknowledgements are forgotten when the user's devices have
    /// sent none for [`LogBounds::max_age`](super::LogBounds::max_age), and beyond
    /// [`MAX_ACKS_PER_USER`].
    ///
    /// # Errors
    /// [`LogError::Unavailable`]; some may have been stored.
    async fn note_acks(&self, acks: &[DeviceAck]) -> Result<Vec<bool>, LogError>;

    /// Returns for each query the devices that have acknowledged the entry, with the last seq that
    /// they acknowledged.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    async fn acked(&self, questions: &[AckQuery]) -> Result<Vec<Vec<(Device, u64)>>, LogError>;

    /// Lowers a device's acknowledgement if it is beyond this one. Used when a log was rolled back,
    /// so that the entries that replace lost ones do not count as acknowledged.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    async fn lower_ack(&self, ack: &DeviceAck) -> Result<(), LogError>;
}

/// Returns the name of a device's acknowledgement of a log within a store. A device id has no
/// space.
pub(in crate::cluster) fn member(device: &Device, log: &LogId) -> String {
    format!("{device} {log}")
}

/// Returns the device, if `member` names an acknowledgement of that log.
pub(in crate::cluster) fn device_of(member: &str, log: &str) -> Option<Device> {
    let (device, other) = member.split_once(' ')?;
    if other == log { device.parse().ok() } else { None }
}
