//! Logs, cursors, resets and retries: nothing is lost, duplicated or reordered.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt as _, stream};
use im_proto::{pb, pb::ResetReason, pb::frame::Body, pb::publish_result::Outcome};
use im_sdk::{
    backend::{Durability, Im, Incoming, Message, Receipt, SendError, Service, channel, user, users},
    client::Event,
    cluster::Publication,
    id::UserId,
};
use im_tests::{
    Setup, Stack, Via, everywhere,
    raw::{Heard, Raw},
};
use prost::Message as _;
use tokio::time::sleep;

everywhere!(
    what_was_missed_comes_after_the_cursor,
    a_cursor_that_leads_nowhere_is_reset,
    a_long_absence_is_made_up_for,
    the_senders_devices_see_what_it_sent,
    a_publish_under_one_number_has_one_effect,
    a_send_under_one_key_has_one_effect,
    live_messages_are_kept_nowhere,
    a_hole_on_the_bus_is_hinted,
    a_new_device_gets_what_is_sent_to_it_at_once,
    a_client_that_was_away_misses_nothing,
    a_device_that_reads_all_the_time_is_never_too_slow,
);

async fn serve(im: &Im) -> Service {
    im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.unwrap()
}

fn cursor(seq: u64, id: u64) -> pb::Cursor {
    pb::Cursor { channel: String::new(), seq, id }
}

async fn log_in(stack: &Stack, user: &str, cursors: Vec<pb::Cursor>, via: Via) -> Raw {
    let mut raw = Raw::connect(stack, 0, via).await;
    raw.log_in_with(user, cursors).await;
    raw
}

async fn text_to(im: &Im, to: &str, text: &str) -> Receipt {
    im.send(Message::to(user(to)).text(text)).await.unwrap()
}

/// Returns the frames up to the next `SyncDone`: resets, then entries, then the end.
async fn sync(raw: &mut Raw) -> (Vec<(ResetReason, u64)>, Vec<(u64, String)>, u64) {
    let (mut resets, mut entries) = (Vec::new(), Vec::new());
    loop {
        match raw.heard().await {
            Heard::Frame(Body::Reset(reset)) => resets.push((reset.reason(), reset.cursor.unwrap().seq)),
            Heard::Frame(Body::Push(push)) => entries.push(entry(push)),
            Heard::Frame(Body::SyncDone(done)) => return (resets, entries, done.ends[0].seq),
            other => panic!("{other:?}"),
        }
    }
}

fn entry(push: pb::Push) -> (u64, String) {
    let Some(pb::content::Body::Text(text)) = push.message.unwrap().content.unwrap().body else { panic!() };
    (push.seq, text.text)
}

async fn push(raw: &mut Raw) -> (u64, String) {
    match raw.heard().await {
        Heard::Frame(Body::Push(push)) => entry(push),
        other => panic!("a push expected: {other:?}"),
    }
}

fn texts(range: std::ops::RangeInclusive<u64>) -> Vec<(u64, String)> {
    range.map(|seq| (seq, format!("message {seq}"))).collect()
}

async fn what_was_missed_comes_after_the_cursor(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut bob = log_in(&stack, "bob", vec![], via).await;
    assert_eq!(
        sync(&mut bob).await,
        (vec![(ResetReason::New, 0)], vec![], 0),
        "a new device begins at the end"
    );

    let mut ids = Vec::new();
    for seq in 1..=3 {
        let receipt = text_to(&im, "bob", &format!("message {seq}")).await;
        assert_eq!(receipt.logged, [(UserId::parse("bob").unwrap(), seq)]);
        assert_eq!(push(&mut bob).await.0, seq, "also as it happens");
        ids.push(receipt.message_id.as_u64());
    }
    for (known, id) in [(0, 0), (1, ids[0]), (2, ids[1]), (3, ids[2])] {
        let mut again = log_in(&stack, "bob", vec![cursor(known, id)], via).await;
        assert_eq!(sync(&mut again).await, (vec![], texts(known + 1..=3), 3));
        // A sync during a connection.
        again.send_frame(Body::Sync(pb::Sync { cursors: vec![cursor(0, 0)] })).await;
        assert_eq!(sync(&mut again).await, (vec![], texts(1..=3), 3));
    }
}

async fn a_cursor_that_leads_nowhere_is_reset(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    for seq in 1..=3 {
        text_to(&im, "bob", &format!("message {seq}")).await;
    }
    // Cursors beyond the end, and at an entry with another id: the log was rolled back.
    for wrong in [cursor(9, 4711), cursor(2, 4711)] {
        let mut bob = log_in(&stack, "bob", vec![wrong], via).await;
        assert_eq!(sync(&mut bob).await, (vec![(ResetReason::Forked, 0)], texts(1..=3), 3));
    }
}

