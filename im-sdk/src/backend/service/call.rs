//! Calls of the application's handler. A panic or a hang ends one call, and the log names the user.

use std::{fmt::Display, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use tokio::time::timeout;

use super::response::{RETRY_MS, refused};
use crate::{
    id::UserId,
    log_throttle::throttled,
    proto::{pb, pb::RefusalKind},
};

/// A call with a time limit.
pub(super) struct Deadline<'a> {
    limit: Duration,
    /// The method of the handler.
    method: &'static str,
    user: &'a UserId,
    /// The user, channel or room that the device addresses.
    to: Option<&'a (dyn Display + Sync)>,
    /// The device's number of a publish.
    number: Option<u64>,
}

/// A method of the handler did not return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::backend) enum HandlerFailed {
    #[error("the handler panicked")]
    Panicked,
    #[error("the handler did not end in time")]
    TimedOut,
}

impl HandlerFailed {
    /// Builds the answer to the device, which may retry after a time-out.
    pub(in crate::backend) fn refused(self) -> pb::Refused {
        match self {
            Self::Panicked => refused(RefusalKind::Internal, "the backend failed".to_owned(), 0),
            Self::TimedOut => {
                let reason = "the backend did not decide in time".to_owned();
                refused(RefusalKind::Unavailable, reason, RETRY_MS)
            }
        }
    }
}

impl<'a> Deadline<'a> {
    pub(super) fn new(limit: Duration, method: &'static str, user: &'a UserId) -> Self {
        Self { limit, method, user, to: None, number: None }
    }

    /// Names the addressed user, channel or room for the log.
    pub(super) fn to(self, to: &'a (dyn Display + Sync)) -> Self {
        Self { to: Some(to), ..self }
    }

    /// Names the device's number of a publish for the log.
    pub(super) fn number(self, number: u64) -> Self {
        Self { number: Some(number), ..self }
    }

    /// Calls the handler. Drops the call at the deadline.
    ///
    /// # Errors
    /// [`HandlerFailed`], which is in the log then.
    pub(super) async fn run<F: Future>(self, call: impl FnOnce() -> F) -> Result<F::Output, HandlerFailed> {
        let Self { limit, method, user, to, number } = self;
        match timeout(limit, AssertUnwindSafe(async move { call().await }).catch_unwind()).await {
            Ok(Ok(returned)) => Ok(returned),
            Ok(Err(_)) => {
                let to = to.map(tracing::field::display);
                throttled!(error, method, %user, to, number, "the handler panicked");
                Err(HandlerFailed::Panicked)
            }
            Err(_) => {
                let to = to.map(tracing::field::display);
                throttled!(
                    warn,
                    method,
                    %user,
                    to,
                    number,
                    ?limit,
                    "the handler did not end within ImBuilder::handler_timeout and was given up"
                );
                Err(HandlerFailed::TimedOut)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_by_itself_by_its_panic_or_in_time() {
        let user = UserId::parse("alice").unwrap();
        let call = || Deadline::new(Duration::from_secs(30), "publish", &user);
        assert_eq!(call().run(async || 7).await, Ok(7));
        assert_eq!(
            call().run(async || panic!("as a handler may")).await,
            Err::<(), _>(HandlerFailed::Panicked)
        );
        let began = tokio::time::Instant::now();
        let hung = call().run(std::future::pending::<()>).await;
        assert_eq!((hung, began.elapsed()), (Err(HandlerFailed::TimedOut), Duration::from_secs(30)));
        assert_eq!(HandlerFailed::TimedOut.refused().retry_after_ms, RETRY_MS);
    }
}
