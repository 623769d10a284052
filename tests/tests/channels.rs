//! Groups: every member gets every message once and in order, wherever it is connected, and nobody else does.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{collections::BTreeSet, time::Duration};

use im_proto::{pb, pb::ResetReason as Wire, pb::frame::Body, pb::publish_result::Outcome};
use im_sdk::{
    Content,
    backend::{Durability, Im, Incoming, Message, Receipt, SendError, Service, channel, user},
    client::{Event, PublishError, RefusalKind, ResetReason},
    cluster::{BusEvent, LogId, Subscription},
    id::{ChannelId, ServerId, UserId},
};
use im_tests::{
    Setup, Stack, TestClient, Via, everywhere,
    raw::{Heard, Raw},
    stack::{PATIENCE, ServerOptions},
    wait_until,
};
use prost::Message as _;

everywhere!(
    members_on_several_servers_receive_once_and_in_order,
    adding_and_removing_take_effect_at_once,
    whoever_is_added_while_connecting_gets_what_is_sent_then,
    an_offline_member_goes_on_from_its_cursor,
    whoever_is_removed_while_offline_is_told,
    whoever_is_removed_while_syncing_follows_no_more,
    a_killed_server_loses_nothing,
    devices_publish_to_channels,
    a_publish_under_one_number_has_one_effect,
    a_send_under_one_key_has_one_effect,
    live_messages_are_kept_nowhere,
    routes_follow_the_members,
);

fn group(name: &str) -> ChannelId {
    ChannelId::parse(name).unwrap()
}

async fn serve(im: &Im) -> Service {
    im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.unwrap()
}

async fn text_to(im: &Im, name: &str, text: &str) -> Receipt {
    im.send(Message::to(channel(name)).from("somebody").text(text)).await.unwrap()
}

/// A device that has everything.
async fn connect(stack: &Stack, user: &str, server: usize, via: Via) -> TestClient {
    let mut client = stack.connect(user, "web/tab", server, via).await;
    client.up_to_date().await;
    client
}

async fn reset(client: &mut TestClient, name: &str, wanted: ResetReason) {
    let what = format!("{name}: {}", wanted.as_str());
    client
        .next(&what, |event| match event {
            Event::Reset { position, reason } => {
                (position.log.as_str() == name && *reason == wanted).then_some(())
            }
            Event::Message(message) => panic!("{what} expected before {message:?}"),
            _ => None,
        })
        .await;
}

async fn expect(client: &mut TestClient, name: &str, text: &str) {
    let message = client.message().await;
    assert_eq!(message.content.as_text(), Some(text), "{message:?}");
    assert_eq!(message.channel.as_ref().map(ChannelId::as_str), Some(name));
}

/// Whatever comes before a message to the user itself.
async fn until_marked(im: &Im, client: &mut TestClient, user_name: &str) -> Vec<Event> {
    im.send(Message::to(user(user_name)).text("marker")).await.unwrap();
    let mut before = Vec::new();
    client
        .next("the marker", |event| match event {
            Event::Message(message) if message.content.as_text() == Some("marker") => Some(()),
            other => {
                before.push(other.clone());
                None
            }
        })
        .await;
    before
}

/// Hears what one server is told.
struct Tap {
    server: ServerId,
    subscription: Subscription,
}

impl Tap {
    async fn on(stack: &Stack, index: usize) -> Self {
        let server = stack.server_id(&stack.servers[index]).await;
        let subject = stack.cluster().names().server(&server);
        Self { server, subscription: stack.cluster().bus().subscribe(subject).await.unwrap() }
    }

    /// The records for a channel, until there are as many; then no further one may come before `last`.
    async fn records(&mut self, name: &str, count: usize) -> Vec<pb::Record> {
        let mut records = Vec::new();
        while records.len() < count {
            let event = tokio::time::timeout(PATIENCE, self.subscription.next()).await;
            let event = event.unwrap_or_else(|_| panic!("{} of {count} records", records.len()));
            records.extend(channel_records(event.unwrap(), name));
        }
        records
    }

    /// What else has come.
    fn rest(&mut self, name: &str) -> usize {
        let mut count = 0;
        while let Some(event) = self.subscription.try_next() {
            count += channel_records(event, name).len();
        }
        count
    }
}

fn channel_records(event: BusEvent, name: &str) -> Vec<pb::Record> {
    let BusEvent::Message(message) = event else { return Vec::new() };
    let envelope = pb::Envelope::decode(message.payload).unwrap();
    envelope.records.into_iter().filter(|record| record.channel == name).collect()
}

