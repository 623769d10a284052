//! Users who fill a log that others write to as well.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use im_proto::{pb, pb::frame::Body};
use im_tests::{
    Via,
    raw::{Heard, Raw},
    stack::PATIENCE,
};

use crate::arena::{Arena, Published, attacker, publish_all, text};

/// Number of attackers. Together they publish more than a log keeps, although half of a device's publishes are refused
/// as out of order.
const ATTACKERS: usize = 48;
const EACH: u64 = 500;

/// Number of attackers at work at once.
const AT_ONCE: usize = 8;

async fn flood(arena: &Arena, publish: impl Fn(u64) -> Body + Copy) -> Published {
    let attack = |number: usize| async move {
        let mut raw = attacker(&arena.stack, &format!("mallory-{number}")).await;
        publish_all(&mut raw, (1..=EACH).map(publish), Duration::from_secs(60)).await
    };
    let all: Vec<Published> =
        stream::iter(0..ATTACKERS).map(attack).buffer_unordered(AT_ONCE).collect().await;
    let mut published = Published::default();
    all.into_iter().for_each(|of_one| published.add(of_one));
    println!("{published:?}");
    published
}

/// Returns what a device without a cursor receives of a log: the texts, and the reason of a reset.
async fn came_back(arena: &Arena, user: &str, channel: &str) -> (Vec<String>, Option<pb::ResetReason>) {
    let mut raw = Raw::connect(&arena.stack, 0, Via::WebSocket).await;
    let cursor = pb::Cursor { channel: channel.into(), seq: 0, id: 0 };
    raw.log_in_with(user, vec![cursor]).await;
    let (mut texts, mut reset) = (Vec::new(), None);
    loop {
        match raw.heard().await {
            Heard::Frame(Body::Push(push)) if push.channel == channel => {
                let content = push.message.unwrap().content.unwrap();
                let Some(pb::content::Body::Text(text)) = content.body else { panic!("{content:?}") };
                texts.push(text.text);
            }
            Heard::Frame(Body::Reset(told)) if told.cursor.as_ref().unwrap().channel == channel => {
                reset = Some(told.reason());
            }
            Heard::Frame(Body::SyncDone(_)) => return (texts, reset),
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed: {code}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_sent_to_a_user_stays() {
    let arena = Arena::start().await;
    // A known user who is offline.
    drop(attacker(&arena.stack, "bob").await);
    arena.stack.wait_online(&arena.im, "bob", 0).await;
    let mut carol = attacker(&arena.stack, "carol").await;
    let said = publish_all(&mut carol, [text(1, "bob", "see you at eight")], PATIENCE).await;
    assert_eq!(said.accepted, 1);
    let attack = flood(&arena, |number| text(number, "bob", "x"));
    let (published, report) = arena.beside("many users fill a user's inbox", attack).await;
    let (texts, reset) = came_back(&arena, "bob", "").await;
    assert_eq!(
        texts.first().map(String::as_str),
        Some("see you at eight"),
        "reset: {reset:?}, {published:?}"
    );
    assert_eq!(reset, None);
    assert!(report.bystander.lost == 0 && report.bystander.disconnects == 0, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_sent_to_a_group_stays() {
    let arena = Arena::start().await;
    let members: Vec<String> = (0..ATTACKERS).map(|number| format!("mallory-{number}")).collect();
    let team = arena.im.channel("team");
    team.add_members(members.iter().map(String::as_str).chain(["bob", "carol"])).await.unwrap();
    let to_team = |number: u64, words: &str| {
        let Body::Publish(publish) = text(number, "", words) else { unreachable!("it is a publish") };
        Body::Publish(pb::Publish { channel: "team".into(), ..publish })
    };
    let mut carol = attacker(&arena.stack, "carol").await;
    let said = publish_all(&mut carol, [to_team(1, "see you at eight")], PATIENCE).await;
    assert_eq!(said.accepted, 1);
    let attack = flood(&arena, |number| to_team(number, "x"));
    let (published, report) = arena.beside("many members fill a group's log", attack).await;
    let (texts, reset) = came_back(&arena, "bob", "team").await;
    assert_eq!(
        texts.first().map(String::as_str),
        Some("see you at eight"),
        "reset: {reset:?}, {published:?}"
    );
    assert_eq!(reset, None);
    assert!(report.bystander.lost == 0 && report.bystander.disconnects == 0, "{report}");
}
