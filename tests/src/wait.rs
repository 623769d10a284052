//! Waiting for something to become true.

use std::time::Duration;

/// Between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Waits until a condition holds.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let mut looks = 0;
/// im_tests::wait_until("the third look", std::time::Duration::from_secs(1), async || {
///     looks += 1;
///     looks == 3
/// })
/// .await;
/// # });
/// ```
///
/// # Panics
/// When it does not hold `within` that time; the message names `what` was waited for.
pub async fn wait_until(what: &str, within: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !condition().await {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    if tokio::time::timeout(within, looking).await.is_err() {
        panic!("waited {within:?} in vain: {what}");
    }
}
