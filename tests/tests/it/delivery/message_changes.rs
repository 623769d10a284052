//! Recalls, edits, deletions, reactions and pins lead to the same state on all devices.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use im_proto::{pb, pb::frame::Body, pb::publish_result::Outcome};
use im_sdk::{
    Conversation, Signal,
    backend::{
        ChangePolicy, ChangeRights, Durability, Handler, Im, Incoming, IncomingChange, InvalidMessage,
        Message, Refusal, SendError, Service, channel, user, users,
    },
    client::{Event, MessageRef, RefusalKind},
    cluster::{LogId, ReadLimit},
    content::{Change, ChangeKind, Content},
    id::{MessageId, UserId},
};
use im_tests::{
    Setup, Stack, Via,
    archiving_stack::ArchivingStack,
    channels::{group, serve},
    everywhere,
    raw::{Heard, Raw},
    stack::PATIENCE,
    timeline_device::{TimelineDevice, shown},
    wait_until,
};

everywhere!(
    changes_between_users_converge,
    changes_in_a_channel_converge,
    a_device_that_was_away_ends_in_the_same_state,
    who_may_not_is_refused,
    what_is_not_there_is_refused,
    the_handler_decides,
    a_rule_for_texts_holds_for_edits,
    whoever_is_refused_reaches_nobody,
    back_ends_change_whatever_they_like,
    messages_in_the_store_are_changed,
    a_change_under_one_number_has_one_effect,
);

fn edit(text: &str) -> ChangeKind {
    ChangeKind::Edit(Box::new(Content::text(text)))
}

fn react(emoji: &str) -> ChangeKind {
    ChangeKind::Reaction { emoji: emoji.to_owned(), removed: false }
}

const PIN: ChangeKind = ChangeKind::Pin { removed: false };

/// Connects two devices of alice and two of bob.
async fn four_devices(stack: &Stack, via: Via) -> [TimelineDevice; 4] {
    let all =
        [("alice", "web/tab", 0), ("alice", "ios/phone", 1), ("bob", "web/tab", 1), ("bob", "ios/phone", 0)];
    let mut devices = Vec::new();
    for (user, device, server) in all {
        devices.push(TimelineDevice::connect(stack, user, device, server, via).await);
    }
    devices.try_into().unwrap()
}

async fn all_show(devices: &mut [TimelineDevice], wanted: &[&str]) {
    for device in devices {
        device.shows(wanted).await;
    }
}

async fn text(im: &Im, from: &str, to: &str, text: &str) -> MessageId {
    im.send(Message::to(user(to)).from(from).text(text)).await.unwrap().message_id
}

async fn changes_between_users_converge(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    // Gives a message different positions in the two inboxes.
    im.send(Message::to(user("bob")).text("hello, bob")).await.unwrap();
    let mut devices = four_devices(&stack, via).await;
    for said in ["one", "two", "three"] {
        devices[0].device.client().send(devices[2].me.clone(), Content::text(said)).await.unwrap();
    }
    all_show(&mut devices, &["one", "two", "three"]).await;
    let [alice, other_alice, bob, other_bob] = &mut devices;
    let (one, two) = (alice.reference("one").await, other_alice.reference("two").await);
    let (bobs_one, bobs_three) = (bob.reference("one").await, other_bob.reference("three").await);
    assert_ne!(one.seq, bobs_one.seq);
    alice.device.client().edit(&one, "uno").await.unwrap();
    other_alice.device.client().recall(&two).await.unwrap();
    bob.device.client().react(&bobs_one, "👍").await.unwrap();
    other_alice.device.client().react(&one, "👍").await.unwrap();
    bob.device.client().react(&bobs_one, "🎉").await.unwrap();
    other_bob.device.client().pin(&bobs_three).await.unwrap();
    let shown = ["uno (edited) 🎉bob 👍alice,bob", "(recalled by alice)", "three (pinned)"];
    all_show(&mut devices, &shown).await;
    // The changes are undone, and bob deletes the last message for himself.
    let [_, other_alice, bob, other_bob] = &mut devices;
    let three = other_alice.reference("three").await;
    other_alice.device.client().unpin(&three).await.unwrap();
    bob.device.client().unreact(&bobs_one, "🎉").await.unwrap();
    other_bob.device.client().delete_for_me(&bobs_three).await.unwrap();
    all_show(&mut devices[..2], &["uno (edited) 👍alice,bob", "(recalled by alice)", "three"]).await;
    all_show(&mut devices[2..], &["uno (edited) 👍alice,bob", "(recalled by alice)"]).await;
}