async fn a_long_absence_is_made_up_for(setup: Setup, via: Via) {
    const COUNT: u64 = 1000;
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    for seq in 1..=COUNT {
        let receipt = text_to(&im, "bob", &format!("message {seq}")).await;
        assert_eq!(receipt.offline.len(), 1);
    }
    let mut bob = log_in(&stack, "bob", vec![cursor(0, 0)], via).await;
    assert_eq!(sync(&mut bob).await, (vec![], texts(1..=COUNT), COUNT));
}

async fn the_senders_devices_see_what_it_sent(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut alice = log_in(&stack, "alice", vec![], via).await;
    let mut bob = log_in(&stack, "bob", vec![], via).await;
    sync(&mut alice).await;
    sync(&mut bob).await;
    let message = Message::to(user("bob")).from("alice").text("hi");
    let receipt = im.send(message).await.unwrap();
    assert_eq!(receipt.logged.len(), 1, "the receipt speaks of recipients");
    assert_eq!(receipt.pushed.len(), 1);
    assert_eq!(push(&mut alice).await, (1, "hi".into()));
    assert_eq!(push(&mut bob).await, (1, "hi".into()));
    let to_all = Message::to(users(["alice", "bob", "carol"])).from("alice").text("all");
    let receipt = im.send(to_all).await.unwrap();
    assert_eq!((receipt.pushed.len(), receipt.offline.len()), (2, 1));
    assert_eq!(push(&mut alice).await, (2, "all".into()), "once, though she is sender and recipient");
    assert_eq!(push(&mut bob).await, (2, "all".into()));
}

