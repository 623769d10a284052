//! Publishes and requests of devices that wait for their answers, by connection and number.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use im_proto::pb::RefusalKind;
use im_sdk::id::ConnectionId;
use parking_lot::{Mutex, MutexGuard};
use tracing::Span;

use super::{
    in_flight::{Fate, PublicationId},
    refusal::RETRY_MS,
};
use crate::registry::connection::Connection;

/// The publishes, or the requests, that wait for their answers.
#[derive(Debug)]
pub(crate) struct PendingRequests {
    pending: Mutex<PendingMap>,
    /// Returns the counter, stored in the connection, of its requests that are pending here.
    count: fn(&Connection) -> &AtomicU32,
    refuse: Refuse,
    /// The kind of refusal for a request that no backend has taken.
    no_backend: RefusalKind,
    /// The publication that was answered last.
    last_taken: AtomicU64,
}

/// Encodes a refusal from a number, a kind, a reason and the time after which the device may try again.
type Refuse = fn(u64, RefusalKind, &str, u32) -> Bytes;

/// Ordered, so that a connection's entries are adjacent: when many connections end at once, each touches only its own.
type PendingMap = BTreeMap<(ConnectionId, u64), Pending>;

#[derive(Debug)]
struct Pending {
    connection: Arc<Connection>,
    since: Instant,
    /// The publication that contains the request; 0 before it is published.
    publication: PublicationId,
    /// Open until the device has its answer.
    span: Span,
}

impl Pending {
    fn new(connection: &Arc<Connection>, span: Span) -> Self {
        Self { connection: Arc::clone(connection), since: Instant::now(), publication: 0, span }
    }
}

/// The reason for which a request was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdmitError {
    /// The connection already has a pending request of this number.
    Duplicate,
    /// The connection has the maximum number of pending requests.
    TooMany,
}

