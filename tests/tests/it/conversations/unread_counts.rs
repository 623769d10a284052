//! Unread counts, and the last message of conversations whose messages were changed.

use futures_util::{StreamExt as _, stream};
use im_sdk::{
    ConversationChange, ReadMark,
    backend::{Im, Message, user},
    client::{ConversationList, Event, MessageRef, Unread},
    cluster::LogId,
};
use im_tests::{
    Setup, Stack, TestClient, Via,
    archiving_stack::{ArchivingStack, bounded_logs},
    channels::{group, serve},
    conversation_list::{Device, id, peer, say, say_to_team, shown, team, whole},
    everywhere,
};

everywhere!(
    counts_are_exact_after_reconnects_and_resets,
    what_the_log_has_lost_is_counted_in_the_store,
    what_is_recalled_counts_no_more_and_what_is_edited_shows,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_with_many_customers_in_memory() {
    a_shop_with_many_customers_has_read_what_it_has_read(Setup::Embedded, Via::Quic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_with_many_customers_in_redis() {
    a_shop_with_many_customers_has_read_what_it_has_read(Setup::Clustered, Via::WebSocket).await;
}

/// Number of customers of a shop: as many as its inbox keeps messages.
const CUSTOMERS: usize = 10_000;

/// Number of customers that send at once.
const AT_ONCE: usize = 64;

async fn a_shop_with_many_customers_has_read_what_it_has_read(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let shop = id("shop");
    let customer = |number: usize| id(&format!("customer-{number}"));
    let set = async |number: usize, change: ConversationChange| {
        im.set_conversation(&shop, customer(number), change).await.unwrap();
    };
    set(0, ConversationChange::new().mute(true).draft("half an answer")).await;
    set(1, ConversationChange::new().pin(true)).await;
    let all = (0..CUSTOMERS).map(|number| {
        let (im, shop, customer) = (im.clone(), shop.clone(), customer(number));
        async move {
            let hello = Message::to(user(&shop)).from(&customer).text("hello?");
            let receipt = im.send(hello).await.unwrap();
            let (_, seq) = receipt.logged.iter().find(|(user, _)| *user == shop).unwrap();
            let read = ConversationChange::new().read(ReadMark::new(*seq, Some(receipt.message_id)));
            im.set_conversation(&shop, customer.clone(), read).await.unwrap();
            // The customer has read its own message, which is part of the shop's state too.
            let read = ConversationChange::new().read(ReadMark::new(1, None));
            im.set_conversation(&customer, shop, read).await.unwrap();
        }
    });
    stream::iter(all).buffer_unordered(AT_ONCE).collect::<()>().await;
    assert_eq!(im.unread(&shop).await.unwrap().count, 0, "all of it was read");
    // Some of the first, and the last.
    for number in [0, 7, CUSTOMERS - 1] {
        let question = Message::to(user(&shop)).from(customer(number)).text("anybody?");
        im.send(question).await.unwrap();
    }
    let unread = im.unread(&shop).await.unwrap();
    assert_eq!((unread.count, unread.conversations), (2, 2), "the first one is muted");

    let of_first = [customer(0).into(), customer(1).into(), customer(7).into()];
    let kept = im.cluster().conversations().states(&shop, &of_first).await.unwrap();
    assert!(kept[0].muted && kept[0].draft == "half an answer" && kept[1].pinned, "{kept:?}");
    assert!(kept.iter().all(|state| state.peer_read.is_some() && state.read.seq > 0), "{kept:?}");
    let page = im.conversations(&shop, 0, 3).await.unwrap();
    assert_eq!(page.conversations[0].state.conversation, customer(1), "the pinned one");
    assert!(page.more);

    // A device sees the same, page by page.
    let phone = stack.connect("shop", "ios/phone", 0, via).await;
    let mut seen = std::collections::BTreeSet::new();
    let looking = async {
        for skip in [0, 5_000, 9_900] {
            let page = phone.client().conversations(skip, 0).await.unwrap();
            assert_eq!(page.unread, 2);
            seen.extend(page.conversations.into_iter().map(|listed| listed.state.conversation.to_string()));
        }
    };
    // Messages of the last moments are pushed: a device that does not take them gets no answers either.
    let reading = async { while !phone.client().next_events(100).await.is_empty() {} };
    tokio::select! {
        () = looking => {}
        () = reading => panic!("the client is closed"),
    }
    assert_eq!(seen.len(), 150, "three pages, and nobody on two of them");
}

async fn counts_are_exact_after_reconnects_and_resets(setup: Setup, via: Via) {
    let stack = Stack::start_with_logs(setup, 1, bounded_logs(50)).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut devices = Vec::new();
    for name in ["ios/phone", "web/tab"] {
        let mut device = Device::connect(&stack, "alice", name, via).await;
        device.client.up_to_date().await;
        devices.push(device);
    }
    say(&im, "bob", "alice", "0").await;
    for device in &mut devices {
        device.until("the first", |list| list.unread().count == 1).await;
        device.client.client().disconnect();
    }
    stack.wait_online(&im, "alice", 0).await;
    for number in 1..=20 {
        say(&im, "bob", "alice", &number.to_string()).await;
    }
    im.set_conversation(&id("alice"), id("bob"), ConversationChange::new().read(ReadMark::new(15, None)))
        .await
        .unwrap();
    for device in &mut devices {
        device.client.client().connect();
        let loads = device.until("what came meanwhile", |list| list.unread().count == 6).await;
        assert_eq!(loads, 0, "entries and changes come by themselves");
        device.client.client().disconnect();
    }
    stack.wait_online(&im, "alice", 0).await;
    // Enough messages to evict the entries that the devices have.
    let first = fill(&stack, &im, 30).await;
    for device in &mut devices {
        device.client.client().connect();
        device.until("a list that says that it is not all", |list| list.unread().more).await;
        let page = whole(&device.client).await;
        let bob = &page.conversations[0];
        let left = bob.end + 1 - first;
        assert_eq!(
            (u64::from(bob.unread), bob.unread_more),
            (left, true),
            "what can still be read, and more"
        );
        assert_eq!(device.list.unread(), Unread { count: left, more: true });
    }
    // After reading to the end, all counts are exact again.
    im.set_conversation(
        &id("alice"),
        id("bob"),
        ConversationChange::new().read(ReadMark::new(u64::MAX >> 12, None)),
    )
    .await
    .unwrap();
    for device in &mut devices {
        let none = Unread::default();
        assert_eq!(device.until("nothing unread", |list| list.unread() == none).await, 0);
    }
}

/// Sends until alice's inbox has lost the entries up to this seq; returns its first seq.
async fn fill(stack: &Stack, im: &Im, lost: u64) -> u64 {
    let log = LogId::Inbox(id("alice"));
    loop {
        say(im, "bob", "alice", "more").await;
        let ends = stack.cluster().log().ends(std::slice::from_ref(&log)).await.unwrap();
        if ends[0].first > lost {
            return ends[0].first;
        }
    }
}

async fn what_the_log_has_lost_is_counted_in_the_store(setup: Setup, via: Via) {
    let deployment = ArchivingStack::start(setup).await;
    let im = &deployment.im;
    im.channel("team").add_members(["alice"]).await.unwrap();
    say(im, "carol", "alice", "long ago").await;
    let state = im.set_conversation(&id("alice"), id("carol"), ConversationChange::new().pin(true)).await;
    assert!(state.unwrap().pinned);
    for _ in 0..5 {
        say_to_team(im, "bob", "old").await;
    }
    let first = fill(&deployment.stack, im, 20).await;
    let team_log = LogId::Channel(group("team"));
    let mut in_team = 5;
    loop {
        say_to_team(im, "bob", "more").await;
        in_team += 1;
        if deployment.ends(&team_log).await.0 > 8 {
            break;
        }
    }
    deployment.archived().await;
    let (_, end) = deployment.ends(&LogId::Inbox(id("alice"))).await;
    assert!(first > 20);
    let mut lists = Vec::new();
    for name in ["ios/phone", "web/tab"] {
        let device = deployment.stack.connect("alice", name, 0, via).await;
        let page = whole(&device).await;
        let counts: Vec<_> = page
            .conversations
            .iter()
            .map(|listed| {
                (listed.state.conversation.to_string(), u64::from(listed.unread), listed.unread_more)
            })
            .collect();
        let expected = [
            ("carol".to_owned(), 1, false),
            ("channel team".to_owned(), in_team, false),
            ("bob".to_owned(), end - 1, false),
        ];
        assert_eq!(counts, expected, "all of them, although the logs have lost most");
        assert_eq!(page.conversations[0].last.as_ref().unwrap().content.as_text(), Some("long ago"));
        assert_eq!((page.unread, page.unread_more), (1 + in_team + end - 1, false));
        lists.push(page);
    }
    assert_eq!(lists[0].conversations.len(), lists[1].conversations.len());
}

/// Returns this device's reference to the message with this text.
async fn reference(client: &mut TestClient, me: &str, text: &str) -> MessageRef {
    client
        .next(text, |event| match event {
            Event::Message(message) if message.content.as_text() == Some(text) => message.reference(&id(me)),
            _ => None,
        })
        .await
}

async fn what_is_recalled_counts_no_more_and_what_is_edited_shows(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["alice", "bob"]).await.unwrap();
    let mut bob = stack.connect("bob", "web/tab", 0, via).await;
    bob.up_to_date().await;
    let mut phone = Device::connect(&stack, "alice", "ios/phone", via).await;
    phone.client.up_to_date().await;
    say_to_team(&im, "bob", "1").await;
    say_to_team(&im, "bob", "2").await;
    say(&im, "bob", "alice", "3").await;
    phone.until("all", |list| list.unread().count == 3).await;
    let first = reference(&mut bob, "bob", "1").await;
    let second = reference(&mut bob, "bob", "2").await;

    bob.client().edit(&second, "two").await.unwrap();
    bob.client().recall(&first).await.unwrap();
    let seen = |list: &ConversationList| shown(&list.conversations());
    let rows = [("bob", "3", 1), ("channel team", "two", 1)]
        .map(|(name, last, unread)| (name.to_owned(), last.to_owned(), unread));
    assert_eq!(phone.until("the edit, and one less", |list| seen(list) == rows).await, 0, "without asking");
    assert_eq!(shown(&whole(&phone.client).await.conversations), rows, "the back end says the same");
    let tab = stack.connect("alice", "web/tab", 0, via).await;
    let page = whole(&tab).await;
    assert_eq!((page.unread, page.conversations[1].last_edit.is_some()), (2, true));

    bob.client().recall(&second).await.unwrap();
    let recalled =
        |list: &ConversationList| list.get(&team()).is_some_and(|team| team.last_recalled.is_some());
    assert_eq!(phone.until("the recall", recalled).await, 0);
    let of_device = phone.list.get(&team()).unwrap();
    let page = whole(&tab).await;
    for team in [&of_device, &page.conversations[1]] {
        let last = team.last.as_ref().unwrap();
        assert!(last.id == second.id && last.content.is_empty(), "what it said is not told: {last:?}");
        assert_eq!((team.unread, &team.last_recalled.as_ref().unwrap().by), (0, &Some(id("bob"))));
    }
    // Messages that alice deletes for herself are neither shown nor counted, on both devices.
    let third = page.conversations[0].last.as_ref().unwrap().reference(&id("alice")).unwrap();
    tab.client().delete_for_me(&third).await.unwrap();
    let gone = |list: &ConversationList| list.get(&peer("bob")).is_some_and(|bob| bob.last.is_none());
    phone.until("nothing is left of bob", gone).await;
    assert_eq!(phone.list.unread(), Unread::default());
    assert_eq!(whole(&tab).await.unread, 0);
}
