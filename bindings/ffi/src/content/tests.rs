use super::*;

fn media(name: &str) -> Media {
    Media {
        url: format!("https://files.example.com/{name}"),
        mime_type: "image/jpeg".into(),
        bytes: 7,
        sha256: Some(vec![7; 32]),
        name: name.into(),
    }
}

fn content(body: Body) -> Content {
    Content { body, ..text_content(String::new()) }
}

fn kinds() -> Vec<Content> {
    let quote = Quote {
        message_id: 7,
        from_user: Some("bob".into()),
        kind: "text".into(),
        excerpt: "why?".into(),
        verified: true,
        recalled: true,
        seq: 42,
    };
    let text = text_content("hi".into());
    let answer = Content {
        mentions: vec!["bob".into()],
        mentions_everybody: true,
        quote: Some(quote),
        thread: Some(9),
        amended: Some(Amended { change: 8, recalled: true, by_user: Some("bob".into()), order: 5 }),
        ..text.clone()
    };
    let edit = ChangeKind::Edit { content: Box::new(answer.clone()) };
    let reaction = ChangeKind::Reaction { emoji: "👍".into(), removed: true };
    let kinds =
        [ChangeKind::Recall, edit, ChangeKind::DeleteForMe, reaction, ChangeKind::Pin { removed: true }];
    let changes = kinds
        .map(|kind| content(Body::Change { message_id: 7, kind, channel: Some("team".into()), order: 5 }));
    let (picture, caption) = (Some(media("small.jpg")), "a caption".to_owned());
    let image = Image {
        media: media("a"),
        width: 3,
        height: 2,
        thumbnail: picture.clone(),
        caption: caption.clone(),
    };
    let video = Video {
        media: media("a"),
        duration_ms: 9,
        width: 3,
        height: 2,
        thumbnail: picture.clone(),
        caption: caption.clone(),
    };
    let card = Card {
        kind: "user".into(),
        id: "carol".into(),
        title: "Carol".into(),
        text: "captain".into(),
        url: "https://example.com".into(),
        image: picture,
    };
    let location =
        Location { latitude_e7: -1, longitude_e7: 2, name: "there".into(), address: "far away".into() };
    let entry = ForwardedEntry {
        from_user: Some("carol".into()),
        name: "Carol".into(),
        sent_at_ms: 7,
        content: answer.clone(),
        verified: true,
        source: Some(ForwardSource { message_id: 7, seq: 42, channel: Some("team".into()) }),
    };
    let parameters = [("user".to_owned(), "carol".to_owned())].into();
    let others = [
        content(Body::Image { image }),
        content(Body::File { file: File { media: media("a"), caption } }),
        content(Body::Voice { voice: Voice { media: media("a"), duration_ms: 7, waveform: Some(vec![1]) } }),
        content(Body::Video { video }),
        content(Body::Location { location }),
        content(Body::Card { card }),
        content(Body::Forwarded { title: "look".into(), entries: vec![entry] }),
        content(Body::Notice { kind: "joined".into(), text: "carol joined".into(), parameters }),
        content(Body::Custom { kind: "order.paid".into(), data: vec![0, 255] }),
        text,
        answer,
    ];
    others.into_iter().chain(changes).collect()
}

#[test]
fn every_kind_goes_there_and_back() {
    for content in kinds() {
        let parsed = content.clone().parse().unwrap();
        assert_eq!(Content::from(parsed), content);
        let stored = encode_content(content.clone()).unwrap();
        assert_eq!(decode_content(stored), Ok(content));
    }
}

#[test]
fn what_this_version_does_not_know_survives() {
    // Kind 11, as a newer version would write it, inside of a bundle.
    let newer = vec![0x5a, 3, 7, 8, 9];
    let content = decode_content(newer.clone()).unwrap();
    assert_eq!((&content.body, &content.unknown), (&Body::Unknown, &Some(newer.clone())));
    assert_eq!(encode_content(content.clone()), Ok(newer.clone()));
    let entry = ForwardedEntry {
        from_user: None,
        name: String::new(),
        sent_at_ms: 0,
        content,
        verified: false,
        source: None,
    };
    let bundle = self::content(Body::Forwarded { title: String::new(), entries: vec![entry] });
    let stored = encode_content(bundle.clone()).unwrap();
    assert!(stored.windows(5).any(|window| window == newer));
    assert_eq!(decode_content(stored), Ok(bundle));
}

#[test]
fn names_that_are_none_are_told() {
    let text = || text_content("hi".into());
    let mention = Content { mentions: vec!["not a user".into()], ..text() };
    assert!(encode_content(mention).is_err());
    assert!(encode_content(Content { thread: Some(0), ..text() }).is_err());
    assert!(decode_content(vec![0xff]).is_err());
}
