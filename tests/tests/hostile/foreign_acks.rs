//! Acknowledgements of messages that are not the user's.

use std::time::Duration;

use im_proto::{pb, pb::frame::Body};
use im_sdk::backend::{Message, channel};
use im_tests::{stack::PATIENCE, wait_until};
use tokio::time::{Instant, sleep};

use crate::arena::{Arena, UNNOTICED, attacker};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_is_acknowledged_by_its_members_alone() {
    let arena = Arena::start().await;
    arena.im.channel("board").add_members(["carol"]).await.unwrap();
    arena.im.send(Message::to(channel("board")).from("carol").text("secret")).await.unwrap();
    let mut mallory = attacker(&arena.stack, "mallory").await;
    let mut carol = attacker(&arena.stack, "carol").await;
    let board = vec![pb::Cursor { channel: "board".into(), seq: 1, id: 0 }];
    mallory.send_frame(Body::Ack(pb::Ack { cursors: board.clone() })).await;
    // An acknowledgement by a member, later: once it is reported, a forged one would have been reported too.
    sleep(Duration::from_secs(2)).await;
    carol.send_frame(Body::Ack(pb::Ack { cursors: board })).await;
    wait_until("the member's is told", PATIENCE, async || {
        arena.backend.output().lines().any(|line| line.starts_with("acked") && line.contains("carol"))
    })
    .await;
    let output = arena.backend.output();
    let told: Vec<_> =
        output.lines().filter(|line| line.contains("acked") && line.contains("mallory")).collect();
    assert!(told.is_empty(), "{told:?}");
    let mut redis = arena.redis().connection().await;
    let stored: Vec<String> =
        redis::cmd("ZRANGE").arg("im:{u:mallory}:acks").arg(0).arg(-1).query_async(&mut redis).await.unwrap();
    assert!(!stored.iter().any(|line| line.contains("board")), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_cursors_cost_redis_little() {
    let arena = Arena::start().await;
    let mut mallory = attacker(&arena.stack, "mallory").await;
    let attack = async {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut frames = 0_u64;
        while Instant::now() < deadline {
            let cursor = |number: u64| pb::Cursor { channel: format!("c{number}"), seq: 1 + frames, id: 0 };
            mallory.send_frame(Body::Ack(pb::Ack { cursors: (0..4_000).map(cursor).collect() })).await;
            frames += 1;
            sleep(Duration::from_millis(50)).await;
        }
        frames
    };
    let (frames, report) = arena.beside("acknowledgements of 4,000 channels each", attack).await;
    let commands = report.redis_grew("total_commands_processed");
    println!("{frames} frames with {} cursors: {commands} commands of Redis", frames * 4_000);
    // Includes the commands of the bystander, of leases and of the measurement.
    assert!(commands < 20_000, "{report}");
    report.bystander.check(UNNOTICED);
}
