//! History for devices and back ends: recent messages from the logs, older ones from the message store.

use std::time::Duration;

use im_proto::{limits::MAX_INFLIGHT_REQUESTS, pb, pb::frame::Body};
use im_sdk::{
    Conversation, HistoryRange,
    backend::{Im, Message, user},
    client::{ConversationList, Event, HistoryPage, Log, RefusalKind, RequestError, ResetReason},
    cluster::LogId,
    content::{ChangeKind, Content},
    id::{ChannelId, UserId},
};
use im_tests::{
    Setup, Stack, TestClient, Via,
    archiving_stack::ArchivingStack,
    channels::serve,
    everywhere,
    raw::{Heard, Raw},
    stack::PATIENCE,
    timeline_device::{TimelineDevice, shown},
};

everywhere!(
    a_device_pages_through_a_conversation,
    what_is_older_than_the_log_comes_from_the_store,
    what_a_reset_left_out_is_fetched,
    messages_are_as_they_are_now,
    a_reset_is_filled_without_doubling,
    pages_fit_into_frames,
    nobody_answers,
    only_so_many_requests_at_once,
);

fn id(user: &str) -> UserId {
    UserId::parse(user).unwrap()
}

async fn send(im: &Im, from: &str, to: &str, text: &str) -> u64 {
    let receipt = im.send(Message::to(user(to)).from(from).text(text)).await.unwrap();
    receipt.logged[0].1
}

async fn ask(
    client: &TestClient,
    conversation: &Conversation,
    range: HistoryRange,
    limit: u32,
) -> HistoryPage {
    client.client().history(conversation.clone(), range, limit).await.unwrap()
}

fn texts(page: &HistoryPage) -> Vec<&str> {
    page.messages.iter().map(|message| message.content.as_text().unwrap()).collect()
}

fn seqs(page: &HistoryPage) -> Vec<u64> {
    page.messages.iter().map(|message| message.position.as_ref().unwrap().seq).collect()
}

async fn a_device_pages_through_a_conversation(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let bob = stack.connect("bob", "web/tab", 0, via).await;
    let inbox = Conversation::Inbox;
    assert_eq!(ask(&bob, &inbox, HistoryRange::Newest, 10).await.messages, []);
    for (from, to, text) in
        [("alice", "bob", "1"), ("bob", "alice", "2"), ("carol", "bob", "3"), ("alice", "bob", "4")]
    {
        send(&im, from, to, text).await;
    }
    let all = ask(&bob, &inbox, HistoryRange::Newest, 10).await;
    assert_eq!(
        (texts(&all), seqs(&all), all.next.is_some()),
        (vec!["1", "2", "3", "4"], vec![1, 2, 3, 4], false)
    );
    assert_eq!(all.messages[1].from, Some(id("bob")));
    assert!(all.messages.iter().all(|message| message.position.as_ref().unwrap().log == Log::Inbox));
    let alice = Conversation::User(id("alice"));
    let last = ask(&bob, &alice, HistoryRange::Newest, 2).await;
    assert_eq!((texts(&last), last.next.is_some()), (vec!["2", "4"], true));
    let before = ask(&bob, &alice, HistoryRange::Before(seqs(&last)[0]), 2).await;
    assert_eq!((texts(&before), before.next.is_some()), (vec!["1"], false));
    let from_the_beginning = ask(&bob, &alice, HistoryRange::After(0), 2).await;
    assert_eq!((texts(&from_the_beginning), from_the_beginning.next.is_some()), (vec!["1", "2"], true));
    // The back end sees the same.
    let page = im.history(&id("bob"), &alice, HistoryRange::Newest, 10).await.unwrap();
    assert!(page.messages.iter().map(|entry| entry.content.as_text().unwrap()).eq(["1", "2", "4"]));

    let channel = Conversation::Channel("team".parse().unwrap());
    let refused = bob.client().history(channel.clone(), HistoryRange::Newest, 10).await.unwrap_err();
    assert!(matches!(refused, RequestError::Refused { kind: RefusalKind::Rule, .. }), "{refused}");
    im.channel("team").add_members(["bob"]).await.unwrap();
    for text in ["5", "6"] {
        im.channel("team").send(Message::new().from("carol").text(text)).await.unwrap();
    }
    let team = ask(&bob, &channel, HistoryRange::Newest, 10).await;
    assert_eq!((texts(&team), seqs(&team), team.next.is_some()), (vec!["5", "6"], vec![1, 2], false));
    assert_eq!(team.messages[0].channel.as_ref().map(|channel| channel.as_str()), Some("team"));
}

