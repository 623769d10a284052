//! One user who publishes as fast as the protocol allows.

use std::time::Duration;

use futures_util::future::join_all;
use im_proto::{pb, pb::RefusalKind};

use crate::arena::{Arena, Published, TERMINALS, UNNOTICED, attacker, publish_all, terminal, text};

const TIME: Duration = Duration::from_secs(5);

/// Publishes from several terminals of a user at once to a known user who is offline.
async fn flood(arena: &Arena, terminals: &[pb::Terminal], size: usize) -> Published {
    drop(attacker(&arena.stack, "victim").await);
    let mut devices = Vec::new();
    for &kind in terminals {
        devices.push(terminal(&arena.stack, "mallory", kind, "raw").await);
    }
    let body = "x".repeat(size);
    let floods = devices
        .iter_mut()
        .map(|device| publish_all(device, (1..).map(|number| text(number, "victim", body.clone())), TIME));
    let mut published = Published::default();
    join_all(floods).await.into_iter().for_each(|of_one| published.add(of_one));
    published
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_messages_are_refused_beyond_a_budget() {
    let arena = Arena::start().await;
    let (published, report) =
        arena.beside("one user floods with small messages", flood(&arena, &TERMINALS, 10)).await;
    println!("{published:?}");
    assert!(published.accepted <= 2_000, "{published:?}");
    assert!(published.refused(RefusalKind::TooMany) > 0 && published.longest_wait_ms > 0, "{published:?}");
    assert_eq!(published.closed, None);
    report.bystander.check(UNNOTICED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_are_refused_beyond_a_budget() {
    let arena = Arena::start().await;
    let (published, report) =
        arena.beside("one user floods with large messages", flood(&arena, &TERMINALS[..1], 60_000)).await;
    println!("{published:?}");
    assert!(published.accepted * 60_000 <= 32 << 20, "{published:?}");
    assert!(published.refused(RefusalKind::TooMany) > 0, "{published:?}");
    assert!(report.server_grew() < 64.0 && report.backend_grew() < 64.0, "{report}");
    report.bystander.check(UNNOTICED);
}