async fn members_on_several_servers_receive_once_and_in_order(setup: Setup, via: Via) {
    const COUNT: usize = 40;
    let stack = Stack::start(setup, 3).await;
    let (im, other) = (stack.backend().await, stack.backend().await);
    let _services = [serve(&im).await, serve(&other).await];
    im.channel("team").add_members(["a", "b", "c", "d", "offline"]).await.unwrap();
    let mut members = Vec::new();
    for (index, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        members.push(connect(&stack, name, index % 2, via).await);
    }
    let mut stranger = connect(&stack, "stranger", 0, via).await;
    let mut taps = [Tap::on(&stack, 0).await, Tap::on(&stack, 1).await];
    let mut outside = Tap::on(&stack, 2).await;

    let mut seqs = Vec::new();
    for number in 0..COUNT {
        let im = if number % 2 == 0 { &im } else { &other };
        let receipt = text_to(im, "team", &format!("message {number}")).await;
        let told = receipt.channel.unwrap();
        seqs.push(told.seq);
        let servers: BTreeSet<&ServerId> = told.pushed.iter().collect();
        assert_eq!(servers, taps.iter().map(|tap| &tap.server).collect(), "both, and not the third");
        assert!(told.unconfirmed.is_empty());
    }
    assert_eq!(seqs, (1..=COUNT as u64).collect::<Vec<_>>(), "one entry each");
    let ends = stack.cluster().log().ends(&[LogId::Channel(group("team"))]).await.unwrap();
    assert_eq!(ends[0].last, COUNT as u64);
    for member in &mut members {
        for number in 0..COUNT {
            let message = member.message().await;
            assert_eq!(message.content.as_text(), Some(format!("message {number}").as_str()));
            assert_eq!(message.from, Some(UserId::parse("somebody").unwrap()));
            let position = message.position.unwrap();
            assert_eq!((position.log.as_str(), position.seq), ("team", number as u64 + 1));
        }
    }
    for (index, member) in members.iter_mut().enumerate() {
        assert_eq!(until_marked(&im, member, ["a", "b", "c", "d"][index]).await, [], "nothing twice");
    }
    assert_eq!(until_marked(&im, &mut stranger, "stranger").await, []);
    for tap in &mut taps {
        let records = tap.records("team", COUNT).await;
        assert!(records.iter().all(|record| record.connections.is_empty()));
        assert_eq!(tap.rest("team"), 0, "one record for a server and a message");
    }
    assert_eq!(outside.rest("team"), 0, "nobody is there");
}

async fn adding_and_removing_take_effect_at_once(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut bob = connect(&stack, "bob", 0, via).await;
    let mut carol = connect(&stack, "carol", 1, via).await;
    let team = im.channel("team");
    team.add_members(["bob"]).await.unwrap();
    reset(&mut bob, "team", ResetReason::New).await;
    text_to(&im, "team", "one").await;
    expect(&mut bob, "team", "one").await;
    assert!(team.is_member(&UserId::parse("bob").unwrap()).await.unwrap());

    team.remove_members(["bob", "carol"]).await.unwrap();
    // From here on nothing of it reaches anybody.
    text_to(&im, "team", "two").await;
    reset(&mut bob, "team", ResetReason::Left).await;
    assert_eq!(until_marked(&im, &mut bob, "bob").await, []);
    assert_eq!(until_marked(&im, &mut carol, "carol").await, [], "who was no member is told nothing");

    team.add_members(["bob", "carol"]).await.unwrap();
    for client in [&mut bob, &mut carol] {
        reset(client, "team", ResetReason::New).await;
    }
    text_to(&im, "team", "three").await;
    for client in [&mut bob, &mut carol] {
        // It begins near the end: with what was sent in the last moments.
        client.next("three", |event| is_text(event, "three").then_some(())).await;
    }
    assert_eq!(team.members(None, 10).await.unwrap(), ["bob", "carol"].map(|id| UserId::parse(id).unwrap()));
}

fn is_text(event: &Event, text: &str) -> bool {
    matches!(event, Event::Message(message) if message.content.as_text() == Some(text))
}

