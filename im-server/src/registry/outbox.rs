//! The frames that are queued for one connection. Bounded in bytes, filled by any task without waiting, and emptied by the
//! connection's own task in one go.
//!
//! Entries that the device has missed are paced: a backend sends a part, and continues when the session has taken it. A device
//! therefore only counts as too slow if it does not read, however much it has missed.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use im_proto::{close::CloseCode, pb::Priority};
use im_sdk::id::Device;
use parking_lot::{Mutex, MutexGuard};

use super::frame_batch::FrameBatch;

/// A close code and a reason for the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: CloseCode,
    pub(crate) reason: String,
}

impl Close {
    pub(crate) fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// Creates the close of a connection that another device of the same user has displaced under the login policy.
    pub(crate) fn replaced(by: &Device) -> Self {
        Self::new(CloseCode::Replaced, format!("{by} of this user took its place, see server.login_policy"))
    }
}

/// The outcome of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushOutcome {
    /// The frames will be written.
    Queued,
    /// The frames did not fit. The connection is being closed as a slow consumer.
    Full,
    /// The frames were dropped, because too much is queued for their priority.
    Shed,
    /// The connection is already being closed.
    Closed,
}

/// The share of the outbox above which messages of low priority are shed, as a divisor. A device that keeps up never has an eighth
/// queued, so messages such as likes are shed at the first sign of congestion.
const LOW_SHARE: usize = 8;

/// The share above which messages of normal priority are shed. The other half is for messages that must not be shed.
const NORMAL_SHARE: usize = 2;

/// The share of the outbox at which a sync pauses, as a divisor. While the session writes that much, as much again is in transit,
/// so that a fast device does not wait.
const PACED_SHARE: usize = 2;

/// The maximum size of a queued sync, as a multiple of the outbox. Backends pause long before that.
const MAX_PACED: usize = 2;

/// The queue of one connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    capacity: usize,
    /// Whether the session has taken the frames for which a sync had paused.
    sync_resumable: AtomicBool,
}

/// The outcome of a push of a part of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacedOutcome {
    /// The frames will be written, and more may follow.
    Queued,
    /// The frames will be written, and the sync should pause.
    Enough,
    /// The connection is being closed.
    Closed,
}

/// An empty queue owns no memory: most connections are idle.
#[derive(Debug, Default)]
struct State {
    frames: FrameBatch,
    /// The bytes of frames that are not part of a sync.
    bytes: usize,
    /// The bytes of a sync.
    paced_bytes: usize,
    /// Whether a sync is paused until the session takes the queued frames.
    sync_paused: bool,
    close: Option<Box<Close>>,
    /// The session's waker, while the session waits. The task that finds it takes it: frames queued until the session runs need no
    /// further wake-up.
    session: Option<Waker>,
}

/// The overhead of a queued frame. It also bounds the number of tiny frames.
const FRAME_OVERHEAD_BYTES: usize = size_of::<Bytes>();