async fn changes_in_a_channel_converge(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["alice", "bob"]).await.unwrap();
    let mut devices = four_devices(&stack, via).await;
    for said in ["one", "two"] {
        devices[0].device.client().send(group("team"), Content::text(said)).await.unwrap();
    }
    all_show(&mut devices, &["one", "two"]).await;
    let [alice, _, bob, other_bob] = &mut devices;
    let (one, two) = (alice.reference("one").await, bob.reference("two").await);
    // All changes at once.
    let (react_alice, react_bob, edited, pinned) = (react("👍"), react("👍"), edit("uno"), PIN);
    let results = tokio::join!(
        alice.change(&one, react_alice),
        bob.change(&one, react_bob),
        alice.change(&two, edited),
        other_bob.change(&two, pinned),
    );
    assert!(results.0.is_ok() && results.1.is_ok() && results.2.is_ok() && results.3.is_ok(), "{results:?}");
    all_show(&mut devices, &["one 👍alice,bob", "uno (edited) (pinned)"]).await;
    let [alice, _, bob, _] = &mut devices;
    alice.change(&one, ChangeKind::Recall).await.unwrap();
    bob.change(&two, ChangeKind::DeleteForMe).await.unwrap();
    all_show(&mut devices[..2], &["(recalled by alice)", "uno (edited) (pinned)"]).await;
    all_show(&mut devices[2..], &["(recalled by alice)"]).await;
    // The deletion is in bob's inbox, and names the channel of the message.
    let page =
        stack.cluster().log().read(&LogId::Channel(group("team")), 0, ReadLimit::new(100)).await.unwrap();
    assert_eq!(page.last, 7, "two messages, four changes and a recall");
    let deletion = devices[3].received.last().unwrap();
    assert_eq!(
        (&deletion.channel, &deletion.content.as_change().unwrap().channel),
        (&None, &Some(group("team")))
    );
}

async fn a_device_that_was_away_ends_in_the_same_state(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut devices = four_devices(&stack, via).await;
    devices[0].device.client().send(devices[2].me.clone(), Content::text("one")).await.unwrap();
    all_show(&mut devices, &["one"]).await;
    devices[3].device.client().disconnect();
    stack.wait_online(&im, "bob", 1).await;
    let [alice, _, bob, away] = &mut devices;
    let (one, bobs_one) = (alice.reference("one").await, bob.reference("one").await);
    alice.device.client().send(bob.me.clone(), Content::text("two")).await.unwrap();
    let two = alice.reference("two").await;
    alice.change(&one, edit("uno")).await.unwrap();
    bob.change(&bobs_one, react("👍")).await.unwrap();
    alice.change(&two, ChangeKind::Recall).await.unwrap();
    alice.change(&one, PIN).await.unwrap();
    let shown = ["uno (edited) 👍bob (pinned)", "(recalled by alice)"];
    // While offline, it reacts to a message that it still shows.
    away.device.client().react(&bobs_one, "🎉").await.unwrap();
    all_show(&mut devices[..3], &shown).await;
    devices[3].device.client().connect();
    let shown = ["uno (edited) 🎉bob 👍bob (pinned)", "(recalled by alice)"];
    all_show(&mut devices, &shown).await;
    // A new device starts without state and reads the history backwards.
    for (user, other) in [("alice", "bob"), ("bob", "alice")] {
        let mut new = TimelineDevice::connect(&stack, user, "desktop/new", 0, via).await;
        new.scroll(&Conversation::User(UserId::parse(other).unwrap())).await;
        new.shows(&shown).await;
        // The history repeats messages that have arrived live.
        new.scroll(&Conversation::Inbox).await;
        new.shows(&shown).await;
    }
}

