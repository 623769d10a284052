//! Quotes and forwarded messages are looked up rather than trusted, and recalled messages appear in none. A
//! device can publish whatever its clock and store were before.

use im_proto::{pb, pb::frame::Body, pb::publish_result::Outcome};
use im_sdk::{
    Conversation, HistoryRange,
    backend::{Message, channel, user},
    client::{ReceivedMessage, RefusalKind},
    content::{Body as Kind, Change, ChangeKind, Content, Forwarded},
    id::{MessageId, UserId},
};
use im_tests::{
    Setup, Stack, Via,
    channels::{group, serve},
    everywhere,
    raw::{Heard, Raw},
    timeline_device::TimelineDevice,
};

everywhere!(
    quotes_say_what_was_said,
    forwarded_messages_say_what_was_said,
    nothing_is_left_of_what_was_taken_back,
    a_user_has_twenty_reactions_to_a_message,
    a_device_with_a_new_store_publishes_at_once,
);

fn name(user: &str) -> UserId {
    user.parse().unwrap()
}

/// Returns the next message from another user that is not a change.
async fn hears(phone: &mut TimelineDevice) -> ReceivedMessage {
    loop {
        let message = phone.device.message().await;
        phone.timeline.apply(&message);
        phone.received.push(message.clone());
        if message.content.as_change().is_none() && message.from.as_ref() != Some(&phone.me) {
            return message;
        }
    }
}

async fn quotes_say_what_was_said(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["alice", "bob"]).await.unwrap();
    let mut alice = TimelineDevice::connect(&stack, "alice", "web/tab", 0, via).await;
    let mut bob = TimelineDevice::connect(&stack, "bob", "web/tab", 0, via).await;
    im.send(Message::to(user("bob")).from("alice").text("lunch at noon?")).await.unwrap();
    let asked = hears(&mut bob).await;
    // A quote as the SDK makes it, and a forged one.
    let mut lie = asked.quote();
    lie.from = Some(name("carol"));
    lie.excerpt = "I resign. Boss".into();
    for quote in [asked.quote(), lie.clone()] {
        bob.device.client().send(name("alice"), Content::text("yes").quote(quote)).await.unwrap();
        let quote = hears(&mut alice).await.content.quote.unwrap();
        assert!(quote.verified && quote.seq == 0);
        assert_eq!((quote.from, &*quote.excerpt), (Some(name("alice")), "lunch at noon?"));
    }
    // Quotes of a message that does not exist, or is not in this conversation.
    let mut nowhere = lie.clone();
    nowhere.message_id = MessageId::from_u64(4711).unwrap();
    nowhere.verified = true;
    bob.device.client().send(name("alice"), Content::text("see").quote(nowhere)).await.unwrap();
    assert!(!hears(&mut alice).await.content.quote.unwrap().verified);
    bob.device.client().send(group("team"), Content::text("see").quote(lie.clone())).await.unwrap();
    assert!(!hears(&mut alice).await.content.quote.unwrap().verified);
    // In an edit, too.
    let sent = bob
        .device
        .client()
        .send(name("alice"), Content::text("hm"))
        .outcome()
        .await
        .unwrap()
        .message_id
        .unwrap();
    hears(&mut alice).await;
    let reference = bob.reference("hm").await;
    let edit = ChangeKind::Edit(Box::new(Content::text("hm!").quote(lie)));
    bob.change(&reference, edit).await.unwrap();
    let change = alice.device.next("the edit", |event| match event {
        im_sdk::client::Event::Message(message) => message.content.as_change().cloned(),
        _ => None,
    });
    let Change { message_id, kind: ChangeKind::Edit(content), .. } = change.await else { panic!("an edit") };
    assert_eq!((message_id, content.quote.unwrap().from), (sent, Some(name("alice"))));
    // In a channel, and of a recalled message.
    let receipt = im.send(Message::to(channel("team")).from("alice").text("nonsense")).await.unwrap();
    let nonsense = hears(&mut bob).await;
    im.change(channel("team"), Change::recall(receipt.message_id)).await.unwrap();
    bob.device.client().send(group("team"), Content::text("what?").quote(nonsense.quote())).await.unwrap();
    let quote = loop {
        let message = hears(&mut alice).await;
        if message.content.as_text() == Some("what?") {
            break message.content.quote.unwrap();
        }
    };
    assert!(quote.verified && quote.recalled && quote.excerpt.is_empty(), "{quote:?}");
}

async fn forwarded_messages_say_what_was_said(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["bob"]).await.unwrap();
    let mut bob = TimelineDevice::connect(&stack, "bob", "web/tab", 0, via).await;
    let mut carol = TimelineDevice::connect(&stack, "carol", "web/tab", 0, via).await;
    im.send(Message::to(user("bob")).from("alice").text("between us")).await.unwrap();
    let mut first = hears(&mut bob).await.forward();
    im.send(Message::to(channel("team")).from("dave").text("to the team")).await.unwrap();
    let second = hears(&mut bob).await.forward();
    first.content = Content::text("a lie");
    first.from = Some(name("boss"));
    let mut third = second.clone();
    third.source.as_mut().unwrap().seq += 1;
    let mut fourth = second.clone();
    fourth.source = None;
    fourth.verified = true;
    let bundle = Forwarded::new("look", [first, second, third, fourth]);
    bob.device.client().send(name("carol"), Content::from(bundle)).await.unwrap();
    let Kind::Forwarded(bundle) = hears(&mut carol).await.content.body else { panic!("a bundle") };
    let entries: Vec<_> = bundle
        .entries
        .iter()
        .map(|entry| {
            let from = entry.from.as_ref().map(UserId::as_str).unwrap_or_default();
            (entry.verified, from, entry.content.as_text().unwrap_or_default())
        })
        .collect();
    let team = ("dave", "to the team");
    assert_eq!(
        entries,
        [
            (true, "alice", "between us"),
            (true, team.0, team.1),
            (false, team.0, team.1),
            (false, team.0, team.1)
        ]
    );
    assert!(
        bundle.entries.iter().all(|entry| entry.source.is_none()),
        "where it is from is nobody's business"
    );
}

