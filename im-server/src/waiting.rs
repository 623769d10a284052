//! What devices have asked and wait for, by connection and number: publishes and requests keep one each.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use im_sdk::id::ConnectionId;

use crate::registry::Connection;

/// When a device may try again what found no room, or what no back end took.
pub(crate) const RETRY_MS: u32 = 1000;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct AllWaiting {
    waiting: Mutex<Waitings>,
    /// Where a connection counts how many of its own are here.
    count: fn(&Connection) -> &AtomicU32,
}

/// Ordered, so that a connection's stand together: when many connections that wait end at once, each looks at its own
/// alone.
type Waitings = BTreeMap<(ConnectionId, u64), Waiting>;

#[derive(Debug)]
struct Waiting {
    connection: Arc<Connection>,
    since: Instant,
}

/// What was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// One with this number of this connection waits already.
    Repeated,
    /// As many of this connection wait as may.
    TooMany,
}

impl AllWaiting {
    pub(crate) fn new(count: fn(&Connection) -> &AtomicU32) -> Self {
        Self { waiting: Mutex::default(), count }
    }

    /// Lets one wait, if fewer than `max` of its connection do. To be called by the connection's own session alone.
    pub(crate) fn admit(&self, connection: &Arc<Connection>, number: u64, max: u32) -> Result<(), Unfit> {
        match self.lock().entry((connection.id, number)) {
            Entry::Occupied(_) => Err(Unfit::Repeated),
            Entry::Vacant(_) if (self.count)(connection).load(Ordering::Relaxed) >= max => {
                Err(Unfit::TooMany)
            }
            Entry::Vacant(entry) => {
                entry.insert(Waiting { connection: Arc::clone(connection), since: Instant::now() });
                (self.count)(connection).fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Whether one of this number waits. To be called by the connection's own session alone; most have nothing that waits, and
    /// then nobody is kept waiting for the lock.
    pub(crate) fn has(&self, connection: &Connection, number: u64) -> bool {
        (self.count)(connection).load(Ordering::Relaxed) > 0
            && self.lock().contains_key(&(connection.id, number))
    }

    /// Passes an answer on, unless the device was told something else meanwhile.
    pub(crate) fn answered(&self, connection: ConnectionId, number: u64, frames: Bytes) {
        let waiting = self.lock().remove(&(connection, number));
        if let Some(waiting) = waiting {
            self.finish(&waiting, frames);
        }
    }

    /// Answers all, each by its number.
    pub(crate) fn answer_all(&self, answer: impl Fn(u64) -> Bytes) {
        let all = std::mem::take(&mut *self.lock());
        self.finish_all(&all, answer);
    }

    /// Answers those that have waited for longer than this.
    pub(crate) fn answer_older(&self, age: Duration, answer: impl Fn(u64) -> Bytes) {
        let older = self.lock().extract_if(.., |_, waiting| waiting.since.elapsed() > age).collect();
        self.finish_all(&older, answer);
    }

    /// Forgets a connection that is gone. Most ask nothing, and then nobody is kept waiting for the lock.
    pub(crate) fn forget(&self, connection: &Connection) {
        if (self.count)(connection).load(Ordering::Relaxed) > 0 {
            self.lock().extract_if(all_of(connection.id), |_, _| true).for_each(drop);
        }
    }

    fn finish_all(&self, all: &Waitings, answer: impl Fn(u64) -> Bytes) {
        for ((_, number), waiting) in all {
            self.finish(waiting, answer(*number));
        }
    }

    fn finish(&self, waiting: &Waiting, frames: Bytes) {
        (self.count)(&waiting.connection).fetch_sub(1, Ordering::Relaxed);
        waiting.connection.outbox.try_push(frames);
    }

    fn lock(&self) -> MutexGuard<'_, Waitings> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn all_of(connection: ConnectionId) -> RangeInclusive<(ConnectionId, u64)> {
    (connection, 0)..=(connection, u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use im_sdk::id::{Device, DeviceId, Terminal, UserId};

    use super::*;
    use crate::{
        batch::Batch,
        outbox::Outbox,
        registry::{Registration, Registry},
    };

    const MAX: u32 = 2;

    fn register(registry: &Arc<Registry>) -> Registration {
        let device = Device::new(Terminal::Web, DeviceId::parse("d").unwrap());
        registry.register(UserId::parse("u").unwrap(), device, 0, Outbox::new(1000)).unwrap()
    }

    fn publishes() -> AllWaiting {
        AllWaiting::new(|connection| &connection.inflight)
    }

    fn answer(number: u64) -> Bytes {
        Bytes::from(vec![number as u8])
    }

    /// What a connection was told.
    fn told(connection: &Connection) -> Vec<u8> {
        let mut batch = Batch::default();
        let taken = connection.outbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut batch);
        assert!(matches!(taken, Poll::Ready(None)) != batch.is_empty());
        batch.iter().flatten().copied().collect()
    }

    #[test]
    fn each_gets_one_answer() {
        let registry = Arc::new(Registry::new(1, 1));
        let Registration { connection, .. } = &register(&registry);
        let waiting = publishes();
        assert!(!waiting.has(connection, 1));
        assert_eq!(waiting.admit(connection, 1, MAX), Ok(()));
        assert_eq!(waiting.admit(connection, 1, MAX), Err(Unfit::Repeated));
        assert!(waiting.has(connection, 1) && !waiting.has(connection, 2));
        assert_eq!(waiting.admit(connection, 2, MAX), Ok(()));
        assert_eq!(waiting.admit(connection, 2, MAX), Err(Unfit::Repeated), "it is no further one");
        assert_eq!(waiting.admit(connection, 3, MAX), Err(Unfit::TooMany));
        for _ in 0..2 {
            waiting.answered(connection.id, 1, answer(7));
        }
        waiting.answered(connection.id, 3, answer(7));
        assert_eq!(told(connection), [7]);
        assert!(!waiting.has(connection, 1));
        assert_eq!(waiting.admit(connection, 3, MAX), Ok(()), "a place came free");
        waiting.answer_older(Duration::from_secs(60), answer);
        assert!(told(connection).is_empty());
        waiting.answer_older(Duration::ZERO, answer);
        assert_eq!(told(connection), [2, 3]);
        waiting.answer_all(answer);
        assert!(told(connection).is_empty());
        assert_eq!(connection.inflight.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_connection_that_is_gone_is_forgotten_alone() {
        let registry = Arc::new(Registry::new(2, u64::MAX));
        let (one, other) = (register(&registry), register(&registry));
        let waiting = publishes();
        for connection in [&one.connection, &other.connection] {
            waiting.admit(connection, 0, MAX).unwrap();
            waiting.admit(connection, u64::MAX, MAX).unwrap();
        }
        waiting.forget(&one.connection);
        waiting.answer_all(answer);
        assert_eq!((told(&one.connection).len(), told(&other.connection).len()), (0, 2));
    }

    #[test]
    fn who_asked_nothing_takes_no_lock_when_it_goes() {
        let registry = Arc::new(Registry::new(1, 1));
        let registration = register(&registry);
        let waiting = publishes();
        let _held = waiting.lock();
        waiting.forget(&registration.connection);
    }
}