/// Sends to bob until his log has lost the entries up to `lost`, waits until the archive has everything, and
/// returns the last seq.
async fn send_until_evicted(deployment: &ArchivingStack, first: u64, lost: u64) -> u64 {
    let log = LogId::Inbox(id("bob"));
    let mut seq = first;
    loop {
        assert_eq!(send(&deployment.im, "alice", "bob", &format!("message {seq}")).await, seq);
        if deployment.ends(&log).await.0 > lost {
            break;
        }
        seq += 1;
    }
    deployment.archived().await;
    seq
}

fn messages(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|seq| format!("message {seq}")).collect()
}

async fn what_is_older_than_the_log_comes_from_the_store(setup: Setup, via: Via) {
    let deployment = ArchivingStack::start(setup).await;
    let last = send_until_evicted(&deployment, 1, 20).await;
    let bob = deployment.stack.connect("bob", "web/tab", 0, via).await;
    let alice = Conversation::User(id("alice"));
    for conversation in [&Conversation::Inbox, &alice] {
        let mut back = Vec::new();
        let mut range = HistoryRange::Newest;
        loop {
            let page = ask(&bob, conversation, range, 7).await;
            back.splice(0..0, texts(&page).into_iter().map(ToOwned::to_owned));
            let Some(next) = page.next else { break };
            assert_eq!(next, HistoryRange::Before(seqs(&page)[0]));
            range = next;
        }
        assert_eq!(back, messages(1..=last), "back");
        let mut forward = Vec::new();
        let mut range = HistoryRange::After(0);
        loop {
            let page = ask(&bob, conversation, range, 7).await;
            forward.extend(texts(&page).into_iter().map(ToOwned::to_owned));
            let Some(next) = page.next else { break };
            assert_eq!(next, HistoryRange::After(*seqs(&page).last().unwrap()));
            range = next;
        }
        assert_eq!(forward, back, "and forward");
    }
}

async fn what_a_reset_left_out_is_fetched(setup: Setup, via: Via) {
    let deployment = ArchivingStack::start(setup).await;
    let mut bob = deployment.stack.connect("bob", "web/tab", 0, via).await;
    bob.up_to_date().await;
    send(&deployment.im, "alice", "bob", "message 1").await;
    let known = bob.message().await.position.unwrap();
    assert_eq!(known.seq, 1);
    bob.client().disconnect();
    deployment.stack.wait_online(&deployment.im, "bob", 0).await;
    let last = send_until_evicted(&deployment, 2, 30).await;
    bob.client().connect();
    let (position, reason) = bob
        .next("a reset", |event| match event {
            Event::Reset { position, reason } => Some((position.clone(), *reason)),
            _ => None,
        })
        .await;
    assert_eq!(reason, ResetReason::Trimmed);
    assert!(position.seq >= 30);
    let mut missed = Vec::new();
    let mut after = known.seq;
    while after < position.seq {
        let page = ask(&bob, &Conversation::Inbox, HistoryRange::After(after), 0).await;
        let wanted =
            page.messages.iter().filter(|message| message.position.as_ref().unwrap().seq <= position.seq);
        missed.extend(wanted.map(|message| message.content.as_text().unwrap().to_owned()));
        after = *seqs(&page).last().unwrap();
    }
    assert_eq!(missed, messages(2..=position.seq), "nothing is missing up to where the log goes on");
    for seq in position.seq + 1..=last {
        assert_eq!(bob.text().await, format!("message {seq}"), "and from there it comes by itself");
    }
}

