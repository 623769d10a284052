//! Verdicts of the checker.

use std::fmt;

use im_sdk::cluster::LogId;

use crate::chaos::Stamp;

/// A violation of a guarantee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An accepted message is missing from a log.
    NotLogged(LogId, Stamp),
    /// An entry of a log is missing at a device that follows it.
    Lost(String, LogId, u64),
    /// A message is duplicated in a log: one stamp under two ids, or one id at two positions.
    Doubled(LogId, Stamp),
    /// A device saw an entry again, without a reset or a new client in between.
    Repeated(String, LogId, u64),
    /// A device saw an entry that was not the next one.
    Gap(String, LogId, u64),
    /// A seq has two ids: at one device without a reset in between, or in a receipt.
    TwoIds(String, LogId, u64),
    /// A later message of a conversation came before an earlier one.
    OutOfOrder(String, LogId, Stamp),
    /// A message that nobody sent, or nobody sent there.
    Invented(LogId, Option<Stamp>),
    /// A log was reset without cause.
    NeedlessReset(String, LogId, u64),
}

/// Result of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Number of accepted messages.
    pub acknowledged: u64,
    /// Number of failed messages.
    pub failed: u64,
    /// Number of messages without a result, since their publisher was killed.
    pub untold: u64,
    /// Number of entries seen, including repetitions.
    pub received: u64,
    /// Number of resets, except the first of each log.
    pub resets: u64,
    /// Number of entries seen again by a new client on a store.
    pub seen_again: u64,
    /// Number of accepted messages lost with a log's tail, where that is [allowed](crate::chaos::Allowed::lost_tail).
    pub rolled_back: u64,
    /// The violations.
    pub violations: Vec<Violation>,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLogged(log, stamp) => write!(formatter, "told Ok and not in {log}: {stamp}"),
            Self::Lost(device, log, seq) => write!(formatter, "{device} never saw {seq} of {log}"),
            Self::Doubled(log, stamp) => write!(formatter, "twice in {log}: {stamp}"),
            Self::Repeated(device, log, seq) => write!(formatter, "{device} saw {seq} of {log} again"),
            Self::Gap(device, log, seq) => write!(formatter, "{device} saw {seq} of {log} before its turn"),
            Self::TwoIds(whose, log, seq) => write!(formatter, "{whose} has another id at {seq} of {log}"),
            Self::OutOfOrder(whose, log, stamp) => {
                write!(formatter, "{whose}: out of order in {log}: {stamp}")
            }
            Self::Invented(log, Some(stamp)) => write!(formatter, "in {log}, where it was not sent: {stamp}"),
            Self::Invented(log, None) => write!(formatter, "in {log}, and nobody sent it"),
            Self::NeedlessReset(device, log, seq) => {
                write!(formatter, "{device} was reset to {seq} of {log} for no reason")
            }
        }
    }
}