async fn publish(raw: &mut Raw, number: u64, text: &str) -> Outcome {
    let content = pb::Content::from(pb::content::Body::Text(pb::Text { text: text.into() }));
    raw.send_frame(Body::Publish(pb::Publish {
        number,
        to: "bob".into(),
        content: Some(content),
        ..pb::Publish::default()
    }))
    .await;
    loop {
        match raw.heard().await {
            Heard::Frame(Body::PublishResult(result)) => return result.outcome.unwrap(),
            Heard::Frame(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn a_publish_under_one_number_has_one_effect(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let (im, other) = (stack.backend().await, stack.backend().await);
    let _services = [serve(&im).await, serve(&other).await];
    let mut alice = log_in(&stack, "alice", vec![], via).await;
    let first = publish(&mut alice, 7, "message 1").await;
    let Outcome::Accepted(accepted) = &first else { panic!("{first:?}") };
    assert_ne!(accepted.message_id, 0);
    // Repeatedly, at any back end, and over a new connection.
    for _ in 0..5 {
        assert_eq!(publish(&mut alice, 7, "message 1").await, first);
    }
    let mut alice = log_in(&stack, "alice", vec![], via).await;
    assert_eq!(publish(&mut alice, 7, "message 1").await, first);
    let conflict = publish(&mut alice, 7, "something else").await;
    let Outcome::Refused(refused) = conflict else { panic!("{conflict:?}") };
    assert_eq!((refused.kind(), refused.retry_after_ms), (pb::RefusalKind::NumberUsed, 0));
    assert!(matches!(publish(&mut alice, 8, "message 2").await, Outcome::Accepted(_)));

    let mut bob = log_in(&stack, "bob", vec![cursor(0, 0)], via).await;
    assert_eq!(sync(&mut bob).await, (vec![], texts(1..=2), 2));
    let mut alice = log_in(&stack, "alice", vec![cursor(0, 0)], via).await;
    assert_eq!(sync(&mut alice).await, (vec![], texts(1..=2), 2));
}

async fn a_send_under_one_key_has_one_effect(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let (im, other) = (stack.backend().await, stack.backend().await);
    let _service = serve(&im).await;
    let message = || Message::to(users(["bob", "carol"])).from("alice").idempotency_key("order-1");
    let sends = (0..10).map(|number| if number % 2 == 0 { &im } else { &other });
    let sends = sends.map(|im| im.send(message().text("message 1")));
    let receipts = futures_util::future::join_all(sends).await;
    let receipts: Vec<Receipt> = receipts.into_iter().map(Result::unwrap).collect();
    assert!(receipts.iter().all(|receipt| receipt.message_id == receipts[0].message_id));
    assert_eq!(receipts.iter().filter(|receipt| !receipt.repeated).count(), 1);
    let conflict = other.send(message().text("something else")).await;
    assert!(matches!(conflict, Err(SendError::Conflict)), "{conflict:?}");
    for name in ["alice", "bob", "carol"] {
        let mut raw = log_in(&stack, name, vec![cursor(0, 0)], via).await;
        assert_eq!(sync(&mut raw).await, (vec![], texts(1..=1), 1), "{name}");
    }
}

async fn live_messages_are_kept_nowhere(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut bob = log_in(&stack, "bob", vec![], via).await;
    sync(&mut bob).await;
    let live = Message::to(user("bob")).text("typing").durability(Durability::Transient);
    let receipt = im.send(live).await.unwrap();
    assert!(receipt.logged.is_empty() && receipt.pushed.len() == 1);
    assert_eq!(push(&mut bob).await, (0, "typing".into()));
    let mut again = log_in(&stack, "bob", vec![cursor(0, 0)], via).await;
    assert_eq!(sync(&mut again).await, (vec![], vec![], 0));
}

async fn a_hole_on_the_bus_is_hinted(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let mut bob = log_in(&stack, "bob", vec![], via).await;
    let server = stack.server_id(&stack.servers[0]).await;
    let say = async |number: u64| {
        let records = vec![pb::Record::default()];
        let envelope = pb::Envelope { publisher: "somebody".into(), number, records, ..Default::default() };
        let subject = stack.cluster().names().server(&server);
        let payload = envelope.encode_to_vec().into();
        stack.cluster().bus().publish(Publication { subject, return_to: None, payload }).await.unwrap();
    };
    say(1).await;
    say(2).await;
    bob.send_frame(Body::Ping(pb::Ping { echo: 1 })).await;
    assert_eq!(bob.heard().await, Heard::Frame(Body::Pong(pb::Pong { echo: 1 })), "nothing is missing");
    // The third message is lost on the way.
    say(4).await;
    assert!(matches!(bob.heard().await, Heard::Frame(Body::SyncHint(hint)) if hint.within_ms > 0));
}

async fn a_client_that_was_away_misses_nothing(setup: Setup, via: Via) {
    const COUNT: u64 = 100;
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut bob = stack.connect("bob", "web/tab", 0, via).await;
    bob.next("the inbox has begun", |event| matches!(event, Event::Reset { .. }).then_some(())).await;
    for seq in 1..=COUNT {
        // Disconnects and reconnects repeatedly while messages arrive.
        match seq % 20 {
            5 => bob.client().disconnect(),
            15 => bob.client().connect(),
            _ => {}
        }
        text_to(&im, "bob", &format!("message {seq}")).await;
    }
    for seq in 1..=COUNT {
        assert_eq!(bob.text().await, format!("message {seq}"));
    }
}

async fn a_new_device_gets_what_is_sent_to_it_at_once(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    // The message is in the log before any back end answers the new device's sync.
    let mut bob = stack.connect("bob", "web/tab", 0, via).await;
    text_to(&im, "bob", "welcome").await;
    let _service = serve(&im).await;
    assert_eq!(bob.text().await, "welcome");
}

/// Number of bytes that await an offline device in each of its logs: together many times what a server and the kernel
/// buffer for it.
const MISSED: u64 = 400;
const MISSED_BYTES: usize = 16 * 1024;

/// Chunk size of a slow reader, with a pause after each: some 5 MB per second.
const AT_ONCE: u64 = 16;
const READING_PAUSE: Duration = Duration::from_millis(50);

async fn a_device_that_reads_all_the_time_is_never_too_slow(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let text = "x".repeat(MISSED_BYTES);
    let mut position: BTreeMap<String, u64> = BTreeMap::new();
    for log in ["", "one", "two"] {
        if !log.is_empty() {
            im.channel(log).add_members(["bob"]).await.unwrap();
        }
        let to = || if log.is_empty() { Message::to(user("bob")) } else { Message::to(channel(log)) };
        let send = |_| im.send(to().text(&text));
        stream::iter(0..MISSED).map(send).buffer_unordered(64).map(Result::unwrap).collect::<Vec<_>>().await;
        position.insert(log.to_owned(), 0);
    }
    let cursors = position.keys().map(|log| pb::Cursor { channel: log.clone(), seq: 0, id: 0 }).collect();
    let mut bob = log_in(&stack, "bob", cursors, via).await;
    let (mut taken, mut done) = (0, Vec::new());
    while done.is_empty() {
        match bob.heard().await {
            Heard::Frame(Body::Push(push)) => {
                let position = position.get_mut(&push.channel).unwrap();
                // A message that is sent meanwhile arrives at once, and again in its turn.
                if push.seq != *position + 1 {
                    assert_eq!(push.seq, MISSED + 1, "a gap behind {position}");
                    continue;
                }
                *position = push.seq;
                taken += 1;
                if taken == MISSED {
                    text_to(&im, "bob", "and now").await;
                }
                if taken % AT_ONCE == 0 {
                    sleep(READING_PAUSE).await;
                }
            }
            Heard::Frame(Body::SyncDone(end)) => done = end.ends,
            other => panic!("behind {position:?}: {other:?}"),
        }
    }
    assert_eq!(done.len(), 3, "one sync, however many parts it has");
    assert!(position.values().all(|seq| *seq >= MISSED), "{position:?}");
}
