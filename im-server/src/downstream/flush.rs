//! Sessions that have frames to write. If they are few, the task that queued the frames writes at once instead of waking them:
//! waking a second thread costs more than a small write, and takes longer. If they are many, they are woken, and all threads write.

use std::{sync::Arc, task::Waker};

use crate::registry::connection::Connection;

/// The limits of inline writes, in sessions and in bytes. Writing that much takes about as long as waking a sleeping thread.
const MAX_INLINE: usize = 4;
const MAX_INLINE_BYTES: usize = 16 * 1024;

/// The sessions to write for. Sessions that are dropped without [`Self::flush`] are woken.
#[derive(Debug, Default)]
pub(crate) struct FlushQueue {
    inline: Vec<(Arc<Connection>, Waker)>,
    bytes: usize,
    /// Whether a limit was exceeded; the sessions have then been woken.
    overflowed: bool,
}

impl FlushQueue {
    /// Adds a session for which this many bytes were queued. `None` stands for a session that was added before, or that is awake.
    ///
    /// The bytes of such a session count, too: no writes happen while there is more to queue, and an outbox must not fill up
    /// meanwhile.
    pub(crate) fn add(&mut self, connection: &Arc<Connection>, session: Option<Waker>, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        let fits = !self.overflowed && self.bytes <= MAX_INLINE_BYTES;
        match session {
            None if fits => return,
            Some(session) if fits && self.inline.len() < MAX_INLINE => {
                return self.inline.push((Arc::clone(connection), session));
            }
            Some(session) => session.wake(),
            None => {}
        }
        self.overflowed = true;
        self.wake();
    }

    /// Writes for the added sessions. Called when there is nothing more to queue.
    pub(crate) fn flush(&mut self) {
        (self.bytes, self.overflowed) = (0, false);
        for (connection, session) in self.inline.drain(..) {
            if !connection.try_write_inline(&session) {
                session.wake();
            }
        }
    }

    fn wake(&mut self) {
        self.inline.drain(..).for_each(|(_, session)| session.wake());
    }
}

impl Drop for FlushQueue {
    fn drop(&mut self) {
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, AtomicUsize, Ordering},
        task::Wake,
    };

    use parking_lot::Mutex;

    use super::*;
    use crate::{
        registry::{Registration, Registry, connection::InlineWrite},
        testing,
    };

    /// A session that counts its writes and wake-ups.
    #[derive(Default)]
    struct Session {
        flushed: AtomicUsize,
        woken: AtomicUsize,
        is_busy: AtomicBool,
    }

    impl InlineWrite for Session {
        fn try_write_inline(&self, _: &Waker) -> bool {
            let is_idle = !self.is_busy.load(Ordering::Relaxed);
            self.flushed.fetch_add(is_idle.into(), Ordering::Relaxed);
            is_idle
        }
    }

    impl Wake for Session {
        fn wake(self: Arc<Self>) {
            self.woken.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Sessions {
        sessions: Vec<(Registration, Arc<Session>)>,
        flushes: Mutex<FlushQueue>,
    }

    impl Sessions {
        fn new(count: usize) -> Self {
            let registry = Arc::new(Registry::new(count, 1));
            let register = |_| {
                let registration = testing::register(&registry);
                let session = Arc::new(Session::default());
                let flush: Arc<dyn InlineWrite> = session.clone();
                registration.connection.set_inline_writer(Arc::downgrade(&flush));
                (registration, session)
            };
            Self { sessions: (0..count).map(register).collect(), flushes: Mutex::default() }
        }

        fn add(&self, bytes: usize) {
            for (registration, session) in &self.sessions {
                let waker = Waker::from(Arc::clone(session));
                self.flushes.lock().add(&registration.connection, Some(waker), bytes);
            }
        }

        /// Queues more bytes before the sessions have run.
        fn add_more(&self, bytes: usize) {
            for (registration, _) in &self.sessions {
                self.flushes.lock().add(&registration.connection, None, bytes);
            }
        }

        /// Returns the numbers of writes and of wake-ups so far.
        fn counts(&self) -> (usize, usize) {
            let sum = |count: fn(&Session) -> &AtomicUsize| {
                self.sessions.iter().map(|(_, session)| count(session).load(Ordering::Relaxed)).sum()
            };
            (sum(|session| &session.flushed), sum(|session| &session.woken))
        }
    }

    #[test]
    fn few_are_written_for_and_many_are_woken() {
        let few = Sessions::new(MAX_INLINE);
        few.add(100);
        assert_eq!(few.counts(), (0, 0), "not before all is queued");
        few.flushes.lock().flush();
        assert_eq!(few.counts(), (MAX_INLINE, 0));
        let many = Sessions::new(MAX_INLINE + 1);
        many.add(100);
        assert_eq!(many.counts(), (0, MAX_INLINE + 1));
        many.flushes.lock().flush();
        assert_eq!(many.counts(), (0, MAX_INLINE + 1));
        let large = Sessions::new(1);
        large.add(MAX_INLINE_BYTES + 1);
        assert_eq!(large.counts(), (0, 1));
        large.flushes.lock().flush();
        large.add(MAX_INLINE_BYTES);
        large.flushes.lock().flush();
        assert_eq!(large.counts(), (1, 1), "each time anew");
    }

    #[test]
    fn a_session_for_which_much_comes_is_woken_before_all_of_it_is_there() {
        let sessions = Sessions::new(2);
        sessions.add(100);
        sessions.add_more(100);
        assert_eq!(sessions.counts(), (0, 0));
        sessions.add_more(MAX_INLINE_BYTES / 2);
        assert_eq!(sessions.counts(), (0, 2), "they write while more is queued");
        sessions.add_more(MAX_INLINE_BYTES);
        sessions.flushes.lock().flush();
        assert_eq!(sessions.counts(), (0, 2));
        sessions.add(1);
        sessions.flushes.lock().flush();
        assert_eq!(sessions.counts(), (2, 2), "each time anew");
    }

    #[test]
    fn who_cannot_be_written_for_is_woken() {
        let busy = Sessions::new(1);
        busy.sessions[0].1.is_busy.store(true, Ordering::Relaxed);
        busy.add(1);
        busy.flushes.lock().flush();
        assert_eq!(busy.counts(), (0, 1));
        let mut over = Sessions::new(1);
        over.add(1);
        let waker = Arc::new(Session::default());
        let (registration, _) = over.sessions.remove(0);
        over.flushes.lock().add(&registration.connection, Some(Waker::from(Arc::clone(&waker))), 1);
        over.flushes.lock().flush();
        assert_eq!(waker.woken.load(Ordering::Relaxed), 1, "its session is gone");
        let dropped = Sessions::new(1);
        dropped.add(1);
        drop(dropped.flushes);
        assert_eq!(dropped.sessions[0].1.woken.load(Ordering::Relaxed), 1);
    }
}
