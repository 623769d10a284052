//! Acknowledgements on their way to the server.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::client::Log;

/// The logs with acknowledgements to send.
#[derive(Debug, Default)]
pub(super) struct Acks {
    unsent: BTreeSet<Log>,
    /// Acknowledgements sent on this connection, which may not have arrived.
    sent: BTreeSet<Log>,
    connected: bool,
    /// The time of the next frame.
    at: Option<Instant>,
    /// Set to send now, whatever the time.
    due: bool,
}

impl Acks {
    pub(super) fn handle_connected(&mut self, now: Instant) {
        self.connected = true;
        self.end(now);
    }

    pub(super) fn handle_connection_lost(&mut self) {
        self.unsent.append(&mut self.sent);
        self.connected = false;
        self.due = false;
    }

    pub(super) fn handle_ack(&mut self, now: Instant, log: Log) {
        self.at.get_or_insert(now + INTERVAL);
        self.unsent.insert(log);
    }

    /// Sends the last acknowledgements again, soon: they may have been lost.
    pub(super) fn repeat(&mut self, now: Instant) {
        self.unsent.append(&mut self.sent);
        if !self.unsent.is_empty() {
            self.at.get_or_insert(now + INTERVAL);
        }
    }

    /// Sends acknowledgements at once.
    pub(super) fn flush(&mut self) {
        self.due = true;
    }

    /// Returns `true` if acknowledgements wait and there is a connection.
    pub(super) fn is_pending(&self) -> bool {
        self.connected && !self.unsent.is_empty()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.due |= self.poll_timeout().is_some_and(|at| at <= now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.at.filter(|_| self.is_pending() && !self.due)
    }

    /// Returns the next log to acknowledge, if acknowledgements are due.
    pub(super) fn peek(&self) -> Option<&Log> {
        self.unsent.first().filter(|_| self.due && self.connected)
    }

    /// Notes that the acknowledgement of that log was sent.
    pub(super) fn pop(&mut self) {
        self.sent.extend(self.unsent.pop_first());
    }

    /// Ends a round: the frame is full, or nothing is left.
    pub(super) fn end(&mut self, now: Instant) {
        self.due = false;
        self.at = (!self.unsent.is_empty()).then(|| now + INTERVAL);
    }
}

/// The time over which acknowledgements are collected: one frame for a screen full of messages.
pub(in crate::client::core) const INTERVAL: Duration = Duration::from_millis(100);
