//! Devices that keep to the protocol and ask for too much, for nonsense, or for what is not theirs: each is told so, and nothing
//! changes for anybody.
#![allow(clippy::unwrap_used, clippy::panic)]

use im_proto::{limits::MAX_WATCHED_USERS, pb, pb::frame::Body, pb::request::Question};
use im_sdk::{
    Content, Conversation, HistoryRange,
    backend::{Message, channel, user},
    client::{Event, MarkError, PublishError, RefusalKind, RequestError, SendError},
    cluster::{BusEvent, LogId, MAX_CONVERSATIONS},
    content::{Change, ChangeKind},
    id::{MessageId, UserId},
};
use im_tests::{
    Setup, Stack, TestClient, Via, everywhere,
    group::{group, serve, until_marked},
    live::{Host, device, presence, room_left, signal},
    past::Past,
    phone::Phone,
    raw::{Heard, Raw},
    stack::PATIENCE,
    wait_until,
};
use prost::Message as _;

everywhere!(
    contents_too_large_or_too_deep,
    changes_of_what_is_not_theirs,
    rooms_that_one_is_not_in,
    more_conversations_than_are_kept,
    watching_too_many,
    history_that_makes_no_sense,
    a_flood_of_questions_keeps_nobody_waiting,
);

fn id(name: &str) -> UserId {
    name.parse().unwrap()
}

/// Two devices of alice's, one of bob's.
async fn three(stack: &Stack, via: Via) -> [Phone; 3] {
    [
        Phone::connect(stack, "alice", "ios/phone", 0, via).await,
        Phone::connect(stack, "alice", "web/tab", 0, via).await,
        Phone::connect(stack, "bob", "desktop/pc", 0, via).await,
    ]
}

/// Says `Hello` and waits until everything that was there has come.
async fn raw(stack: &Stack, user: &str, via: Via) -> Raw {
    let mut raw = Raw::connect(stack, 0, via).await;
    raw.log_in(user).await;
    while !matches!(raw.heard().await, Heard::Frame(Body::SyncDone(_))) {}
    raw
}

/// What a raw device's publish comes to. Its number is chosen anew each time.
async fn publish(raw: &mut Raw, number: u64, publish: pb::Publish) -> Result<u64, (pb::RefusalKind, String)> {
    raw.send_frame(Body::Publish(pb::Publish { number, ..publish })).await;
    loop {
        match raw.heard().await {
            Heard::Frame(Body::PublishResult(result)) if result.number == number => {
                return match result.outcome.unwrap() {
                    pb::publish_result::Outcome::Accepted(accepted) => Ok(accepted.message_id),
                    pb::publish_result::Outcome::Refused(refused) => {
                        assert_eq!(refused.retry_after_ms, 0, "{refused:?}: trying again is of no use");
                        Err((refused.kind(), refused.reason))
                    }
                };
            }
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed: {code}"),
        }
    }
}

async fn ask(raw: &mut Raw, number: u64, question: Question) -> pb::response::Outcome {
    raw.send_frame(Body::Request(pb::Request { number, question: Some(question) })).await;
    loop {
        match raw.heard().await {
            Heard::Frame(Body::Response(response)) if response.number == number => {
                return response.outcome.unwrap();
            }
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed: {code}"),
        }
    }
}

fn invalid(outcome: &pb::response::Outcome) -> bool {
    matches!(outcome, pb::response::Outcome::Refused(refused)
        if refused.kind() == pb::RefusalKind::Invalid && refused.retry_after_ms == 0)
}

async fn last(stack: &Stack, log: LogId) -> u64 {
    stack.cluster().log().ends(&[log]).await.unwrap()[0].last
}

/// A content with bundles in bundles, as no library of ours would write it.
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
    // A megabyte does not leave the device, and the connection goes on.
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
    // Nobody got anything of it, and what makes sense still goes.
    assert_eq!(last(&stack, LogId::Inbox(id("alice"))).await, 1);
    devices[2].change(&message, react(1)).await.unwrap();
    for device in &mut devices {
        device.shows(&["hi xbob"]).await;
    }
}

