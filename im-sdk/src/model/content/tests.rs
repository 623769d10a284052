use prost::Message as _;

use super::*;
use crate::{
    id::ChannelId,
    proto::{limits::MAX_EXCERPT_BYTES, pb},
};

fn id(number: u64) -> MessageId {
    MessageId::from_u64(number).unwrap()
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn media(name: &str) -> Media {
    Media::new(format!("https://files.example.com/{name}"))
        .mime_type("image/jpeg")
        .bytes(48_211)
        .sha256([7; 32])
        .name(name)
}

/// Returns a content of each kind, with every field set.
fn kinds() -> Vec<Content> {
    let image = Image::new(media("a.jpg")).pixels(640, 480).thumbnail(media("b.jpg")).caption("a harbour");
    let video = Video::new(media("a.mp4"), 9000).pixels(640, 480).thumbnail(media("b.jpg")).caption("boats");
    let card = Card::new("user", "carol", "Carol").text("captain").image(media("carol.jpg"));
    let entries = vec![
        ForwardedEntry::new(id(1 << 40), Some(user("carol")), image.clone().into()).name("Carol"),
        ForwardedEntry::new(id(2 << 40), None, Forwarded::new("inside", []).into()),
    ];
    let edit = Change { channel: ChannelId::parse("team").ok(), seq: 7, ..Change::edit(id(9), "new") };
    let by_back_end = Change { between: vec![user("a"), user("b")], ..Change::recall(id(9)) };
    vec![
        Content::text("hi").mention(user("bob")).mention_everybody().in_thread(id(3)),
        Content::text("yes").quote(Quote::new(id(4), Some(user("bob")), &Content::text("really?"))),
        image.into(),
        File::new(media("a.pdf")).caption("the contract").into(),
        Voice::new(media("a.ogg"), 4200).waveform(vec![0, 128, 255]).into(),
        video.into(),
        Location::new(-33.8568, 151.2153).named("Opera House", "Sydney").into(),
        card.into(),
        Card::link("https://example.com", "an article").into(),
        Forwarded::new("yesterday", entries).into(),
        Notice::new("member.joined", "carol joined").parameter("user", "carol").into(),
        Content::custom("order.paid", vec![0, 255]),
        edit.into(),
        by_back_end.into(),
        Change::delete_for_me(id(9)).into(),
        Change::react(id(9), "👍").into(),
        Change::unreact(id(9), "👍").into(),
        Change::pin(id(9)).into(),
        Change::unpin(id(9)).into(),
    ]
}

fn there_and_back(content: &Content) -> Content {
    Content::decode(&content.encode()).unwrap()
}

#[test]
fn every_kind_travels() {
    for content in kinds() {
        assert_eq!(there_and_back(&content), content);
        assert!(!content.is_empty() && content.kind().is_some(), "{content:?}");
    }
}

/// Returns a content of a newer version: kind 11, with a mention, and a field beside the kind.
fn newer() -> Vec<u8> {
    let known = pb::Content {
        mentions: Some(Box::new(pb::Mentions { users: vec!["bob".into()], everybody: false })),
        ..Default::default()
    };
    let mut bytes = known.encode_to_vec();
    bytes.extend([0x5a, 3, 7, 8, 9]);
    bytes.extend([0xa0, 0x06, 42]);
    bytes
}

#[test]
fn a_kind_of_a_newer_version_survives() {
    let content = Content::from(pb::Content::decode(&newer()[..]).unwrap());
    assert_eq!(content.body, Body::Unknown);
    assert!(!content.is_empty() && content.summary().is_empty());
    assert_eq!((content.kind(), Content::default().kind()), (Some(Kind::Other(11)), None));
    assert!(content.mentions.call(&user("bob")) && !content.mentions.call(&user("alice")));
    // Forwarded by itself, in a bundle, and in a bundle in a bundle.
    let again = |content: &Content| Forwarded::new("", [ForwardedEntry::new(id(1), None, content.clone())]);
    let (bundle, deep) = (again(&content).into(), again(&again(&content).into()).into());
    for passed_on in [&content, &bundle, &deep] {
        let bytes = pb::Content::from(there_and_back(passed_on)).encode_to_vec();
        let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        assert!(has(&[0x5a, 3, 7, 8, 9]) && has(&[0xa0, 0x06, 42]) && has(b"bob"), "{passed_on:?}");
        assert_eq!(there_and_back(passed_on), *passed_on);
    }
    // A known kind beside a new field.
    let mut bytes = pb::Content::from(Content::text("hi")).encode_to_vec();
    bytes.extend([0xa0, 0x06, 42]);
    let content = Content::from(pb::Content::decode(&bytes[..]).unwrap());
    assert_eq!((content.as_text(), &content.unknown[..]), (Some("hi"), &[0xa0, 0x06, 42][..]));
    assert_eq!(there_and_back(&content), content);
}

#[test]
fn what_makes_no_sense_is_nothing() {
    let wire = |body| pb::Content { body: Some(body), ..Default::default() };
    let without_message = wire(pb::content::Body::Change(Box::default()));
    assert_eq!(Content::from(without_message), Content::default());
    let quote = Some(Box::<pb::Quote>::default());
    assert_eq!(Content::from(pb::Content { quote, ..Default::default() }), Content::default());
    assert!(Content::from(None).is_empty());
    let change = pb::Change { message_id: 9, ..Default::default() };
    let newer = Content::from(wire(pb::content::Body::Change(change.into())));
    assert_eq!(newer.as_change().unwrap().kind, ChangeKind::Unknown);
    let media = pb::Media { sha256: vec![1; 31].into(), ..Default::default() };
    assert_eq!(Media::from(media).sha256, None);
}

#[test]
fn a_quote_shows_the_beginning() {
    let long = "é".repeat(MAX_EXCERPT_BYTES);
    let quote = Quote::new(id(1), None, &Content::text(&*long));
    assert_eq!((quote.excerpt.len(), &*quote.kind), (MAX_EXCERPT_BYTES, "text"));
    let file = Quote::new(id(1), None, &File::new(media("a.pdf")).into());
    assert_eq!((&*file.excerpt, &*file.kind), ("a.pdf", "file"));
    assert_eq!(Quote::new(id(1), None, &Content::custom("poll", "")).kind, "poll");
}

#[test]
fn a_place_is_a_centimetre() {
    let place = Location::new(-33.856_784_4, 151.215_296_7);
    assert_eq!((place.latitude_e7, place.longitude_e7), (-338_567_844, 1_512_152_967));
    assert!((place.latitude() + 33.856_784_4).abs() < 1e-7);
    assert!((place.longitude() - 151.215_296_7).abs() < 1e-7);
}
