//! Search and history by message, time and kind; retention and export.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use im_sdk::{
    Conversation, ConversationChange, HistoryQuery, HistoryRange, Kind, MAX_SEARCH_BYTES, Recipient, Search,
    SearchPlace,
    backend::{Message, Retention, user},
    client::{FoundPage, RefusalKind, RequestError},
    content::Content,
    id::{MessageId, UserId},
};
use im_tests::{
    Setup, Stack, TestClient, Via, archiving_stack::ArchivingStack, channels::serve, everywhere,
    stack::PATIENCE, wait_until,
};

everywhere!(
    a_device_finds_what_its_user_may_see,
    a_search_goes_on_where_a_page_ended,
    what_a_user_has_deleted_is_not_found,
    what_cannot_be_searched_is_refused,
    history_by_message_time_and_kind,
    what_is_too_old_is_deleted_and_the_rest_exported,
    signs_mean_themselves,
    an_export_goes_on_while_messages_are_deleted,
);

async fn say(deployment: &ArchivingStack, from: &str, to: &str, content: impl Into<Content>) -> MessageId {
    deployment.im.send(Message::to(user(to)).from(from).content(content)).await.unwrap().message_id
}

async fn say_to(deployment: &ArchivingStack, channel: &str, from: &str, text: &str) {
    deployment.im.channel(channel).send(Message::new().from(from).text(text)).await.unwrap();
}

fn id(user: &str) -> UserId {
    user.parse().unwrap()
}

fn texts(page: &FoundPage) -> Vec<&str> {
    page.messages.iter().map(|message| message.content.as_text().unwrap()).collect()
}

async fn find(client: &TestClient, search: Search) -> FoundPage {
    client.client().search(search, 0).await.unwrap()
}

async fn a_device_finds_what_its_user_may_see(setup: Setup, via: Via) {
    let deployment = ArchivingStack::start_with_sqlite(setup).await;
    deployment.im.channel("team").add_members(["bob", "carol"]).await.unwrap();
    deployment.im.channel("other").add_members(["carol"]).await.unwrap();
    say(&deployment, "alice", "bob", "Lunch tomorrow? 午饭").await;
    say(&deployment, "bob", "carol", "lunch with alice").await;
    say(&deployment, "alice", "carol", "lunch without bob").await;
    say_to(&deployment, "team", "carol", "team LUNCH").await;
    say_to(&deployment, "other", "carol", "another lunch").await;
    deployment.archived().await;
    let bob = deployment.stack.connect("bob", "web/tab", 0, via).await;
    let second = deployment.stack.connect("bob", "ios/phone", 0, via).await;
    for bob in [&bob, &second] {
        let page = find(bob, Search::new("lunch")).await;
        assert_eq!(texts(&page), ["team LUNCH", "lunch with alice", "Lunch tomorrow? 午饭"]);
        assert_eq!(page.next, None);
        let first = &page.messages[0];
        assert_eq!(first.channel, Some("team".parse().unwrap()));
        assert_eq!((first.from.clone(), first.position.as_ref().unwrap().seq), (Some(id("carol")), 1));
    }
    let alone = |search: Search| async { texts(&find(&bob, search).await).len() };
    assert_eq!(alone(Search::new("午")).await, 1);
    assert_eq!(alone(Search::new("%")).await, 0);
    assert_eq!(alone(Search::new("lunch").within(Conversation::User(id("alice")))).await, 1);
    assert_eq!(alone(Search::new("lunch").within(Conversation::Inbox)).await, 2);
    assert_eq!(alone(Search::new("lunch").within(Conversation::Channel("team".parse().unwrap()))).await, 1);
    assert_eq!(alone(Search::new("lunch").from(id("carol"))).await, 1);
    assert_eq!(alone(Search::new("lunch").kinds([Kind::Text])).await, 3);
    assert_eq!(alone(Search::new("lunch").kinds([Kind::Image])).await, 0);
    assert_eq!(alone(Search::new("lunch").until_ms(1_700_000_000_000)).await, 0);
    let other = Search::new("lunch").within(Conversation::Channel("other".parse().unwrap()));
    let refused = bob.client().search(other, 0).await.unwrap_err();
    assert!(matches!(refused, RequestError::Refused { kind: RefusalKind::Rule, .. }), "{refused}");
    // After leaving a channel, a user finds none of its messages.
    deployment.im.channel("team").remove_members(["bob"]).await.unwrap();
    assert_eq!(alone(Search::new("lunch")).await, 2);
    // The back end sees the same.
    let page = deployment.im.search(&id("carol"), &Search::new("lunch"), 10).await.unwrap();
    assert_eq!(page.messages.len(), 4);
}

