//! Vectors of contents, one of each kind, with every field set.

use bytes::Bytes;
use im_proto::pb::{self, change::What, content::Body};

/// The message that the examples refer to.
const EARLIER_ID: u64 = 132_271_570_944_005_123;

/// Returns names and contents.
pub(crate) fn kinds() -> Vec<(&'static str, pb::Content)> {
    let said = |text: &str| Body::Text(pb::Text { text: text.into() });
    let mentions = pb::Mentions { users: vec!["bob".into(), "carol".into()], everybody: true };
    let quote = pb::Quote {
        message_id: EARLIER_ID,
        from: "bob".into(),
        kind: "text".into(),
        excerpt: "really?".into(),
        ..Default::default()
    };
    let asked = pb::Quote { message_id: EARLIER_ID, seq: 42, ..Default::default() };
    let found = pb::Quote { verified: true, ..quote.clone() };
    let gone = pb::Quote { message_id: EARLIER_ID, verified: true, recalled: true, ..Default::default() };
    let beside = |content: pb::Content| pb::Content { body: Some(said("yes, @all")), ..content };
    let quoting = |quote: pb::Quote| beside(pb::Content { quote: Some(quote.into()), ..Default::default() });
    let recalled = pb::Amended { change: EARLIER_ID, recalled: true, by: "alice".into(), order: 0 };
    let edited = pb::Amended { change: EARLIER_ID, ..Default::default() };
    let ordered = pb::Amended { order: 43, ..edited.clone() };
    let of_edit = pb::Quote { change: EARLIER_ID, order: 43, ..found.clone() };
    vec![
        ("content.quote.from_device", quoting(asked)),
        ("content.quote.verified", quoting(found)),
        ("content.quote.recalled", quoting(gone)),
        ("content.amended.recalled", pb::Content { amended: Some(recalled.into()), ..Default::default() }),
        (
            "content.amended.edited",
            beside(pb::Content { amended: Some(edited.into()), ..Default::default() }),
        ),
        (
            "content.amended.ordered",
            beside(pb::Content { amended: Some(ordered.into()), ..Default::default() }),
        ),
        ("content.quote.of_edit", quoting(of_edit)),
        ("content.change.ordered", ordered_change()),
        ("content.mentions", beside(pb::Content { mentions: Some(mentions.into()), ..Default::default() })),
        ("content.quote", beside(pb::Content { quote: Some(quote.into()), ..Default::default() })),
        ("content.silent", beside(pb::Content { silent: true, ..Default::default() })),
        ("content.thread", beside(pb::Content { thread: EARLIER_ID, ..Default::default() })),
        ("content.image", Body::Image(image().into()).into()),
        ("content.file", Body::File(file().into()).into()),
        ("content.voice", Body::Voice(voice().into()).into()),
        ("content.video", Body::Video(video().into()).into()),
        ("content.location", Body::Location(location()).into()),
        ("content.card", Body::Card(card().into()).into()),
        ("content.forwarded", Body::Forwarded(forwarded()).into()),
        ("content.forwarded.from_device", Body::Forwarded(forwarded_from_device()).into()),
        ("content.notice", Body::Notice(notice().into()).into()),
        ("content.recall", change(What::Recall(pb::Recall {}))),
        ("content.edit", change(What::Edit(Box::new(said("hi!").into())))),
        ("content.delete_for_me", change(What::DeleteForMe(pb::DeleteForMe {}))),
        ("content.reaction", change(reaction(false))),
        ("content.reaction.removed", change(reaction(true))),
        ("content.pin", change(What::Pin(pb::Pin { removed: false }))),
        ("content.pin.removed", change(What::Pin(pb::Pin { removed: true }))),
        ("content.change.from_device", from_device()),
        ("content.change.in_channel", in_channel()),
        ("content.change.between", between()),
    ]
}