async fn messages_are_as_they_are_now(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["alice", "bob"]).await.unwrap();
    let mut alice = TimelineDevice::connect(&stack, "alice", "web/tab", 0, via).await;
    let mut bob = TimelineDevice::connect(&stack, "bob", "web/tab", 0, via).await;
    let team = || ChannelId::parse("team").unwrap();
    for text in ["helo", "secret", "not for me", "last"] {
        alice.device.client().send(team(), Content::text(text)).await.unwrap();
    }
    alice.shows(&["helo", "secret", "not for me", "last"]).await;
    bob.shows(&["helo", "secret", "not for me", "last"]).await;
    let [helo, secret] = [alice.reference("helo").await, alice.reference("secret").await];
    alice.change(&helo, ChangeKind::Edit(Box::new(Content::text("hello")))).await.unwrap();
    alice.change(&secret, ChangeKind::Recall).await.unwrap();
    let [helo, deleted] = [bob.reference("helo").await, bob.reference("not for me").await];
    let reaction = ChangeKind::Reaction { emoji: "🎉".to_owned(), removed: false };
    bob.change(&helo, reaction).await.unwrap();
    bob.change(&deleted, ChangeKind::DeleteForMe).await.unwrap();
    // Each page is complete by itself although the changes are behind all of them: the other device receives nothing
    // but these pages.
    let tablet = TimelineDevice::connect(&stack, "bob", "ios/tablet", 0, via).await;
    let mut pages = Vec::new();
    let mut range = HistoryRange::After(0);
    loop {
        let page = tablet.device.client().history(team(), range, 1).await.unwrap();
        pages.extend(shown(&page.timeline(tablet.me.clone())));
        let Some(next) = page.next else { break };
        range = next;
    }
    assert_eq!(pages, ["hello (edited) 🎉bob", "(recalled by alice)", "last"]);
    let page = alice.device.client().history(team(), HistoryRange::Newest, 10).await.unwrap();
    let of_alice = shown(&page.timeline(alice.me.clone()));
    assert_eq!(of_alice, ["hello (edited) 🎉bob", "(recalled by alice)", "not for me", "last"]);
    // The raw log also contains the changes.
    let page = alice.device.client().raw_history(team(), HistoryRange::Newest, 10).await.unwrap();
    let changes = page.messages.iter().filter(|message| message.content.as_change().is_some());
    assert_eq!((page.messages.len(), changes.count()), (7, 3));
}

async fn a_reset_is_filled_without_doubling(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    for number in 1..=5 {
        send(&im, "alice", "bob", &format!("message {number}")).await;
    }
    let mut bob = stack.connect("bob", "web/tab", 0, via).await;
    let reset = bob
        .next("a reset", |event| match event {
            Event::Reset { position, reason: ResetReason::New } => Some(position.clone()),
            _ => None,
        })
        .await;
    // Entries after the reset are pushed: those of the last moments, and those sent meanwhile.
    send(&im, "alice", "bob", "message 6").await;
    let mut pushed = Vec::new();
    while pushed.last().is_none_or(|last| last != "message 6") {
        pushed.push(bob.text().await);
    }
    // All other messages are before it, each once.
    let mut page = bob.client().fill(&reset, 2).await.unwrap();
    let mut shown = texts(&page).into_iter().map(str::to_owned).collect::<Vec<_>>();
    while let Some(next) = page.next {
        page = bob.client().history(reset.log.clone(), next, 2).await.unwrap();
        shown.splice(0..0, texts(&page).into_iter().map(str::to_owned));
    }
    shown.extend(pushed);
    assert!(
        shown.iter().eq(&(1..=6).map(|number| format!("message {number}")).collect::<Vec<_>>()),
        "{shown:?}"
    );
    let mut list = ConversationList::new(id("bob"));
    bob.client().load(&mut list).await.unwrap();
    assert!(!list.needs_loading() && list.unread().count == 6);
}

