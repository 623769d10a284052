//! Every kind of content arrives unchanged, even one that no participant knows.

use bytes::Bytes;
use im_proto::pb;
use im_sdk::{
    Conversation, HistoryRange, Recipient,
    backend::{InvalidContent, InvalidMessage, Message, SendError, channel, user},
    client::{PublishError, RefusalKind},
    content::{
        Body, Card, Change, Content, File, Forwarded, ForwardedEntry, Image, Location, Media, Notice, Quote,
        Video, Voice,
    },
    id::{MessageId, UserId},
};
use im_tests::{
    Setup, Stack, TestClient, Via,
    channels::{group, serve},
    everywhere,
};
use prost::Message as _;

everywhere!(
    each_kind_arrives_as_it_was_sent,
    a_kind_of_a_newer_version_survives,
    what_makes_no_sense_is_refused,
);

fn id(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn message_id() -> MessageId {
    MessageId::from_u64(1 << 40).unwrap()
}

fn media(name: &str) -> Media {
    Media::new(format!("https://files.example.com/{name}"))
        .mime_type("application/octet-stream")
        .bytes(48_211)
        .sha256([7; 32])
        .name(name)
}

/// One content of each kind that devices send.
fn kinds() -> Vec<Content> {
    let image = Image::new(media("a.jpg")).pixels(640, 480).thumbnail(media("b.jpg")).caption("a harbour");
    let video = Video::new(media("a.mp4"), 9000).pixels(640, 480).thumbnail(media("b.jpg")).caption("boats");
    let inside = ForwardedEntry::new(message_id(), None, Content::text("inside"));
    let entries = [
        ForwardedEntry::new(message_id(), Some(id("carol")), image.clone().into()).name("Carol"),
        ForwardedEntry::new(message_id(), None, Forwarded::new("older", [inside]).into()),
    ];
    vec![
        Content::text("hi @bob, @all").mention(id("bob")).mention_everybody(),
        Content::text("yes").quote(Quote::new(message_id(), Some(id("bob")), &Content::text("really?"))),
        Content::text("in a thread").in_thread(message_id()),
        image.into(),
        File::new(media("a.pdf")).caption("the contract").into(),
        Voice::new(media("a.ogg"), 4200).waveform(vec![0, 128, 255]).into(),
        video.into(),
        Location::new(-33.8568, 151.2153).named("Opera House", "Sydney").into(),
        Card::new("user", "carol", "Carol").text("captain").image(media("carol.jpg")).into(),
        Forwarded::new("yesterday", entries).into(),
        Content::custom("order.paid", vec![0, 255]),
    ]
}

/// Connects two devices of alice and two of bob.
async fn four_devices(stack: &Stack, via: Via) -> [TestClient; 4] {
    let mut devices = Vec::new();
    for (user, device, server) in
        [("alice", "web/tab", 0), ("alice", "ios/phone", 1), ("bob", "web/tab", 1), ("bob", "ios/phone", 0)]
    {
        let mut client = stack.connect(user, device, server, via).await;
        client.up_to_date().await;
        devices.push(client);
    }
    devices.try_into().unwrap()
}

async fn all_receive(devices: &mut [TestClient; 4], content: &Content) {
    for device in devices {
        assert_eq!(device.message().await.content, *content);
    }
}

async fn each_kind_arrives_as_it_was_sent(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["alice", "bob"]).await.unwrap();
    let mut devices = four_devices(&stack, via).await;
    let recipients = [Recipient::from(id("bob")), group("team").into()];
    for recipient in &recipients {
        for content in kinds() {
            devices[0].client().send(recipient.clone(), content.clone()).await.unwrap();
            all_receive(&mut devices, &content).await;
        }
    }
    let notice = Content::from(Notice::new("member.joined", "carol joined").parameter("user", "carol"));
    im.send(Message::to(user("bob")).from("alice").content(notice.clone())).await.unwrap();
    im.send(Message::to(channel("team")).content(notice.clone())).await.unwrap();
    all_receive(&mut devices, &notice).await;
    all_receive(&mut devices, &notice).await;
    let sent: Vec<Content> = kinds().into_iter().chain([notice]).collect();
    for conversation in [Conversation::User(id("alice")), Conversation::Channel(group("team"))] {
        let page = devices[3].client().history(conversation, HistoryRange::Newest, 50).await.unwrap();
        assert!(page.messages.into_iter().map(|message| message.content).eq(sent.clone()));
    }
}

