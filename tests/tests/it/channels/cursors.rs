//! Cursors in channels: devices that were offline resume where they stopped.

use std::collections::BTreeSet;

use im_proto::{pb, pb::ResetReason as Wire, pb::frame::Body};
use im_sdk::{
    client::{Event, ResetReason},
    id::{ChannelId, UserId},
};
use im_tests::{
    Setup, Stack, Via,
    channels::{connect, events_before_marker, expect, group, reset, serve, text_to},
    everywhere,
    raw::{Heard, Raw},
};

everywhere!(an_offline_member_goes_on_from_its_cursor, whoever_is_removed_while_offline_is_told);

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
    let after = events_before_marker(&im, &mut bob, "bob").await;
    assert!(!after.iter().any(|event| matches!(event, Event::Message(_) | Event::Reset { .. })), "{after:?}");
}

/// The frames up to the last `SyncDone`: resets, entries, ends.
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
    // More channels than a `Hello` holds, so one of them is enough.
    raw.log_in_with("bob", vec![cursor(&names[0], 0, 0)]).await;
    let synced = sync(&mut raw, CHANNELS + 1).await;
    assert_eq!(synced.resets.len(), CHANNELS, "one for each that was not listed, the inbox among them");
    assert_eq!(synced.entries.len(), CHANNELS / 100, "what came in the last moments");
    let ends: BTreeSet<String> = synced.ends.into_iter().map(|(name, _)| name).collect();
    assert_eq!(ends.len(), CHANNELS + 1);
    // The connection has joined all channels.
    text_to(&im, &names[CHANNELS - 1], "live").await;
    assert!(
        matches!(raw.heard().await, Heard::Frame(Body::Push(push)) if push.channel == names[CHANNELS - 1])
    );
    // The real client too, which has to send its cursors in several parts.
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
