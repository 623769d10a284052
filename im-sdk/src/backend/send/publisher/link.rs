//! The bounded queue of records for one server.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit, oneshot},
    time::Instant,
};

use super::{Outcome, record::encode};
use crate::proto::pb;

/// The most queued records for one server.
const QUEUE: usize = 8192;

/// The most records, and roughly the most bytes, in one envelope (NATS takes 1 MiB by default).
const BATCH: usize = 512;
const BATCH_BYTES: usize = 256 * 1024;

/// Receives the outcome of a record, until a deadline.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) done: oneshot::Sender<Outcome>,
    pub(super) deadline: Instant,
}

/// A queued record.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) record: pb::Record,
    pub(super) waiter: Option<Waiter>,
}

/// Records of one envelope, with a waiter for each.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The encoded records, one after the other.
    pub(super) records: Vec<u8>,
    pub(super) waiters: Vec<Option<Waiter>>,
}

impl Batch {
    fn has_room(&self) -> bool {
        self.waiters.len() < BATCH && self.records.len() < BATCH_BYTES
    }
}

/// A bounded queue. Unlike those of a channel, its waiters can be given up on.
#[derive(Debug)]
pub(super) struct Link {
    queue: Mutex<Queue>,
    /// One permit for each free place.
    places: Semaphore,
    ready: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    /// Records are added to the last batch, as far as it has room.
    batches: VecDeque<Batch>,
    /// The size of the last batch taken: the next one will be about as large.
    room: usize,
    closed: bool,
}

#[allow(
    clippy::result_large_err,
    reason = "a record is given back only when there is no room, and boxing it costs each"
)]
impl Link {
    pub(super) fn new() -> Self {
        Self { queue: Mutex::default(), places: Semaphore::new(QUEUE), ready: Notify::new() }
    }

    /// Queues a record if there is room, and returns it otherwise.
    pub(super) fn try_push(&self, job: Job) -> Result<(), Job> {
        match self.places.try_acquire() {
            Ok(place) => self.put(place, job),
            Err(_) => Err(job),
        }
    }

    /// Queues a record, and waits while the queue is full. Returns the record if the link is
    /// closed.
    pub(super) async fn push(&self, job: Job) -> Result<(), Job> {
        match self.places.acquire().await {
            Ok(place) => self.put(place, job),
            Err(_) => Err(job),
        }
    }

    fn put(&self, place: SemaphorePermit<'_>, job: Job) -> Result<(), Job> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(job);
        }
        // The place is free again when the record is taken.
        place.forget();
        let first = queue.batches.is_empty();
        if !queue.batches.back().is_some_and(Batch::has_room) {
            let room = Vec::with_capacity(queue.room);
            queue.batches.push_back(Batch { records: room, waiters: Vec::new() });
        }
        if let Some(batch) = queue.batches.back_mut() {
            encode(&job.record, &mut batch.records);
            batch.waiters.push(job.waiter);
        }
        drop(queue);
        if first {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Waits for records. Returns `false` if the link is closed and empty.
    pub(super) async fn ready(&self) -> bool {
        loop {
            {
                let queue = self.lock();
                if !queue.batches.is_empty() {
                    break;
                }
                if queue.closed {
                    return false;
                }
            }
            self.ready.notified().await;
        }
        // The first record wakes this task before the senders that are ready to follow have run:
        // they go first. If no other task is ready, this takes no time.
        tokio::task::yield_now().await;
        true
    }

    /// Takes the records that go into the next envelope.
    pub(super) fn take(&self) -> Batch {
        let mut queue = self.lock();
        let batch = queue.batches.pop_front().unwrap_or_default();
        queue.room = batch.records.len();
        drop(queue);
        self.places.add_permits(batch.waiters.len());
        batch
    }

    /// Takes no more records. Queued ones are still published.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.places.close();
        self.ready.notify_one();
    }

    /// Returns `true` if no record is queued.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().batches.is_empty()
    }

    /// Gives up on all waiters. Their records are still published.
    pub(super) fn give_up(&self) {
        let mut queue = self.lock();
        queue.batches.iter_mut().flat_map(|batch| &mut batch.waiters).for_each(|waiter| *waiter = None);
    }

    /// Gives up on overdue waiters. Their records are still published. Returns the next deadline.
    pub(super) fn expire(&self, now: Instant) -> Option<Instant> {
        let mut queue = self.lock();
        let waiters = queue.batches.iter_mut().flat_map(|batch| &mut batch.waiters);
        for waiter in waiters {
            match waiter {
                Some(waiting) if waiting.deadline > now => return Some(waiting.deadline),
                _ => *waiter = None,
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn job(deadline: Instant) -> (Job, oneshot::Receiver<Outcome>) {
        let (done, outcome) = oneshot::channel();
        (Job { record: pb::Record::default(), waiter: Some(Waiter { done, deadline }) }, outcome)
    }

    #[tokio::test]
    async fn a_full_link_makes_senders_wait_until_records_are_taken() {
        let link = Link::new();
        let later = Instant::now() + Duration::from_secs(60);
        for _ in 0..QUEUE {
            assert!(link.try_push(job(later).0).is_ok());
        }
        let mut waiting = Box::pin(link.push(job(later).0));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(link.take().waiters.len(), BATCH);
        assert!(waiting.await.is_ok());
    }

    #[tokio::test]
    async fn who_has_waited_for_long_enough_is_told_and_the_record_goes_out() {
        let (link, now) = (Link::new(), Instant::now());
        let (first, late) = job(now);
        let (second, patient) = job(now + Duration::from_secs(5));
        assert!(link.push(first).await.is_ok() && link.push(second).await.is_ok());
        assert_eq!(link.expire(now), Some(now + Duration::from_secs(5)));
        assert!(late.await.is_err(), "unknown");
        let batch = link.take();
        assert_eq!((batch.records.len(), batch.waiters.len()), (4, 2));
        assert!(batch.waiters[0].is_none() && batch.waiters[1].is_some());
        drop(patient);
    }

    #[tokio::test]
    async fn a_closed_link_takes_nothing_and_ends_behind_what_it_has() {
        let (link, now) = (Link::new(), Instant::now());
        assert!(link.push(job(now).0).await.is_ok());
        link.close();
        assert!(link.push(job(now).0).await.is_err());
        assert!(link.ready().await);
        assert_eq!(link.take().waiters.len(), 1);
        assert!(!link.ready().await);
    }
}