async fn who_may_not_is_refused(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let mut changes = ChangePolicy::default();
    changes.recall = Some(Duration::from_millis(500));
    changes.pin = false;
    let im = stack.backend_with(Im::builder().changes(changes)).await;
    let _service = serve(&im).await;
    let mut alice = TimelineDevice::connect(&stack, "alice", "web/tab", 0, via).await;
    let mut bob = TimelineDevice::connect(&stack, "bob", "web/tab", 0, via).await;
    let id = text(&im, "alice", "bob", "one").await;
    let (one, bobs_one) = (alice.reference("one").await, bob.reference("one").await);
    let rule = |reason: &str| Err((RefusalKind::Rule, format!("message {id} cannot be changed {reason}")));
    assert_eq!(bob.change(&bobs_one, ChangeKind::Recall).await, rule("(recall): bob did not send it"));
    assert_eq!(bob.change(&bobs_one, edit("two")).await, rule("(edit): bob did not send it"));
    assert_eq!(bob.change(&bobs_one, PIN).await, rule("(pin): it is switched off"));
    wait_until("the message is old enough", PATIENCE, async || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        now > u128::from(id.unix_ms()) + 500
    })
    .await;
    assert_eq!(alice.change(&one, ChangeKind::Recall).await, rule("(recall): it is more than 0 s old"));
    alice.change(&one, edit("uno")).await.unwrap();
    bob.shows(&["uno (edited)"]).await;
    alice.shows(&["uno (edited)"]).await;
}

async fn what_is_not_there_is_refused(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["bob"]).await.unwrap();
    let alice = TimelineDevice::connect(&stack, "alice", "web/tab", 0, via).await;
    let mut bob = TimelineDevice::connect(&stack, "bob", "web/tab", 0, via).await;
    text(&im, "alice", "bob", "one").await;
    text(&im, "alice", "bob", "two").await;
    text(&im, "alice", "carol", "to carol").await;
    im.send(Message::to(users(["bob", "carol"])).from("alice").text("to both")).await.unwrap();
    let (one, two) = (bob.reference("one").await, bob.reference("two").await);
    let refused = async |by: &TimelineDevice, message: MessageRef, kind: ChangeKind| {
        let (kind, reason) = by.change(&message, kind).await.unwrap_err();
        assert_eq!(kind, RefusalKind::Invalid, "{reason}");
        reason
    };
    let gone = |message: &MessageRef| {
        format!("there is no message {} at seq {}: it is gone, or another one", message.id, message.seq)
    };
    let mut wrong = one.clone();
    wrong.seq = two.seq;
    assert_eq!(refused(&bob, wrong.clone(), react("x")).await, gone(&wrong), "another message");
    for seq in [0, 1000, u64::MAX] {
        wrong.seq = seq;
        assert_eq!(refused(&bob, wrong.clone(), react("x")).await, gone(&wrong));
    }
    // Messages in another user's log only.
    let page = stack
        .cluster()
        .log()
        .read(&LogId::Inbox(UserId::parse("carol").unwrap()), 0, ReadLimit::new(10))
        .await
        .unwrap();
    let carols = MessageRef::new(alice.me.clone(), page.entries[0].message_id, page.entries[0].seq);
    assert_eq!(refused(&bob, carols.clone(), react("x")).await, gone(&carols));
    let mut elsewhere = one.clone();
    elsewhere.conversation = UserId::parse("carol").unwrap().into();
    assert!(refused(&bob, elsewhere, react("x")).await.ends_with("is not of the conversation with carol"));
    let to_both = bob.reference("to both").await;
    assert!(refused(&bob, to_both.clone(), react("x")).await.ends_with("only the backend can change it"));
    bob.change(&to_both, ChangeKind::DeleteForMe).await.unwrap();
    // A change cannot be changed itself.
    let reaction = bob.change(&one, react("👍")).await.unwrap();
    bob.shows(&["one 👍bob", "two"]).await;
    let at = bob.received.iter().find(|message| message.id == reaction).unwrap();
    let at = at.reference(&bob.me).unwrap();
    assert!(refused(&bob, at, ChangeKind::DeleteForMe).await.ends_with("is a change itself"));
    let too_long = refused(&bob, one.clone(), react(&"x".repeat(65))).await;
    assert_eq!(too_long, "the content's emoji takes 65 bytes, the limit is 64");
    assert_eq!(
        refused(&bob, one, ChangeKind::Unknown).await,
        "the content has no change that this backend knows"
    );
    // A user who is not a member cannot change anything in a channel.
    im.send(Message::to(channel("team")).from("bob").text("in the team")).await.unwrap();
    let in_team = bob.reference("in the team").await;
    let (kind, reason) = alice.change(&in_team, react("x")).await.unwrap_err();
    assert_eq!((kind, &*reason), (RefusalKind::Rule, "alice is not a member of channel team"));
}

