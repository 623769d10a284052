//! Publishes and requests of devices that wait for their answers, by connection and number.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use im_proto::pb::RefusalKind;
use im_sdk::id::ConnectionId;
use parking_lot::{Mutex, MutexGuard};
use tracing::Span;

use super::refusal::RETRY_MS;
use crate::registry::connection::Connection;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct PendingRequests {
    pending: Mutex<PendingMap>,
    /// The connection's own count of what it has pending here.
    count: fn(&Connection) -> &AtomicU32,
    refuse: Refuse,
}

/// Encodes a refusal, of a number and with a kind, a reason and the time after which the device may try again.
type Refuse = fn(u64, RefusalKind, &str, u32) -> Bytes;

/// Ordered, so that a connection's entries stand together: when many connections end at once, each touches its own alone.
type PendingMap = BTreeMap<(ConnectionId, u64), Pending>;

#[derive(Debug)]
struct Pending {
    connection: Arc<Connection>,
    since: Instant,
    /// Open until the device has its answer.
    span: Span,
}

/// Why a request was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdmitError {
    /// The connection has one of this number pending already.
    Duplicate,
    /// The connection has as many pending as it may.
    TooMany,
}

impl PendingRequests {
    pub(crate) fn new(count: fn(&Connection) -> &AtomicU32, refuse: Refuse) -> Self {
        Self { pending: Mutex::default(), count, refuse }
    }

