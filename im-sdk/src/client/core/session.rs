//! What belongs to one connection.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    client::{Endpoint, Transport, core::heartbeat::Heartbeat},
    proto::{frame, limits, pb},
};

/// What a connection runs over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Via {
    pub(crate) transport: Transport,
    pub(crate) endpoint: Endpoint,
}

/// What the server allows.
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
    /// What the server leaves out is as usual.
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

/// A transport is established and the server has not said welcome yet.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) via: Via,
    /// Not sent yet.
    pub(super) hello: Option<Bytes>,
    pub(super) pong: Option<u64>,
    pub(super) deadline: Instant,
}

impl Greeting {
    pub(super) fn poll_transmit(&mut self) -> Option<Bytes> {
        self.hello.take().or_else(|| take_pong(&mut self.pong))
    }
}

/// A connection that the server said welcome to.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) via: Via,
    pub(super) since: Instant,
    pub(super) heartbeat: Heartbeat,
    /// The last ping's echo, not answered yet. A server that sends many pings gets the last one answered.
    pub(super) pong: Option<u64>,
    pub(super) leave: Option<Leave>,
}

/// The server asked to connect elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leave {
    /// No new publishes from here on.
    pub(super) from: Instant,
    /// Gone by then, answered or not.
    pub(super) by: Instant,
    /// `from` is over.
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

    /// The next frame that is no publish.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        let ping = |echo| frame::encode(pb::frame::Body::Ping(pb::Ping { echo }));
        take_pong(&mut self.pong).or_else(|| self.heartbeat.poll_ping(now).map(ping))
    }

    /// Takes no new publishes: it ends as soon as the sent ones are answered.
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

/// No server can make a device hold more than this for one frame.
pub(crate) const MAX_RECEIVED_FRAME_BYTES: usize = 1024 * 1024;

/// Used when the server names none.
const USUAL_HEARTBEAT: Duration = Duration::from_secs(30);
