//! A device that connects and disconnects all the time, and its watchers.

use std::time::Duration;

use im_proto::{pb, pb::frame::Body, pb::request::Question};
use im_tests::{
    Via,
    raw::{Heard, Raw},
    stack::{PATIENCE, token},
    wait_until,
};
use tokio::time::{Instant, timeout_at};

use crate::arena::{Arena, UNNOTICED, attacker, until};

const WATCHERS: usize = 20;
const TIME: Duration = Duration::from_secs(6);

/// Latest time for notifications that were held back.
const QUIET: Duration = Duration::from_secs(8);

/// Returns the presence notifications that a watcher receives until a time.
async fn told(mut raw: Raw, until: Instant) -> Vec<bool> {
    let mut told = Vec::new();
    while let Ok(heard) = timeout_at(until, raw.heard()).await {
        match heard {
            Heard::Frame(Body::Presence(presence)) => {
                told.push(presence.terminals.iter().any(|terminal| terminal.online));
            }
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed: {code}"),
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flapping_is_told_a_few_times() {
    let arena = Arena::start().await;
    let deadline = Instant::now() + TIME + QUIET;
    let mut watching = Vec::new();
    for number in 0..WATCHERS {
        let mut raw = attacker(&arena.stack, &format!("watcher-{number}")).await;
        let watch = Question::Watch(pb::Watch { users: vec!["flapper".into()] });
        raw.send_frame(Body::Request(pb::Request { number: 1, question: Some(watch) })).await;
        until(&mut raw, |body| matches!(body, Body::Response(_))).await;
        watching.push(tokio::spawn(told(raw, deadline + QUIET)));
    }
    let attack = async {
        let until = Instant::now() + TIME;
        let mut connects = 0_u64;
        while Instant::now() < until {
            // Too many connects in a time are refused.
            let mut raw = Raw::connect(&arena.stack, 0, Via::WebSocket).await;
            raw.hello(token("flapper")).await;
            let heard = raw.heard().await;
            connects += u64::from(matches!(heard, Heard::Frame(Body::Welcome(_))));
        }
        connects
    };
    let (connects, report) = arena.beside("a device that comes and goes", attack).await;
    // In the end it stays, and all watchers are notified.
    let mut stays = Raw::connect(&arena.stack, 0, Via::WebSocket).await;
    wait_until("the device gets in", PATIENCE, async || {
        stays = Raw::connect(&arena.stack, 0, Via::WebSocket).await;
        stays.hello(token("flapper")).await;
        matches!(stays.heard().await, Heard::Frame(_))
    })
    .await;
    let mut most = 0;
    for watcher in watching {
        let told = watcher.await.unwrap();
        most = most.max(told.len() as u64);
        let shown = &told[told.len().saturating_sub(10)..];
        assert_eq!(
            told.last(),
            Some(&true),
            "what is told last is true, of {} times: .. {shown:?}",
            told.len()
        );
    }
    println!("{connects} times in, told {most} times at most");
    assert!(connects > 20, "{connects} times in");
    drop(stays);
    let bound = 2 + TIME.as_secs();
    assert!(most <= bound, "a watcher was told {most} times, at most {bound} are allowed");
    report.bystander.check(UNNOTICED);
}
