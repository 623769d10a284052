//! The phases of a server's run: it holds a lease, drains, becomes unreachable, and has stopped.
//!
//! Tasks wait for the tokens. This module starts nothing by itself.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The reason for which a server has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// The server's lease ran out, so its devices counted as offline. [`Server::start_replacing`] starts a new server under a new
    /// id.
    ///
    /// [`Server::start_replacing`]: crate::Server::start_replacing
    LeaseLost,
    /// This server alone could not reach Redis or the bus, while others could. Start a new one in the same way.
    Isolated,
    /// The bus is closed for good.
    BusClosed,
}

/// The tokens of the phases, and the lease's end.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    /// Cancelled when the server takes no more connections.
    pub(crate) draining: CancellationToken,
    /// Cancelled when the routes of channels are to be removed.
    pub(crate) leaving_channels: CancellationToken,
    /// Cancelled when the run is over; this ends its tasks.
    pub(crate) stopped: CancellationToken,
    /// Cancelled when the route store has said that the lease is over.
    pub(crate) lease_lost: CancellationToken,
    /// Cancelled when backends cannot reach this server's devices any more.
    pub(crate) unreachable: CancellationToken,
    stop_reason: OnceLock<StopReason>,
    drain_announced: AtomicBool,
    /// The time until which the lease is certainly valid, by a clock that also advances while the process is frozen.
    leased_until: Mutex<Instant>,
}

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self {
            draining: CancellationToken::new(),
            leaving_channels: CancellationToken::new(),
            stopped: CancellationToken::new(),
            lease_lost: CancellationToken::new(),
            unreachable: CancellationToken::new(),
            stop_reason: OnceLock::new(),
            drain_announced: AtomicBool::new(false),
            leased_until: Mutex::new(Instant::now()),
        }
    }

    /// Returns whether this server may still write routes. Without its lease, it could overwrite routes that others own.
    pub(crate) fn holds_lease(&self) -> bool {
        Instant::now() < *self.leased_until.lock()
    }

    pub(crate) fn set_leased_until(&self, until: Instant) {
        *self.leased_until.lock() = until;
    }

    /// Returns for how long the lease has been over, or `None` while it runs.
    pub(crate) fn without_lease_for(&self) -> Option<Duration> {
        let until = *self.leased_until.lock();
        Instant::now().checked_duration_since(until)
    }

    /// Notes that backends cannot reach this server's devices any more. The first reason is kept.
    pub(crate) fn become_unreachable(&self, reason: StopReason) {
        let _ = self.stop_reason.set(reason);
        self.unreachable.cancel();
    }

    /// Returns the reason for the stop, once `unreachable` is cancelled.
    pub(crate) fn stop_reason(&self) -> StopReason {
        self.stop_reason.get().copied().unwrap_or(StopReason::LeaseLost)
    }

    /// Returns whether the route store knows that this server drains.
    pub(crate) fn drain_announced(&self) -> bool {
        self.drain_announced.load(Ordering::Relaxed)
    }

    pub(crate) fn set_drain_announced(&self, announced: bool) {
        self.drain_announced.store(announced, Ordering::Relaxed);
    }
}
