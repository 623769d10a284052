//! Devices that write faster than others can read.

use im_proto::{pb, pb::frame::Body};
use im_sdk::{
    backend::{Incoming, Message, user},
    cluster::{DeviceAck, LogId},
};
use im_tests::{
    Setup, Stack, Via,
    archiving_stack::bounded_logs,
    everywhere,
    raw::{Heard, Raw},
};

use super::{id, last};

/// Number of entries that logs keep.
const LOG_ENTRIES: u64 = 80;

everywhere!(a_flood_does_not_push_out_what_another_sent);

async fn a_flood_does_not_push_out_what_another_sent(setup: Setup, via: Via) {
    let stack = Stack::start_with_logs(setup, 1, bounded_logs(LOG_ENTRIES)).await;
    let im = stack.backend().await;
    let _service = im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.unwrap();
    // Bob has acknowledged a message and is offline.
    let read = im.send(Message::to(user("bob")).text("welcome")).await.unwrap();
    let inbox = LogId::Inbox(id("bob"));
    let ack = DeviceAck::new(id("bob"), "web/tab".parse().unwrap(), inbox.clone(), 1);
    stack.cluster().log().note_acks(&[ack]).await.unwrap();
    let mut carol = super::raw(&stack, "carol", via).await;
    let carols = publish(&mut carol, 1, "important").await.unwrap();
    let mut mallory = super::raw(&stack, "mallory", via).await;
    let mut number = 1;
    let refused = loop {
        match publish(&mut mallory, number, "x").await {
            Ok(_) => number += 1,
            Err(refused) => break refused,
        }
        assert!(number < 4 * LOG_ENTRIES, "everything is taken");
    };
    assert_eq!(refused.kind(), pb::RefusalKind::TooMany, "{refused:?}");
    assert!(refused.reason.contains("no room") && refused.retry_after_ms >= 1000, "{refused:?}");
    let mallorys = last(&stack, LogId::Inbox(id("mallory"))).await;
    assert_eq!(mallorys, number - 1, "what bob's inbox does not take is not in the sender's either");
    publish(&mut carol, 2, "and more").await.expect("others reach him still");

    let mut bob = Raw::connect(&stack, 0, via).await;
    let cursor = pb::Cursor { channel: String::new(), seq: 1, id: read.message_id.as_u64() };
    bob.log_in_with("bob", vec![cursor]).await;
    match bob.heard().await {
        Heard::Frame(Body::Push(push)) => {
            assert_eq!((push.seq, push.message.unwrap().id), (2, carols), "the first one that he missed");
        }
        other => panic!("without a reset: {other:?}"),
    }
    let ack = DeviceAck::new(id("bob"), "web/tab".parse().unwrap(), inbox.clone(), last(&stack, inbox).await);
    stack.cluster().log().note_acks(&[ack]).await.unwrap();
    publish(&mut mallory, number, "x").await.expect("under the same number, once he has read");
}

async fn publish(raw: &mut Raw, number: u64, text: &str) -> Result<u64, pb::Refused> {
    let content = im_sdk::content::Content::text(text).into();
    let publish = pb::Publish { number, to: "bob".into(), content: Some(content), ..pb::Publish::default() };
    raw.send_frame(Body::Publish(publish)).await;
    loop {
        match raw.heard().await {
            Heard::Frame(Body::PublishResult(result)) if result.number == number => {
                return match result.outcome.unwrap() {
                    pb::publish_result::Outcome::Accepted(accepted) => Ok(accepted.message_id),
                    pb::publish_result::Outcome::Refused(refused) => Err(refused),
                };
            }
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed: {code}"),
        }
    }
}
