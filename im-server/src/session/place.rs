//! Where a session is while it lasts: its own task polls it, and who has queued something may have it written.

use std::{
    sync::{Mutex, PoisonError, TryLockError},
    task::{Context, Poll, Waker, ready},
};

use super::{End, Session};
use crate::{link::Link, woken::Flush};

/// See the module's description.
pub(super) struct Place<L> {
    session: Mutex<Option<Session<L>>>,
}

impl<L: Link> Place<L> {
    pub(super) fn new(session: Session<L>) -> Self {
        Self { session: Mutex::new(Some(session)) }
    }

    /// The session, when it is over.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<(Session<L>, End)> {
        let mut place = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(session) = place.as_mut() else { return Poll::Pending };
        let end = ready!(session.poll(context));
        place.take().map_or(Poll::Pending, |session| Poll::Ready((session, end)))
    }
}

impl<L: Link> Flush for Place<L> {
    fn try_flush(&self, waker: &Waker) -> bool {
        let mut place = match self.session.try_lock() {
            Ok(place) => place,
            Err(TryLockError::Poisoned(place)) => place.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let Some(session) = place.as_mut().filter(|session| session.end.is_none()) else { return false };
        match session.poll_writes(&mut Context::from_waker(waker)) {
            Poll::Pending => true,
            // For the session's own task.
            Poll::Ready(end) => {
                session.end = Some(Box::new(end));
                false
            }
        }
    }
}
