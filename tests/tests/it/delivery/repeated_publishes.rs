//! Devices that repeat a publish whose result is pending.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use im_proto::{pb, pb::frame::Body};
use im_sdk::backend::{Incoming, Message, user};
use im_tests::{
    Setup, Stack, Via, everywhere,
    raw::{Heard, Raw},
    stack::PATIENCE,
    wait_until,
};
use tokio::sync::Semaphore;

everywhere!(a_publish_that_is_repeated_while_it_waits_has_one_result, a_repetition_may_add_an_origin,);

fn publish(number: u64) -> Body {
    let text = pb::content::Body::Text(pb::Text { text: "hi".into() });
    let (to, content) = ("alice".into(), Some(text.into()));
    Body::Publish(pb::Publish { number, to, content, ..Default::default() })
}

/// Returns the frames before this pong, except those of the initial sync.
async fn until_pong(raw: &mut Raw, echo: u64) -> Vec<Body> {
    raw.send_frame(Body::Ping(pb::Ping { echo })).await;
    let mut heard = Vec::new();
    loop {
        match raw.heard().await {
            Heard::Frame(Body::Pong(pong)) if pong.echo == echo => return heard,
            Heard::Frame(Body::Reset(_) | Body::SyncDone(_) | Body::Push(_)) => {}
            Heard::Frame(frame) => heard.push(frame),
            Heard::Closed(code) => panic!("closed with {code}"),
        }
    }
}

async fn result(raw: &mut Raw) -> pb::PublishResult {
    loop {
        match raw.heard().await {
            Heard::Frame(Body::PublishResult(result)) => return result,
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed with {code}"),
        }
    }
}

async fn a_publish_that_is_repeated_while_it_waits_has_one_result(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let (answering, handled) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU32::new(0)));
    let (may_answer, counted) = (Arc::clone(&answering), Arc::clone(&handled));
    let service = im.serve(move |incoming: Incoming| {
        let (answering, handled) = (Arc::clone(&may_answer), Arc::clone(&counted));
        async move {
            handled.fetch_add(1, Ordering::Relaxed);
            answering.acquire().await.unwrap().forget();
            Ok(incoming.accept())
        }
    });
    let _service = service.await.unwrap();
    let mut alice = stack.connect("alice", "web/tab", 0, via).await;
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.log_in("impatient").await;
    for _ in 0..3 {
        raw.send_frame(publish(1)).await;
    }
    wait_until("the publish is handled", PATIENCE, async || handled.load(Ordering::Relaxed) > 0).await;
    // As by a client with a timer of its own.
    raw.send_frame(publish(1)).await;
    assert_eq!(until_pong(&mut raw, 1).await, []);
    answering.add_permits(100);
    let first = result(&mut raw).await;
    assert_eq!(first.number, 1);
    // From here on it counts as a repetition after a reconnect.
    raw.send_frame(publish(1)).await;
    assert_eq!(result(&mut raw).await, first);
    assert_eq!(until_pong(&mut raw, 2).await, [], "no result comes twice");
    assert_eq!(alice.text().await, "hi");
    im.send(Message::to(user("alice")).text("no second one")).await.unwrap();
    assert_eq!(alice.text().await, "no second one");
    assert_eq!(handled.load(Ordering::Relaxed), 2, "once while it waited, however often it came");
}

async fn a_repetition_may_add_an_origin(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.unwrap();
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.log_in("updated").await;
    let Body::Publish(before) = publish(1) else { panic!("no publish") };
    let after = pb::Publish { origin: 0x6f72_6967_696e, ..before.clone() };
    raw.send_frame(Body::Publish(before)).await;
    let first = result(&mut raw).await;
    assert!(matches!(first.outcome, Some(pb::publish_result::Outcome::Accepted(_))), "{first:?}");
    // The same publish as a later version of the software would send it.
    raw.send_frame(Body::Publish(after.clone())).await;
    assert_eq!(result(&mut raw).await, first);
    // Any other difference makes it another publish.
    let other = pb::Publish {
        content: Some(pb::Content { silent: true, ..after.content.clone().unwrap() }),
        ..after
    };
    raw.send_frame(Body::Publish(other)).await;
    let refused = result(&mut raw).await;
    assert!(matches!(refused.outcome, Some(pb::publish_result::Outcome::Refused(_))), "{refused:?}");
}