/// Accepts everything except the text "spam", and lets mona change every message.
struct Moderated;

impl Handler for Moderated {
    async fn publish(&self, incoming: Incoming) -> Result<im_sdk::backend::Acceptance, Refusal> {
        Ok(incoming.accept())
    }

    async fn change(&self, incoming: &IncomingChange) -> Result<ChangeRights, Refusal> {
        match &incoming.change.kind {
            ChangeKind::Edit(content) if content.as_text() == Some("spam") => {
                let was = incoming.message.content.as_text().unwrap_or_default();
                Err(Refusal::new(format!("not even instead of {was:?}")).with_code(7))
            }
            _ if incoming.from.as_str() == "mona" => Ok(ChangeRights::Granted),
            _ => Ok(ChangeRights::ByPolicy),
        }
    }
}

async fn the_handler_decides(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let mut changes = ChangePolicy::default();
    changes.edit = None;
    let im = stack.backend_with(Im::builder().changes(changes)).await;
    let _service: Service = im.serve(Moderated).await.unwrap();
    im.channel("team").add_members(["alice", "mona"]).await.unwrap();
    let mut alice = TimelineDevice::connect(&stack, "alice", "web/tab", 0, via).await;
    let mut mona = TimelineDevice::connect(&stack, "mona", "web/tab", 0, via).await;
    for said in ["one", "two"] {
        im.send(Message::to(channel("team")).from("alice").text(said)).await.unwrap();
    }
    let (one, two) = (mona.reference("one").await, mona.reference("two").await);
    assert_eq!(alice.change(&one, edit("uno")).await.unwrap_err().0, RefusalKind::Rule, "switched off");
    let spam = mona.change(&one, edit("spam")).await.unwrap_err();
    assert_eq!(spam, (RefusalKind::Rule, "not even instead of \"one\"".to_owned()));
    mona.change(&one, edit("uno")).await.unwrap();
    mona.change(&two, ChangeKind::Recall).await.unwrap();
    for device in [&mut alice, &mut mona] {
        device.shows(&["uno (edited)", "(recalled by mona)"]).await;
    }
}

async fn a_rule_for_texts_holds_for_edits(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let rule = |incoming: Incoming| async move {
        match incoming.content.as_text() {
            Some(text) if text.contains("spam") => Err(Refusal::new("no spam, please").with_code(7)),
            _ => Ok(incoming.accept()),
        }
    };
    let _service = im.serve(rule).await.unwrap();
    let mut alice = TimelineDevice::connect(&stack, "alice", "web/tab", 0, via).await;
    let mut bob = TimelineDevice::connect(&stack, "bob", "web/tab", 0, via).await;
    alice.device.client().send(bob.me.clone(), Content::text("hi")).await.unwrap();
    let hi = alice.reference("hi").await;
    let refused = alice.change(&hi, edit("buy spam")).await.unwrap_err();
    assert_eq!(refused, (RefusalKind::Rule, "no spam, please".to_owned()));
    alice.change(&hi, edit("hello")).await.unwrap();
    bob.shows(&["hello (edited)"]).await;
}

