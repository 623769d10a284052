//! Waits for conditions.

use std::time::Duration;

/// Interval between two checks.
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
/// Panics if it does not hold within that time. The message contains `what`.
pub async fn wait_until(what: &str, within: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !condition().await {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    if tokio::time::timeout(within, looking).await.is_err() {
        panic!("timed out after {within:?} waiting for: {what}");
    }
}