async fn whoever_is_added_while_connecting_gets_what_is_sent_then(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    for round in 0..8 {
        let (name, user) = (format!("team-{round}"), format!("user-{round}"));
        let mut client = stack.open(&user, "web/tab", &[stack.servers[round % 2].endpoint(via)]);
        let send = async {
            // Sometimes before it is connected, sometimes after, mostly while it connects.
            for _ in 0..round * 50 {
                tokio::task::yield_now().await;
            }
            im.channel(&*name).add_members([&*user]).await.unwrap();
            for text in ["one", "two", "three"] {
                text_to(&im, &name, text).await;
            }
        };
        let receive = async {
            for text in ["one", "two", "three"] {
                expect(&mut client, &name, text).await;
            }
        };
        tokio::join!(send, receive);
    }
}

async fn an_offline_member_goes_on_from_its_cursor(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let channels = ["red", "blue"];
    for name in channels {
        im.channel(name).add_members(["bob"]).await.unwrap();
    }
    let mut bob = connect(&stack, "bob", 0, via).await;
    for name in channels {
        text_to(&im, name, "one").await;
        expect(&mut bob, name, "one").await;
    }
    bob.client().disconnect();
    stack.wait_online(&im, "bob", 0).await;
    for number in 0..300 {
        text_to(&im, "red", &format!("message {number}")).await;
    }
    bob.client().connect();
    for number in 0..300 {
        expect(&mut bob, "red", &format!("message {number}")).await;
    }
    text_to(&im, "blue", "two").await;
    expect(&mut bob, "blue", "two").await;
}

async fn whoever_is_removed_while_offline_is_told(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["bob"]).await.unwrap();
    let mut bob = connect(&stack, "bob", 0, via).await;
    text_to(&im, "team", "one").await;
    expect(&mut bob, "team", "one").await;
    bob.client().disconnect();
    stack.wait_online(&im, "bob", 0).await;
    im.channel("team").remove_members(["bob"]).await.unwrap();
    text_to(&im, "team", "two").await;
    bob.client().connect();
    reset(&mut bob, "team", ResetReason::Left).await;
    text_to(&im, "team", "three").await;
    let after = until_marked(&im, &mut bob, "bob").await;
    assert!(!after.iter().any(|event| matches!(event, Event::Message(_) | Event::Reset { .. })), "{after:?}");
}

async fn whoever_is_removed_while_syncing_follows_no_more(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let (im, other) = (stack.backend().await, stack.backend().await);
    let _services = [serve(&im).await, serve(&other).await];
    for round in 0..6 {
        let (name, user) = (format!("team-{round}"), format!("user-{round}"));
        let team = im.channel(&*name);
        team.add_members([&*user]).await.unwrap();
        let mut client = connect(&stack, &user, 0, via).await;
        text_to(&im, &name, "one").await;
        expect(&mut client, &name, "one").await;
        client.client().disconnect();
        stack.wait_online(&im, &user, 0).await;
        for _ in 0..50 {
            text_to(&im, &name, "more").await;
        }
        client.client().connect();
        client.connected().await;
        for _ in 0..round * 40 {
            tokio::task::yield_now().await;
        }
        team.remove_members([&*user]).await.unwrap();
        let mut left = 0;
        client
            .next("left", |event| match event {
                Event::Reset { reason: ResetReason::Left, .. } => {
                    left += 1;
                    Some(())
                }
                _ => None,
            })
            .await;
        wait_until("nothing of it comes any more", PATIENCE, async || {
            text_to(&im, &name, "too late").await;
            let before = until_marked(&im, &mut client, &user).await;
            !before.iter().any(|event| matches!(event, Event::Message(_) | Event::Reset { .. }))
        })
        .await;
    }
}

async fn a_killed_server_loses_nothing(setup: Setup, via: Via) {
    const COUNT: usize = 60;
    let options = ServerOptions {
        heartbeat: Duration::from_millis(500),
        lease: Duration::from_secs(2),
        ..ServerOptions::default()
    };
    let mut stack = Stack::start_with(setup, 2, options).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["a", "b"]).await.unwrap();
    let endpoints = [stack.servers[0].endpoint(via), stack.servers[1].endpoint(via)];
    let mut moving = stack.open("a", "web/tab", &endpoints);
    assert_eq!(moving.connected().await, endpoints[0]);
    moving.up_to_date().await;
    let mut staying = connect(&stack, "b", 1, via).await;
    let dead = stack.server_id(&stack.servers[0]).await;
    for number in 0..COUNT {
        if number == COUNT / 3 {
            stack.servers.remove(0).kill();
        }
        text_to(&im, "team", &format!("message {number}")).await;
    }
    for client in [&mut moving, &mut staying] {
        for number in 0..COUNT {
            expect(client, "team", &format!("message {number}")).await;
        }
    }
    wait_until("the dead server's route is swept", PATIENCE, async || {
        text_to(&im, "team", "more").await;
        !servers_of(&stack, "team").await.contains(&dead)
    })
    .await;
}

