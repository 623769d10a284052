//! Several attempts at the same thing, each a little later than the one before.

use std::{future::Future, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};

/// The first attempt that succeeds; the others are dropped. The next one starts after `delay`, or at once when one
/// fails ("happy eyeballs", RFC 8305).
///
/// # Errors
/// All errors, in the order in which they came, when every attempt has failed.
pub(super) async fn stagger<F, T, E>(
    attempts: impl IntoIterator<Item = F>,
    delay: Duration,
) -> Result<T, Vec<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = attempts.into_iter();
    let mut running: FuturesUnordered<F> = waiting.next().into_iter().collect();
    let mut errors = Vec::new();
    let mut started_all = false;
    loop {
        tokio::select! {
            biased;
            // A success ends it all, so it is looked at before the clock.
            Some(result) = running.next() => match result {
                Ok(success) => return Ok(success),
                Err(error) => errors.push(error),
            },
            () = tokio::time::sleep(delay), if !running.is_empty() && !started_all => {}
            else => return Err(errors),
        }
        match waiting.next() {
            Some(attempt) => running.push(attempt),
            None => started_all = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::{FutureExt as _, future::BoxFuture};
    use tokio::time::Instant;

    use super::*;

    type Attempt = BoxFuture<'static, Result<u32, u32>>;

    const DELAY: Duration = Duration::from_millis(300);

    fn never() -> Attempt {
        pending().boxed()
    }

    fn after(millis: u64, result: Result<u32, u32>) -> Attempt {
        async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            result
        }
        .boxed()
    }

    async fn timed(attempts: Vec<Attempt>) -> (Result<u32, Vec<u32>>, u128) {
        let start = Instant::now();
        let result = stagger(attempts, DELAY).await;
        (result, start.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_starts_after_the_delay() {
        assert_eq!(timed(vec![never(), after(10, Ok(2))]).await, (Ok(2), 310));
        assert_eq!(timed(vec![after(305, Ok(1)), after(10, Ok(2))]).await, (Ok(1), 305));
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_starts_at_once_after_a_failure() {
        assert_eq!(timed(vec![after(20, Err(1)), after(10, Ok(2))]).await, (Ok(2), 30));
    }

    #[tokio::test(start_paused = true)]
    async fn all_failures_are_told() {
        assert_eq!(timed(vec![after(20, Err(1)), after(10, Err(2))]).await, (Err(vec![1, 2]), 30));
        assert_eq!(timed(vec![]).await, (Err(vec![]), 0));
    }
}
