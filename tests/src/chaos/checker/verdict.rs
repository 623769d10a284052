//! What a checker says.

use std::fmt;

use im_sdk::cluster::LogId;

use crate::chaos::Stamp;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Told Ok, and not in a log.
    NotLogged(LogId, Stamp),
    /// In a log, and not at a device that follows it.
    Lost(String, LogId, u64),
    /// One message twice in a log: the same stamp under two ids, or one id at two places.
    Doubled(LogId, Stamp),
    /// A device saw an entry again that it had, without a reset or a new client in between.
    Repeated(String, LogId, u64),
    /// A device saw an entry that was not the next.
    Gap(String, LogId, u64),
    /// A seq with two ids: at one device without a reset in between, or in a receipt.
    TwoIds(String, LogId, u64),
    /// A conversation's later message came before an earlier one.
    OutOfOrder(String, LogId, Stamp),
    /// Nobody sent it, or nobody sent it there.
    Invented(LogId, Option<Stamp>),
    /// A log was reset, and nothing had happened to it.
    NeedlessReset(String, LogId, u64),
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many messages were told Ok.
    pub acknowledged: u64,
    /// How many were told to have failed.
    pub failed: u64,
    /// How many were never told: whoever waited was killed.
    pub untold: u64,
    /// Entries seen, repetitions included.
    pub received: u64,
    /// Resets, beside a log's first.
    pub resets: u64,
    /// Entries seen again by a new client on a store.
    pub seen_again: u64,
    /// Told Ok and lost with a log's tail, where that is [allowed](crate::chaos::Allowed::lost_tail).
    pub rolled_back: u64,
    /// What must not be.
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