async fn a_search_goes_on_where_a_page_ended(setup: Setup, via: Via) {
    let deployment = ArchivingStack::start_with_sqlite(setup).await;
    deployment.im.channel("team").add_members(["bob"]).await.unwrap();
    let mut expected = Vec::new();
    for number in 0..25 {
        let text = format!("word {number}");
        match number % 2 {
            0 => _ = say(&deployment, "alice", "bob", text.as_str()).await,
            _ => say_to(&deployment, "team", "alice", &text).await,
        }
        expected.insert(0, text);
    }
    // Only a few of these messages fit into a frame.
    for number in 25..30 {
        say(&deployment, "alice", "bob", format!("word {number} {}", "x".repeat(30_000))).await;
        expected.insert(0, format!("word {number}"));
    }
    deployment.archived().await;
    let bob = deployment.stack.connect("bob", "web/tab", 0, via).await;
    let mut search = Search::new("word");
    let mut found = Vec::new();
    let mut pages = 0;
    loop {
        let page = bob.client().search(search.clone(), 7).await.unwrap();
        assert!(page.messages.len() <= 7);
        found.extend(texts(&page).into_iter().map(|text| text.split(" x").next().unwrap().to_owned()));
        pages += 1;
        let Some(next) = page.next else { break };
        search = search.before(next);
    }
    assert_eq!(found, expected, "no gap and no repeat");
    assert!(pages > 30 / 7 + 1, "{pages} pages");
}

async fn what_a_user_has_deleted_is_not_found(setup: Setup, via: Via) {
    let deployment = ArchivingStack::start_with_sqlite(setup).await;
    deployment.im.channel("team").add_members(["bob", "carol"]).await.unwrap();
    say(&deployment, "alice", "bob", "lunch 1").await;
    say(&deployment, "carol", "bob", "lunch 2").await;
    say(&deployment, "alice", "bob", "lunch 3").await;
    say_to(&deployment, "team", "carol", "lunch 4").await;
    say_to(&deployment, "team", "carol", "lunch 5").await;
    deployment.archived().await;
    for (name, seq) in [(Recipient::User(id("alice")), 2), (Recipient::Channel("team".parse().unwrap()), 1)] {
        let delete = ConversationChange::new().delete(seq);
        deployment.im.set_conversation(&id("bob"), name, delete).await.unwrap();
    }
    let bob = deployment.stack.connect("bob", "web/tab", 0, via).await;
    let found = find(&bob, Search::new("lunch")).await;
    assert_eq!(texts(&found), ["lunch 5", "lunch 3", "lunch 2"], "in each its own part");
    let with_alice = Search::new("lunch").within(Conversation::User(id("alice")));
    assert_eq!(texts(&find(&bob, with_alice).await), ["lunch 3"]);
    let inbox = Search::new("lunch").within(Conversation::Inbox);
    assert_eq!(texts(&find(&bob, inbox).await), ["lunch 3", "lunch 2", "lunch 1"], "the inbox as a whole");
    let carol = deployment.stack.connect("carol", "web/tab", 0, via).await;
    assert_eq!(find(&carol, Search::new("lunch")).await.messages.len(), 3, "others still see it all");
}

async fn what_cannot_be_searched_is_refused(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let service = serve(&im).await;
    let bob = stack.connect("bob", "web/tab", 0, via).await;
    let refused = bob.client().search(Search::new("hi"), 0).await.unwrap_err();
    let RequestError::Refused { kind: RefusalKind::Unavailable, reason, retry_after: None, .. } = &refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!(reason, "search is not available", "what to do about it is not for devices");
    service.shutdown().await;
    drop(stack);

    let deployment = ArchivingStack::start_with_sqlite(setup).await;
    let bob = deployment.stack.connect("bob", "web/tab", 0, via).await;
    let long = "x".repeat(MAX_SEARCH_BYTES + 1);
    let many: Vec<_> = (0..17).map(|number| number.to_string()).collect();
    for wrong in ["", " ", &long, &many.join(" ")] {
        let refused = bob.client().search(Search::new(wrong), 0).await.unwrap_err();
        assert!(matches!(refused, RequestError::Refused { kind: RefusalKind::Invalid, .. }), "{refused}");
    }
    for injected in ["' OR '1'='1", "\") OR (\"x", "'; DROP TABLE im_messages; --", "a:* | b", "NEAR(a b)"] {
        assert_eq!(find(&bob, Search::new(injected)).await.messages, []);
    }
    // A search position in a foreign channel gives no access to it.
    say(&deployment, "alice", "carol", "secret").await;
    deployment.archived().await;
    let message_id = MessageId::from_u64(u64::MAX >> 1).unwrap();
    let place = SearchPlace { channel: Some("other".parse().unwrap()), message_id };
    assert_eq!(find(&bob, Search::new("secret").before(place)).await.messages, []);
}