async fn changes_of_what_is_not_theirs(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = Host::default().serve(&im).await;
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
    // It has guessed everything: the ids, the places, the conversations.
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
                // What a device cannot say: that its change is of somebody else's conversation.
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

async fn rooms_that_one_is_not_in(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = Host::default().serve(&im).await;
    let lobby = group("lobby");
    let mut alice = [
        device(&stack, "alice", "ios/phone", 0, via).await,
        device(&stack, "alice", "web/tab", 1, via).await,
    ];
    let mut mallory = [
        device(&stack, "mallory", "ios/phone", 1, via).await,
        device(&stack, "mallory", "web/tab", 0, via).await,
    ];
    for client in alice.iter().chain(&mallory) {
        client.client().join_room(lobby.clone(), "").await.unwrap();
    }
    let says = async |client: &TestClient, room: &str| {
        let refused = client.client().publish(group(room), Content::text("spam")).await.unwrap_err();
        let PublishError::Refused { kind, retry_after, .. } = refused else { panic!("{refused:?}") };
        assert_eq!((kind, retry_after), (RefusalKind::Rule, None), "{room}");
        assert!(client.client().signal(group(room), im_sdk::Signal::typing()).await, "which nobody hears");
    };
    // Never joined, not to be joined, out of it.
    let closed = mallory[0].client().join_room(group("closed-1"), "").await.unwrap_err();
    assert!(matches!(closed, RequestError::Refused { kind: RefusalKind::Rule, .. }), "{closed:?}");
    mallory[0].client().leave_room(group("closed-1")).await.unwrap();
    im.room("lobby").kick("mallory", "out").await.unwrap();
    for client in &mut mallory {
        room_left(client, &lobby).await;
        for room in ["attic", "closed-1", "lobby"] {
            says(client, room).await;
        }
    }
    im.room("lobby").send(Message::new().text("now")).await.unwrap();
    for client in &mut alice {
        assert_eq!(client.text().await, "now", "nothing came before it");
    }
    // A room that was closed is empty, and nobody says anything there before it is joined anew.
    im.room("lobby").close("").await.unwrap();
    for client in &mut alice {
        room_left(client, &lobby).await;
        says(client, "lobby").await;
    }
    alice[0].client().join_room(lobby.clone(), "").await.unwrap();
    alice[0].client().publish(lobby.clone(), Content::text("again")).await.unwrap();
    assert_eq!(alice[0].text().await, "again");
    for (client, user) in [(&mut alice[1], "alice"), (&mut mallory[0], "mallory")] {
        let before = until_marked(&im, client, user).await;
        let heard = before.iter().find(|event| matches!(event, Event::Message(_) | Event::Signal(_)));
        assert_eq!(heard, None);
    }
    // The back end has had all of these signals by now, and the next one comes.
    mallory[1].client().signal(id("alice"), im_sdk::Signal::custom("last", "")).await;
    let heard = signal(&mut alice[0]).await;
    assert_eq!((heard.channel, heard.signal), (None, im_sdk::Signal::custom("last", "")));
}

async fn more_conversations_than_are_kept(setup: Setup, via: Via) {
    const MORE: usize = MAX_CONVERSATIONS + 176;
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.send(Message::to(user("alice")).from("bob").text("still here")).await.unwrap();
    let clients = [
        device(&stack, "alice", "ios/phone", 0, via).await,
        device(&stack, "alice", "desktop/pc", 0, via).await,
    ];
    clients[0]
        .client()
        .set_conversation(id("friend"), im_sdk::ConversationChange::new().pin(true))
        .await
        .unwrap();
    wait_until("the friend is pinned", PATIENCE, async || {
        im.conversations(&id("alice"), 0, 10).await.unwrap().conversations.len() == 2
    })
    .await;
    let mut mallory = raw(&stack, "alice", via).await;
    let names: Vec<String> = (0..MORE).map(|number| format!("peer-{number}")).collect();
    for (number, names) in (1..).zip(names.chunks(32)) {
        let mark = |name: &String| pb::Mark {
            user: name.clone(),
            draft: Some(format!("dear {name}")),
            ..Default::default()
        };
        let marks = Question::Mark(pb::MarkRequest { marks: names.iter().map(mark).collect() });
        let marked = ask(&mut mallory, number, marks).await;
        assert!(matches!(marked, pb::response::Outcome::Marked(_)), "{marked:?}");
    }
    // The oldest are forgotten, what is pinned is not, and neither is anything that was said.
    for client in &clients {
        let mut found = Vec::new();
        loop {
            let skip = u32::try_from(found.len()).unwrap();
            let page = client.client().conversations(skip, 200).await.unwrap();
            assert_eq!((page.unread, page.unread_more), (1, false));
            found.extend(page.conversations.into_iter().map(|listed| listed.state.conversation.to_string()));
            if !page.more {
                break;
            }
        }
        assert_eq!(found.len(), MAX_CONVERSATIONS + 1, "what is kept, and bob");
        assert_eq!((&*found[0], &*found[1]), ("friend", "bob"));
        assert!(!found.contains(&names[0]) && found.contains(&names[MORE - 1]));
    }
    // What one device says of a place that no log has keeps nothing from what it says beside it.
    let beyond = im_sdk::ReadMark::new(u64::MAX, None);
    let all = im_sdk::ConversationChange::new().read(beyond).hide(u64::MAX).delete(u64::MAX);
    clients[1].client().set_conversation(id("bob"), all).await.unwrap();
    let pinned = im_sdk::ConversationChange::new().pin(true);
    clients[1].client().set_conversation(id("foe"), pinned).await.unwrap();
    wait_until("both were taken", PATIENCE, async || {
        let page = clients[0].client().conversations(0, 200).await.unwrap();
        let names = page.conversations.iter().map(|listed| listed.state.conversation.to_string());
        page.unread == 0 && names.take(2).eq(["foe", "friend"])
    })
    .await;
    // A client that has so much to say at once is told when it is too much.
    clients[0].client().disconnect();
    let mut refused = None;
    for name in &names {
        let draft = im_sdk::ConversationChange::new().draft("once more");
        if let Err(error) = clients[0].client().set_conversation(id(name), draft).await {
            refused = Some(error);
            break;
        }
    }
    assert_eq!(refused, Some(MarkError::QueueFull));
}

async fn watching_too_many(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = Host::default().serve(&im).await;
    let mut alice = [
        device(&stack, "alice", "ios/phone", 0, via).await,
        device(&stack, "alice", "web/tab", 0, via).await,
    ];
    let crowd = |count: usize| (0..count).map(|number| id(&format!("user-{number}")));
    for client in &alice {
        client.client().watch([id("bob")]).await.unwrap();
        // This many fit into no frame; the server would close the connection for good.
        let refused = client.client().watch(crowd(10_000)).await.unwrap_err();
        assert!(matches!(refused, RequestError::TooLarge { limit: 65536, .. }), "{refused:?}");
        let refused = client.client().watch(crowd(MAX_WATCHED_USERS + 1)).await.unwrap_err();
        assert!(matches!(refused, RequestError::Refused { kind: RefusalKind::Invalid, .. }), "{refused:?}");
        let large = client.client().join_room(group("lobby"), vec![0; 70_000]).await.unwrap_err();
        assert_eq!(large.code(), "too_large");
    }
    let mut mallory = raw(&stack, "mallory", via).await;
    let users: Vec<String> = (0..10_000).map(|number| format!("{number:x}")).collect();
    let refused = ask(&mut mallory, 1, Question::Watch(pb::Watch { users })).await;
    assert!(invalid(&refused), "{refused:?}");
    // What was watched before still is.
    let _bob = device(&stack, "bob", "web/tab", 0, via).await;
    for client in &mut alice {
        presence(client, "bob", im_sdk::UserPresence::is_online).await;
    }
}

async fn history_that_makes_no_sense(setup: Setup, via: Via) {
    let past = Past::start_with_sqlite(setup).await;
    let mut ids = Vec::new();
    for number in 1..=150 {
        let message = Message::to(user("bob")).from("alice").text(number.to_string());
        ids.push(past.im.send(message).await.unwrap().message_id.as_u64());
    }
    past.settled().await;
    let clients = [
        device(&past.stack, "bob", "ios/phone", 0, via).await,
        device(&past.stack, "bob", "desktop/pc", 0, via).await,
    ];
    let mut mallory = raw(&past.stack, "bob", via).await;
    let everywhere = || {
        [
            pb::history_request::Conversation::Inbox(true),
            pb::history_request::Conversation::User("alice".into()),
            pb::history_request::Conversation::User("bob".into()),
            pb::history_request::Conversation::User("nobody".into()),
        ]
    };
    let plain = pb::HistoryRequest::default;
    let (first, end) = (ids[0], ids[149]);
    let asked = [
        pb::HistoryRequest { before: u64::MAX, ..plain() },
        pb::HistoryRequest { after: Some(u64::MAX), ..plain() },
        pb::HistoryRequest { before: 5, after: Some(100), before_id: end, after_id: first, ..plain() },
        pb::HistoryRequest { before_id: first, after_id: end, ..plain() },
        pb::HistoryRequest { after: Some(0), before_id: first, ..plain() },
        pb::HistoryRequest { since_ms: u64::MAX, ..plain() },
        pb::HistoryRequest { until_ms: 1, ..plain() },
        pb::HistoryRequest { since_ms: u64::MAX, until_ms: 1, after: Some(0), ..plain() },
        pb::HistoryRequest { since_ms: 2_000_000_000_000, until_ms: 1_000_000_000_000, ..plain() },
        pb::HistoryRequest {
            limit: u32::MAX,
            kinds: vec![pb::ContentKind { number: u32::MAX, custom: "\0".into() }],
            ..plain()
        },
        pb::HistoryRequest { before: 1, limit: u32::MAX, ..plain() },
    ];
    let mut number = 0;
    for conversation in everywhere() {
        for asked in &asked {
            number += 1;
            let asked = pb::HistoryRequest { conversation: Some(conversation.clone()), ..asked.clone() };
            let what = format!("{asked:?}");
            let answer = ask(&mut mallory, number, Question::History(asked)).await;
            let pb::response::Outcome::History(page) = answer else { panic!("{what}: {answer:?}") };
            let seqs: Vec<u64> = page.entries.iter().map(|entry| entry.seq).collect();
            assert!(seqs.is_sorted() && seqs.iter().all(|seq| (1..=150).contains(seq)), "{what}: {seqs:?}");
        }
    }
    let wrong = [
        plain(),
        pb::HistoryRequest { before_id: u64::MAX, ..plain() },
        pb::HistoryRequest { after_id: 7, ..plain() },
        pb::HistoryRequest { before_id: (u64::MAX >> 1) - 1, ..plain() },
        pb::HistoryRequest { kinds: vec![pb::ContentKind::default(); 33], ..plain() },
    ];
    for (index, asked) in wrong.into_iter().enumerate() {
        let conversation = (index > 0).then_some(pb::history_request::Conversation::Inbox(true));
        let asked = pb::HistoryRequest { conversation, ..asked };
        let what = format!("{asked:?}");
        let answer = ask(&mut mallory, 1000 + index as u64, Question::History(asked)).await;
        assert!(invalid(&answer), "{what}: {answer:?}");
    }
    // Other questions of as little sense.
    let cursor = pb::Cursor { channel: "team".into(), seq: u64::MAX, id: end };
    let search = pb::SearchRequest {
        text: "1".into(),
        since_ms: u64::MAX,
        until_ms: 1,
        before: Some(cursor),
        ..Default::default()
    };
    let answer = ask(&mut mallory, 2000, Question::Search(search)).await;
    assert!(matches!(&answer, pb::response::Outcome::Found(found) if found.entries.is_empty()), "{answer:?}");
    let none =
        Question::Conversations(pb::ConversationsRequest { since: Some(u64::MAX), limit: u32::MAX, skip: 7 });
    let answer = ask(&mut mallory, 2001, none).await;
    assert!(matches!(answer, pb::response::Outcome::Conversations(_)), "{answer:?}");
    let none =
        Question::Conversations(pb::ConversationsRequest { since: None, limit: u32::MAX, skip: u32::MAX });
    let answer = ask(&mut mallory, 2002, none).await;
    assert!(matches!(answer, pb::response::Outcome::Conversations(_)), "{answer:?}");
    // And everything is there for who asks for it.
    for client in &clients {
        let page = client.client().history(Conversation::Inbox, HistoryRange::After(0), 200).await.unwrap();
        assert_eq!((page.messages.len(), page.next), (150, None));
    }
}

/// Syncs and acknowledgements, which have no answer of their own to count, and requests, of which a connection has a few at once.
async fn a_flood_of_questions_keeps_nobody_waiting(setup: Setup, via: Via) {
    const FLOOD: u64 = 2000;
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    for _ in 0..100 {
        im.send(Message::to(user("mallory")).text("x".repeat(1000))).await.unwrap();
    }
    let mut mallory = raw(&stack, "mallory", via).await;
    let names = stack.cluster().names();
    let mut syncs = stack.cluster().bus().subscribe(names.upstream_sync()).await.unwrap();
    let mut acks = stack.cluster().bus().subscribe(names.upstream_ack()).await.unwrap();
    stack.cluster().bus().flush().await.unwrap();
    let everything = pb::Cursor { channel: String::new(), seq: 0, id: 0 };
    for number in 1..=FLOOD {
        mallory.send_frame(Body::Sync(pb::Sync { cursors: vec![everything.clone()] })).await;
        mallory.send_frame(Body::Ack(pb::Ack { cursors: vec![everything.clone()] })).await;
        let history = pb::HistoryRequest {
            conversation: Some(pb::history_request::Conversation::Inbox(true)),
            ..Default::default()
        };
        let question = Some(Question::History(history));
        mallory.send_frame(Body::Request(pb::Request { number, question })).await;
    }
    // It reads nothing of it. Others come, are brought up to date, ask and are told.
    let mut alice = [
        device(&stack, "alice", "ios/phone", 0, via).await,
        device(&stack, "alice", "web/tab", 0, via).await,
    ];
    im.send(Message::to(user("alice")).text("still here")).await.unwrap();
    for client in &mut alice {
        assert_eq!(client.text().await, "still here");
        let page = client.client().history(Conversation::Inbox, HistoryRange::Newest, 10).await.unwrap();
        assert_eq!(page.messages.len(), 1);
    }
    // Few of the syncs go further than the server, and of the acknowledgements.
    let mut passed_on = 0;
    while let Some(event) = syncs.try_next() {
        let BusEvent::Message(message) = event else { continue };
        let sync = pb::UpstreamSync::decode(message.payload).unwrap();
        passed_on += u64::from(sync.user == "mallory");
    }
    assert!((20..FLOOD / 4).contains(&passed_on), "{passed_on} of {FLOOD}");
    let mut passed_on = 0;
    while let Some(event) = acks.try_next() {
        let BusEvent::Message(message) = event else { continue };
        let acks = pb::UpstreamAcks::decode(message.payload).unwrap().acks;
        passed_on += acks.iter().filter(|ack| ack.user == "mallory").count() as u64;
    }
    assert!((20..FLOOD / 4).contains(&passed_on), "{passed_on} of {FLOOD} acknowledgements");
}
