//! The state of one connection.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    Endpoint, Transport,
    client::core::heartbeat::Heartbeat,
    proto::{frame, limits, pb},
};

/// The transport and the endpoint of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Via {
    pub(crate) transport: Transport,
    pub(crate) endpoint: Endpoint,
}

/// The server's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) max_frame_bytes: usize,
    pub(super) max_inflight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame_bytes: limits::MAX_FRAME_BYTES,
            max_inflight: limits::MAX_INFLIGHT_PUBLISHES as usize,
        }
    }
}

impl From<Option<pb::Limits>> for Limits {
    /// Uses the defaults for limits that the server leaves out.
    fn from(limits: Option<pb::Limits>) -> Self {
        let limits = limits.unwrap_or_default();
        let given = |number: u32, usual: usize| if number == 0 { usual } else { number as usize };
        let usual = Self::default();
        Self {
            max_frame_bytes: given(limits.max_frame_bytes, usual.max_frame_bytes)
                .min(MAX_RECEIVED_FRAME_BYTES),
            max_inflight: given(limits.max_inflight_publishes, usual.max_inflight),
        }
    }
}

/// A connection before the server's welcome.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) via: Via,
    /// The `Hello`, until it is sent.
    pub(super) hello: Option<Bytes>,
    pub(super) pong: Option<u64>,
    pub(super) deadline: Instant,
}

impl Greeting {
    pub(super) fn poll_transmit(&mut self) -> Option<Bytes> {
        self.hello.take().or_else(|| take_pong(&mut self.pong))
    }
}

/// A connection after the server's welcome.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) via: Via,
    pub(super) since: Instant,
    pub(super) heartbeat: Heartbeat,
    /// The echo of the last ping, until it is answered. Of several pings only the last is answered.
    pub(super) pong: Option<u64>,
    pub(super) leave: Option<Leave>,
}

/// The server's request to connect elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leave {
    /// From then on nothing new is published.
    pub(super) from: Instant,
    /// The connection ends by then, whatever is unanswered.
    pub(super) by: Instant,
    /// Set once `from` has passed.
    pub(super) begun: bool,
}

impl Session {
    pub(super) fn new(now: Instant, via: Via, heartbeat_ms: u32, reading: bool) -> Self {
        let interval = match heartbeat_ms {
            0 => USUAL_HEARTBEAT,
            given => Duration::from_millis(given.into()),
        };
        Self { via, since: now, heartbeat: Heartbeat::new(interval, now, reading), pong: None, leave: None }
    }

    /// Returns the next ping or pong.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        let ping = |echo| frame::encode(pb::frame::Body::Ping(pb::Ping { echo }));
        take_pong(&mut self.pong).or_else(|| self.heartbeat.poll_ping(now).map(ping))
    }

    /// Returns `true` if nothing new is published. The connection ends once the sent publishes are answered.
    pub(super) fn is_leaving(&self) -> bool {
        self.leave.is_some_and(|leave| leave.begun)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.heartbeat.handle_timeout(now);
        if let Some(leave) = &mut self.leave {
            leave.begun |= leave.from <= now;
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let leave = self.leave.map(|leave| if leave.begun { leave.by } else { leave.from });
        [leave, self.heartbeat.poll_timeout()].into_iter().flatten().min()
    }
}

fn take_pong(pong: &mut Option<u64>) -> Option<Bytes> {
    pong.take().map(|echo| frame::encode(pb::frame::Body::Pong(pb::Pong { echo })))
}

/// The largest frame that a device accepts from a server.
pub(crate) const MAX_RECEIVED_FRAME_BYTES: usize = 1024 * 1024;

/// The heartbeat interval, unless the server names one.
const USUAL_HEARTBEAT: Duration = Duration::from_secs(30);