async fn pages_fit_into_frames(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let bob = stack.connect("bob", "web/tab", 0, via).await;
    // The largest text that is accepted, to the byte.
    let mut size = 64 * 1024;
    while im.send(Message::to(user("bob")).text("x".repeat(size))).await.is_err() {
        size -= 1;
    }
    assert!(size >= im_sdk::limits::MAX_TEXT_BYTES, "{size}");
    for _ in 0..2 {
        send(&im, "alice", "bob", &"y".repeat(20_000)).await;
    }
    let page = ask(&bob, &Conversation::Inbox, HistoryRange::Newest, 10).await;
    assert_eq!((seqs(&page), page.next.is_some()), (vec![2, 3], true), "what is newest, as far as it fits");
    let page = ask(&bob, &Conversation::Inbox, HistoryRange::Before(2), 10).await;
    assert_eq!((seqs(&page), page.next.is_some()), (vec![1], false));
    assert_eq!(texts(&page)[0].len(), size, "whole");
    let page = ask(&bob, &Conversation::Inbox, HistoryRange::After(0), 10).await;
    assert_eq!((seqs(&page), page.next.is_some()), (vec![1], true));
}

async fn nobody_answers(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.log_in("bob").await;
    raw.send_frame(request(7)).await;
    assert_eq!(refused(&mut raw).await, (7, pb::RefusalKind::Unavailable, 1000), "at once");
    // A client keeps asking until its time is up or a back end serves.
    let alice = stack.connect("alice", "web/tab", 0, via).await;
    let asking = alice.client().history(Conversation::Inbox, HistoryRange::Newest, 1);
    let serving = async {
        let im = stack.backend().await;
        let service = serve(&im).await;
        (im, service)
    };
    let (page, _serving) = tokio::join!(asking, serving);
    assert_eq!(page.unwrap().messages, []);
}

async fn only_so_many_requests_at_once(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    // A back end that accepts requests and never answers.
    let (bus, names) = (stack.cluster().bus(), stack.cluster().names());
    let mut taken = bus.queue_subscribe(names.upstream_request(), names.backends()).await.unwrap();
    bus.flush().await.unwrap();
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.log_in("bob").await;
    let max = MAX_INFLIGHT_REQUESTS as u64;
    for number in 0..max {
        raw.send_frame(request(number)).await;
        // The same request again does not count as another one.
        raw.send_frame(request(number)).await;
    }
    for _ in 0..max {
        tokio::time::timeout(PATIENCE, taken.next()).await.unwrap().unwrap();
    }
    raw.send_frame(request(max)).await;
    assert_eq!(refused(&mut raw).await, (max, pb::RefusalKind::TooMany, 1000));
    // Another device is not affected.
    let mut other = Raw::connect(&stack, 0, via).await;
    other.log_in("alice").await;
    other.send_frame(request(1)).await;
    tokio::time::timeout(PATIENCE, taken.next()).await.unwrap().unwrap();
    assert!(taken.try_next().is_none(), "nothing is asked twice");
    // In the end the device receives a refusal.
    let (_, kind, _) = refused(&mut raw).await;
    assert_eq!(kind, pb::RefusalKind::Unavailable);
}

fn request(number: u64) -> Body {
    let conversation = Some(pb::history_request::Conversation::Inbox(true));
    let history = pb::HistoryRequest { conversation, ..Default::default() };
    Body::Request(pb::Request { number, question: Some(pb::request::Question::History(history)) })
}

/// Waits for the next refusal: number, kind, and retry delay.
async fn refused(raw: &mut Raw) -> (u64, pb::RefusalKind, u32) {
    let looking = async {
        loop {
            if let Heard::Frame(Body::Response(response)) = raw.heard().await {
                let Some(pb::response::Outcome::Refused(refused)) = response.outcome else {
                    panic!("{response:?}")
                };
                return (response.number, refused.kind(), refused.retry_after_ms);
            }
        }
    };
    tokio::time::timeout(PATIENCE + Duration::from_secs(10), looking).await.unwrap()
}