    /// Admits a request if fewer than `max` of its connection are pending. Only the connection's own session may call this.
    pub(crate) fn admit(
        &self,
        connection: &Arc<Connection>,
        number: u64,
        max: u32,
        span: Span,
    ) -> Result<(), AdmitError> {
        match self.lock().entry((connection.id, number)) {
            Entry::Occupied(_) => Err(AdmitError::Duplicate),
            Entry::Vacant(_) if (self.count)(connection).load(Ordering::Relaxed) >= max => {
                Err(AdmitError::TooMany)
            }
            Entry::Vacant(entry) => {
                entry.insert(Pending { connection: Arc::clone(connection), since: Instant::now(), span });
                (self.count)(connection).fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Returns whether one of this number is pending. Then it is the same one, sent again by an impatient device, and gets the one
    /// answer. Only the connection's own session may call this. Most connections have nothing pending, and then this takes no lock.
    pub(crate) fn contains(&self, connection: &Connection, number: u64) -> bool {
        (self.count)(connection).load(Ordering::Relaxed) > 0
            && self.lock().contains_key(&(connection.id, number))
    }

    /// Passes an answer on, unless the device was told something else meanwhile.
    pub(crate) fn answer(&self, connection: ConnectionId, number: u64, frames: Bytes) {
        let pending = self.lock().remove(&(connection, number));
        if let Some(pending) = pending {
            self.finish(&pending, frames);
        }
    }

    /// Refuses all, because no backend listens.
    ///
    /// The bus does not tell which one it could not deliver: a server receives on its own subject alone. This may hit one that a
    /// backend has just taken. The device tries again under the same number.
    pub(crate) fn no_backend(&self) {
        self.answer_all(|number| self.unavailable(number, "no back end is listening"));
    }

    /// Refuses those that have been pending for longer than this.
    pub(crate) fn expire(&self, timeout: Duration) {
        self.answer_older(timeout, |number| self.unavailable(number, "no back end answered in time"));
    }

    fn unavailable(&self, number: u64, reason: &str) -> Bytes {
        (self.refuse)(number, RefusalKind::Unavailable, reason, RETRY_MS)
    }

    /// Answers all, each by its number.
    fn answer_all(&self, answer: impl Fn(u64) -> Bytes) {
        let all = std::mem::take(&mut *self.lock());
        self.finish_all(&all, answer);
    }

    /// Answers those that have been pending for longer than this.
    fn answer_older(&self, age: Duration, answer: impl Fn(u64) -> Bytes) {
        let older = self.lock().extract_if(.., |_, pending| pending.since.elapsed() > age).collect();
        self.finish_all(&older, answer);
    }

    /// Forgets a connection that is gone. Most have nothing pending, and then this takes no lock.
    pub(crate) fn forget(&self, connection: &Connection) {
        if (self.count)(connection).load(Ordering::Relaxed) > 0 {
            self.lock().extract_if(all_of(connection.id), |_, _| true).for_each(drop);
        }
    }

    fn finish_all(&self, all: &PendingMap, answer: impl Fn(u64) -> Bytes) {
        for ((_, number), pending) in all {
            self.finish(pending, answer(*number));
        }
    }

    fn finish(&self, pending: &Pending, frames: Bytes) {
        (self.count)(&pending.connection).fetch_sub(1, Ordering::Relaxed);
        pending.span.in_scope(|| tracing::trace!(bytes = frames.len(), "answered"));
        pending.connection.outbox.try_push(frames);
    }

    fn lock(&self) -> MutexGuard<'_, PendingMap> {
        self.pending.lock()
    }
}

fn all_of(connection: ConnectionId) -> RangeInclusive<(ConnectionId, u64)> {
    (connection, 0)..=(connection, u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::{
        registry::{Registration, Registry, frame_batch::FrameBatch},
        testing,
        upstream::refusal,
    };

    const MAX: u32 = 2;

    fn publishes() -> PendingRequests {
        PendingRequests::new(|connection| &connection.pending_publishes, refusal::of_publish)
    }

    fn admit(pending: &PendingRequests, connection: &Arc<Connection>, number: u64) -> Result<(), AdmitError> {
        pending.admit(connection, number, MAX, Span::none())
    }

    fn answer(number: u64) -> Bytes {
        Bytes::from(vec![number as u8])
    }

    /// Takes what a connection was told.
    fn told(connection: &Connection) -> Vec<u8> {
        let mut batch = FrameBatch::default();
        let taken = connection.outbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut batch);
        assert!(matches!(taken, Poll::Ready(None)) != batch.is_empty());
        batch.iter().flatten().copied().collect()
    }

    #[test]
    fn each_gets_one_answer() {
        let Registration { connection, .. } = &testing::connection();
        let pending = publishes();
        assert!(!pending.contains(connection, 1));
        assert_eq!(admit(&pending, connection, 1), Ok(()));
        assert_eq!(admit(&pending, connection, 1), Err(AdmitError::Duplicate));
        assert!(pending.contains(connection, 1) && !pending.contains(connection, 2));
        assert_eq!(admit(&pending, connection, 2), Ok(()));
        assert_eq!(admit(&pending, connection, 2), Err(AdmitError::Duplicate), "it is no further one");
        assert_eq!(admit(&pending, connection, 3), Err(AdmitError::TooMany));
        for _ in 0..2 {
            pending.answer(connection.id, 1, answer(7));
        }
        pending.answer(connection.id, 3, answer(7));
        assert_eq!(told(connection), [7]);
        assert!(!pending.contains(connection, 1));
        assert_eq!(admit(&pending, connection, 3), Ok(()), "there is room again");
        pending.answer_older(Duration::from_secs(60), answer);
        assert!(told(connection).is_empty());
        pending.answer_older(Duration::ZERO, answer);
        assert_eq!(told(connection), [2, 3]);
        pending.answer_all(answer);
        assert!(told(connection).is_empty());
        assert_eq!(connection.pending_publishes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_connection_that_is_gone_is_forgotten_alone() {
        let registry = Arc::new(Registry::new(2, u64::MAX));
        let (one, other) = (testing::register(&registry), testing::register(&registry));
        let pending = publishes();
        for connection in [&one.connection, &other.connection] {
            admit(&pending, connection, 0).unwrap();
            admit(&pending, connection, u64::MAX).unwrap();
        }
        pending.forget(&one.connection);
        pending.answer_all(answer);
        assert_eq!((told(&one.connection).len(), told(&other.connection).len()), (0, 2));
    }

    #[test]
    fn who_asked_nothing_takes_no_lock_when_it_goes() {
        let registration = testing::connection();
        let pending = publishes();
        let _held = pending.lock();
        pending.forget(&registration.connection);
    }
}