async fn history_by_message_time_and_kind(setup: Setup, via: Via) {
    let deployment = ArchivingStack::start_with_sqlite(setup).await;
    // More messages than the log keeps, so that some are in the store alone.
    let mut ids = Vec::new();
    for number in 0..150 {
        let content = match number % 10 {
            0 => Content::custom("order.paid", number.to_string()),
            _ => Content::text(number.to_string()),
        };
        ids.push(say(&deployment, "alice", "bob", content).await);
    }
    deployment.archived().await;
    let bob = deployment.stack.connect("bob", "web/tab", 0, via).await;
    let alice = Conversation::User(id("alice"));
    let ask = async |query: HistoryQuery, limit| {
        let page = bob.client().history(alice.clone(), query, limit).await.unwrap();
        page.messages
            .iter()
            .map(|message| ids.iter().position(|id| *id == message.id).unwrap())
            .collect::<Vec<_>>()
    };
    for at in [20, 80, 147] {
        assert_eq!(ask(HistoryQuery::before_message(ids[at]), 3).await, [at - 3, at - 2, at - 1]);
        assert_eq!(ask(HistoryQuery::after_message(ids[at]), 2).await, [at + 1, at + 2]);
    }
    let unknown = HistoryQuery::before_message(MessageId::from_u64(7).unwrap());
    let refused = bob.client().history(alice.clone(), unknown, 3).await.unwrap_err();
    assert!(matches!(refused, RequestError::Refused { kind: RefusalKind::Invalid, .. }), "{refused}");

    let mut paid = Vec::new();
    let mut query = HistoryQuery::newest().kinds([Kind::custom("order.paid")]);
    loop {
        let page = bob.client().history(alice.clone(), query.clone(), 4).await.unwrap();
        let of_page =
            page.messages.iter().map(|message| ids.iter().position(|id| *id == message.id).unwrap());
        paid.splice(0..0, of_page.collect::<Vec<_>>());
        let Some(next) = page.next else { break };
        query = query.range(next);
    }
    assert_eq!(paid, (0..150).step_by(10).collect::<Vec<_>>());

    let (from, to) = (ids[30].unix_ms(), ids[60].unix_ms());
    let expected: Vec<_> = (0..150).filter(|at| (from..to).contains(&ids[*at].unix_ms())).collect();
    for range in [HistoryRange::Newest, HistoryRange::After(0)] {
        let query = HistoryQuery::from(range).since_ms(from).until_ms(to);
        assert_eq!(ask(query, 200).await, expected, "{range:?}");
    }
    // Several messages can have the same millisecond.
    let since = ids[100].unix_ms() + 1;
    let expected: Vec<_> = (0..150).step_by(10).filter(|at| ids[*at].unix_ms() >= since).collect();
    let of_both = HistoryQuery::newest().since_ms(since).kinds([Kind::custom("order.paid")]);
    assert_eq!(ask(of_both, 200).await, expected);
}

async fn what_is_too_old_is_deleted_and_the_rest_exported(setup: Setup, via: Via) {
    let deployment = ArchivingStack::start_with_sqlite(setup).await;
    deployment.im.channel("room:1").add_members(["bob"]).await.unwrap();
    for number in 0..150 {
        say(&deployment, "alice", "bob", format!("word {number}")).await;
    }
    say_to(&deployment, "room:1", "alice", "word").await;
    deployment.archived().await;
    let bob = deployment.stack.connect("bob", "web/tab", 0, via).await;
    let lines: Vec<String> =
        deployment.im.export(&id("bob"), &Conversation::Inbox).try_collect().await.unwrap();
    let texts = lines.iter().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        (line["seq"].as_u64().unwrap(), line["content"]["text"].as_str().unwrap().to_owned())
    });
    let expected: Vec<_> = (0..150).map(|number| (number + 1, format!("word {number}"))).collect();
    assert_eq!(texts.collect::<Vec<_>>(), expected, "from the store, and then from the log");

    let old = Retention::new().channels_with_prefix("room:", Duration::ZERO);
    let cleaners = [deployment.im.retention(old.clone()).unwrap(), deployment.im.retention(old).unwrap()];
    wait_until("the room is empty", PATIENCE, async || {
        let (first, second) = tokio::join!(cleaners[0].run_once(), cleaners[1].run_once());
        first.unwrap();
        second.unwrap();
        let room = Search::new("word").within(Conversation::Channel("room:1".parse().unwrap()));
        find(&bob, room).await.messages.is_empty()
    })
    .await;
    let page = bob.client().search(Search::new("word"), 200).await.unwrap();
    assert_eq!(page.messages.len(), 150, "what no rule names stays");
    let logs = deployment.store.logs(None, 10).await.unwrap();
    assert!(logs.iter().all(|(log, _)| log.to_string() != "c:room:1"), "{logs:?}");
}

