//! What waits to be written to one connection: bounded in bytes, filled by anybody without waiting, emptied by the
//! connection's own task in one go.
//!
//! What the device has missed is paced: a back end sends so much of it, and goes on when the session has taken that. So only a
//! device that does not read is ever too slow, however much it has missed.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use im_proto::{close::CloseCode, pb::Priority};

use crate::batch::Batch;

/// Why a connection is to be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: CloseCode,
    pub(crate) reason: String,
}

impl Close {
    pub(crate) fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It will be written.
    Queued,
    /// It did not fit; the connection is being closed as a slow consumer.
    Full,
    /// It was left out: there is too much before it, for its priority.
    Shed,
    /// The connection is being closed already.
    Closed,
}

/// The share of the outbox above which messages of a low priority are left out, as a divisor. Likes and the like: an eighth is
/// what a device that keeps up never has waiting, so they go at the first sign of trouble.
const LOW_SHARE: usize = 8;

/// The same for a normal one: the other half is for what must not be left out.
const NORMAL_SHARE: usize = 2;

/// The share of the outbox at which a sync pauses, as a divisor: while the session writes that much, as much again is on its way
/// here, so that a device that is quick does not wait.
const PACED_SHARE: usize = 2;

/// How much of a sync may wait at most, as a multiple of the outbox: back ends pause long before that.
const MOST_PACED: usize = 2;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    capacity: usize,
    /// The session has taken what a sync has paused for.
    goes_on: AtomicBool,
}

/// What became of a part of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paced {
    /// It will be written; more is welcome.
    Queued,
    /// It will be written, and the sync should pause.
    Enough,
    /// The connection is being closed.
    Closed,
}

/// An empty queue owns no memory: most connections are idle.
#[derive(Debug, Default)]
struct State {
    frames: Batch,
    /// Without those of a sync.
    bytes: usize,
    /// Those of a sync.
    paced_bytes: usize,
    /// A sync has paused until the session takes what is here.
    is_awaited: bool,
    close: Option<Box<Close>>,
    /// The session's, while it waits for something to do. Whoever finds it here takes it: what is queued until the session
    /// has run needs no further wake-up.
    session: Option<Waker>,
}

/// What the bookkeeping of a queued frame costs, so that many tiny frames are bounded as well.
const FRAME_OVERHEAD_BYTES: usize = size_of::<Bytes>();

