//! Sessions that have something to write. Where they are few, whoever queued it writes at once instead of waking them: a
//! wake-up of a second thread costs more than a small write, and takes longer. Where they are many they are woken, and all
//! threads write.

use std::{sync::Arc, task::Waker};

use crate::registry::Connection;

/// The most sessions that are written for, and the most bytes. Writing to as many takes about as long as it takes a thread
/// that sleeps to begin.
const FEW: usize = 4;
const FEW_BYTES: usize = 16 * 1024;

/// A session's end that writes.
pub(crate) trait Flush: Send + Sync {
    /// Writes what waits in the outbox, as far as the device takes it at once; `session` is whom to wake for the rest. False:
    /// the session is at work, or over.
    fn try_flush(&self, session: &Waker) -> bool;
}

/// See the module's description. What is dropped without [`Self::flush`] is woken.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    few: Vec<(Arc<Connection>, Waker)>,
    bytes: usize,
    /// There are more, which have been woken.
    many: bool,
}

impl Woken {
    /// Takes note of a session for which so many bytes were queued. `None`: it is noted already, or awake. Its bytes count
    /// all the same: as long as there is more to queue nobody writes, and an outbox is not to fill up meanwhile.
    pub(crate) fn add(&mut self, connection: &Arc<Connection>, session: Option<Waker>, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        let fits = !self.many && self.bytes <= FEW_BYTES;
        match session {
            None if fits => return,
            Some(session) if fits && self.few.len() < FEW => {
                return self.few.push((Arc::clone(connection), session));
            }
            Some(session) => session.wake(),
            None => {}
        }
        self.many = true;
        self.wake();
    }

    /// Writes, now that nothing more is to be queued.
    pub(crate) fn flush(&mut self) {
        (self.bytes, self.many) = (0, false);
        for (connection, session) in self.few.drain(..) {
            if !connection.try_flush(&session) {
                session.wake();
            }
        }
    }

    fn wake(&mut self) {
        self.few.drain(..).for_each(|(_, session)| session.wake());
    }
}

impl Drop for Woken {
    fn drop(&mut self) {
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Mutex,
            atomic::{AtomicBool, AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use im_sdk::id::{Device, DeviceId, Terminal, UserId};

    use super::*;
    use crate::{
        outbox::Outbox,
        registry::{Registration, Registry},
    };

    /// A session that counts.
    #[derive(Default)]
    struct Session {
        flushed: AtomicUsize,
        woken: AtomicUsize,
        is_busy: AtomicBool,
    }

    impl Flush for Session {
        fn try_flush(&self, _: &Waker) -> bool {
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
        woken: Mutex<Woken>,
    }

    impl Sessions {
        fn new(count: usize) -> Self {
            let registry = Arc::new(Registry::new(count, 1));
            let register = |_| {
                let device = Device::new(Terminal::Web, DeviceId::parse("d").unwrap());
                let user = UserId::parse("u").unwrap();
                let registration = registry.register(user, device, 0, Outbox::new(1000)).unwrap();
                let session = Arc::new(Session::default());
                let flush: Arc<dyn Flush> = session.clone();
                registration.connection.set_flush(Arc::downgrade(&flush));
                (registration, session)
            };
            Self { sessions: (0..count).map(register).collect(), woken: Mutex::default() }
        }

        fn add(&self, bytes: usize) {
            for (registration, session) in &self.sessions {
                let waker = Waker::from(Arc::clone(session));
                self.woken.lock().unwrap().add(&registration.connection, Some(waker), bytes);
            }
        }

        /// More, before the sessions have run.
        fn add_more(&self, bytes: usize) {
            for (registration, _) in &self.sessions {
                self.woken.lock().unwrap().add(&registration.connection, None, bytes);
            }
        }

        /// How many have written, and how many were woken, since the beginning.
        fn counts(&self) -> (usize, usize) {
            let sum = |count: fn(&Session) -> &AtomicUsize| {
                self.sessions.iter().map(|(_, session)| count(session).load(Ordering::Relaxed)).sum()
            };
            (sum(|session| &session.flushed), sum(|session| &session.woken))
        }
    }

    #[test]
    fn few_are_written_for_and_many_are_woken() {
        let few = Sessions::new(FEW);
        few.add(100);
        assert_eq!(few.counts(), (0, 0), "not before all is queued");
        few.woken.lock().unwrap().flush();
        assert_eq!(few.counts(), (FEW, 0));
        let many = Sessions::new(FEW + 1);
        many.add(100);
        assert_eq!(many.counts(), (0, FEW + 1));
        many.woken.lock().unwrap().flush();
        assert_eq!(many.counts(), (0, FEW + 1));
        let large = Sessions::new(1);
        large.add(FEW_BYTES + 1);
        assert_eq!(large.counts(), (0, 1));
        large.woken.lock().unwrap().flush();
        large.add(FEW_BYTES);
        large.woken.lock().unwrap().flush();
        assert_eq!(large.counts(), (1, 1), "each time anew");
    }

    #[test]
    fn a_session_for_which_much_comes_is_woken_before_all_of_it_is_there() {
        let sessions = Sessions::new(2);
        sessions.add(100);
        sessions.add_more(100);
        assert_eq!(sessions.counts(), (0, 0));
        sessions.add_more(FEW_BYTES / 2);
        assert_eq!(sessions.counts(), (0, 2), "they write while more is queued");
        sessions.add_more(FEW_BYTES);
        sessions.woken.lock().unwrap().flush();
        assert_eq!(sessions.counts(), (0, 2));
        sessions.add(1);
        sessions.woken.lock().unwrap().flush();
        assert_eq!(sessions.counts(), (2, 2), "each time anew");
    }

    #[test]
    fn who_cannot_be_written_for_is_woken() {
        let busy = Sessions::new(1);
        busy.sessions[0].1.is_busy.store(true, Ordering::Relaxed);
        busy.add(1);
        busy.woken.lock().unwrap().flush();
        assert_eq!(busy.counts(), (0, 1));
        let mut over = Sessions::new(1);
        over.add(1);
        let waker = Arc::new(Session::default());
        let (registration, _) = over.sessions.remove(0);
        over.woken.lock().unwrap().add(&registration.connection, Some(Waker::from(Arc::clone(&waker))), 1);
        over.woken.lock().unwrap().flush();
        assert_eq!(waker.woken.load(Ordering::Relaxed), 1, "its session is gone");
        let dropped = Sessions::new(1);
        dropped.add(1);
        drop(dropped.woken);
        assert_eq!(dropped.sessions[0].1.woken.load(Ordering::Relaxed), 1);
    }
}
