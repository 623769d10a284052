//! What waits to be written to one connection: bounded in bytes, filled by anybody without waiting, emptied by the
//! connection's own task in one go.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
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

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    capacity: usize,
}

/// An empty queue owns no memory: most connections are idle.
#[derive(Debug, Default)]
struct State {
    frames: Batch,
    bytes: usize,
    close: Option<Box<Close>>,
    /// The session's, while it waits for something to do. Whoever finds it here takes it: what is queued until the session
    /// has run needs no further wake-up.
    session: Option<Waker>,
}

/// What the bookkeeping of a queued frame costs, so that many tiny frames are bounded as well.
const FRAME_OVERHEAD_BYTES: usize = size_of::<Bytes>();

impl Outbox {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { state: Mutex::default(), capacity }
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
        state.bytes = 0;
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
        if self.bytes > shed_above {
            return Pushed::Shed;
        }
        if frames.is_empty() {
            return Pushed::Queued;
        }
        let bytes = self.bytes + frames.len() + FRAME_OVERHEAD_BYTES;
        if bytes > capacity {
            let close = Close::new(CloseCode::SlowConsumer, "the device reads too slowly");
            self.close = Some(Box::new(close));
            self.frames = Batch::default();
            return Pushed::Full;
        }
        self.bytes = bytes;
        self.frames.push(frames);
        Pushed::Queued
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
