//! A Redis without free memory.

use std::time::Duration;

use im_proto::{pb, pb::RefusalKind, pb::frame::Body};
use im_tests::{stack::PATIENCE, wait_until};
use tokio::time::sleep;

use crate::arena::{Arena, attacker, publish_all, text, until};

/// Longer than two leases of a server.
const FULL: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_refuses_messages_and_nothing_else() {
    let arena = Arena::start().await;
    let mut inside = attacker(&arena.stack, "inside").await;
    let mut speaker = attacker(&arena.stack, "speaker").await;
    arena.redis().fill(true).await;
    sleep(FULL).await;
    // Connected devices stay. New ones can connect, are online, and receive everything.
    inside.send_frame(Body::Ping(pb::Ping { echo: 1 })).await;
    until(&mut inside, |body| *body == Body::Pong(pb::Pong { echo: 1 })).await;
    let _later = attacker(&arena.stack, "later").await;
    arena.stack.wait_online(&arena.im, "inside", 1).await;
    arena.stack.wait_online(&arena.im, "later", 1).await;
    // Publishes of devices are refused, with the delay after which to retry.
    let refused = publish_all(&mut speaker, [text(1, "inside", "hi")], PATIENCE).await;
    println!("{refused:?}");
    let come_back = refused.refused(RefusalKind::Unavailable) + refused.refused(RefusalKind::TooMany);
    assert!(come_back == 1 && refused.longest_wait_ms > 0, "{refused:?}");
    arena.redis().fill(false).await;
    // The same number again, as the client library retries by itself.
    wait_until("messages are taken again", PATIENCE, async || {
        publish_all(&mut speaker, [text(1, "inside", "hi")], PATIENCE).await.accepted == 1
    })
    .await;
    let lost = arena.stack.servers[0].process().output();
    assert!(!lost.contains("lease was lost"), "{lost}");
}
