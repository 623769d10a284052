//! Sends whose outcome the driver reports.

use tokio::sync::watch;

use crate::client::{LocalId, core::Outcome};

/// The outcome of a send, once there is one.
pub(in crate::client) type OutcomeReceiver = watch::Receiver<Option<Outcome>>;

/// A send whose outcome the driver reports.
#[derive(Debug)]
pub(in crate::client) struct TrackedSend {
    pub(in crate::client) local_id: LocalId,
    pub(in crate::client) outcome: OutcomeReceiver,
}
