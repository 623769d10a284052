//! Changes of the network, and applications in the background.

use std::time::{Duration, Instant};

use super::{Core, Phase};
use crate::{client::Event, proto::close::CloseCode};

/// Where the application is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Background {
    /// In the foreground, or it has connected in the background.
    #[default]
    No,
    /// It goes into the background: what waits is sent until then.
    Leaving { by: Instant },
    /// It is in the background.
    Away {
        /// Whether a connection was there, or wanted.
        online: bool,
    },
}

impl<T> Core<T> {
    /// The device has another network.
    pub(in crate::client) fn handle_network_changed(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Waiting { .. } => {
                self.backoff.reset();
                self.start(now);
            }
            // The race goes on over the new network from its beginning.
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

    /// The application goes into the background. What it has sent may take until `by` on an existing connection.
    pub(in crate::client) fn handle_background(&mut self, now: Instant, by: Instant) {
        if self.closing.is_some() || matches!(self.background, Background::Away { .. }) {
            return;
        }
        self.background = Background::Leaving { by };
        self.logs.flush_acks();
        self.conversations.flush(now);
        self.leave_if_done(now);
    }

    /// The application is in the foreground again.
    pub(in crate::client) fn handle_foreground(&mut self, now: Instant) {
        if let Background::Away { online: true } = std::mem::take(&mut self.background) {
            self.handle_connect(now);
        }
    }

    /// Returns `true` once the connection has ended for the background.
    pub(in crate::client) fn is_away(&self) -> bool {
        matches!(self.background, Background::Away { .. })
    }

    /// Gives back the memory that queues hold without need.
    pub(in crate::client) fn handle_memory_pressure(&mut self) {
        self.answers.shrink_to_fit();
        self.actions.shrink_to_fit();
        self.events.shrink_to_fit();
    }

    /// When the connection ends for the background at the latest.
    pub(super) fn leave_at(&self) -> Option<Instant> {
        match self.background {
            Background::Leaving { by } => Some(by),
            _ => None,
        }
    }

    /// Ends the connection for the background when nothing is left to be done on it.
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

/// How long a server may take to answer when the device's network has changed.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
