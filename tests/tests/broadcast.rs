//! What goes to many: broadcasts to everybody, and a large group, at the price of an envelope per server.
#![allow(clippy::unwrap_used, clippy::panic)]

use futures_util::{StreamExt, stream};
use im_proto::{pb, pb::frame::Body};
use im_sdk::{
    backend::{Durability, Message, SendError},
    cluster::LogId,
};
use im_tests::{
    Setup, Stack, Via, everywhere,
    group::{Tap, group, text_to, until_marked},
    live::{Host, device},
    raw::{Heard, Raw},
};

everywhere!(everybody_who_is_online_gets_it_once);

async fn everybody_who_is_online_gets_it_once(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = Host::default().serve(&im).await;
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
        assert_eq!(until_marked(&im, client, user).await, [], "once");
    }
    let logged = im.broadcast(Message::new().text("hi").durability(Durability::Logged)).await;
    assert!(matches!(logged, Err(SendError::BroadcastNeedsLive)), "{logged:?}");
    assert!(matches!(im.broadcast(Message::new()).await, Err(SendError::NoContent)));
}

const MEMBERS: usize = 10_000;
const ONLINE: usize = 1000;
const SERVERS: usize = 3;

async fn a_group_of_ten_thousand(setup: Setup) {
    let stack = Stack::start(setup, SERVERS).await;
    let im = stack.backend().await;
    let _service = Host::default().serve(&im).await;
    im.channel("crowd").add_members((0..MEMBERS).map(|number| format!("user-{number}"))).await.unwrap();
    let log_in = async |number: usize| {
        let mut raw = Raw::connect(&stack, number % SERVERS, Via::WebSocket).await;
        raw.log_in(&format!("user-{number}")).await;
        // Now it follows the group.
        while !matches!(raw.heard().await, Heard::Frame(Body::SyncDone(_))) {}
        raw
    };
    let mut online: Vec<Raw> = stream::iter(0..ONLINE).map(log_in).buffer_unordered(64).collect().await;
    assert_eq!(im.channel("crowd").online().await.unwrap(), ONLINE as u64);
    let mut taps = Vec::new();
    for server in 0..SERVERS {
        taps.push(Tap::on(&stack, server).await);
    }
    let receipt = text_to(&im, "crowd", "hello, everybody").await;
    let told = receipt.channel.unwrap();
    assert_eq!((told.seq, told.connections, told.shed), (1, ONLINE as u64, 0));
    assert_eq!((told.pushed.len(), told.unconfirmed.len()), (SERVERS, 0));
    for raw in &mut online {
        let Heard::Frame(Body::Push(push)) = raw.heard().await else { panic!("a push") };
        assert_eq!((push.channel.as_str(), push.seq), ("crowd", 1));
    }
    // One append, and at most one envelope for each server.
    let log = LogId::Channel(group("crowd"));
    let ends = stack.cluster().log().ends(std::slice::from_ref(&log)).await.unwrap();
    assert_eq!(ends[0].last, 1);
    let inbox = LogId::Inbox("user-7".parse().unwrap());
    assert_eq!(stack.cluster().log().ends(&[inbox]).await.unwrap()[0].last, 0, "and no inbox");
    for tap in &mut taps {
        let records = tap.records("crowd", 1).await;
        assert_eq!((records.len(), records[0].connections.len()), (1, 0));
        assert_eq!(records[0].priority(), pb::Priority::Must);
        assert_eq!(tap.rest("crowd"), 0, "one envelope with one record");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_ten_thousand_embedded() {
    a_group_of_ten_thousand(Setup::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_ten_thousand_clustered() {
    a_group_of_ten_thousand(Setup::Clustered).await;
}
