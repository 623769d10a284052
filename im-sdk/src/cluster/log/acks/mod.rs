//! How far devices have acknowledged logs. What an implementation must do is told by the conformance suite of logs.

mod memory;

use async_trait::async_trait;

pub(super) use self::memory::MemoryAcks;
use super::{LogError, LogId};
use crate::{
    id::{Device, UserId},
    proto::limits,
};

/// How many acknowledgements (device and log) are remembered of one user; beyond, the ones that were not repeated for the
/// longest time are forgotten. A hundred groups on ten devices.
pub const MAX_ACKS_PER_USER: usize = limits::MAX_ACKS_PER_USER;

/// The highest seq that can be acknowledged: a store may count in floating point. No log gets there.
pub const MAX_ACKED_SEQ: u64 = limits::MAX_SEQ;

/// A device's application has dealt with everything in a log up to a place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DeviceAck {
    /// Whose device.
    pub user: UserId,
    /// Which device.
    pub device: Device,
    /// Which log.
    pub log: LogId,
    /// Up to which entry.
    pub seq: u64,
}

impl DeviceAck {
    /// An acknowledgement.
    pub fn new(user: UserId, device: Device, log: LogId, seq: u64) -> Self {
        Self { user, device, log, seq }
    }

    /// Whether the log is the user's own inbox.
    pub(super) fn is_of_own_inbox(&self) -> bool {
        matches!(&self.log, LogId::Inbox(owner) if *owner == self.user)
    }
}

/// Which of a user's devices have acknowledged an entry?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AckQuestion {
    /// Whose devices.
    pub user: UserId,
    /// Which log.
    pub log: LogId,
    /// At least up to which entry.
    pub seq: u64,
}

/// Remembers the last place that each device acknowledged in each log.
///
/// It is a help and no truth: what it holds may get lost, and a device may say what it likes. Whoever reads it compares it
/// with the log.
#[async_trait]
pub trait AckStore: Send + Sync + std::fmt::Debug + 'static {
    /// Notes acknowledgements. A device never goes back, whatever order they come in. Tells for each whether it went
    /// forward. What is beyond [`MAX_ACKED_SEQ`] is not noted. Forgotten when the user's devices acknowledged nothing for
    /// [`super::LogBounds::max_age`], and beyond [`MAX_ACKS_PER_USER`].
    ///
    /// # Errors
    /// [`LogError::Unavailable`]; some may be noted then.
    async fn note_acks(&self, acks: &[DeviceAck]) -> Result<Vec<bool>, LogError>;

    /// Who has acknowledged at least so far, and how far, in the order of the questions.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    async fn acked(&self, questions: &[AckQuestion]) -> Result<Vec<Vec<(Device, u64)>>, LogError>;

    /// Sends a device back to a place, if it is beyond it: the log was rolled back, and what comes in its place must not
    /// count as acknowledged.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    async fn lower_ack(&self, ack: &DeviceAck) -> Result<(), LogError>;
}

/// What a store calls a device's place in a log. A device has no space in it.
pub(super) fn member(device: &Device, log: &LogId) -> String {
    format!("{device} {log}")
}

/// The device, if this is its place in that log.
pub(super) fn device_of(member: &str, log: &str) -> Option<Device> {
    let (device, other) = member.split_once(' ')?;
    if other == log { device.parse().ok() } else { None }
}
