//! One connection, as the rest of the server sees it.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::Waker,
};

use im_sdk::id::{ConnectionId, Device, UserId};

use super::{
    outbox::Outbox,
    users::{User, UserGuard},
};

/// A connected device, and its outbox.
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) user: UserId,
    pub(crate) device: Device,
    pub(super) guard: UserGuard,
    pub(crate) outbox: Outbox,
    /// The number of publishes that wait for their results.
    pub(crate) pending_publishes: AtomicU32,
    /// The number of requests that wait for their responses.
    pub(crate) pending_requests: AtomicU32,
    /// Whether the device was told that an outcome is open: a later answer may then be to an earlier try of the same number.
    pub(crate) has_open_outcomes: AtomicBool,
    /// Whether the route store has the connection's route.
    pub(super) routed: AtomicBool,
    /// The expiry of the token, in seconds since the Unix epoch.
    pub(super) expires_at: u64,
    /// The time at which the device last sent something, in milliseconds after the registry's start.
    pub(super) heard_at: AtomicU32,
    /// Writes for the session, once the session has begun.
    pub(super) inline_writer: OnceLock<Weak<dyn InlineWrite>>,
}

/// A session whose writes other tasks may poll.
pub(crate) trait InlineWrite: Send + Sync {
    /// Writes the contents of the outbox, as far as the device takes them at once. The rest wakes `session`.
    ///
    /// Returns `false` if the session is running, or over.
    fn try_write_inline(&self, session: &Waker) -> bool;
}

impl Connection {
    /// Notes that the route store has the connection's route.
    pub(crate) fn set_routed(&self) {
        self.routed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_routed(&self) -> bool {
        self.routed.load(Ordering::Relaxed)
    }

    /// Returns the state shared by all connections of its user.
    pub(crate) fn user_state(&self) -> &Arc<User> {
        &self.guard.user
    }

    /// Sets the writer for its session. The first one is kept.
    pub(crate) fn set_inline_writer(&self, writer: Weak<dyn InlineWrite>) {
        let _ = self.inline_writer.set(writer);
    }

    /// Makes its session write. Returns `false` if it must be woken instead.
    pub(crate) fn try_write_inline(&self, session: &Waker) -> bool {
        let writer = self.inline_writer.get().and_then(Weak::upgrade);
        writer.is_some_and(|writer| writer.try_write_inline(session))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connection").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A map by connection.
pub(crate) type ByConnection<T> = HashMap<ConnectionId, T, BuildHasherDefault<NumberHasher>>;

/// Hashes the numbers of connections. The server chooses them itself, so clients cannot make them collide.
#[derive(Debug, Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing; a hash map uses both ends of the hash.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