/// Returns a content of kind 11, as a newer version would write it, with a mention and an unknown field.
fn newer() -> Content {
    let mentions = Some(Box::new(pb::Mentions { users: vec!["bob".into()], everybody: false }));
    let unknown = vec![0x5a, 3, 7, 8, 9, 0xa0, 0x06, 42];
    pb::Content { mentions, unknown, ..Default::default() }.into()
}

async fn a_kind_of_a_newer_version_survives(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut devices = four_devices(&stack, via).await;
    im.send(Message::to(user("bob")).from("alice").content(newer())).await.unwrap();
    for device in &mut devices {
        let content = device.message().await.content;
        assert_eq!(content.body, Body::Unknown);
        assert_eq!((content.unknown.len(), content.mentions.call(&id("bob"))), (8, true));
    }
    // Bob does not know the kind, and passes on the message in his history.
    let alice = Conversation::User(id("alice"));
    let page = devices[2].client().history(alice, HistoryRange::Newest, 1).await.unwrap();
    let found = page.messages[0].clone();
    let entry = ForwardedEntry::new(found.id, found.from, found.content.clone());
    let bundle = Content::from(Forwarded::new("look", [entry]));
    devices[2].client().send(id("alice"), bundle).await.unwrap();
    let Body::Forwarded(forwarded) = devices[1].message().await.content.body else { panic!("a bundle") };
    let bytes = pb::Content::from(forwarded.entries[0].content.clone()).encode_to_vec();
    assert_eq!(bytes, pb::Content::from(newer()).encode_to_vec());
    // A back end accepts a kind that it cannot check from no device.
    for content in [found.content.clone(), Change::edit(found.id, found.content).into()] {
        let refused = devices[2].client().send(id("alice"), content).outcome().await;
        assert!(
            matches!(refused, Err(PublishError::Refused { kind: RefusalKind::Invalid, .. })),
            "{refused:?}"
        );
    }
}

async fn what_makes_no_sense_is_refused(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let alice = stack.connect("alice", "web/tab", 0, via).await;
    let crowd = || (0..201).fold(Content::text("hey"), |text, _| text.mention(id("bob")));
    let notice = || Content::from(Notice::new("system.alert", "your account is closed"));
    let cases = [
        (crowd(), "the content has 201 mentions, the limit is 200"),
        (Location::new(91.0, 0.0).into(), "the content's location makes no sense"),
        (Image::new(Media::default()).into(), "the content has no URL"),
        (notice(), "a notice is what the system says: devices cannot send it"),
        (
            Change::edit(message_id(), notice()).into(),
            "a notice is what the system says: devices cannot send it",
        ),
    ];
    for (content, wanted) in cases {
        match alice.client().send(id("bob"), content).outcome().await {
            Err(PublishError::Refused { kind: RefusalKind::Invalid, reason, .. }) => {
                assert_eq!(reason, wanted)
            }
            other => panic!("{wanted}: {other:?}"),
        }
    }
    let error = im.send(Message::to(user("bob")).content(crowd())).await.unwrap_err();
    assert!(
        matches!(error, SendError::Invalid(InvalidMessage::Content(InvalidContent::TooMany { .. }))),
        "{error}"
    );
    let empty = Content::custom("", Bytes::new());
    im.send(Message::to(user("bob")).content(empty)).await.unwrap();
}
