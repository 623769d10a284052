//! How long a server that ends waits for others: for as long as they may need, or hardly at all once it is told to hurry.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Whether to hurry. Once told, for good.
#[derive(Debug, Default)]
pub(crate) struct Haste {
    told: CancellationToken,
}

/// How long something may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Usually.
    pub(crate) usual: Duration,
    /// In a hurry, from its beginning or from when the hurry began, whichever was later.
    pub(crate) hurried: Duration,
}

impl Haste {
    /// Whoever waits gives up soon.
    pub(crate) fn hurry(&self) {
        self.told.cancel();
    }

    /// Comes back when there is a hurry.
    pub(crate) async fn hurried(&self) {
        self.told.cancelled().await;
    }

    /// Waits for something. `None`: it took too long.
    pub(crate) async fn wait<T>(
        &self,
        patience: Patience,
        what: impl Future<Output = T> + Send,
    ) -> Option<T> {
        tokio::select! {
            biased; // What is done is done.
            done = what => Some(done),
            () = sleep(patience.usual) => None,
            () = self.hurried_for(patience.hurried) => None,
        }
    }

    async fn hurried_for(&self, time: Duration) {
        self.hurried().await;
        sleep(time).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Patience =
        Patience { usual: Duration::from_secs(10), hurried: Duration::from_millis(100) };

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_given_up() {
        let haste = Haste::default();
        let started = Instant::now();
        assert_eq!(haste.wait(PATIENCE, pending::<()>()).await, None);
        assert_eq!(started.elapsed(), PATIENCE.usual);
        haste.hurry();
        let started = Instant::now();
        assert_eq!(haste.wait(PATIENCE, pending::<()>()).await, None);
        assert_eq!(started.elapsed(), PATIENCE.hurried);
        assert_eq!(haste.wait(PATIENCE, ready(7)).await, Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hurry_cuts_short_what_is_waited_for_already() {
        let haste = Haste::default();
        let started = Instant::now();
        let told = async {
            sleep(Duration::from_secs(3)).await;
            haste.hurry();
        };
        let (given_up, ()) = tokio::join!(haste.wait(PATIENCE, pending::<()>()), told);
        assert_eq!(given_up, None);
        assert_eq!(started.elapsed(), Duration::from_secs(3) + PATIENCE.hurried);
    }
}
