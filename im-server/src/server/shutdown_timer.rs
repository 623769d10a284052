//! Shutdown step timeouts, and a signal that shortens them.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Bounds the steps of a shutdown. Once expedited, it stays expedited.
#[derive(Clone, Debug, Default)]
pub(super) struct ShutdownTimer {
    expedited: CancellationToken,
}

/// The time limit of a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepTimeout {
    pub(super) usual: Duration,
    /// The limit from the step's beginning, or from when the shutdown was expedited, whichever is later.
    pub(super) expedited: Duration,
}

impl ShutdownTimer {
    /// Shortens the current step and all later ones.
    pub(super) fn expedite(&self) {
        self.expedited.cancel();
    }

    /// Waits until the shutdown is expedited.
    pub(super) async fn expedited(&self) {
        self.expedited.cancelled().await;
    }

    /// Waits for a step. Returns `None` if its time limit has passed.
    pub(super) async fn wait<T>(
        &self,
        timeout: StepTimeout,
        step: impl Future<Output = T> + Send,
    ) -> Option<T> {
        tokio::select! {
            biased; // A step that is done counts as done.
            done = step => Some(done),
            () = sleep(timeout.usual) => None,
            () = self.expedited_for(timeout.expedited) => None,
        }
    }

    async fn expedited_for(&self, time: Duration) {
        self.expedited().await;
        sleep(time).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::Instant;

    use super::*;

    const TIMEOUT: StepTimeout =
        StepTimeout { usual: Duration::from_secs(10), expedited: Duration::from_millis(100) };

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_given_up() {
        let timer = ShutdownTimer::default();
        let started = Instant::now();
        assert_eq!(timer.wait(TIMEOUT, pending::<()>()).await, None);
        assert_eq!(started.elapsed(), TIMEOUT.usual);
        timer.expedite();
        let started = Instant::now();
        assert_eq!(timer.wait(TIMEOUT, pending::<()>()).await, None);
        assert_eq!(started.elapsed(), TIMEOUT.expedited);
        assert_eq!(timer.wait(TIMEOUT, ready(7)).await, Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn expediting_cuts_short_a_step_that_has_begun() {
        let timer = ShutdownTimer::default();
        let started = Instant::now();
        let expedite = async {
            sleep(Duration::from_secs(3)).await;
            timer.expedite();
        };
        let (given_up, ()) = tokio::join!(timer.wait(TIMEOUT, pending::<()>()), expedite);
        assert_eq!(given_up, None);
        assert_eq!(started.elapsed(), Duration::from_secs(3) + TIMEOUT.expedited);
    }
}