async fn servers_of(stack: &Stack, name: &str) -> BTreeSet<ServerId> {
    stack.cluster().routes().channel_servers(&group(name)).await.unwrap().into_iter().collect()
}

async fn devices_publish_to_channels(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    // A user of the same name is somebody else.
    im.channel("bob").add_members(["alice", "carol"]).await.unwrap();
    let mut alice = connect(&stack, "alice", 0, via).await;
    let mut carol = connect(&stack, "carol", 1, via).await;
    let mut bob = connect(&stack, "bob", 1, via).await;
    let publish = async |client: &TestClient, text: &str| {
        client.client().publish(group("bob"), Content::text(text)).await
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
    let content = pb::Content { body: Some(pb::content::Body::Text(pb::Text { text: text.into() })) };
    let publish = pb::Publish { number, to: String::new(), content: Some(content), channel: "team".into() };
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
    assert_eq!((refused.kind(), refused.retry_after_ms), (pb::RefusalKind::Invalid, 0));
    let Outcome::Refused(refused) = publish_raw(&mut alice, 6, "older").await else { panic!() };
    assert_eq!(refused.kind(), pb::RefusalKind::Invalid);
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
    let after = until_marked(&im, &mut bob, "bob").await;
    assert!(!after.iter().any(|event| matches!(event, Event::Message(_))), "{after:?}");
}

async fn live_messages_are_kept_nowhere(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["a", "b"]).await.unwrap();
    let mut clients = [connect(&stack, "a", 0, via).await, connect(&stack, "b", 1, via).await];
    let typing = Message::to(channel("team")).from("a").text("typing").durability(Durability::Live);
    let receipt = im.send(typing).await.unwrap();
    let told = receipt.channel.unwrap();
    assert_eq!((told.seq, told.pushed.len(), receipt.durability), (0, 2, Durability::Live));
    for client in &mut clients {
        let message = client.message().await;
        assert_eq!(message.channel, Some(group("team")));
        assert_eq!((message.content.as_text(), message.position), (Some("typing"), None));
    }
    let ends = stack.cluster().log().ends(&[LogId::Channel(group("team"))]).await.unwrap();
    assert_eq!(ends[0].last, 0);
}

async fn routes_follow_the_members(setup: Setup, via: Via) {
    let mut stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["a", "b"]).await.unwrap();
    let ids = [stack.server_id(&stack.servers[0]).await, stack.server_id(&stack.servers[1]).await];
    assert_eq!(servers_of(&stack, "team").await, BTreeSet::new());
    let mut a = connect(&stack, "a", 0, via).await;
    let _b = connect(&stack, "b", 1, via).await;
    assert_eq!(servers_of(&stack, "team").await, ids.clone().into());
    a.client().disconnect();
    wait_until("the first server has no member any more", PATIENCE, async || {
        servers_of(&stack, "team").await == BTreeSet::from([ids[1].clone()])
    })
    .await;
    a.client().connect();
    a.up_to_date().await;
    assert_eq!(
        servers_of(&stack, "team").await,
        ids.clone().into(),
        "it comes back before the logs are read"
    );
    text_to(&im, "team", "hi").await;
    expect(&mut a, "team", "hi").await;
    stack.servers.remove(0).shutdown().await;
    assert_eq!(servers_of(&stack, "team").await, BTreeSet::from([ids[1].clone()]), "it takes its own away");
}

/// What comes up to and with the last `SyncDone`: resets, entries, ends.
#[derive(Debug, Default)]
struct Synced {
    resets: Vec<(String, Wire, u64)>,
    entries: Vec<(String, u64)>,
    ends: Vec<(String, u64)>,
}

async fn sync(raw: &mut Raw, logs: usize) -> Synced {
    let mut synced = Synced::default();
    while synced.ends.len() < logs {
        match raw.heard().await {
            Heard::Frame(Body::Reset(reset)) => {
                let reason = reset.reason();
                let cursor = reset.cursor.unwrap();
                synced.resets.push((cursor.channel, reason, cursor.seq));
            }
            Heard::Frame(Body::Push(push)) => synced.entries.push((push.channel, push.seq)),
            Heard::Frame(Body::SyncDone(done)) => {
                synced.ends.extend(done.ends.into_iter().map(|end| (end.channel, end.seq)));
            }
            other => panic!("{other:?}"),
        }
    }
    synced
}