impl Outbox {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { state: Mutex::default(), capacity, sync_resumable: AtomicBool::new(false) }
    }

    /// Queues frames and wakes the session.
    pub(crate) fn try_push(&self, frames: Bytes) -> PushOutcome {
        self.try_push_at(frames, Priority::Must)
    }

    /// Queues frames and wakes the session, unless too much is queued for this priority.
    pub(crate) fn try_push_at(&self, frames: Bytes, priority: Priority) -> PushOutcome {
        let (pushed, session) = self.try_push_without_waking(frames, priority);
        wake(session);
        pushed
    }

    /// Queues frames. Returns the waker of a session that the caller must wake.
    pub(crate) fn try_push_without_waking(
        &self,
        frames: Bytes,
        priority: Priority,
    ) -> (PushOutcome, Option<Waker>) {
        let shed_above = match priority {
            Priority::Must => usize::MAX,
            Priority::Normal => self.capacity / NORMAL_SHARE,
            Priority::Low => self.capacity / LOW_SHARE,
        };
        let mut state = self.lock();
        let pushed = state.push(frames, self.capacity, shed_above);
        let has_changed = matches!(pushed, PushOutcome::Queued | PushOutcome::Full);
        let session = if has_changed { state.session.take() } else { None };
        (pushed, session)
    }

    /// Queues a part of a sync, whatever else is queued. Returns the waker of a session that the caller must wake.
    pub(crate) fn try_push_paced(&self, frames: Bytes) -> (PacedOutcome, Option<Waker>) {
        let mut state = self.lock();
        if !state.push_paced(frames, self.capacity.saturating_mul(MAX_PACED)) {
            return (PacedOutcome::Closed, state.session.take());
        }
        let paced = if state.total_bytes() > self.capacity / PACED_SHARE {
            PacedOutcome::Enough
        } else {
            PacedOutcome::Queued
        };
        (paced, state.session.take())
    }

    /// Returns whether a paused sync may continue at once. If not, [`Self::take_sync_resumable`] reports when it may.
    pub(crate) fn may_sync_go_on(&self) -> bool {
        let mut state = self.lock();
        state.sync_paused = state.total_bytes() > self.capacity / PACED_SHARE;
        !state.sync_paused
    }

    /// Returns whether a sync has waited for frames that the session has taken. Returns `true` once.
    pub(crate) fn take_sync_resumable(&self) -> bool {
        // The session alone sets and reads it.
        self.sync_resumable.load(Ordering::Relaxed) && self.sync_resumable.swap(false, Ordering::Relaxed)
    }

    /// Asks the session to close. The first reason is kept.
    pub(crate) fn close(&self, close: Close) {
        let mut state = self.lock();
        state.close.get_or_insert_with(|| Box::new(close));
        let session = state.session.take();
        drop(state);
        wake(session);
    }

    /// Moves all queued frames into `batch`. Pending while there are none, and no reason to close.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, batch: &mut FrameBatch) -> Poll<Option<Close>> {
        let mut state = self.lock();
        if state.frames.is_empty() && state.close.is_none() {
            state.register(cx);
            return Poll::Pending;
        }
        (state.bytes, state.paced_bytes) = (0, 0);
        if std::mem::take(&mut state.sync_paused) {
            self.sync_resumable.store(true, Ordering::Relaxed);
        }
        batch.append(std::mem::take(&mut state.frames));
        Poll::Ready(state.close.as_deref().cloned())
    }

    /// Returns the reason to close the connection, if there is one.
    pub(crate) fn poll_close(&self, cx: &mut Context<'_>) -> Option<Close> {
        let mut state = self.lock();
        if state.close.is_none() {
            state.register(cx);
        }
        state.close.as_deref().cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Wakes the session. The lock must be released, since the session takes it as soon as it runs.
fn wake(session: Option<Waker>) {
    if let Some(session) = session {
        session.wake();
    }
}

impl State {
    fn register(&mut self, cx: &Context<'_>) {
        match &mut self.session {
            Some(session) => session.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    fn push(&mut self, frames: Bytes, capacity: usize, shed_above: usize) -> PushOutcome {
        if self.close.is_some() {
            return PushOutcome::Closed;
        }
        if self.total_bytes() > shed_above {
            return PushOutcome::Shed;
        }
        if frames.is_empty() {
            return PushOutcome::Queued;
        }
        let bytes = self.bytes + frames.len() + FRAME_OVERHEAD_BYTES;
        if bytes > capacity {
            self.overflow();
            return PushOutcome::Full;
        }
        self.bytes = bytes;
        self.frames.push(frames);
        PushOutcome::Queued
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

    fn total_bytes(&self) -> usize {
        self.bytes + self.paced_bytes
    }

    fn overflow(&mut self) {
        let close = Close::new(CloseCode::SlowConsumer, "the device reads too slowly");
        self.close = Some(Box::new(close));
        self.frames = FrameBatch::default();
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
        let mut batch = FrameBatch::default();
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
        let mut cx = Context::from_waker(&waker);
        let woken = |times| assert_eq!(wakes.0.load(Ordering::Relaxed), times);
        let (outbox, mut batch) = (Outbox::new(1000), FrameBatch::default());
        for times in [1, 2] {
            assert_eq!(outbox.poll_take(&mut cx, &mut batch), Poll::Pending);
            outbox.try_push(Bytes::from_static(b"first"));
            outbox.try_push(Bytes::from_static(b"second"));
            woken(times);
            assert_eq!(outbox.poll_take(&mut cx, &mut batch), Poll::Ready(None));
        }
        // A session that cannot write waits only for a reason to close; it is woken, too.
        assert_eq!(outbox.poll_close(&mut cx), None);
        outbox.close(Close::new(CloseCode::Kicked, "now"));
        woken(3);
        assert!(outbox.poll_close(&mut cx).is_some());
    }

    #[test]
    fn takes_everything_that_waits_at_once() {
        let outbox = Outbox::new(1000);
        assert_eq!(take(&outbox), (0, Poll::Pending));
        for _ in 0..3 {
            assert_eq!(outbox.try_push(Bytes::from_static(b"frame")), PushOutcome::Queued);
        }
        assert_eq!(take(&outbox), (3, Poll::Ready(None)));
        assert_eq!(take(&outbox), (0, Poll::Pending));
    }

    #[test]
    fn overflow_closes_as_a_slow_consumer() {
        let outbox = Outbox::new(100);
        let frame = Bytes::from_static(&[0; 40]);
        assert_eq!(outbox.try_push(frame.clone()), PushOutcome::Queued);
        assert_eq!(outbox.try_push(frame.clone()), PushOutcome::Full);
        assert_eq!(outbox.try_push(frame), PushOutcome::Closed);
        let (_, poll) = take(&outbox);
        assert!(matches!(poll, Poll::Ready(Some(Close { code: CloseCode::SlowConsumer, .. }))));
    }

    #[test]
    fn a_sync_pauses_and_never_makes_a_device_slow() {
        let outbox = Outbox::new(1000);
        let part = || Bytes::from_static(&[0; 200]);
        let push = || outbox.try_push_paced(part()).0;
        assert_eq!(
            (push(), push(), push()),
            (PacedOutcome::Queued, PacedOutcome::Queued, PacedOutcome::Enough)
        );
        assert!(!outbox.may_sync_go_on());
        // Frames outside of the sync have the whole outbox.
        for _ in 0..4 {
            assert_eq!(outbox.try_push(part()), PushOutcome::Queued);
        }
        assert!(!outbox.take_sync_resumable(), "nothing is taken");
        assert_eq!(take(&outbox), (7, Poll::Ready(None)));
        assert!(outbox.take_sync_resumable() && !outbox.take_sync_resumable(), "told once");
        assert_eq!(push(), PacedOutcome::Queued);
        assert!(outbox.may_sync_go_on());
        assert_eq!(take(&outbox), (1, Poll::Ready(None)));
        assert!(!outbox.take_sync_resumable(), "nobody waits for that");
        assert!(
            (0..20).any(|_| push() == PacedOutcome::Closed),
            "a back end that does not pause is bounded too"
        );
    }

    #[test]
    fn the_lower_the_priority_the_sooner_it_is_shed() {
        let outbox = Outbox::new(800);
        let frame = Bytes::from_static(&[0; 68]);
        let push = |priority| outbox.try_push_at(frame.clone(), priority);
        // A hundred bytes each: below the share, at it, above it.
        assert_eq!((push(Priority::Low), push(Priority::Low)), (PushOutcome::Queued, PushOutcome::Queued));
        assert_eq!(push(Priority::Low), PushOutcome::Shed, "above an eighth");
        for _ in 2..5 {
            assert_eq!(push(Priority::Normal), PushOutcome::Queued);
        }
        assert_eq!(push(Priority::Normal), PushOutcome::Shed, "above half");
        for _ in 5..8 {
            assert_eq!(push(Priority::Must), PushOutcome::Queued);
        }
        assert_eq!(push(Priority::Low), PushOutcome::Shed, "which closes nothing");
        assert_eq!(take(&outbox), (8, Poll::Ready(None)));
        assert_eq!(push(Priority::Low), PushOutcome::Queued);
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
