//! Invalid requests for conversations and histories, and floods of requests.

use im_proto::{pb, pb::frame::Body, pb::request::Question};
use im_sdk::{
    Conversation, HistoryRange,
    backend::{Message, user},
    client::MarkError,
    cluster::BusEvent,
};
use im_tests::{
    Setup, Stack, Via, archiving_stack::ArchivingStack, channels::serve, everywhere,
    permissive_handler::device, stack::PATIENCE, wait_until,
};
use prost::Message as _;

use super::{ask, id, invalid, raw};

everywhere!(
    conversations_in_great_numbers,
    history_that_makes_no_sense,
    a_flood_of_questions_keeps_nobody_waiting,
);

async fn conversations_in_great_numbers(setup: Setup, via: Via) {
    const MANY: usize = 1200;
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
    let names: Vec<String> = (0..MANY).map(|number| format!("peer-{number}")).collect();
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
    // No setting and no message is lost.
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
        assert_eq!(found.len(), MANY + 2, "all of them, the friend, and bob");
        assert_eq!((&*found[0], &*found[1]), ("friend", "bob"));
        assert!(found.contains(&names[0]) && found.contains(&names[MANY - 1]));
    }
    // A mark at a position that no log has does not affect other marks of the device.
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
    // A client with too many unsent marks gets an error.
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

async fn history_that_makes_no_sense(setup: Setup, via: Via) {
    let deployment = ArchivingStack::start_with_sqlite(setup).await;
    let mut ids = Vec::new();
    for number in 1..=150 {
        let message = Message::to(user("bob")).from("alice").text(number.to_string());
        ids.push(deployment.im.send(message).await.unwrap().message_id.as_u64());
    }
    deployment.archived().await;
    let clients = [
        device(&deployment.stack, "bob", "ios/phone", 0, via).await,
        device(&deployment.stack, "bob", "desktop/pc", 0, via).await,
    ];
    let mut mallory = raw(&deployment.stack, "bob", via).await;
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
    // Other invalid requests.
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
    // Everything is still there for valid requests.
    for client in &clients {
        let page = client.client().history(Conversation::Inbox, HistoryRange::After(0), 200).await.unwrap();
        assert_eq!((page.messages.len(), page.next), (150, None));
    }
}

/// Tests floods of syncs and acknowledgements, which have no response, and of requests, of which a connection may have
/// a few at once.
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
    // The attacker reads no responses. Others connect, are brought up to date, and get answers.
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
    // Only a few of the syncs and acknowledgements go beyond the server.
    let mut passed_on = 0;
    while let Some(event) = syncs.try_next() {
        let BusEvent::Message(message) = event else { continue };
        let sync = pb::UpstreamSync::decode(message.payload).unwrap();
        passed_on += u64::from(sync.user == "mallory");
    }
    // One sync at a time, so few are passed on while their responses are not read.
    assert!((1..FLOOD / 4).contains(&passed_on), "{passed_on} of {FLOOD}");
    let mut passed_on = 0;
    while let Some(event) = acks.try_next() {
        let BusEvent::Message(message) = event else { continue };
        let acks = pb::UpstreamAcks::decode(message.payload).unwrap().acks;
        passed_on += acks.iter().filter(|ack| ack.user == "mallory").count() as u64;
    }
    assert!((20..FLOOD / 4).contains(&passed_on), "{passed_on} of {FLOOD} acknowledgements");
}
