//! Searches that scan much and find nothing.

use std::time::Duration;

use futures_util::future::join_all;
use im_proto::{
    pb,
    pb::{frame::Body, request::Question},
};
use im_sdk::Search;
use im_tests::{
    Via,
    raw::{Heard, Raw},
    stack::PATIENCE,
    wait_until,
};
use tokio::time::{Instant, timeout};

use crate::arena::{Arena, TERMINALS, UNNOTICED, terminal};

const TEXTS: usize = 8;
const ROUNDS: usize = 6;
const TIME: Duration = Duration::from_secs(6);

/// Searches for a time with four requests in flight. Returns the number of responses and of refusals among them.
async fn search(raw: &mut Raw) -> (u64, u64) {
    let deadline = Instant::now() + TIME;
    let (mut number, mut answered, mut refused) = (0, 0, 0);
    while Instant::now() < deadline {
        while number < answered + 4 {
            number += 1;
            let search = pb::SearchRequest { text: "abc".into(), limit: 50, ..Default::default() };
            let question = Some(Question::Search(search));
            raw.send_frame(Body::Request(pb::Request { number, question })).await;
        }
        match timeout(TIME, raw.heard()).await {
            Ok(Heard::Frame(Body::Response(response))) => {
                answered += 1;
                refused += u64::from(matches!(response.outcome, Some(pb::response::Outcome::Refused(_))));
            }
            Ok(Heard::Frame(_)) => {}
            Ok(Heard::Closed(code)) => panic!("closed: {code}"),
            Err(_) => break,
        }
    }
    (answered, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_users_searches_leave_others_theirs() {
    let mut arena = Arena::with_database().await;
    let other = arena.stack.connect("bystander", "ios/other", 0, Via::WebSocket).await;
    let find = async || other.client().search(Search::new("needle"), 10).await;
    // Contains everything that the index is asked for, but not the searched text.
    let text = "ab bc ".repeat(10_000);
    for round in 1..=ROUNDS {
        for _ in 0..TEXTS {
            arena.backend.write_line(&format!("send friend mallory {text}"));
        }
        arena.backend.write_line("send friend bystander a needle");
        wait_until("everything is in the database", PATIENCE * 2, async || {
            find().await.is_ok_and(|page| page.messages.len() == round)
        })
        .await;
    }
    let mut devices = Vec::new();
    for kind in &TERMINALS[..4] {
        devices.push(terminal(&arena.stack, "mallory", *kind, "raw").await);
    }
    let attack = async {
        let flood = join_all(devices.iter_mut().map(search));
        let others = async {
            let until = Instant::now() + TIME;
            let (mut slowest, mut failures, mut found) = (Duration::ZERO, Vec::new(), 0);
            while Instant::now() < until {
                let since = Instant::now();
                match find().await {
                    Ok(page) => found += page.messages.len(),
                    Err(error) => failures.push(error.to_string()),
                }
                slowest = slowest.max(since.elapsed());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            (slowest, failures, found)
        };
        tokio::join!(flood, others)
    };
    let ((flood, (slowest, failures, found)), report) =
        arena.beside("searches that find nothing", attack).await;
    println!(
        "answered and refused: {flood:?}; a bystander's searches: {found} found, at most {slowest:?}, {failures:?}"
    );
    assert!(failures.is_empty() && found > 0, "{found} found, {failures:?}");
    assert!(slowest <= UNNOTICED, "{slowest:?}");
    report.bystander.check(UNNOTICED);
}
