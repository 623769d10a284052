//! Removed members whose devices try to keep receiving a channel, also when messages of the removal get lost.

use std::time::Duration;

use im_proto::{pb, pb::frame::Body};
use im_sdk::{backend::Message, id::Device};
use im_tests::{
    Setup, Stack, Via,
    channels::serve,
    everywhere,
    permissive_handler::{PermissiveHandler, device, presence},
    raw::{Heard, Raw},
    stack::{PATIENCE, ServerOptions},
    wait_until,
};

use super::{id, raw};

everywhere!(
    a_removal_that_did_not_arrive_takes_effect,
    a_sync_leaves_what_is_not_joined_any_more,
    nobody_is_watched_for_ever,
);

async fn audited(setup: Setup) -> Stack {
    let route_audit = Duration::from_millis(500);
    Stack::start_with(setup, 1, ServerOptions { route_audit, ..ServerOptions::default() }).await
}

/// Removes a member while the route of its device is lost.
async fn remove_unheard(stack: &Stack, im: &im_sdk::backend::Im, name: &str) {
    let routes = stack.cluster().routes();
    let device: Device = "web/raw".parse().unwrap();
    let (user, members) = (id(name), stack.cluster().members());
    let located = routes.locate(std::slice::from_ref(&user)).await.unwrap().remove(0);
    let (_, route) = located.iter().find(|(found, _)| *found == device).unwrap();
    assert!(routes.release(&user, &device, route).await.unwrap());
    // As after a failover: the audit restores the route after the removal.
    im.channel("team").remove_members([name]).await.unwrap();
    assert!(!members.is_member(&"team".parse().unwrap(), &user).await.unwrap());
}

async fn a_removal_that_did_not_arrive_takes_effect(setup: Setup, via: Via) {
    let stack = audited(setup).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["mallory"]).await.unwrap();
    // This device never syncs by itself again.
    let mut mallory = raw(&stack, "mallory", via).await;
    wait_until("it has joined", PATIENCE, async || im.channel("team").online().await.unwrap() == 1).await;
    remove_unheard(&stack, &im, "mallory").await;
    wait_until("it is out", PATIENCE, async || im.channel("team").online().await.unwrap() == 0).await;
    im.channel("team").send(Message::new().from("alice").text("secret")).await.unwrap();
    mallory.send_frame(Body::Ping(pb::Ping { echo: 7 })).await;
    loop {
        match mallory.heard().await {
            Heard::Frame(Body::Pong(_)) => break,
            Heard::Frame(Body::Push(push)) => panic!("{push:?}"),
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed: {code}"),
        }
    }
}

async fn a_sync_leaves_what_is_not_joined_any_more(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    // More than fit into one record.
    let channels: Vec<String> = (0..1030).map(|number| format!("c-{number}")).collect();
    let adds = channels.iter().map(|name| {
        let channel = im.channel(name.as_str());
        async move { channel.add_members(["mallory"]).await.unwrap() }
    });
    futures_util::future::join_all(adds).await;
    im.channel("team").add_members(["mallory"]).await.unwrap();
    let mut mallory = Raw::connect(&stack, 0, via).await;
    mallory.log_in("mallory").await;
    let online = async |name: &str| im.channel(name).online().await.unwrap();
    wait_until("it has joined", PATIENCE, async || online("team").await == 1).await;
    // Directly in the store, so that no back end notifies the device.
    let members = stack.cluster().members();
    members.remove(&"team".parse().unwrap(), &[id("mallory")]).await.unwrap();
    // The sync names none of the channels.
    mallory.send_frame(Body::Sync(pb::Sync::default())).await;
    wait_until("it is out", PATIENCE, async || online("team").await == 0).await;
    for name in ["c-0", "c-500", "c-1029"] {
        assert_eq!(online(name).await, 1, "{name}");
    }
    for name in &channels[..1000] {
        members.remove(&name.as_str().parse().unwrap(), &[id("mallory")]).await.unwrap();
    }
    mallory.send_frame(Body::Sync(pb::Sync::default())).await;
    wait_until("it is out of most", PATIENCE, async || online("c-0").await + online("c-999").await == 0)
        .await;
    assert_eq!(online("c-1029").await, 1);
}

async fn nobody_is_watched_for_ever(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    let mut bob = device(&stack, "bob", "web/tab", 0, via).await;
    bob.client().watch([id("alice"), id("carol")]).await.unwrap();
    let alice = device(&stack, "alice", "web/tab", 0, via).await;
    presence(&mut bob, "alice", |presence| presence.is_online()).await;
    im.unwatch(&id("bob"), &id("alice")).await.unwrap();
    alice.client().disconnect();
    stack.wait_online(&im, "alice", 0).await;
    let _carol = device(&stack, "carol", "web/tab", 0, via).await;
    let heard = bob
        .next("a presence", |event| match event {
            im_sdk::client::Event::Presence(presence) => Some(presence.user.clone()),
            _ => None,
        })
        .await;
    assert_eq!(heard, id("carol"), "and nothing of alice");
}
