//! Back ends with wrong clocks.

use std::{path::Path, time::Duration};

use im_sdk::{
    backend::{Message, user},
    cluster::LogId,
    id::{MessageId, UserId},
};
use im_tests::{Program, Setup, Stack, Via, stack::PATIENCE, wait_until};

use crate::arena::start_backend;

/// Library of Debian's package `faketime`.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Starts a back end whose wall clock is off by the offset in the file.
async fn wrong_backend(stack: &Stack, clock: &Path) -> Program {
    assert!(
        Path::new(FAKETIME).exists(),
        "{FAKETIME} is missing: run `apt-get install faketime` or ./tests/run.sh"
    );
    let clock = clock.display().to_string();
    let variables = [
        ("LD_PRELOAD", FAKETIME),
        ("FAKETIME_TIMESTAMP_FILE", &*clock),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ];
    start_backend(stack, None, &variables).await
}

fn set(clock: &Path, offset: &str) {
    let next = clock.with_extension("next");
    std::fs::write(&next, offset).unwrap();
    std::fs::rename(next, clock).unwrap();
}

/// Sends a text through the process, and waits for its reply.
async fn send(backend: &mut Program, text: &str) -> Result<u64, String> {
    let answers =
        |output: &str| output.lines().filter(|line| is_answer(line)).map(str::to_owned).collect::<Vec<_>>();
    let before = answers(&backend.output()).len();
    backend.write_line(&format!("send carol bob {text}"));
    let mut answer = None;
    wait_until("the back end answers", PATIENCE, async || {
        answer = answers(&backend.output()).get(before).cloned();
        answer.is_some()
    })
    .await;
    let answer = answer.unwrap();
    match answer.strip_prefix("sent ") {
        Some(id) => Ok(id.parse().unwrap()),
        None => Err(answer),
    }
}

fn is_answer(line: &str) -> bool {
    line.starts_with("sent ") || line.starts_with("failed ")
}

fn inbox() -> [LogId; 1] {
    [LogId::Inbox(UserId::parse("bob").unwrap())]
}

async fn entries(stack: &Stack) -> u64 {
    let ends = stack.cluster().log().ends(&inbox()).await.unwrap();
    (ends[0].last + 1).saturating_sub(ends[0].first)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_a_month_off_deletes_nothing_and_loses_nothing() {
    let stack = Stack::start(Setup::Clustered, 1).await;
    let im = stack.backend().await;
    for number in 0..50 {
        im.send(Message::to(user("bob")).from("alice").text(format!("{number}"))).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    for (offset, kept) in [("+31d", 50), ("-31d", 51)] {
        set(&clock, offset);
        let mut wrong = wrong_backend(&stack, &clock).await;
        // It is the only back end that serves, so it brings devices up to date.
        let mut bob = stack.connect("bob", "web/tab", 0, Via::WebSocket).await;
        bob.up_to_date().await;
        bob.client().shutdown().await;
        assert_eq!(entries(&stack).await, kept, "{offset}: entries were deleted");
        let sent = send(&mut wrong, "from another time").await;
        println!("{offset}: {sent:?}");
        if sent.is_ok() {
            // A process with a right clock does not take it for old.
            im.send(Message::to(user("bob")).from("alice").text("now")).await.unwrap();
            let mut bob = stack.connect("bob", "ios/phone", 0, Via::WebSocket).await;
            bob.up_to_date().await;
            assert!(entries(&stack).await > kept, "{offset}: what was Ok is gone");
            assert_eq!(entries(&stack).await, kept + 2, "{offset}");
        }
        if offset == "+31d" {
            trimmed_to(&stack, 51).await;
        }
    }
}

/// Trims the log to this number of entries, so that the next round starts from a known state.
async fn trimmed_to(stack: &Stack, entries: u64) {
    let mut redis = stack.services().unwrap().redis.connection().await;
    let mut trim = redis::cmd("XTRIM");
    trim.arg("im:{u:bob}:inbox").arg("MAXLEN").arg("=").arg(entries);
    trim.query_async::<()>(&mut redis).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_was_wrong_for_a_while_stops_nothing() {
    let stack = Stack::start(Setup::Clustered, 1).await;
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    set(&clock, "+0s");
    let mut backend = wrong_backend(&stack, &clock).await;
    let mut last = send(&mut backend, "before").await.unwrap();
    for offset in ["+3600s", "+0s", "-3600s", "+0s"] {
        set(&clock, offset);
        let started = std::time::Instant::now();
        // At once, or soon.
        let id = loop {
            match send(&mut backend, &format!("at {offset}")).await {
                Ok(id) => break id,
                Err(error) => assert!(started.elapsed() < Duration::from_secs(10), "{offset}: {error}"),
            }
        };
        println!("{offset}: sent after {:?}", started.elapsed());
        // Ids rise, and carry the cluster's time.
        assert!(id > last, "{offset}: {id} is not above {last}");
        let [earlier, later] = [last, id].map(|id| MessageId::from_u64(id).unwrap());
        assert!(later.unix_ms() - earlier.unix_ms() < 60_000, "{offset}: {earlier} and then {later}");
        last = id;
    }
}
