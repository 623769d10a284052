//! Rooms: devices join and leave, messages reach those inside, and excess messages are dropped.

use std::{sync::atomic::Ordering, time::Duration};

use im_proto::{pb, pb::frame::Body};
use im_sdk::{
    backend::{Durability, InvalidMessage, Message, Priority, SendError},
    client::{Event, RefusalKind, RequestError, RoomLeftCause},
    content::{self, Content},
    id::UserId,
};
use im_tests::{
    Setup, Stack, TestClient, Via,
    channels::{EnvelopeTap, events_before_marker, group},
    everywhere,
    permissive_handler::{PermissiveHandler, device, room_left},
    raw::{Heard, Raw},
    stack::PATIENCE,
    wait_until,
};

everywhere!(
    devices_join_talk_and_leave,
    a_room_survives_a_sync_and_a_reconnect,
    kicked_and_closed,
    the_end_of_the_log_comes_with_a_join,
    members_and_joiners_of_one_channel_are_apart,
    what_is_left_out_is_counted,
    likes_are_summed_up,
    joins_that_make_no_sense_are_refused,
    a_publish_that_is_repeated_is_shown_once,
);

fn text(message: &str) -> Message {
    Message::new().from("host").text(message)
}

fn texts(events: &[Event]) -> Vec<String> {
    let text = |event: &Event| match event {
        Event::Message(message) => message.content.as_text().map(str::to_owned),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

async fn devices_join_talk_and_leave(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let (im, other) = (stack.backend().await, stack.backend().await);
    let host = PermissiveHandler::default();
    let _services = [host.serve(&im).await, host.serve(&other).await];
    let lobby = group("lobby");
    let mut phone = device(&stack, "alice", "ios/phone", 0, via).await;
    let mut tab = device(&stack, "alice", "web/tab", 1, via).await;
    let mut bob = device(&stack, "bob", "web/tab", 1, via).await;
    let mut outside = device(&stack, "carol", "web/tab", 0, via).await;
    assert_eq!(im.room("lobby").online().await.unwrap(), 0);

    let joined = phone.client().join_room(lobby.clone(), "please").await.unwrap();
    assert_eq!((joined.online, &joined.answer[..]), (1, &b"alice/ios/phone please"[..]));
    assert_eq!(joined.recent, []);
    for client in [&tab, &bob, &bob] {
        // A second join has no effect.
        client.client().join_room(lobby.clone(), "").await.unwrap();
    }
    assert_eq!(im.room("lobby").online().await.unwrap(), 3);
    assert_eq!(im.channel("lobby").online().await.unwrap(), 3);

    let receipt = im.room("lobby").send(text("welcome")).await.unwrap();
    let told = receipt.channel.clone().unwrap();
    assert_eq!((told.seq, told.connections, receipt.shed(), told.pushed.len()), (0, 3, 0, 2));
    // A device publishes into its room, and receives its own message like everybody.
    bob.client().send(lobby.clone(), Content::text("hello")).outcome().await.unwrap();
    for client in [&mut phone, &mut tab, &mut bob] {
        for (from, expected) in [("host", "welcome"), ("bob", "hello")] {
            let message = client.message().await;
            assert_eq!(message.content.as_text(), Some(expected));
            assert_eq!((message.from, message.channel), (UserId::parse(from).ok(), Some(lobby.clone())));
            assert_eq!(message.position, None, "it is kept nowhere");
        }
    }
    let refused =
        outside.client().send(lobby.clone(), Content::text("let me in")).outcome().await.unwrap_err();
    assert_eq!(refused.code(), "refused", "{refused}");

    tab.client().leave_room(lobby.clone()).await.unwrap();
    tab.client().leave_room(lobby.clone()).await.unwrap();
    assert_eq!(im.room("lobby").online().await.unwrap(), 2);
    im.room("lobby").send(text("only two")).await.unwrap();
    assert_eq!((phone.text().await, bob.text().await), ("only two".into(), "only two".into()));
    for (client, user) in [(&mut tab, "alice"), (&mut outside, "carol")] {
        assert_eq!(texts(&events_before_marker(&im, client, user).await), Vec::<String>::new());
    }
    bob.client().disconnect();
    wait_until("who is gone is out", PATIENCE, async || im.room("lobby").online().await.unwrap() == 1).await;
}

async fn a_room_survives_a_sync_and_a_reconnect(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let host = PermissiveHandler::default();
    let _service = host.serve(&im).await;
    let (lobby, attic) = (group("lobby"), group("attic"));
    let mut client = device(&stack, "alice", "web/tab", 0, via).await;
    for room in [&lobby, &attic] {
        client.client().join_room(room.clone(), "").await.unwrap();
    }
    // Becoming a member makes the device sync.
    im.channel("team").add_members(["alice"]).await.unwrap();
    client.next("the team", |event| matches!(event, Event::Reset { .. }).then_some(())).await;
    im.room("lobby").send(text("still here")).await.unwrap();
    assert_eq!(client.text().await, "still here");

    client.client().leave_room(attic.clone()).await.unwrap();
    client.client().disconnect();
    wait_until("it is out", PATIENCE, async || im.room("lobby").online().await.unwrap() == 0).await;
    client.client().connect();
    wait_until("it is in again", PATIENCE, async || im.room("lobby").online().await.unwrap() == 1).await;
    assert_eq!(im.room("attic").online().await.unwrap(), 0, "it left this one for good");
    im.room("lobby").send(text("again")).await.unwrap();
    assert_eq!(client.text().await, "again");

    host.shut.store(true, Ordering::Relaxed);
    client.client().disconnect();
    client.client().connect();
    assert_eq!(room_left(&mut client, &lobby).await.0, RoomLeftCause::Refused);
}

async fn kicked_and_closed(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    let lobby = group("lobby");
    let mut phone = device(&stack, "alice", "ios/phone", 0, via).await;
    let mut tab = device(&stack, "alice", "web/tab", 1, via).await;
    let mut bob = device(&stack, "bob", "web/tab", 1, via).await;
    for client in [&phone, &tab, &bob] {
        client.client().join_room(lobby.clone(), "").await.unwrap();
    }
    assert_eq!(im.room("lobby").kick("alice", "be kind").await.unwrap(), 2, "both devices");
    im.room("lobby").send(text("without alice")).await.unwrap();
    for client in [&mut phone, &mut tab] {
        assert_eq!(room_left(client, &lobby).await, (RoomLeftCause::Kicked, "be kind".to_owned()));
        assert_eq!(texts(&events_before_marker(&im, client, "alice").await), Vec::<String>::new());
    }
    assert_eq!(bob.text().await, "without alice");
    // A kicked user may join again if the handler allows it.
    phone.client().join_room(lobby.clone(), "").await.unwrap();

    im.room("lobby").close("good night").await.unwrap();
    for client in [&mut phone, &mut bob] {
        assert_eq!(room_left(client, &lobby).await, (RoomLeftCause::Closed, "good night".to_owned()));
    }
    wait_until("it is empty", PATIENCE, async || im.room("lobby").online().await.unwrap() == 0).await;
    // A new connection does not join a room by itself.
    bob.client().disconnect();
    bob.client().connect();
    bob.up_to_date().await;
    im.room("lobby").send(text("to nobody")).await.unwrap();
    assert_eq!(texts(&events_before_marker(&im, &mut bob, "bob").await), Vec::<String>::new());
}

async fn the_end_of_the_log_comes_with_a_join(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler { recent: 3, ..PermissiveHandler::default() }.serve(&im).await;
    let lobby = group("lobby");
    let logged = |message: &str| text(message).durability(Durability::Logged);
    for number in 0..5 {
        im.room("lobby").send(logged(&format!("early {number}"))).await.unwrap();
    }
    let mut client = device(&stack, "alice", "web/tab", 0, via).await;
    let joined = client.client().join_room(lobby.clone(), "").await.unwrap();
    let recent: Vec<_> = joined.recent.iter().filter_map(|message| message.content.as_text()).collect();
    assert_eq!(recent, ["early 2", "early 3", "early 4"]);
    im.room("lobby").send(logged("now")).await.unwrap();
    let message = client.message().await;
    assert_eq!(
        (message.content.as_text(), &message.position),
        (Some("now"), &None),
        "no log that it follows"
    );

    client.client().disconnect();
    wait_until("it is out", PATIENCE, async || im.room("lobby").online().await.unwrap() == 0).await;
    im.room("lobby").send(logged("meanwhile")).await.unwrap();
    client.client().connect();
    // Messages from before the break are known and do not arrive again.
    assert_eq!(client.text().await, "meanwhile");
    assert_eq!(texts(&events_before_marker(&im, &mut client, "alice").await), Vec::<String>::new());
}

async fn members_and_joiners_of_one_channel_are_apart(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    let team = group("team");
    im.channel("team").add_members(["alice"]).await.unwrap();
    let mut alice = device(&stack, "alice", "web/tab", 0, via).await;
    let mut guest = device(&stack, "guest", "web/tab", 0, via).await;
    for client in [&alice, &guest] {
        client.client().join_room(team.clone(), "").await.unwrap();
    }
    im.room("team").close("").await.unwrap();
    room_left(&mut guest, &team).await;
    im.channel("team").send(text("for members")).await.unwrap();
    let message = alice.message().await;
    assert_eq!(message.position.map(|position| position.seq), Some(1), "a member follows the log, once");
    assert_eq!(texts(&events_before_marker(&im, &mut guest, "guest").await), Vec::<String>::new());
    assert_eq!(texts(&events_before_marker(&im, &mut alice, "alice").await), Vec::<String>::new());
    // Leaving the room does not end the membership.
    alice.client().leave_room(team.clone()).await.unwrap();
    im.channel("team").send(text("more")).await.unwrap();
    assert_eq!(alice.text().await, "more");
    let history = im.channel("team").history(im_sdk::HistoryRange::Newest, 10).await.unwrap();
    assert_eq!(history.messages.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2]);
    im.channel("team").close().await.unwrap();
    alice.next("out of it", |event| matches!(event, Event::Reset { .. }).then_some(())).await;
    assert_eq!(im.channel("team").members(None, 10).await.unwrap(), []);
}

async fn what_is_left_out_is_counted(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    let mut reader = device(&stack, "reader", "web/tab", 0, via).await;
    reader.client().join_room(group("lobby"), "").await.unwrap();
    let mut deaf = Raw::connect(&stack, 0, via).await;
    deaf.log_in("deaf").await;
    join(&mut deaf, 1, "lobby").await;
    let room = im.room("lobby");
    let large = "x".repeat(60_000);
    // It stops reading. First, messages of low priority are shed, then those of normal priority.
    for (priority, next) in [(Priority::Low, Priority::Normal), (Priority::Normal, Priority::DisconnectSlow)]
    {
        wait_until("one is left out", Duration::from_secs(30), async || {
            let receipt = room.send(text(&large).priority(priority)).await.unwrap();
            read(&mut reader, receipt.channel.as_ref().unwrap().connections).await;
            // The reading device receives it, and no connection is closed.
            receipt.shed() == 1
        })
        .await;
        let receipt = room.send(text(&large).priority(next)).await.unwrap();
        assert_eq!(
            (receipt.shed(), receipt.channel.unwrap().connections),
            (0, 2),
            "{next:?} finds room still"
        );
        reader.text().await;
    }
    assert_eq!(room.online().await.unwrap(), 2);
    // Messages that must arrive are not shed: in the end the connection is closed.
    wait_until("the slow consumer is closed", Duration::from_secs(30), async || {
        let receipt = room.send(text(&large)).await.unwrap();
        assert_eq!(receipt.shed(), 0);
        reader.text().await;
        receipt.channel.unwrap().connections == 1
    })
    .await;
    let wrong = im.channel("lobby").send(text("hi").priority(Priority::Low)).await;
    assert!(matches!(wrong, Err(SendError::Invalid(InvalidMessage::PriorityNeedsTransient))), "{wrong:?}");
}

/// Waits for the message at the reader, one of the devices for which it is queued.
async fn read(reader: &mut TestClient, connections: u64) {
    assert!(connections >= 1);
    reader.text().await;
}

async fn likes_are_summed_up(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    let mut clients = Vec::new();
    for name in ["ios/phone", "web/tab"] {
        let client = device(&stack, "alice", name, 0, via).await;
        client.client().join_room(group("lobby"), "").await.unwrap();
        clients.push(client);
    }
    let mut tap = EnvelopeTap::on(&stack, 0).await;
    for _ in 0..1000 {
        im.room("lobby").count("like", 1).unwrap();
    }
    for client in &mut clients {
        let mut sum = 0;
        while sum < 1000 {
            let content::Body::Custom(count) = client.message().await.content.body else { panic!("a sum") };
            assert_eq!(count.kind, "like");
            sum += std::str::from_utf8(&count.data).unwrap().parse::<u64>().unwrap();
        }
        assert_eq!(sum, 1000);
    }
    let records = tap.records("lobby", 1).await;
    assert_eq!(records[0].priority(), pb::Priority::Low);
    assert!(tap.rest("lobby") < 20, "far fewer messages than likes");
    assert!(im.room("no room").count("like", 1).is_err());
}

async fn joins_that_make_no_sense_are_refused(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    let client = device(&stack, "alice", "web/tab", 0, via).await;
    let refused = client.client().join_room(group("closed-1"), "").await.unwrap_err();
    let RequestError::Refused { kind, reason, code, retry_after } = refused else { panic!("{refused:?}") };
    let expected = (RefusalKind::Rule, "the room is closed", 7, None);
    assert_eq!((kind, reason.as_str(), code, retry_after), expected);

    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.log_in("mallory").await;
    // Invalid channel names, and the internal name of a user's presence.
    for (number, name) in (1..).zip(["", "no room", " alice", "{"]) {
        let refused = ask_to_join(&mut raw, number, name).await;
        let Some(pb::response::Outcome::Refused(refused)) = refused else { panic!("{name}: {refused:?}") };
        assert_eq!(refused.kind(), pb::RefusalKind::Invalid, "{name}");
    }
    // A publish to a room that it is not in.
    let content = Some(Content::text("hi").into());
    raw.send_frame(Body::Publish(pb::Publish {
        number: 1,
        channel: "lobby".into(),
        content,
        ..Default::default()
    }))
    .await;
    let result = hear(&mut raw, |body| match body {
        Body::PublishResult(result) => result.outcome,
        _ => None,
    });
    let Some(pb::publish_result::Outcome::Refused(refused)) = result.await else { panic!("refused") };
    assert_eq!(refused.kind(), pb::RefusalKind::Rule);
    // Joins beyond the maximum per connection are refused, and the connection stays open.
    for number in 10..10 + 256 {
        join(&mut raw, number, &format!("room-{number}")).await;
    }
    let refused = ask_to_join(&mut raw, 1000, "one-more").await;
    assert!(matches!(refused, Some(pb::response::Outcome::Refused(_))), "{refused:?}");
    assert_eq!(im.room("one-more").online().await.unwrap(), 0);
}

/// A repeated publish has one effect over the same connection, over another one, and through any back end.
async fn a_publish_that_is_repeated_is_shown_once(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let (im, other) = (stack.backend().await, stack.backend().await);
    let _services =
        [PermissiveHandler::default().serve(&im).await, PermissiveHandler::default().serve(&other).await];
    let lobby = group("lobby");
    let mut listeners =
        [device(&stack, "bob", "ios/phone", 0, via).await, device(&stack, "bob", "web/tab", 1, via).await];
    for client in &listeners {
        client.client().join_room(lobby.clone(), "").await.unwrap();
    }
    let mut first = None;
    for server in [0, 1] {
        let mut raw = Raw::connect(&stack, server, via).await;
        raw.log_in("alice").await;
        join(&mut raw, 1, "lobby").await;
        for _ in 0..4 {
            let result = publish(&mut raw, 7, "hello").await;
            let pb::publish_result::Outcome::Accepted(accepted) = result else { panic!("{result:?}") };
            assert_eq!(*first.get_or_insert(accepted.message_id), accepted.message_id, "the first result");
        }
        let result = publish(&mut raw, 7, "something else").await;
        assert!(is_used_number(&result), "{result:?}");
        let result = publish(&mut raw, 6, "older").await;
        assert!(is_used_number(&result), "{result:?}");
    }
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.log_in("alice").await;
    join(&mut raw, 1, "lobby").await;
    publish(&mut raw, 8, "next").await;
    // Two back ends and no log: messages of different back ends may overtake each other, so "hello" is sent first.
    for client in &mut listeners {
        for expected in ["hello", "next"] {
            assert_eq!(client.text().await, expected);
        }
    }
    // A back end that repeats a send under the same key.
    let keyed = || text("by the host").idempotency_key("host-1");
    let sent = im.room("lobby").send(keyed()).await.unwrap();
    let again = other.room("lobby").send(keyed()).await.unwrap();
    assert_eq!((sent.repeated, again.repeated, again.message_id), (false, true, sent.message_id));
    for client in &mut listeners {
        assert_eq!(client.text().await, "by the host");
        let before = events_before_marker(&im, client, "bob").await;
        assert_eq!(texts(&before).into_iter().filter(|text| text != "marker").count(), 0);
    }
}

async fn publish(raw: &mut Raw, number: u64, text: &str) -> pb::publish_result::Outcome {
    let content = Some(Content::text(text).into());
    let publish = pb::Publish { number, channel: "lobby".into(), content, ..Default::default() };
    raw.send_frame(Body::Publish(publish)).await;
    let result = hear(raw, |body| match body {
        Body::PublishResult(result) if result.number == number => result.outcome,
        _ => None,
    });
    result.await.unwrap()
}

fn is_used_number(outcome: &pb::publish_result::Outcome) -> bool {
    matches!(outcome, pb::publish_result::Outcome::Refused(refused)
        if refused.kind() == pb::RefusalKind::NumberUsed && refused.retry_after_ms == 0)
}

async fn join(raw: &mut Raw, number: u64, room: &str) {
    let outcome = ask_to_join(raw, number, room).await;
    assert!(matches!(outcome, Some(pb::response::Outcome::JoinedRoom(_))), "{outcome:?}");
}

async fn ask_to_join(raw: &mut Raw, number: u64, room: &str) -> Option<pb::response::Outcome> {
    let join = pb::JoinRoom { channel: room.into(), data: "".into() };
    let question = Some(pb::request::Question::JoinRoom(join));
    raw.send_frame(Body::Request(pb::Request { number, question })).await;
    hear(raw, |body| match body {
        Body::Response(response) if response.number == number => response.outcome,
        _ => None,
    })
    .await
}

async fn hear<T>(raw: &mut Raw, wanted: impl Fn(Body) -> Option<T>) -> Option<T> {
    loop {
        match raw.heard().await {
            Heard::Frame(body) => {
                if let Some(found) = wanted(body) {
                    return Some(found);
                }
            }
            Heard::Closed(code) => panic!("closed: {code}"),
        }
    }
}