fn media(name: &str, mime_type: &str) -> pb::Media {
    pb::Media {
        url: format!("https://files.example.com/{name}"),
        mime_type: mime_type.into(),
        bytes: 48_211,
        sha256: Bytes::from_static(&[7; 32]),
        name: name.into(),
    }
}

fn image() -> pb::Image {
    pb::Image {
        media: Some(media("harbour.jpg", "image/jpeg")),
        width: 1920,
        height: 1080,
        thumbnail: Some(media("small.jpg", "image/jpeg")),
        caption: "the harbour".into(),
    }
}

fn file() -> pb::File {
    pb::File { media: Some(media("contract.pdf", "application/pdf")), caption: "to be signed".into() }
}

fn voice() -> pb::Voice {
    let waveform = Bytes::from_static(&[0, 128, 255]);
    pb::Voice { media: Some(media("a.ogg", "audio/ogg")), duration_ms: 4200, waveform }
}

fn video() -> pb::Video {
    pb::Video {
        media: Some(media("boats.mp4", "video/mp4")),
        width: 640,
        height: 480,
        duration_ms: 9000,
        thumbnail: Some(media("still.jpg", "image/jpeg")),
        caption: "boats".into(),
    }
}

fn location() -> pb::Location {
    pb::Location {
        latitude_e7: -338_567_844,
        longitude_e7: 1_512_152_967,
        name: "Opera House".into(),
        address: "Sydney".into(),
    }
}

fn card() -> pb::Card {
    pb::Card {
        kind: "user".into(),
        id: "carol".into(),
        title: "Carol".into(),
        text: "captain".into(),
        url: "https://example.com/carol".into(),
        image: Some(media("carol.jpg", "image/jpeg")),
    }
}

fn forwarded() -> pb::Forwarded {
    let entry = pb::ForwardedEntry {
        from: "carol".into(),
        sent_at_ms: 1_767_225_600_000,
        content: Some(Body::Text(pb::Text { text: "happy new year".into() }).into()),
        name: "Carol".into(),
        ..Default::default()
    };
    pb::Forwarded { title: "yesterday".into(), entries: vec![entry] }
}

fn forwarded_from_device() -> pb::Forwarded {
    let entry = pb::ForwardedEntry {
        message_id: EARLIER_ID,
        seq: 42,
        channel: "team".into(),
        content: Some(Body::Text(pb::Text { text: "happy new year".into() }).into()),
        ..Default::default()
    };
    let verified = pb::ForwardedEntry { verified: true, ..forwarded().entries.remove(0) };
    pb::Forwarded { title: String::new(), entries: vec![entry, verified] }
}

fn notice() -> pb::Notice {
    let parameters = [("user".to_owned(), "carol".to_owned())].into();
    pb::Notice { kind: "member.joined".into(), text: "carol joined".into(), parameters }
}

fn reaction(removed: bool) -> What {
    What::Reaction(pb::Reaction { emoji: "👍".into(), removed })
}

fn changed(change: pb::Change) -> pb::Content {
    Body::Change(pb::Change { message_id: EARLIER_ID, ..change }.into()).into()
}

fn change(what: What) -> pb::Content {
    changed(pb::Change { what: Some(what), ..Default::default() })
}

fn from_device() -> pb::Content {
    changed(pb::Change { seq: 42, what: Some(What::Recall(pb::Recall {})), ..Default::default() })
}

fn in_channel() -> pb::Content {
    let what = Some(What::DeleteForMe(pb::DeleteForMe {}));
    changed(pb::Change { what, channel: "team".into(), ..Default::default() })
}

fn ordered_change() -> pb::Content {
    let what = Some(What::Pin(pb::Pin { removed: false }));
    changed(pb::Change { what, order: 43, ..Default::default() })
}

fn between() -> pb::Content {
    let what = Some(What::Recall(pb::Recall {}));
    changed(pb::Change { what, between: vec!["alice".into(), "bob".into()], ..Default::default() })
}