/// Punctuation alone is not in the index, but a search for it finds the messages that contain it.
async fn signs_mean_themselves(setup: Setup, via: Via) {
    let deployment = ArchivingStack::start_with_sqlite(setup).await;
    let said = [
        "what?!",
        "100 %",
        "...",
        "a_b",
        "好、吗。",
        "a\0b",
        "it's \"quoted\"",
        "back\\slash",
        "(x OR y)",
        "* NEAR *",
        "no signs",
        "🙂",
        "é",
        "-",
    ];
    for text in said {
        say(&deployment, "alice", "bob", text).await;
    }
    deployment.archived().await;
    let clients = [
        deployment.stack.connect("bob", "web/tab", 0, via).await,
        deployment.stack.connect("bob", "ios/phone", 0, via).await,
    ];
    for sign in [
        "?", "!", "?!", "...", ".", "%", "_", "、", "。", "\0", "'", "\"", "\\", "(", "()", "*", "-", "🙂",
        ":", "^", "**",
    ] {
        let expected: Vec<&str> = said.iter().rev().filter(|text| text.contains(sign)).copied().collect();
        for client in &clients {
            assert_eq!(texts(&find(client, Search::new(sign)).await), expected, "{sign:?}");
        }
    }
    for nothing in ["\u{301}", "\u{301} \u{300}", "\u{3000}\t"] {
        let refused = clients[0].client().search(Search::new(nothing), 0).await.unwrap_err();
        assert!(matches!(refused, RequestError::Refused { kind: RefusalKind::Invalid, .. }), "{refused}");
    }
}

async fn an_export_goes_on_while_messages_are_deleted(setup: Setup, via: Via) {
    const OLD: usize = 700;
    let deployment = ArchivingStack::start_with_sqlite(setup).await;
    let mut ids = Vec::new();
    for number in 0..OLD {
        ids.push(say(&deployment, "alice", "bob", number.to_string()).await);
    }
    // Messages from now on are kept, and so are those in the log.
    wait_until("a later time", PATIENCE, async || now_ms() > ids[OLD - 1].unix_ms() + 5).await;
    let young = std::time::Instant::now();
    let began = now_ms();
    wait_until("a later time", PATIENCE, async || now_ms() > began + 20).await;
    for number in OLD..OLD + 300 {
        ids.push(say(&deployment, "alice", "bob", number.to_string()).await);
    }
    deployment.archived().await;
    let bob = id("bob");
    let mut lines = std::pin::pin!(deployment.im.export(&bob, &Conversation::Inbox));
    let mut seqs = Vec::new();
    let cleaning = async {
        let rule = Retention::new().by(move |_| Some(young.elapsed()));
        deployment.im.retention(rule).unwrap().run_once().await.unwrap()
    };
    let exporting = async {
        while let Some(line) = lines.try_next().await.unwrap() {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(
                line["content"]["text"].as_str().unwrap(),
                (line["seq"].as_u64().unwrap() - 1).to_string()
            );
            seqs.push(line["seq"].as_u64().unwrap());
            tokio::task::yield_now().await;
        }
    };
    let (deleted, ()) = tokio::join!(cleaning, exporting);
    assert!(deleted >= OLD as u64, "{deleted} deleted: in the inboxes of both");
    assert!(seqs.is_sorted_by(|a, b| a < b), "in their order, each once");
    let kept: Vec<u64> = (OLD as u64 + 1..=OLD as u64 + 300).collect();
    assert!(seqs.ends_with(&kept), "all that was not to be deleted");
    // Devices see what is left.
    for name in ["web/tab", "ios/phone"] {
        let client = deployment.stack.connect("bob", name, 0, via).await;
        let page = client.client().history(Conversation::Inbox, HistoryRange::After(0), 50).await.unwrap();
        assert_eq!(page.messages[0].position.as_ref().unwrap().seq, OLD as u64 + 1);
    }
}

fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}
