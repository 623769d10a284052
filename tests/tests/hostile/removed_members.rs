//! Removed members of a channel.

use std::time::Duration;

use im_proto::pb::frame::Body;
use im_sdk::backend::{Message, channel};
use im_tests::{
    raw::{Heard, Raw},
    stack::ServerOptions,
    wait_until,
};
use tokio::time::{Instant, timeout_at};

use crate::arena::{Arena, attacker, until};

/// Time for which messages may still arrive after a removal during which the route was lost.
const BOUND: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_gets_nothing_more_although_its_route_was_lost() {
    let options = ServerOptions { route_audit: Duration::from_secs(1), ..ServerOptions::default() };
    let arena = Arena::start_with(options, false).await;
    let team = arena.im.channel("team");
    team.add_members(["carol", "mallory"]).await.unwrap();
    let mut carol = attacker(&arena.stack, "carol").await;
    // A device that names no channel, and is therefore never told that it was removed.
    let mut mallory = attacker(&arena.stack, "mallory").await;
    arena.im.send(Message::to(channel("team")).from("carol").text("before")).await.unwrap();
    until(&mut mallory, |body| matches!(body, Body::Push(push) if push.channel == "team")).await;
    let mut redis = arena.redis().connection().await;
    redis::cmd("DEL").arg("im:{u:mallory}:routes").query_async::<()>(&mut redis).await.unwrap();
    team.remove_members(["mallory"]).await.unwrap();
    let removed = Instant::now();
    wait_until("the device is online again", BOUND, async || {
        arena.im.online(["mallory"]).await.unwrap().values().any(|on| !on.is_empty())
    })
    .await;
    tokio::time::sleep_until(removed + BOUND).await;
    let mut heard = 0;
    for number in 0..100 {
        let secret = Message::to(channel("team")).from("carol").text(format!("secret {number}"));
        arena.im.send(secret).await.unwrap();
        heard += pushes(&mut carol, "team", Duration::from_millis(100)).await;
        if heard >= 5 {
            break;
        }
    }
    assert!(heard >= 5, "the members heard {heard} of what was sent");
    let leaked = pushes(&mut mallory, "team", Duration::from_secs(2)).await;
    assert_eq!(leaked, 0, "a removed member heard what was sent {BOUND:?} later");
}

/// Returns the number of messages of a channel that arrive within a time.
async fn pushes(raw: &mut Raw, channel: &str, within: Duration) -> usize {
    let (until, mut count) = (Instant::now() + within, 0);
    while let Ok(heard) = timeout_at(until, raw.heard()).await {
        match heard {
            Heard::Frame(Body::Push(push)) => count += usize::from(push.channel == channel),
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed: {code}"),
        }
    }
    count
}
