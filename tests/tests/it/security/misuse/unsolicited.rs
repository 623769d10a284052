//! Messages and signals to users who never asked for them, with a handler that decides nothing and the default budgets.

use std::sync::{Arc, Mutex};

use im_proto::{pb, pb::frame::Body};
use im_sdk::{
    Signal,
    backend::{
        Acceptance, Budget, Handler, Im, Incoming, Message, Reach, ReachKind, ReachRights, Refusal,
        UserBudgets, user,
    },
    client::Event,
    cluster::{DeviceAck, LogId},
    content::Content,
};
use im_tests::{
    Setup, Stack, Via,
    channels::{events_before_marker, group, serve},
    everywhere,
    permissive_handler::{device, signal},
    raw::{Heard, Raw},
    stack::PATIENCE,
    wait_until,
};

use super::{id, last, raw};

everywhere!(
    ghosts_are_few,
    a_flood_of_publishes_is_told_when_to_go_on,
    strangers_signals_go_nowhere,
    a_handler_decides_who_reaches_whom,
    foreign_channels_are_not_acknowledged,
);

/// Publishes a text to a user and returns the result.
async fn publish(raw: &mut Raw, number: u64, to: &str) -> Result<u64, pb::Refused> {
    let content = Some(Content::text("boo").into());
    raw.send_frame(Body::Publish(pb::Publish { number, to: to.into(), content, ..pb::Publish::default() }))
        .await;
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

async fn ghosts_are_few(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let mut budgets = UserBudgets::default();
    budgets.unknown_contacts = Budget::per_hour(20, 20);
    let im = stack.backend_with(Im::builder().user_budgets(budgets)).await;
    let _service = serve(&im).await;
    let bob = device(&stack, "bob", "web/tab", 0, via).await;
    let mut mallory = raw(&stack, "mallory", via).await;
    let (mut taken, mut refused) = (0, Vec::new());
    for number in 1..=60 {
        match publish(&mut mallory, number, &format!("ghost-{number}")).await {
            Ok(_) => taken += 1,
            Err(error) => refused.push(error),
        }
    }
    assert_eq!((taken, refused.len()), (20, 40));
    for refused in &refused {
        assert_eq!(refused.kind(), pb::RefusalKind::TooMany, "{refused:?}");
        assert!((1..=180_000).contains(&refused.retry_after_ms), "{refused:?}");
    }
    let ghosts: Vec<LogId> = (1..=60).map(|number| LogId::Inbox(id(&format!("ghost-{number}")))).collect();
    let ends = stack.cluster().log().ends(&ghosts).await.unwrap();
    assert_eq!(ends.iter().filter(|ends| ends.last > 0).count(), 20);
    // It can still write to users it knows and to users who are online, and nobody else is affected.
    publish(&mut mallory, 61, "ghost-1").await.unwrap();
    publish(&mut mallory, 62, "bob").await.unwrap();
    bob.publish("mallory", "who are you?").await.unwrap();
    bob.publish("nobody-yet", "hi").await.unwrap();
}

async fn a_flood_of_publishes_is_told_when_to_go_on(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let mut budgets = UserBudgets::default();
    budgets.publishes = Budget::per_second(2, 5);
    let im = stack.backend_with(Im::builder().user_budgets(budgets)).await;
    let _service = serve(&im).await;
    let mut mallory = raw(&stack, "mallory", via).await;
    let mut refusals = Vec::new();
    for number in 1..=20 {
        if let Err(refused) = publish(&mut mallory, number, "mallory").await {
            refusals.push(refused);
        }
    }
    let first = refusals.first().expect("more than the budget has");
    assert_eq!(first.kind(), pb::RefusalKind::TooMany);
    assert!((1..=500).contains(&first.retry_after_ms), "{first:?}");
    // A client waits for as long as it is told to; other users do not wait.
    let bob = device(&stack, "bob", "web/tab", 0, via).await;
    for number in 0..8 {
        bob.publish("bob", &format!("note {number}")).await.unwrap();
    }
    assert_eq!(last(&stack, LogId::Inbox(id("bob"))).await, 8);
}

async fn strangers_signals_go_nowhere(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut bob = device(&stack, "bob", "web/tab", 0, via).await;
    let carol = device(&stack, "carol", "web/tab", 0, via).await;
    let mallory = device(&stack, "mallory", "web/tab", 0, via).await;
    mallory.client().signal(id("bob"), Signal::typing()).await;
    // Writing to a user permits no signals: only messages from that user do.
    mallory.publish("bob", "hello?").await.unwrap();
    mallory.client().signal(id("bob"), Signal::typing()).await;
    bob.publish("carol", "hi").await.unwrap();
    carol.client().signal(id("bob"), Signal::typing()).await;
    assert_eq!(signal(&mut bob).await.from, id("carol"), "and nothing before it");
    bob.publish("mallory", "what is it?").await.unwrap();
    mallory.client().signal(id("bob"), Signal::typing()).await;
    assert_eq!(signal(&mut bob).await.from, id("mallory"));
}

/// A handler that blocks mallory for bob.
#[derive(Clone, Default)]
struct Blocked(Arc<Mutex<Vec<ReachKind>>>);

impl Handler for Blocked {
    async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
        Ok(incoming.accept())
    }

    async fn may_reach(&self, reach: &Reach) -> Result<ReachRights, Refusal> {
        if (reach.from.as_str(), reach.to.as_str()) != ("mallory", "bob") {
            return Ok(ReachRights::Granted);
        }
        self.0.lock().unwrap().push(reach.what);
        Err(Refusal::new("bob has blocked you").with_code(7))
    }
}

