//! Invalid contents and changes of messages.

use im_proto::{pb, pb::frame::Body};
use im_sdk::{
    backend::{Message, channel, user},
    client::{RefusalKind, SendError},
    cluster::LogId,
    content::{Change, ChangeKind, Content},
    id::MessageId,
};
use im_tests::{
    Setup, Stack, Via,
    channels::{group, serve},
    everywhere,
    permissive_handler::PermissiveHandler,
    raw::Heard,
};
use prost::Message as _;

use super::{id, last, publish, raw, three};

everywhere!(contents_too_large_or_too_deep, changes_of_what_is_not_theirs);

/// Returns a content with nested bundles, which our SDK does not produce.
fn nested(depth: usize) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let mut field = vec![number << 3 | 2];
        prost::encode_length_delimiter(bytes.len(), &mut field).unwrap();
        field.extend(bytes);
        field
    };
    let mut content = Content::text("deep down").encode();
    for _ in 0..depth {
        // Content.forwarded, Forwarded.entries, ForwardedEntry.content
        content = field(8, &field(2, &field(3, &content)));
    }
    content
}

async fn contents_too_large_or_too_deep(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut devices = three(&stack, via).await;
    let mut mallory = raw(&stack, "bob", via).await;
    im.send(Message::to(user("bob")).from("alice").text("hi")).await.unwrap();
    let message = devices[2].reference("hi").await;
    // A megabyte does not leave the device, and the connection stays open.
    let react = |bytes: usize| ChangeKind::Reaction { emoji: "x".repeat(bytes), removed: false };
    let large = devices[2].device.client().react(&message, &"x".repeat(1 << 20)).await;
    assert!(matches!(large, Err(SendError::TooLarge { limit: 65_024, .. })), "{large:?}");
    let (kind, reason) = devices[2].change(&message, react(60_000)).await.unwrap_err();
    assert_eq!(kind, RefusalKind::Invalid);
    assert_eq!(reason, "the content's emoji takes 60000 bytes, the limit is 64");

    for (number, depth) in (1..).zip([5, 30, 60, 99, 1000]) {
        for is_edit in [false, true] {
            let mut body = nested(depth);
            if is_edit {
                let change = message.change(ChangeKind::Edit(Box::default())).encode();
                let change = pb::Content::decode(&change[..]).unwrap();
                let Some(pb::content::Body::Change(change)) = change.body else { panic!("a change") };
                let mut bytes = pb::Change { what: None, ..*change }.encode_to_vec();
                // Change.edit, Content.change
                bytes.push(4 << 3 | 2);
                prost::encode_length_delimiter(body.len(), &mut bytes).unwrap();
                bytes.extend(body);
                body = vec![10 << 3 | 2];
                prost::encode_length_delimiter(bytes.len(), &mut body).unwrap();
                body.extend(bytes);
            }
            let number = 2 * number + u64::from(is_edit);
            let mut bytes = pb::Publish { number, to: "alice".into(), ..Default::default() }.encode_to_vec();
            // Publish.content, Frame.publish
            bytes.push(3 << 3 | 2);
            prost::encode_length_delimiter(body.len(), &mut bytes).unwrap();
            bytes.extend(body);
            let mut frame = vec![6 << 3 | 2];
            prost::encode_length_delimiter(bytes.len(), &mut frame).unwrap();
            frame.extend(bytes);
            let mut whole = Vec::new();
            prost::encode_length_delimiter(frame.len(), &mut whole).unwrap();
            whole.extend(frame);
            mallory.send(whole).await;
            let refused = loop {
                match mallory.heard().await {
                    Heard::Frame(Body::PublishResult(result)) => break result,
                    Heard::Frame(_) => {}
                    Heard::Closed(code) => panic!("closed: {code}"),
                }
            };
            let Some(pb::publish_result::Outcome::Refused(refused)) = refused.outcome else {
                panic!("{depth}: {refused:?}")
            };
            assert_eq!((refused.kind(), refused.retry_after_ms), (pb::RefusalKind::Invalid, 0), "{depth}");
        }
    }
    // None of it reached a user, and valid changes still work.
    assert_eq!(last(&stack, LogId::Inbox(id("alice"))).await, 1);
    devices[2].change(&message, react(1)).await.unwrap();
    for device in &mut devices {
        device.shows(&["hi xbob"]).await;
    }
}

async fn changes_of_what_is_not_theirs(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    im.channel("team").add_members(["alice", "bob"]).await.unwrap();
    im.channel("others").add_members(["mallory"]).await.unwrap();
    let mut devices = three(&stack, via).await;
    let mut mallory = raw(&stack, "mallory", via).await;
    let between = im.send(Message::to(user("bob")).from("alice").text("between us")).await.unwrap();
    let in_team = im.send(Message::to(channel("team")).from("alice").text("among us")).await.unwrap();
    im.send(Message::to(channel("others")).from("mallory").text("elsewhere")).await.unwrap();
    for device in &mut devices {
        device.shows(&["between us", "among us"]).await;
    }
    let logs = [
        LogId::Inbox(id("alice")),
        LogId::Inbox(id("bob")),
        LogId::Inbox(id("mallory")),
        LogId::Channel(group("team")),
        LogId::Channel(group("others")),
    ];
    let before = stack.cluster().log().ends(&logs).await.unwrap();
    // The attacker knows everything: the ids, the positions, the conversations.
    let to = |user: &str| pb::Publish { to: user.into(), ..Default::default() };
    let into = |channel: &str| pb::Publish { channel: channel.into(), ..Default::default() };
    let conversations = [to("alice"), to("bob"), to("mallory"), into("team"), into("others")];
    let spam = || ChangeKind::Edit(Box::new(Content::text("spam")));
    let react = || ChangeKind::Reaction { emoji: "x".into(), removed: false };
    let pin = ChangeKind::Pin { removed: false };
    let mut number = 0;
    for message_id in [between.message_id, in_team.message_id, MessageId::from_u64(7).unwrap()] {
        for kind in [ChangeKind::Recall, spam(), react(), pin.clone(), ChangeKind::DeleteForMe] {
            for target in &conversations {
                number += 1;
                let content = pb::Content::from(Content::from(Change::new(message_id, kind.clone())));
                let Some(pb::content::Body::Change(mut change)) = content.body else { panic!("a change") };
                change.seq = 1;
                // A field that only a back end may set: that the change belongs to another conversation.
                change.between = vec!["alice".into(), "bob".into()];
                let content = Some(pb::content::Body::Change(change).into());
                let asked = pb::Publish { content, ..target.clone() };
                let (kind, reason) = publish(&mut mallory, number, asked).await.unwrap_err();
                let wanted = match &*target.channel {
                    "team" => pb::RefusalKind::Rule,
                    _ => pb::RefusalKind::Invalid,
                };
                assert_eq!(kind, wanted, "{target:?}: {reason}");
                assert!(!reason.is_empty());
            }
        }
    }
    assert_eq!(stack.cluster().log().ends(&logs).await.unwrap(), before, "nothing was written anywhere");
    let reference = devices[0].reference("among us").await;
    devices[0].change(&reference, pin).await.unwrap();
    for device in &mut devices {
        device.shows(&["between us", "among us (pinned)"]).await;
    }
}
