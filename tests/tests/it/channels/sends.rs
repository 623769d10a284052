//! Sends to a channel by devices and back ends: delivered once, and by members only.

use im_proto::{pb, pb::frame::Body, pb::publish_result::Outcome};
use im_sdk::{
    backend::{Durability, Message, Receipt, SendError, channel},
    client::{Event, PublishError, RefusalKind},
    cluster::LogId,
    content::Content,
};
use im_tests::{
    Setup, Stack, TestClient, Via,
    channels::{connect, events_before_marker, expect, group, serve},
    everywhere,
    raw::{Heard, Raw},
};

everywhere!(
    devices_publish_to_channels,
    a_publish_under_one_number_has_one_effect,
    a_send_under_one_key_has_one_effect,
    live_messages_are_kept_nowhere,
);

async fn devices_publish_to_channels(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    // A user with the name of a channel is not the channel.
    im.channel("bob").add_members(["alice", "carol"]).await.unwrap();
    let mut alice = connect(&stack, "alice", 0, via).await;
    let mut carol = connect(&stack, "carol", 1, via).await;
    let mut bob = connect(&stack, "bob", 1, via).await;
    let publish = async |client: &TestClient, text: &str| {
        client.client().send(group("bob"), Content::text(text)).outcome().await
    };
    let (to_channel, to_user) = tokio::join!(publish(&alice, "to all"), alice.publish("bob", "to bob"));
    assert!(to_channel.unwrap().message_id.is_some() && to_user.unwrap().message_id.is_some());
    expect(&mut carol, "bob", "to all").await;
    let message = bob.message().await;
    assert_eq!((message.content.as_text(), &message.channel), (Some("to bob"), &None));
    let (mut from_inbox, mut from_channel) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let message = alice.message().await;
        let texts = if message.channel.is_some() { &mut from_channel } else { &mut from_inbox };
        texts.push(message.content.as_text().unwrap().to_owned());
    }
    assert_eq!((from_inbox, from_channel), (vec!["to bob".to_owned()], vec!["to all".to_owned()]));

    match publish(&bob, "let me in").await {
        Err(PublishError::Refused { kind: RefusalKind::Rule, reason, .. }) => {
            assert_eq!(reason, "bob is not a member of channel bob");
        }
        other => panic!("{other:?}"),
    }
    for number in 0..20 {
        alice.client().send(group("bob"), Content::text(format!("message {number}"))).await.unwrap();
    }
    for number in 0..20 {
        expect(&mut carol, "bob", &format!("message {number}")).await;
    }
}

async fn publish_raw(raw: &mut Raw, number: u64, text: &str) -> Outcome {
    let content = pb::Content::from(pb::content::Body::Text(pb::Text { text: text.into() }));
    let publish =
        pb::Publish { number, content: Some(content), channel: "team".into(), ..Default::default() };
    raw.send_frame(Body::Publish(publish)).await;
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
    im.channel("team").add_members(["alice"]).await.unwrap();
    let mut alice = Raw::connect(&stack, 0, via).await;
    alice.log_in("alice").await;
    let first = publish_raw(&mut alice, 7, "hi").await;
    assert!(matches!(&first, Outcome::Accepted(accepted) if accepted.message_id != 0), "{first:?}");
    for _ in 0..5 {
        assert_eq!(publish_raw(&mut alice, 7, "hi").await, first);
    }
    let Outcome::Refused(refused) = publish_raw(&mut alice, 7, "something else").await else { panic!() };
    assert_eq!((refused.kind(), refused.retry_after_ms), (pb::RefusalKind::NumberUsed, 0));
    let Outcome::Refused(refused) = publish_raw(&mut alice, 6, "older").await else { panic!() };
    assert_eq!(refused.kind(), pb::RefusalKind::NumberUsed);
    let ends = stack.cluster().log().ends(&[LogId::Channel(group("team"))]).await.unwrap();
    assert_eq!(ends[0].last, 1);
}

async fn a_send_under_one_key_has_one_effect(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let (im, other) = (stack.backend().await, stack.backend().await);
    let _service = serve(&im).await;
    im.channel("team").add_members(["bob"]).await.unwrap();
    let mut bob = connect(&stack, "bob", 0, via).await;
    let message = || Message::new().from("alice").idempotency_key("order-1");
    let sends = (0..10).map(|number| if number % 2 == 0 { &im } else { &other });
    let teams: Vec<_> = sends.map(|im| im.channel("team")).collect();
    let sends = teams.iter().map(|team| team.send(message().text("hi")));
    let receipts: Vec<Receipt> =
        futures_util::future::join_all(sends).await.into_iter().map(Result::unwrap).collect();
    assert!(receipts.iter().all(|receipt| receipt.message_id == receipts[0].message_id));
    assert!(receipts.iter().all(|receipt| receipt.channel.as_ref().unwrap().seq == 1));
    assert_eq!(receipts.iter().filter(|receipt| !receipt.repeated).count(), 1);
    let conflict = other.channel("team").send(message().text("something else")).await;
    assert!(matches!(conflict, Err(SendError::Conflict)), "{conflict:?}");
    expect(&mut bob, "team", "hi").await;
    let after = events_before_marker(&im, &mut bob, "bob").await;
    assert!(!after.iter().any(|event| matches!(event, Event::Message(_))), "{after:?}");
}

async fn live_messages_are_kept_nowhere(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["a", "b"]).await.unwrap();
    let mut clients = [connect(&stack, "a", 0, via).await, connect(&stack, "b", 1, via).await];
    let typing = Message::to(channel("team")).from("a").text("typing").durability(Durability::Transient);
    let receipt = im.send(typing).await.unwrap();
    let told = receipt.channel.unwrap();
    assert_eq!((told.seq, told.pushed.len(), receipt.durability), (0, 2, Durability::Transient));
    for client in &mut clients {
        let message = client.message().await;
        assert_eq!(message.channel, Some(group("team")));
        assert_eq!((message.content.as_text(), message.position), (Some("typing"), None));
    }
    let ends = stack.cluster().log().ends(&[LogId::Channel(group("team"))]).await.unwrap();
    assert_eq!(ends[0].last, 0);
}