/// A closure that refuses what eve publishes also refuses everything else of hers.
async fn whoever_is_refused_reaches_nobody(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let blocked = Arc::new(AtomicBool::new(false));
    let is_blocked = Arc::clone(&blocked);
    let rule = move |incoming: Incoming| {
        let refuse = is_blocked.load(Ordering::SeqCst) && incoming.from.as_str() == "eve";
        async move { if refuse { Err(Refusal::new("you are blocked")) } else { Ok(incoming.accept()) } }
    };
    let _service = im.serve(rule).await.unwrap();
    let mut eve = TimelineDevice::connect(&stack, "eve", "web/tab", 0, via).await;
    let mut bob = TimelineDevice::connect(&stack, "bob", "web/tab", 0, via).await;
    eve.device.client().send(bob.me.clone(), Content::text("hi bob")).await.unwrap();
    let hers = eve.reference("hi bob").await;
    bob.reference("hi bob").await;
    bob.device.client().send(eve.me.clone(), Content::text("hi eve")).await.unwrap();
    let his = eve.reference("hi eve").await;
    bob.shows(&["hi bob", "hi eve"]).await;
    blocked.store(true, Ordering::SeqCst);
    eve.device.client().send(bob.me.clone(), Content::text("let me in")).outcome().await.unwrap_err();
    eve.device.client().signal(bob.me.clone(), Signal::typing()).await;
    for (message, kind) in [(&his, react("🖕")), (&hers, edit("you cannot get rid of me")), (&hers, PIN)] {
        let refused = eve.change(message, kind).await.unwrap_err();
        assert_eq!(refused, (RefusalKind::Rule, "you are blocked".to_owned()));
    }
    im.send(Message::to(user("bob")).from("alice").text("the end")).await.unwrap();
    let mut came = Vec::new();
    let looking = bob.device.next("the end", |event| match event {
        Event::Message(message) if message.content.as_text() == Some("the end") => Some(()),
        Event::Message(_) | Event::Signal(_) => {
            came.push(event.clone());
            None
        }
        _ => None,
    });
    looking.await;
    assert_eq!(came, []);
}

async fn back_ends_change_whatever_they_like(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let mut changes = ChangePolicy::default();
    changes.recall = None;
    let im = stack.backend_with(Im::builder().changes(changes)).await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["alice", "bob"]).await.unwrap();
    let mut devices = four_devices(&stack, via).await;
    let between = text(&im, "alice", "bob", "between us").await;
    let team = im.send(Message::to(channel("team")).from("bob").text("to all")).await.unwrap().message_id;
    all_show(&mut devices, &["between us", "to all"]).await;
    im.change(users(["alice", "bob"]), Change::recall(between)).await.unwrap();
    im.change(channel("team"), Change::edit(team, "(moderated)")).await.unwrap();
    im.change(channel("team"), Change::react(team, "⚖️")).await.unwrap();
    all_show(&mut devices, &["(recalled by the back end)", "(moderated) (edited) ⚖️the back end"]).await;
    // The change is part of their conversation, for both.
    for (user, other) in [("alice", "bob"), ("bob", "alice")] {
        let mut new = TimelineDevice::connect(&stack, user, "desktop/new", 0, via).await;
        new.scroll(&Conversation::User(UserId::parse(other).unwrap())).await;
        new.shows(&["(recalled by the back end)"]).await;
    }
    // A change on behalf of a user, once per key.
    let pin = || Message::to(channel("team")).from("bob").content(Change::pin(team)).idempotency_key("pin-1");
    let first = im.send(pin()).await.unwrap();
    let again = im.send(pin()).await.unwrap();
    assert_eq!((again.repeated, again.message_id), (true, first.message_id));
    im.send(Message::to(user("alice")).content(Change::delete_for_me(between))).await.unwrap();
    all_show(&mut devices[..2], &["(moderated) (edited) ⚖️the back end (pinned)"]).await;
    let shown = ["(recalled by the back end)", "(moderated) (edited) ⚖️the back end (pinned)"];
    all_show(&mut devices[2..], &shown).await;
    let live = Message::to(channel("team")).content(Change::pin(team)).durability(Durability::Transient);
    assert!(matches!(im.send(live).await, Err(SendError::Invalid(InvalidMessage::ChangeNeedsLog))));
    let deletion = im.change(channel("team"), Change::delete_for_me(team)).await;
    assert!(matches!(deletion, Err(SendError::Invalid(InvalidMessage::DeletionInChannel))), "{deletion:?}");
}

