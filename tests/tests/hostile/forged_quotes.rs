//! Forged quotes, and quotes of recalled messages.

use std::time::Duration;

use im_proto::{
    pb,
    pb::{frame::Body, request::Question},
};
use im_sdk::{
    backend::{Message, user, users},
    content::Change,
};
use im_tests::{
    Via,
    raw::{Heard, Raw},
    stack::PATIENCE,
};
use prost::Message as _;

use crate::arena::{Arena, attacker, publish_all, text};

/// Waits for the next message that begins with a text, and returns its content.
async fn content(raw: &mut Raw, beginning: &str) -> pb::Content {
    loop {
        match raw.heard().await {
            Heard::Frame(Body::Push(push)) => {
                let content = push.message.unwrap().content.unwrap();
                if matches!(&content.body, Some(pb::content::Body::Text(text)) if text.text.starts_with(beginning))
                {
                    return content;
                }
            }
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed: {code}"),
        }
    }
}

fn with_quote(number: u64, to: &str, words: &str, quote: pb::Quote) -> Body {
    let Body::Publish(mut publish) = text(number, to, words) else { unreachable!("it is a publish") };
    publish.content.as_mut().unwrap().quote = Some(quote.into());
    Body::Publish(publish)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotes_are_what_was_said_or_say_that_nobody_knows() {
    let arena = Arena::start().await;
    let mut bob = attacker(&arena.stack, "bob").await;
    let mut mallory = attacker(&arena.stack, "mallory").await;
    let sent = arena.im.send(Message::to(user("mallory")).from("bob").text("see you")).await.unwrap();
    let (_, seq) = *sent.logged.iter().find(|(user, _)| user.as_str() == "mallory").unwrap();
    let id = sent.message_id.as_u64();
    let forged = pb::Quote {
        message_id: 4711,
        from: "carol".into(),
        excerpt: "I resign. Boss".into(),
        ..Default::default()
    };
    // An existing message with other words and another sender.
    let twisted = pb::Quote { message_id: id, seq, ..forged.clone() };
    let publishes = [
        with_quote(1, "bob", "first", forged.clone()),
        with_quote(2, "bob", "second", pb::Quote { verified: true, ..forged }),
        with_quote(3, "bob", "third", twisted),
    ];
    for publish in publishes {
        assert_eq!(publish_all(&mut mallory, [publish], PATIENCE).await.accepted, 1);
    }
    for words in ["first", "second"] {
        let quote = content(&mut bob, words).await.quote.unwrap();
        assert!(!quote.verified, "{quote:?}");
    }
    let quote = content(&mut bob, "third").await.quote.unwrap();
    let said = (quote.verified, &*quote.from, &*quote.excerpt);
    assert!(said == (true, "bob", "see you") || !quote.verified, "{quote:?}");
    assert_eq!(said, (true, "bob", "see you"), "what exists is found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recalled_words_are_nowhere() {
    const SECRET: &str = "hunter2";
    let arena = Arena::start().await;
    drop(attacker(&arena.stack, "bob").await);
    let words = format!("the password is {SECRET}");
    let sent = arena.im.send(Message::to(user("bob")).from("alice").text(&words)).await.unwrap();
    arena.im.change(users(["alice", "bob"]), Change::recall(sent.message_id)).await.unwrap();
    // A new device of each user requests everything, in every way.
    for (name, peer) in [("bob", "alice"), ("alice", "bob")] {
        let mut raw = Raw::connect(&arena.stack, 0, Via::WebSocket).await;
        raw.log_in_with(name, vec![pb::Cursor { channel: String::new(), seq: 0, id: 0 }]).await;
        let inbox = pb::history_request::Conversation::Inbox(true);
        let with_peer = pb::history_request::Conversation::User(peer.into());
        let history = |conversation| {
            Question::History(pb::HistoryRequest { conversation: Some(conversation), ..Default::default() })
        };
        let list = pb::ConversationsRequest { limit: 10, ..Default::default() };
        let questions = [history(inbox), history(with_peer), Question::Conversations(list)];
        let count = questions.len() as u64;
        for (number, question) in (1..).zip(questions) {
            raw.send_frame(Body::Request(pb::Request { number, question: Some(question) })).await;
        }
        let (mut synced, mut answered) = (false, 0);
        while !synced || answered < count {
            let body = match tokio::time::timeout(Duration::from_secs(20), raw.heard()).await.unwrap() {
                Heard::Frame(body) => body,
                Heard::Closed(code) => panic!("closed: {code}"),
            };
            synced |= matches!(body, Body::SyncDone(_));
            answered += u64::from(matches!(body, Body::Response(_)));
            let bytes = pb::Frame { body: Some(body) }.encode_to_vec();
            let shown = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
            assert!(!shown, "{name} is shown what was recalled: {:?}", pb::Frame::decode(&*bytes));
        }
    }
}