impl Outbox {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { state: Mutex::default(), capacity, goes_on: AtomicBool::new(false) }
    }

    /// Queues frames and wakes the session.
    pub(crate) fn try_push(&self, frames: Bytes) -> Pushed {
        self.try_push_at(frames, Priority::Must)
    }

    /// The same, unless what waits already is too much for a message of this priority.
    pub(crate) fn try_push_at(&self, frames: Bytes, priority: Priority) -> Pushed {
        let (pushed, session) = self.try_push_without_waking(frames, priority);
        wake(session);
        pushed
    }

    /// The same without waking the session, if it has to be: the caller does.
    pub(crate) fn try_push_without_waking(
        &self,
        frames: Bytes,
        priority: Priority,
    ) -> (Pushed, Option<Waker>) {
        let shed_above = match priority {
            Priority::Must => usize::MAX,
            Priority::Normal => self.capacity / NORMAL_SHARE,
            Priority::Low => self.capacity / LOW_SHARE,
        };
        let mut state = self.lock();
        let pushed = state.push(frames, self.capacity, shed_above);
        let has_changed = matches!(pushed, Pushed::Queued | Pushed::Full);
        let session = if has_changed { state.session.take() } else { None };
        (pushed, session)
    }

    /// Queues a part of a sync, whatever else waits, without waking the session, if it has to be: the caller does.
    pub(crate) fn try_push_paced(&self, frames: Bytes) -> (Paced, Option<Waker>) {
        let mut state = self.lock();
        if !state.push_paced(frames, self.capacity.saturating_mul(MOST_PACED)) {
            return (Paced::Closed, state.session.take());
        }
        let paced =
            if state.bytes_in_all() > self.capacity / PACED_SHARE { Paced::Enough } else { Paced::Queued };
        (paced, state.session.take())
    }

    /// Whether a sync that has paused may go on at once. Else [`Self::take_goes_on`] tells.
    pub(crate) fn may_sync_go_on(&self) -> bool {
        let mut state = self.lock();
        state.is_awaited = state.bytes_in_all() > self.capacity / PACED_SHARE;
        !state.is_awaited
    }

    /// For the session, when it has taken something: whether a sync has waited for that.
    pub(crate) fn take_goes_on(&self) -> bool {
        // Set and looked at by the session alone.
        self.goes_on.load(Ordering::Relaxed) && self.goes_on.swap(false, Ordering::Relaxed)
    }

    /// Asks the session to close. The first reason stays.
    pub(crate) fn close(&self, close: Close) {
        let mut state = self.lock();
        state.close.get_or_insert_with(|| Box::new(close));
        let session = state.session.take();
        drop(state);
        wake(session);
    }

    /// Moves everything that waits into `batch`; pending while there is nothing and no reason to close.
    pub(crate) fn poll_take(&self, context: &mut Context<'_>, batch: &mut Batch) -> Poll<Option<Close>> {
        let mut state = self.lock();
        if state.frames.is_empty() && state.close.is_none() {
            state.register(context);
            return Poll::Pending;
        }
        (state.bytes, state.paced_bytes) = (0, 0);
        if std::mem::take(&mut state.is_awaited) {
            self.goes_on.store(true, Ordering::Relaxed);
        }
        batch.append(std::mem::take(&mut state.frames));
        Poll::Ready(state.close.as_deref().cloned())
    }

    /// Why the connection is to be closed, if it is.
    pub(crate) fn poll_close(&self, context: &mut Context<'_>) -> Option<Close> {
        let mut state = self.lock();
        if state.close.is_none() {
            state.register(context);
        }
        state.close.as_deref().cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without the lock, which the session takes as soon as it runs.
fn wake(session: Option<Waker>) {
    if let Some(session) = session {
        session.wake();
    }
}

impl State {
    fn register(&mut self, context: &Context<'_>) {
        match &mut self.session {
            Some(session) => session.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
    }

    fn push(&mut self, frames: Bytes, capacity: usize, shed_above: usize) -> Pushed {
        if self.close.is_some() {
            return Pushed::Closed;
        }
        if self.bytes_in_all() > shed_above {
            return Pushed::Shed;
        }
        if frames.is_empty() {
            return Pushed::Queued;
        }
        let bytes = self.bytes + frames.len() + FRAME_OVERHEAD_BYTES;
        if bytes > capacity {
            self.overflow();
            return Pushed::Full;
        }
        self.bytes = bytes;
        self.frames.push(frames);
        Pushed::Queued
    }

    /// Returns `false` if the connection is being closed.
    fn push_paced(&mut self, frames: Bytes, most: usize) -> bool {
        if self.close.is_some() {
            return false;
        }
        if frames.is_empty() {
            return true;
        }
        let bytes = self.paced_bytes + frames.len() + FRAME_OVERHEAD_BYTES;
        if bytes > most {
            self.overflow();
            return false;
        }
        self.paced_bytes = bytes;
        self.frames.push(frames);
        true
    }

    fn bytes_in_all(&self) -> usize {
        self.bytes + self.paced_bytes
    }

    fn overflow(&mut self) {
        let close = Close::new(CloseCode::SlowConsumer, "the device reads too slowly");
        self.close = Some(Box::new(close));
        self.frames = Batch::default();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    fn take(outbox: &Outbox) -> (usize, Poll<Option<Close>>) {
        let mut batch = Batch::default();
        let poll = outbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut batch);
        (batch.iter().count(), poll)
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_session_that_waits_is_woken_once() {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        let woken = |times| assert_eq!(wakes.0.load(Ordering::Relaxed), times);
        let (outbox, mut batch) = (Outbox::new(1000), Batch::default());
        for times in [1, 2] {
            assert_eq!(outbox.poll_take(&mut context, &mut batch), Poll::Pending);
            outbox.try_push(Bytes::from_static(b"first"));
            outbox.try_push(Bytes::from_static(b"second"));
            woken(times);
            assert_eq!(outbox.poll_take(&mut context, &mut batch), Poll::Ready(None));
        }
        // Also one that cannot write, and looks for nothing but a reason to close.
        assert_eq!(outbox.poll_close(&mut context), None);
        outbox.close(Close::new(CloseCode::Kicked, "now"));
        woken(3);
        assert!(outbox.poll_close(&mut context).is_some());
    }

    #[test]
    fn takes_everything_that_waits_at_once() {
        let outbox = Outbox::new(1000);
        assert_eq!(take(&outbox), (0, Poll::Pending));
        for _ in 0..3 {
            assert_eq!(outbox.try_push(Bytes::from_static(b"frame")), Pushed::Queued);
        }
        assert_eq!(take(&outbox), (3, Poll::Ready(None)));
        assert_eq!(take(&outbox), (0, Poll::Pending));
    }

    #[test]
    fn overflow_closes_as_a_slow_consumer() {
        let outbox = Outbox::new(100);
        let frame = Bytes::from_static(&[0; 40]);
        assert_eq!(outbox.try_push(frame.clone()), Pushed::Queued);
        assert_eq!(outbox.try_push(frame.clone()), Pushed::Full);
        assert_eq!(outbox.try_push(frame), Pushed::Closed);
        let (_, poll) = take(&outbox);
        assert!(matches!(poll, Poll::Ready(Some(Close { code: CloseCode::SlowConsumer, .. }))));
    }

    #[test]
    fn a_sync_pauses_and_never_makes_a_device_slow() {
        let outbox = Outbox::new(1000);
        let part = || Bytes::from_static(&[0; 200]);
        let push = || outbox.try_push_paced(part()).0;
        assert_eq!((push(), push(), push()), (Paced::Queued, Paced::Queued, Paced::Enough));
        assert!(!outbox.may_sync_go_on());
        // What comes meanwhile has the outbox for itself.
        for _ in 0..4 {
            assert_eq!(outbox.try_push(part()), Pushed::Queued);
        }
        assert!(!outbox.take_goes_on(), "nothing is taken");
        assert_eq!(take(&outbox), (7, Poll::Ready(None)));
        assert!(outbox.take_goes_on() && !outbox.take_goes_on(), "told once");
        assert_eq!(push(), Paced::Queued);
        assert!(outbox.may_sync_go_on());
        assert_eq!(take(&outbox), (1, Poll::Ready(None)));
        assert!(!outbox.take_goes_on(), "nobody waits for that");
        assert!((0..20).any(|_| push() == Paced::Closed), "a back end that does not pause is bounded too");
    }

    #[test]
    fn the_lower_the_priority_the_sooner_it_is_shed() {
        let outbox = Outbox::new(800);
        let frame = Bytes::from_static(&[0; 68]);
        let push = |priority| outbox.try_push_at(frame.clone(), priority);
        // A hundred bytes each: below the share, at it, above it.
        assert_eq!((push(Priority::Low), push(Priority::Low)), (Pushed::Queued, Pushed::Queued));
        assert_eq!(push(Priority::Low), Pushed::Shed, "above an eighth");
        for _ in 2..5 {
            assert_eq!(push(Priority::Normal), Pushed::Queued);
        }
        assert_eq!(push(Priority::Normal), Pushed::Shed, "above half");
        for _ in 5..8 {
            assert_eq!(push(Priority::Must), Pushed::Queued);
        }
        assert_eq!(push(Priority::Low), Pushed::Shed, "which closes nothing");
        assert_eq!(take(&outbox), (8, Poll::Ready(None)));
        assert_eq!(push(Priority::Low), Pushed::Queued);
    }

    #[test]
    fn the_first_reason_to_close_stays() {
        let outbox = Outbox::new(100);
        outbox.close(Close::new(CloseCode::Kicked, "first"));
        outbox.close(Close::new(CloseCode::GoingAway, "second"));
        let (_, poll) = take(&outbox);
        assert_eq!(poll, Poll::Ready(Some(Close::new(CloseCode::Kicked, "first"))));
    }
}