impl PendingRequests {
    pub(crate) fn new(count: fn(&Connection) -> &AtomicU32, refuse: Refuse, no_backend: RefusalKind) -> Self {
        Self { pending: Mutex::default(), count, refuse, no_backend, last_taken: AtomicU64::new(0) }
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
                entry.insert(Pending::new(connection, span));
                (self.count)(connection).fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Returns whether a request of this number is pending. It is then the same one, repeated by an impatient device, and shares
    /// the answer. Only the connection's own session may call this. Most connections have nothing pending, and then this takes no
    /// lock.
    pub(crate) fn contains(&self, connection: &Connection, number: u64) -> bool {
        (self.count)(connection).load(Ordering::Relaxed) > 0
            && self.lock().contains_key(&(connection.id, number))
    }

    /// Notes the publication that contains these requests.
    pub(crate) fn note_publication(
        &self,
        publication: PublicationId,
        requests: impl Iterator<Item = (ConnectionId, u64)>,
    ) {
        let mut all = self.lock();
        for request in requests {
            if let Some(pending) = all.get_mut(&request) {
                pending.publication = publication;
            }
        }
    }

    /// Passes on a backend's answer, unless the device was already told another outcome. Returns the publication if a backend has
    /// certainly taken it, and if this is news: one publication carries up to hundreds of requests, which are answered together.
    pub(crate) fn answer(
        &self,
        connection: ConnectionId,
        number: u64,
        frames: Bytes,
    ) -> Option<PublicationId> {
        let pending = self.lock().remove(&(connection, number))?;
        self.finish(&pending, frames);
        let Pending { connection, publication, .. } = pending;
        if connection.has_open_outcomes.load(Ordering::Relaxed) {
            return None;
        }
        (self.last_taken.swap(publication, Ordering::Relaxed) != publication).then_some(publication)
    }

    /// Refuses requests that no backend took, and those that perhaps no backend took. The device tries again under the same number.
    pub(crate) fn no_backend(&self, fate: &Fate) {
        let (kind, publications) = match fate {
            Fate::Returned(publications) => (self.no_backend, publications),
            Fate::Unclear(publications) => (RefusalKind::Unavailable, publications),
        };
        let refused = self.extract(|pending| publications.contains(&pending.publication));
        self.refuse_all(&refused, kind, "no back end is listening");
    }

    /// Refuses requests that have been pending for longer than this.
    pub(crate) fn expire(&self, timeout: Duration) {
        let older = self.extract(|pending| pending.since.elapsed() > timeout);
        self.refuse_all(&older, RefusalKind::Unavailable, "no back end answered in time");
    }

    fn extract(&self, which: impl Fn(&Pending) -> bool) -> PendingMap {
        self.lock().extract_if(.., |_, pending| which(pending)).collect()
    }

    /// Forgets a connection that has ended. Most have nothing pending, and then this takes no lock.
    pub(crate) fn forget(&self, connection: &Connection) {
        if (self.count)(connection).load(Ordering::Relaxed) > 0 {
            self.lock().extract_if(all_of(connection.id), |_, _| true).for_each(drop);
        }
    }

    fn refuse_all(&self, all: &PendingMap, kind: RefusalKind, reason: &str) {
        for ((_, number), pending) in all {
            if kind == RefusalKind::Unavailable {
                pending.connection.has_open_outcomes.store(true, Ordering::Relaxed);
            }
            self.finish(pending, (self.refuse)(*number, kind, reason, RETRY_MS));
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

    use bytes::BytesMut;
    use im_proto::{frame, limits::MAX_FRAME_BYTES, pb};

    use super::*;
    use crate::{
        registry::{Registration, Registry, frame_batch::FrameBatch},
        testing,
        upstream::refusal,
    };

    const MAX: u32 = 2;

    fn publishes() -> PendingRequests {
        PendingRequests::new(
            |connection| &connection.pending_publishes,
            refusal::of_publish,
            RefusalKind::NoBackend,
        )
    }

    fn admit(pending: &PendingRequests, connection: &Arc<Connection>, number: u64) -> Result<(), AdmitError> {
        pending.admit(connection, number, MAX, Span::none())
    }

    fn answer() -> Bytes {
        Bytes::from_static(&[7])
    }

    /// Takes the frames that were queued for a connection.
    fn told(connection: &Connection) -> Vec<u8> {
        let mut batch = FrameBatch::default();
        let taken = connection.outbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut batch);
        assert!(matches!(taken, Poll::Ready(None)) != batch.is_empty());
        batch.iter().flatten().copied().collect()
    }

    /// Takes the refusals that were queued for a connection.
    fn refused(connection: &Connection) -> Vec<(u64, RefusalKind)> {
        let mut bytes = BytesMut::from(&told(connection)[..]);
        let mut refused = Vec::new();
        while let Some(frame) = frame::take(&mut bytes, MAX_FRAME_BYTES).unwrap() {
            let Some(pb::frame::Body::PublishResult(result)) = frame::decode(frame).unwrap() else {
                panic!("no result")
            };
            let Some(pb::publish_result::Outcome::Refused(outcome)) = &result.outcome else {
                panic!("{result:?}")
            };
            refused.push((result.number, outcome.kind()));
        }
        refused
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
        pending.note_publication(5, [(connection.id, 1), (connection.id, 9)].into_iter());
        assert_eq!(pending.answer(connection.id, 1, answer()), Some(5));
        for number in [1, 3] {
            assert_eq!(pending.answer(connection.id, number, answer()), None);
        }
        assert_eq!(told(connection), [7]);
        assert!(!pending.contains(connection, 1));
        assert_eq!(admit(&pending, connection, 3), Ok(()), "there is room again");
        pending.expire(Duration::from_secs(60));
        assert!(told(connection).is_empty());
        pending.expire(Duration::ZERO);
        assert_eq!(refused(connection), [2, 3].map(|number| (number, RefusalKind::Unavailable)));
        pending.expire(Duration::ZERO);
        assert!(told(connection).is_empty());
        assert_eq!(connection.pending_publishes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn only_what_came_back_is_refused_and_for_certain_where_that_is_known() {
        let Registration { connection, .. } = &testing::connection();
        let pending = publishes();
        for number in [1, 2, 3, 4] {
            pending.admit(connection, number, 9, Span::none()).unwrap();
        }
        for (publication, numbers) in [(10, 1..3), (11, 3..4)] {
            pending.note_publication(publication, numbers.map(|number| (connection.id, number)));
        }
        pending.no_backend(&Fate::Returned([10, 12].into()));
        assert_eq!(refused(connection), [1, 2].map(|number| (number, RefusalKind::NoBackend)));
        assert!(pending.contains(connection, 4), "it is not on the bus");
        assert_eq!(pending.answer(connection.id, 4, answer()), None);
        assert_eq!(told(connection), [7]);
        pending.no_backend(&Fate::Unclear([11].into()));
        assert_eq!(refused(connection), [(3, RefusalKind::Unavailable)]);
    }

    /// The answer may be to the first try, and proves nothing about the second.
    #[test]
    fn an_answer_behind_an_open_outcome_proves_nothing() {
        let Registration { connection, .. } = &testing::connection();
        let pending = publishes();
        admit(&pending, connection, 1).unwrap();
        pending.expire(Duration::ZERO);
        admit(&pending, connection, 1).unwrap();
        pending.note_publication(2, [(connection.id, 1)].into_iter());
        assert_eq!(pending.answer(connection.id, 1, answer()), None);
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
        pending.expire(Duration::ZERO);
        assert_eq!((told(&one.connection).len(), refused(&other.connection).len()), (0, 2));
    }

    #[test]
    fn who_asked_nothing_takes_no_lock_when_it_goes() {
        let registration = testing::connection();
        let pending = publishes();
        let _held = pending.lock();
        pending.forget(&registration.connection);
    }
}