async fn nothing_is_left_of_what_was_taken_back(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    // Gives a message different positions in the two inboxes.
    im.send(Message::to(user("bob")).text("hello, bob")).await.unwrap();
    let mut alice = TimelineDevice::connect(&stack, "alice", "web/tab", 0, via).await;
    let mut bob = TimelineDevice::connect(&stack, "bob", "web/tab", 0, via).await;
    for text in ["the password is hunter2", "helo"] {
        alice.device.client().send(name("bob"), Content::text(text)).await.unwrap();
    }
    let (secret, typo) = (alice.reference("the password is hunter2").await, alice.reference("helo").await);
    let heard = hears(&mut bob).await;
    bob.device.client().send(name("alice"), Content::text("oh!").quote(heard.quote())).await.unwrap();
    let answer = hears(&mut alice).await;
    assert_eq!(answer.content.quote.unwrap().excerpt, "the password is hunter2");
    alice.change(&typo, ChangeKind::Edit(Box::new("hello".into()))).await.unwrap();
    alice.change(&secret, ChangeKind::Recall).await.unwrap();
    for (who, other) in [("alice", "bob"), ("bob", "alice")] {
        let mut new = TimelineDevice::connect(&stack, who, "ios/new", 0, via).await;
        let page = new.device.client().history(Conversation::User(name(other)), HistoryRange::Newest, 100);
        let messages = page.await.unwrap().messages;
        let bytes: Vec<u8> = messages.iter().flat_map(|message| message.content.encode()).collect();
        for gone in ["hunter2", "helo"] {
            assert!(!bytes.windows(gone.len()).any(|part| part == gone.as_bytes()), "{who} reads {gone}");
        }
        messages.iter().for_each(|message| _ = new.timeline.apply(message));
        let shown: Vec<_> = im_tests::timeline_device::shown(&new.timeline);
        assert_eq!(shown, ["(recalled by alice)", "hello (edited)", "oh!"], "{who}");
        let quote = new.timeline.messages().last().unwrap().content().unwrap().quote.clone().unwrap();
        assert!(quote.recalled && quote.excerpt.is_empty());
        // Without the change messages, the result is the same.
        let mut alone = im_sdk::timeline::Timeline::new(name(who));
        let said = messages.iter().filter(|message| message.content.as_change().is_none());
        said.for_each(|message| _ = alone.apply(message));
        assert_eq!(im_tests::timeline_device::shown(&alone), shown);
    }
    // A device that was connected all the time.
    bob.shows(&["(recalled by alice)", "hello (edited)", "oh!"]).await;
    let quote = bob.timeline.messages().last().unwrap().content().unwrap().quote.clone().unwrap();
    assert!(quote.recalled && quote.excerpt.is_empty());
}

async fn a_user_has_twenty_reactions_to_a_message(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut bob = TimelineDevice::connect(&stack, "bob", "web/tab", 0, via).await;
    im.send(Message::to(user("bob")).from("alice").text("hi")).await.unwrap();
    let reference = bob.reference("hi").await;
    let react = |emoji: usize| ChangeKind::Reaction { emoji: format!("emoji-{emoji}"), removed: false };
    for emoji in 0..20 {
        bob.change(&reference, react(emoji)).await.unwrap();
    }
    let refused = bob.change(&reference, react(20)).await.unwrap_err();
    assert_eq!(refused, (RefusalKind::Rule, "one user has at most 20 reactions to a message".to_owned()));
    bob.change(&reference, react(7)).await.unwrap();
    let removed = ChangeKind::Reaction { emoji: "emoji-7".into(), removed: true };
    bob.change(&reference, removed).await.unwrap();
    bob.change(&reference, react(20)).await.unwrap();
    let blank = ChangeKind::Reaction { emoji: "a b".into(), removed: false };
    assert_eq!(bob.change(&reference, blank).await.unwrap_err().0, RefusalKind::Invalid);
}

/// Publishes as a device whose clock is a year ahead, and whose SDK derives numbers from the clock.
async fn publish_a_year_ahead(raw: &mut Raw) -> Outcome {
    let content = Some(Content::text("from the future").into());
    let number = 1_900_000_000_000;
    raw.send_frame(Body::Publish(pb::Publish { number, to: "bob".into(), content, ..Default::default() }))
        .await;
    loop {
        match raw.heard().await {
            Heard::Frame(Body::PublishResult(result)) => return result.outcome.unwrap(),
            Heard::Frame(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn a_device_with_a_new_store_publishes_at_once(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut bob = stack.connect("bob", "web/tab", 0, via).await;
    let mut raw = Raw::connect(&stack, 0, via).await;
    let welcome = raw.log_in("alice").await;
    assert_eq!(welcome.user, "alice");
    assert!(matches!(publish_a_year_ahead(&mut raw).await, Outcome::Accepted(_)));
    assert_eq!(bob.text().await, "from the future");
    drop(raw);
    // The same device, with a new store each time.
    for round in 0..3 {
        let text = format!("installed anew, {round}");
        let alice = stack.connect("alice", "web/raw", 0, via).await;
        alice.publish("bob", &text).await.unwrap();
        assert_eq!(bob.text().await, text);
    }
}
