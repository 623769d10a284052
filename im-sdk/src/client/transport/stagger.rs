//! Staggered attempts, each a little later than the one before.

use std::{future::Future, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};

/// Returns the first success and drops the other attempts. An attempt starts its delay after the one before it did, or as
/// soon as that one has failed ("happy eyeballs", RFC 8305). The first one starts at once.
///
/// At most `at_once` run at a time. If as many do, the next one starts when one of them fails.
///
/// # Errors
/// All errors, in the order in which they came, if every attempt has failed.
pub(super) async fn stagger<F, T, E>(
    attempts: impl IntoIterator<Item = (Duration, F)>,
    at_once: usize,
) -> Result<T, Vec<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = attempts.into_iter().enumerate().peekable();
    let mut running = FuturesUnordered::new();
    let mut errors = Vec::new();
    let (mut newest, mut due) = (None, Instant::now());
    loop {
        while running.len() < at_once
            && let Some((number, (_, attempt))) = waiting.next_if(|_| due <= Instant::now())
        {
            running.push(async move { (number, attempt.await) });
            newest = Some(number);
            due = Instant::now() + waiting.peek().map_or(Duration::ZERO, |(_, (delay, _))| *delay);
        }
        let full = running.len() >= at_once;
        tokio::select! {
            biased;
            // A success ends the race, so it is checked before the clock.
            Some((number, result)) = running.next() => match result {
                Ok(success) => return Ok(success),
                Err(error) => {
                    errors.push(error);
                    if newest == Some(number) {
                        due = Instant::now();
                    }
                }
            },
            () = sleep_until(due), if waiting.peek().is_some() && !full => {}
            else => return Err(errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::{FutureExt as _, future::BoxFuture};

    use super::*;

    type Attempt = BoxFuture<'static, Result<u32, u32>>;

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

    async fn timed_with(at_once: usize, attempts: Vec<(u64, Attempt)>) -> (Result<u32, Vec<u32>>, u128) {
        let start = Instant::now();
        let attempts = attempts.into_iter().map(|(delay, attempt)| (Duration::from_millis(delay), attempt));
        let result = stagger(attempts, at_once).await;
        (result, start.elapsed().as_millis())
    }

    async fn timed(attempts: Vec<Attempt>) -> (Result<u32, Vec<u32>>, u128) {
        timed_with(9, attempts.into_iter().map(|attempt| (300, attempt)).collect()).await
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
        let slow = vec![after(700, Err(1)), after(10, Err(2)), after(500, Err(3))];
        assert_eq!(timed(slow).await, (Err(vec![2, 1, 3]), 810));
    }

    #[tokio::test(start_paused = true)]
    async fn each_has_a_delay_of_its_own() {
        let attempts = vec![(900, never()), (300, never()), (1000, after(10, Ok(3)))];
        assert_eq!(timed_with(9, attempts).await, (Ok(3), 1310));
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_failure_of_the_newest_hurries_the_next() {
        let attempts = vec![(0, after(400, Err(1))), (300, never()), (1000, after(10, Ok(3)))];
        assert_eq!(timed_with(9, attempts).await, (Ok(3), 1310));
        let attempts = vec![(0, never()), (300, after(100, Err(2))), (1000, after(10, Ok(3)))];
        assert_eq!(timed_with(9, attempts).await, (Ok(3), 410));
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_run_at_once() {
        let attempts = || vec![(0, after(2000, Err(1))), (300, never()), (300, after(10, Ok(3)))];
        assert_eq!(timed_with(3, attempts()).await, (Ok(3), 610));
        assert_eq!(timed_with(2, attempts()).await, (Ok(3), 2010));
        let one_by_one = vec![(0, after(500, Err(1))), (0, after(500, Err(2))), (0, after(10, Ok(3)))];
        assert_eq!(timed_with(1, one_by_one).await, (Ok(3), 1010));
    }
}