async fn messages_in_the_store_are_changed(setup: Setup, via: Via) {
    let deployment = ArchivingStack::start(setup).await;
    let (stack, im) = (&deployment.stack, &deployment.im);
    let mut bob = TimelineDevice::connect(stack, "bob", "web/tab", 0, via).await;
    text(im, "alice", "bob", "the first").await;
    let first = bob.reference("the first").await;
    let log = LogId::Inbox(bob.me.clone());
    // Redis trims in blocks.
    let mut sent = 0;
    while stack.cluster().log().id_at(&log, first.seq).await.unwrap().is_some() {
        assert!(sent < 2000, "the log is not trimmed");
        im.send(Message::to(user("bob")).from("alice").text(format!("filler {sent}"))).await.unwrap();
        sent += 1;
    }
    let mut taken = Err((RefusalKind::Unknown, String::new()));
    // Waits for the archiver.
    wait_until("the message is in the store", PATIENCE, async || {
        taken = bob.change(&first, react("👍")).await;
        taken.is_ok()
    })
    .await;
    let alices = Conversation::User(UserId::parse("alice").unwrap());
    let mut new = TimelineDevice::connect(stack, "bob", "ios/phone", 0, via).await;
    new.scroll(&alices).await;
    let shown = shown(&new.timeline);
    assert_eq!((&*shown[0], shown.len()), ("the first 👍bob", sent + 1));
}

async fn publish_raw(raw: &mut Raw, number: u64, content: &Content) -> Outcome {
    let content = Some(content.clone().into());
    let publish = pb::Publish { number, to: "bob".into(), content, ..Default::default() };
    raw.send_frame(Body::Publish(publish)).await;
    loop {
        match raw.heard().await {
            Heard::Frame(Body::PublishResult(result)) => return result.outcome.unwrap(),
            Heard::Frame(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn a_change_under_one_number_has_one_effect(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let (im, other) = (stack.backend().await, stack.backend().await);
    let _services = [serve(&im).await, serve(&other).await];
    let mut bob = TimelineDevice::connect(&stack, "bob", "web/tab", 0, via).await;
    let receipt = im.send(Message::to(user("bob")).from("alice").text("one")).await.unwrap();
    let seq = stack.cluster().log().ends(&[LogId::Inbox("alice".parse().unwrap())]).await.unwrap()[0].last;
    let reference = MessageRef::new(bob.me.clone(), receipt.message_id, seq);
    let mut alice = Raw::connect(&stack, 0, via).await;
    alice.log_in("alice").await;
    let first = publish_raw(&mut alice, 7, &reference.change(edit("uno"))).await;
    assert!(matches!(&first, Outcome::Accepted(accepted) if accepted.message_id != 0), "{first:?}");
    for _ in 0..5 {
        assert_eq!(publish_raw(&mut alice, 7, &reference.change(edit("uno"))).await, first);
    }
    let Outcome::Refused(refused) = publish_raw(&mut alice, 7, &reference.change(edit("eins"))).await else {
        panic!("another change under the same number")
    };
    assert_eq!(refused.kind(), pb::RefusalKind::NumberUsed);
    bob.shows(&["uno (edited)"]).await;
    let logs = ["alice", "bob"].map(|user| LogId::Inbox(user.parse().unwrap()));
    let ends = stack.cluster().log().ends(&logs).await.unwrap();
    assert!(ends.iter().all(|end| end.last == 2), "{ends:?}");
}
