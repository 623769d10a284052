//! When to tell the server what the application has dealt with.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::client::Log;

/// Which logs' acknowledgements have to travel.
#[derive(Debug, Default)]
pub(super) struct Acks {
    unsent: BTreeSet<Log>,
    /// Sent on this connection, which says nothing about whether they arrived.
    sent: BTreeSet<Log>,
    connected: bool,
    /// When to send.
    at: Option<Instant>,
    /// Now, whatever the time.
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

    /// What was told may have been lost on the way: it is told again, soon.
    pub(super) fn repeat(&mut self, now: Instant) {
        self.unsent.append(&mut self.sent);
        if !self.unsent.is_empty() {
            self.at.get_or_insert(now + INTERVAL);
        }
    }

    /// The client closes.
    pub(super) fn flush(&mut self) {
        self.due = true;
    }

    /// Something can be sent and was not.
    pub(super) fn is_pending(&self) -> bool {
        self.connected && !self.unsent.is_empty()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.due |= self.poll_timeout().is_some_and(|at| at <= now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.at.filter(|_| self.is_pending() && !self.due)
    }

    /// The next log to tell of, while it is time to.
    pub(super) fn peek(&self) -> Option<&Log> {
        self.unsent.first().filter(|_| self.due && self.connected)
    }

    /// It was told.
    pub(super) fn pop(&mut self) {
        self.sent.extend(self.unsent.pop_first());
    }

    /// A frame is full, or everything was told.
    pub(super) fn end(&mut self, now: Instant) {
        self.due = false;
        self.at = (!self.unsent.is_empty()).then(|| now + INTERVAL);
    }
}

/// Acknowledgements are collected for this long: one frame for a screen full of messages.
pub(in crate::client::core) const INTERVAL: Duration = Duration::from_millis(100);