fn cursor(channel: &str, seq: u64, id: u64) -> pb::Cursor {
    pb::Cursor { channel: channel.into(), seq, id }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursors_that_lead_nowhere_are_reset() {
    let stack = Stack::start(Setup::Clustered, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    for name in ["trimmed", "forked", "fine"] {
        im.channel(name).add_members(["bob"]).await.unwrap();
        for _ in 0..5 {
            text_to(&im, name, "hi").await;
        }
    }
    let address = stack.services().unwrap().redis.address();
    let mut redis = redis::Client::open(address).unwrap().get_multiplexed_async_connection().await.unwrap();
    let mut trim = redis::cmd("XTRIM");
    let trimmed: i64 =
        trim.arg("im:{c:trimmed}:channel").arg("MAXLEN").arg(2).query_async(&mut redis).await.unwrap();
    assert_eq!(trimmed, 3);
    let cursors = vec![
        cursor("trimmed", 1, 0),
        cursor("forked", 4, 4711),
        cursor("fine", 3, 0),
        cursor("strange", 7, 0),
        cursor("no channel", 7, 0),
        cursor("fine-", u64::MAX, u64::MAX),
        cursor("", 0, 0),
    ];
    let mut bob = Raw::connect(&stack, 0, Via::WebSocket).await;
    bob.log_in_with("bob", cursors).await;
    let Synced { mut resets, mut entries, mut ends } = sync(&mut bob, 4).await;
    resets.sort();
    let left = |name: &str| (name.to_owned(), Wire::Left, 0);
    let expected = [
        left("fine-"),
        ("forked".to_owned(), Wire::Forked, 0),
        left("strange"),
        ("trimmed".to_owned(), Wire::Trimmed, 3),
    ];
    assert_eq!(resets, expected);
    entries.sort();
    let all = |name: &str, from: u64| (from..=5).map(|seq| (name.to_owned(), seq)).collect::<Vec<_>>();
    assert_eq!(entries, [all("fine", 4), all("forked", 1), all("trimmed", 4)].concat());
    ends.sort();
    let expected =
        [("", 0), ("fine", 5), ("forked", 5), ("trimmed", 5)].map(|(name, end)| (name.into(), end));
    assert_eq!(ends, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_in_thousands_of_channels_is_brought_up_to_date() {
    const CHANNELS: usize = 2_500;
    let stack = Stack::start(Setup::Clustered, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let names: Vec<String> = (0..CHANNELS).map(|number| format!("{number:050}")).collect();
    let bob = [UserId::parse("bob").unwrap()];
    let groups: Vec<ChannelId> = names.iter().map(|name| group(name)).collect();
    let adds = groups.iter().map(|channel| stack.cluster().members().add(channel, &bob));
    futures_util::future::join_all(adds).await.into_iter().for_each(|added| added.unwrap());
    for name in names.iter().step_by(100) {
        text_to(&im, name, "hi").await;
    }
    let mut raw = Raw::connect(&stack, 0, Via::WebSocket).await;
    // More than a `Hello` holds, so one of them is enough.
    raw.log_in_with("bob", vec![cursor(&names[0], 0, 0)]).await;
    let synced = sync(&mut raw, CHANNELS + 1).await;
    assert_eq!(synced.resets.len(), CHANNELS, "one for each that was not listed, the inbox among them");
    assert_eq!(synced.entries.len(), CHANNELS / 100, "what came in the last moments");
    let ends: BTreeSet<String> = synced.ends.into_iter().map(|(name, _)| name).collect();
    assert_eq!(ends.len(), CHANNELS + 1);
    // It has joined them all.
    text_to(&im, &names[CHANNELS - 1], "live").await;
    assert!(
        matches!(raw.heard().await, Heard::Frame(Body::Push(push)) if push.channel == names[CHANNELS - 1])
    );
    // The real client as well, which has to ask in several parts.
    let mut client = stack.connect("bob", "ios/phone", 0, Via::WebSocket).await;
    client.up_to_date().await;
    client.client().disconnect();
    stack.wait_online(&im, "bob", 1).await;
    for name in names.iter().step_by(500) {
        text_to(&im, name, "while away").await;
    }
    client.client().connect();
    let mut missing: BTreeSet<String> = names.iter().step_by(500).cloned().collect();
    while !missing.is_empty() {
        let message = client.message().await;
        if message.content.as_text() == Some("while away") {
            assert!(missing.remove(message.channel.unwrap().as_str()), "once");
        }
    }
}
