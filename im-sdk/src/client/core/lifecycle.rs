//! Changes of the network, and applications in the background.

use std::time::{Duration, Instant};

use super::{Core, Phase};
use crate::{client::Event, proto::close::CloseCode};

/// The position of the application in the foreground or the background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Background {
    /// In the foreground, or connected from the background.
    #[default]
    No,
    /// On its way into the background: waiting data is sent until then.
    Leaving { by: Instant },
    /// In the background.
    Away {
        /// Set if there was a connection, or an attempt at one.
        online: bool,
    },
}

impl<T> Core<T> {
    /// Handles a change of the device's network.
    pub(in crate::client) fn handle_network_changed(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Waiting { .. } => {
                self.backoff.reset();
                self.start(now);
            }
            // The race starts over on the new network.
            Phase::Racing { token } => {
                let token = std::mem::take(token);
                self.race(token);
            }
            Phase::Greeting(_) => {
                self.drop_connection(CloseCode::ClientClosed, "");
                self.start(now);
            }
            Phase::Connected(session) => session.heartbeat.probe(now, PROBE_TIMEOUT),
            Phase::Disconnected | Phase::Asking | Phase::Stopped(_) | Phase::Closed => {}
        }
    }

    /// Handles that the application goes into the background. Its unfinished work may use an existing connection
    /// until `by`.
    pub(in crate::client) fn handle_background(&mut self, now: Instant, by: Instant) {
        if self.closing.is_some() || matches!(self.background, Background::Away { .. }) {
            return;
        }
        self.background = Background::Leaving { by };
        self.logs.flush_acks();
        self.conversations.flush(now);
        self.leave_if_done(now);
    }

    /// Handles that the application is in the foreground again.
    pub(in crate::client) fn handle_foreground(&mut self, now: Instant) {
        if let Background::Away { online: true } = std::mem::take(&mut self.background) {
            self.handle_connect(now);
        }
    }

    /// Returns `true` once the connection has ended for the background.
    pub(in crate::client) fn is_away(&self) -> bool {
        matches!(self.background, Background::Away { .. })
    }

    /// Frees spare memory of queues.
    pub(in crate::client) fn handle_memory_pressure(&mut self) {
        self.answers.shrink_to_fit();
        self.actions.shrink_to_fit();
        self.events.shrink_to_fit();
    }

    /// Returns the time at which the connection ends for the background, at the latest.
    pub(super) fn leave_at(&self) -> Option<Instant> {
        match self.background {
            Background::Leaving { by } => Some(by),
            _ => None,
        }
    }

    /// Ends the connection for the background once nothing is left to do on it.
    pub(super) fn leave_if_done(&mut self, now: Instant) {
        let Background::Leaving { by } = self.background else { return };
        if self.is_connected() && self.has_unfinished() && now < by {
            return;
        }
        let online = match self.phase {
            Phase::Disconnected | Phase::Stopped(_) | Phase::Closed => false,
            Phase::Waiting { .. } | Phase::Asking | Phase::Racing { .. } | Phase::Greeting(_) => true,
            Phase::Connected(_) => {
                let reason = "the application is in the background".to_owned();
                let code = Some(CloseCode::ClientClosed);
                self.events.push_back(Event::Disconnected { code, reason, retry_in: None });
                true
            }
        };
        self.background = Background::Away { online };
        if online {
            self.drop_connection(CloseCode::ClientClosed, "");
            self.phase = Phase::Disconnected;
        }
    }

    fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected(_))
    }
}

/// The time that a server may take to answer after the device's network has changed.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
