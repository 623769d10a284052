//! The slot of a session. The session's own task polls it, and a task that has queued frames may make it write.

use std::task::{Context, Poll, Waker, ready};

use parking_lot::Mutex;

use super::{End, Session};
use crate::{connection::Transport, registry::connection::InlineWrite};

/// The slot that holds a session until it is over.
pub(super) struct SessionSlot<T> {
    session: Mutex<Option<Session<T>>>,
}

impl<T: Transport> SessionSlot<T> {
    pub(super) fn new(session: Session<T>) -> Self {
        Self { session: Mutex::new(Some(session)) }
    }

    /// Polls the session. Ready, with the session, when it is over.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<(Session<T>, End)> {
        let mut slot = self.session.lock();
        let Some(session) = slot.as_mut() else { return Poll::Pending };
        let end = ready!(session.poll(cx));
        slot.take().map_or(Poll::Pending, |session| Poll::Ready((session, end)))
    }
}

impl<T: Transport> InlineWrite for SessionSlot<T> {
    fn try_write_inline(&self, waker: &Waker) -> bool {
        let Some(mut slot) = self.session.try_lock() else { return false };
        let Some(session) = slot.as_mut().filter(|session| session.end.is_none()) else { return false };
        match session.poll_writes(&mut Context::from_waker(waker)) {
            Poll::Pending => true,
            // The session's own task handles the end.
            Poll::Ready(end) => {
                session.end = Some(Box::new(end));
                false
            }
        }
    }
}