async fn a_handler_decides_who_reaches_whom(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let blocked = Blocked::default();
    let _service = im.serve(blocked.clone()).await.unwrap();
    let mut bob = device(&stack, "bob", "web/tab", 0, via).await;
    let carol = device(&stack, "carol", "web/tab", 0, via).await;
    let mut mallory = raw(&stack, "mallory", via).await;
    // A message from before the block.
    let told = im.send(Message::to(user("mallory")).from("bob").text("hi")).await.unwrap();
    bob.next("the own message", |event| matches!(event, Event::Message(_)).then_some(())).await;
    let refused = publish(&mut mallory, 1, "bob").await.unwrap_err();
    assert_eq!((refused.kind(), refused.code, refused.retry_after_ms), (pb::RefusalKind::Rule, 7, 0));
    assert_eq!(refused.reason, "bob has blocked you");
    let what = Some(pb::change::What::Pin(pb::Pin::default()));
    let pin = pb::Change { message_id: told.message_id.as_u64(), seq: 1, what, ..pb::Change::default() };
    let content = Some(pb::content::Body::Change(pin.into()).into());
    let change = pb::Publish { number: 2, to: "bob".into(), content, ..pb::Publish::default() };
    mallory.send_frame(Body::Publish(change)).await;
    let typing = Some(pb::signal::Body::Typing(pb::Typing::default()));
    mallory
        .send_frame(Body::Signal(pb::Signal { to: "bob".into(), body: typing, ..Default::default() }))
        .await;
    let mark = pb::Mark { user: "bob".into(), read: 1, ..pb::Mark::default() };
    let question = Some(pb::request::Question::Mark(pb::MarkRequest { marks: vec![mark] }));
    mallory.send_frame(Body::Request(pb::Request { number: 3, question })).await;
    let wanted = [ReachKind::Message, ReachKind::Change, ReachKind::Signal, ReachKind::Receipt];
    wait_until("all are asked for", PATIENCE, async || {
        let asked = blocked.0.lock().unwrap();
        wanted.iter().all(|kind| asked.contains(kind))
    })
    .await;
    carol.client().signal(id("bob"), Signal::typing()).await;
    assert_eq!(signal(&mut bob).await.from, id("carol"), "and nothing before it");
    let events = events_before_marker(&im, &mut bob, "bob").await;
    assert!(!events.iter().any(|event| matches!(event, Event::ConversationsChanged(_))), "{events:?}");
    assert_eq!(last(&stack, LogId::Inbox(id("bob"))).await, 2, "its own message and the mark");
}

/// Records the notifications of a handler.
#[derive(Clone, Default)]
struct Acks(Arc<Mutex<Vec<DeviceAck>>>);

impl Handler for Acks {
    async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
        Ok(incoming.accept())
    }

    async fn acked(&self, ack: DeviceAck) {
        self.0.lock().unwrap().push(ack);
    }
}

async fn foreign_channels_are_not_acknowledged(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let acks = Acks::default();
    let _service = im.serve(acks.clone()).await.unwrap();
    im.channel("board").add_members(["alice"]).await.unwrap();
    im.channel("team").add_members(["mallory", "alice"]).await.unwrap();
    let mut mallory = raw(&stack, "mallory", via).await;
    for channel in ["board", "team"] {
        im.channel(channel).send(Message::new().from("alice").text("hi")).await.unwrap();
    }
    let cursor = |channel: &str| pb::Cursor { channel: channel.into(), seq: 1, id: 0 };
    let mut cursors: Vec<pb::Cursor> = (0..500).map(|number| cursor(&format!("secret-{number}"))).collect();
    cursors.extend([cursor("board"), cursor("team")]);
    mallory.send_frame(Body::Ack(pb::Ack { cursors })).await;
    wait_until("the truth is told", PATIENCE, async || !acks.0.lock().unwrap().is_empty()).await;
    let told: Vec<LogId> = acks.0.lock().unwrap().iter().map(|ack| ack.log.clone()).collect();
    assert_eq!(told, [LogId::Channel(group("team"))]);
}
