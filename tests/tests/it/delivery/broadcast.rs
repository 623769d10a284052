//! Broadcasts to everybody and messages to a large group cost one envelope per server.

use std::collections::BTreeSet;

use futures_util::{StreamExt, future::join_all, stream};
use im_proto::{pb, pb::frame::Body};
use im_sdk::{
    backend::{Durability, InvalidMessage, Message, SendError},
    cluster::LogId,
};
use im_tests::{
    Setup, Stack, Via,
    channels::{EnvelopeTap, events_before_marker, group, text_to},
    everywhere,
    permissive_handler::{PermissiveHandler, device},
    raw::{Heard, Raw},
};

everywhere!(everybody_who_is_online_gets_it_once);

async fn everybody_who_is_online_gets_it_once(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    let mut clients = Vec::new();
    for (user, name, server) in
        [("alice", "ios/phone", 0), ("alice", "web/tab", 1), ("bob", "web/tab", 1), ("carol", "web/tab", 0)]
    {
        clients.push((user, device(&stack, user, name, server, via).await));
    }
    for number in 0..3 {
        let receipt = im.broadcast(Message::new().from("ops").text(format!("news {number}"))).await.unwrap();
        assert_eq!((receipt.servers.len(), receipt.connections), (2, 4));
        assert!(receipt.refused.is_empty() && receipt.unconfirmed.is_empty());
    }
    for (user, client) in &mut clients {
        for number in 0..3 {
            let message = client.message().await;
            assert_eq!(message.content.as_text(), Some(format!("news {number}").as_str()));
            assert_eq!((message.position, message.channel), (None, None));
        }
        assert_eq!(events_before_marker(&im, client, user).await, [], "once");
    }
    let logged = im.broadcast(Message::new().text("hi").durability(Durability::Logged)).await;
    assert!(matches!(logged, Err(SendError::Invalid(InvalidMessage::BroadcastNeedsTransient))), "{logged:?}");
    assert!(matches!(im.broadcast(Message::new()).await, Err(SendError::Invalid(InvalidMessage::NoContent))));
}

/// A broadcast that finds a full queue on a server reports that, and reaches nobody there. Runs embedded, since so
/// many broadcasts arrive together there; `im-server` has a test of the queue itself.
async fn what_finds_no_place_is_refused(via: Via) {
    const AT_ONCE: usize = 400;
    let stack = Stack::start(Setup::Embedded, 1).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    let mut alice = [
        device(&stack, "alice", "ios/phone", 0, via).await,
        device(&stack, "alice", "web/tab", 0, via).await,
    ];
    let (mut taken, mut refused, mut round) = (BTreeSet::new(), 0, 0);
    while refused == 0 {
        assert!(round < 20, "all of {} were taken", taken.len());
        round += 1;
        let broadcasts = (0..AT_ONCE).map(|number| {
            let (im, text) = (&im, format!("{round}.{number}"));
            async move { (im.broadcast(Message::new().text(&text)).await.unwrap(), text) }
        });
        for (receipt, text) in join_all(broadcasts).await {
            match (receipt.servers.len(), receipt.refused.len(), receipt.unconfirmed.len()) {
                (1, 0, 0) => _ = taken.insert(text),
                (0, 1, 0) => refused += 1,
                _ => panic!("{receipt:?}"),
            }
        }
    }
    while im.broadcast(Message::new().text("last")).await.unwrap().servers.is_empty() {}
    for client in &mut alice {
        let mut heard = BTreeSet::new();
        loop {
            let text = client.text().await;
            if text == "last" {
                break;
            }
            assert!(heard.insert(text), "once");
        }
        assert_eq!(heard, taken, "those that were taken, and no other");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_place_is_refused_over_quic() {
    what_finds_no_place_is_refused(Via::Quic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_place_is_refused_over_websocket() {
    what_finds_no_place_is_refused(Via::WebSocket).await;
}

const MEMBERS: usize = 10_000;
const ONLINE: usize = 1000;
const SERVERS: usize = 3;

async fn a_group_of_ten_thousand(setup: Setup) {
    let stack = Stack::start(setup, SERVERS).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    im.channel("crowd").add_members((0..MEMBERS).map(|number| format!("user-{number}"))).await.unwrap();
    let log_in = async |number: usize| {
        let mut raw = Raw::connect(&stack, number % SERVERS, Via::WebSocket).await;
        raw.log_in(&format!("user-{number}")).await;
        // It follows the group now.
        while !matches!(raw.heard().await, Heard::Frame(Body::SyncDone(_))) {}
        raw
    };
    let mut online: Vec<Raw> = stream::iter(0..ONLINE).map(log_in).buffer_unordered(64).collect().await;
    assert_eq!(im.channel("crowd").online().await.unwrap(), ONLINE as u64);
    let mut taps = Vec::new();
    for server in 0..SERVERS {
        taps.push(EnvelopeTap::on(&stack, server).await);
    }
    let appends_before = redis_appends(&stack).await;
    let receipt = text_to(&im, "crowd", "hello, everybody").await;
    let told = receipt.channel.unwrap();
    assert_eq!((told.seq, told.connections, told.shed), (1, ONLINE as u64, 0));
    assert_eq!((told.pushed.len(), told.unconfirmed.len()), (SERVERS, 0));
    for raw in &mut online {
        let Heard::Frame(Body::Push(push)) = raw.heard().await else { panic!("a push") };
        assert_eq!((push.channel.as_str(), push.seq), ("crowd", 1));
    }
    // One append to the channel's log, and none to any inbox.
    assert_eq!(redis_appends(&stack).await - appends_before, u64::from(setup == Setup::Clustered));
    let mut logs = vec![LogId::Channel(group("crowd"))];
    logs.extend((0..MEMBERS).map(|number| LogId::Inbox(format!("user-{number}").parse().unwrap())));
    let ends = stack.cluster().log().ends(&logs).await.unwrap();
    assert_eq!((ends[0].last, ends.iter().map(|ends| ends.last).sum::<u64>()), (1, 1));
    // One envelope for each server, with one record: anything else would have been sent before the next message.
    text_to(&im, "crowd", "and good night").await;
    for tap in &mut taps {
        let envelopes = tap.envelopes("crowd", 2).await;
        assert_eq!(envelopes.len(), 2, "one for each message: {envelopes:?}");
        let [record] = &envelopes[0].records[..] else { panic!("{envelopes:?}") };
        assert_eq!((record.connections.len(), record.priority()), (0, pb::Priority::Must));
    }
}

/// Returns the number of entries appended to any log in Redis so far; zero if embedded.
async fn redis_appends(stack: &Stack) -> u64 {
    let Some(services) = stack.services() else { return 0 };
    let mut connection = services.redis.connection().await;
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
    let calls = info.lines().find_map(|line| line.strip_prefix("cmdstat_xadd:calls=")?.split(',').next());
    calls.map_or(0, |calls| calls.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_ten_thousand_embedded() {
    a_group_of_ten_thousand(Setup::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_ten_thousand_clustered() {
    a_group_of_ten_thousand(Setup::Clustered).await;
}
