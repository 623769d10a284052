//! What waits to be written to one connection: bounded in bytes, filled by anybody without waiting, emptied by the
//! connection's own task in one go.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use im_proto::{close::CloseCode, pb::Priority};

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
    session: AtomicWaker,
    capacity: usize,
}

/// An empty queue owns no memory: most connections are idle.
#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Bytes>,
    bytes: usize,
    close: Option<Close>,
}

/// What the bookkeeping of a queued frame costs, so that many tiny frames are bounded as well.
const FRAME_OVERHEAD_BYTES: usize = size_of::<Bytes>();

impl Outbox {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { state: Mutex::default(), session: AtomicWaker::new(), capacity }
    }

    /// Queues frames and wakes the session.
    pub(crate) fn try_push(&self, frames: Bytes) -> Pushed {
        self.try_push_at(frames, Priority::Must)
    }

    /// The same, unless what waits already is too much for a message of this priority.
    pub(crate) fn try_push_at(&self, frames: Bytes, priority: Priority) -> Pushed {
        let shed_above = match priority {
            Priority::Must => usize::MAX,
            Priority::Normal => self.capacity / NORMAL_SHARE,
            Priority::Low => self.capacity / LOW_SHARE,
        };
        let pushed = self.lock().push(frames, self.capacity, shed_above);
        if !matches!(pushed, Pushed::Closed | Pushed::Shed) {
            self.session.wake();
        }
        pushed
    }

    /// Asks the session to close. The first reason stays.
    pub(crate) fn close(&self, close: Close) {
        let mut state = self.lock();
        if state.close.is_none() {
            state.close = Some(close);
            drop(state);
            self.session.wake();
        }
    }

    /// Moves everything that waits into `batch`; pending while there is nothing and no reason to close.
    pub(crate) fn poll_take(
        &self,
        context: &mut Context<'_>,
        batch: &mut VecDeque<Bytes>,
    ) -> Poll<Option<Close>> {
        self.session.register(context.waker());
        let mut state = self.lock();
        if state.frames.is_empty() && state.close.is_none() {
            return Poll::Pending;
        }
        state.bytes = 0;
        if batch.is_empty() {
            *batch = std::mem::take(&mut state.frames);
        } else {
            batch.append(&mut state.frames);
        }
        Poll::Ready(state.close.clone())
    }

    /// Why the connection is to be closed, if it is.
    pub(crate) fn poll_close(&self, context: &mut Context<'_>) -> Option<Close> {
        self.session.register(context.waker());
        self.lock().close.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, frames: Bytes, capacity: usize, shed_above: usize) -> Pushed {
        if self.close.is_some() {
            return Pushed::Closed;
        }
        if self.bytes > shed_above {
            return Pushed::Shed;
        }
        let bytes = self.bytes + frames.len() + FRAME_OVERHEAD_BYTES;
        if bytes > capacity {
            self.close = Some(Close::new(CloseCode::SlowConsumer, "the device reads too slowly"));
            self.frames = VecDeque::new();
            return Pushed::Full;
        }
        self.bytes = bytes;
        self.frames.push_back(frames);
        Pushed::Queued
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn take(outbox: &Outbox) -> (usize, Poll<Option<Close>>) {
        let mut batch = VecDeque::new();
        let poll = outbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut batch);
        (batch.len(), poll)
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
