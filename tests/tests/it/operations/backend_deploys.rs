//! Back ends that come and go while devices stay connected.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use im_sdk::backend::{Im, Incoming, Service, UserBudgets};
use im_tests::{Setup, Stack, TestClient, Via, everywhere};

everywhere!(a_rolling_deploy_makes_nobody_wait);

/// A device waits for a publish that a back end lost until the server's `publish_timeout`, 10 s.
const MUCH_LESS: Duration = Duration::from_secs(5);

async fn serve(im: &Im) -> Service {
    im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.unwrap()
}

/// Publishes one message after the other; returns their number and the longest latency.
async fn publish(client: &TestClient, number: usize, done: &AtomicBool) -> (u32, Duration) {
    let (mut count, mut slowest) = (0, Duration::ZERO);
    while !done.load(Ordering::Relaxed) {
        let started = Instant::now();
        client.publish(&format!("user-{number}"), "hi").await.unwrap();
        slowest = slowest.max(started.elapsed());
        count += 1;
    }
    (count, slowest)
}

async fn a_rolling_deploy_makes_nobody_wait(setup: Setup, via: Via) {
    // Half as many publishes per device as may be in flight: more would wait for each other in a debug build.
    const DEVICES: usize = 10;
    const EACH: usize = 30;
    let stack = Stack::start(setup, 1).await;
    // With budgets, devices that publish all the time would soon wait for those alone.
    let backend = || {
        let settings = Im::builder().user_budgets(UserBudgets::unlimited());
        stack.backend_with(settings)
    };
    let mut ims = [backend().await, backend().await];
    let mut services = [Some(serve(&ims[0]).await), Some(serve(&ims[1]).await)];
    let mut clients = Vec::new();
    for number in 0..DEVICES {
        clients.push(stack.connect(&format!("device-{number}"), "web/tab", 0, via).await);
    }
    let done = AtomicBool::new(false);
    let deploy = async {
        for round in 0..4 {
            let index = round % 2;
            let new = backend().await;
            let service = serve(&new).await;
            let old = services[index].replace(service).unwrap();
            old.shutdown().await;
            std::mem::replace(&mut ims[index], new).shutdown().await;
        }
        done.store(true, Ordering::Relaxed);
    };
    let each = clients.iter().flat_map(|client| (0..EACH).map(move |number| (client, number)));
    let publishing = join_all(each.map(|(client, number)| publish(client, number, &done)));
    // A device that does not read its own messages gets no results either.
    let reading = join_all(
        clients.iter().map(async |client| while !client.client().next_events(100).await.is_empty() {}),
    );
    let (results, ()) = tokio::select! {
        both = async { tokio::join!(publishing, deploy) } => both,
        _ = reading => panic!("the clients are closed"),
    };
    assert!(results.iter().all(|(count, _)| *count > 0));
    let slowest = results.iter().map(|(_, slowest)| *slowest).max().unwrap();
    assert!(slowest < MUCH_LESS, "a device waited {slowest:?}");
}
