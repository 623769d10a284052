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

/// See the module's description.
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) user: UserId,
    pub(crate) device: Device,
    pub(super) guard: UserGuard,
    pub(crate) outbox: Outbox,
    /// How many publishes wait for their results.
    pub(crate) pending_publishes: AtomicU32,
    /// How many requests wait for their responses.
    pub(crate) pending_requests: AtomicU32,
    /// Whether the device was told that the outcome of one is open: an answer may be to an earlier try of the same number.
    pub(crate) has_open_outcomes: AtomicBool,
    /// Whether the route store has its route.
    pub(super) routed: AtomicBool,
    /// When its token ends, in seconds since the Unix epoch.
    pub(super) expires_at: u64,
    /// When the device was last heard, in milliseconds after the registry's start.
    pub(super) heard_at: AtomicU32,
    /// Writes for its session, once that has begun.
    pub(super) inline_writer: OnceLock<Weak<dyn InlineWrite>>,
}

/// A session that lets others poll its writes.
pub(crate) trait InlineWrite: Send + Sync {
    /// Writes what is in the outbox, as far as the device takes it at once. The rest wakes `session`.
    ///
    /// Returns `false` if the session is at work, or over.
    fn try_write_inline(&self, session: &Waker) -> bool;
}

impl Connection {
    /// Notes that the route store has its route.
    pub(crate) fn set_routed(&self) {
        self.routed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_routed(&self) -> bool {
        self.routed.load(Ordering::Relaxed)
    }

    /// Returns what all connections of its user share.
    pub(crate) fn user_state(&self) -> &Arc<User> {
        &self.guard.user
    }

    /// Sets what writes for its session. The first one stays.
    pub(crate) fn set_inline_writer(&self, writer: Weak<dyn InlineWrite>) {
        let _ = self.inline_writer.set(writer);
    }

    /// Lets its session write. Returns `false` if it must be woken instead.
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

/// Hashes the numbers of connections. This server chooses them itself, so nobody can make them collide.
#[derive(Debug, Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing; a map looks at both ends of the hash.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
