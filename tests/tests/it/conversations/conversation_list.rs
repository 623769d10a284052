//! The list of conversations: a new device restores it, and a device's own list stays equal to the back end's without
//! requests.

use im_sdk::{
    ConversationChange, HistoryRange, ReadMark, Recipient,
    backend::{Message, user},
    client::{ConversationList, Unread},
    content::Content,
};
use im_tests::{
    Setup, Stack, Via,
    channels::{group, serve},
    conversation_list::{Device, id, peer, row, say, say_to_team, shown, team, whole},
    everywhere,
    stack::PATIENCE,
    wait_until,
};

everywhere!(
    a_new_device_restores_the_list,
    lists_on_devices_follow_without_asking,
    what_is_hidden_or_deleted_comes_back,
    long_lists_come_in_pages,
    whoever_is_mentioned_sees_it_in_the_list,
);

async fn a_new_device_restores_the_list(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["alice", "bob"]).await.unwrap();
    im.channel("quiet").add_members(["alice"]).await.unwrap();
    for text in ["1", "2", "3"] {
        say(&im, "bob", "alice", text).await;
    }
    say(&im, "alice", "bob", "4").await;
    say(&im, "carol", "alice", "5").await;
    say_to_team(&im, "bob", "6").await;
    say_to_team(&im, "alice", "7").await;
    say_to_team(&im, "bob", "8").await;
    say(&im, "", "alice", "of nobody's conversation").await;

    let phone = stack.connect("alice", "ios/phone", 0, via).await;
    let page = whole(&phone).await;
    let all =
        [row("channel team", "8", 2), row("carol", "5", 1), row("bob", "4", 3), row("channel quiet", "", 0)];
    assert_eq!(shown(&page.conversations), all, "one's own do not count");
    assert_eq!((page.unread, page.unread_more, page.more, page.version), (6, false, false, 0));
    let carol = &page.conversations[1];
    assert!(carol.last.as_ref().unwrap().from == Some(id("carol")) && carol.unread_seqs == [5]);

    let read = |seq| ConversationChange::new().read(ReadMark::new(seq, None));
    for (name, change) in [
        (peer("bob"), read(2).pin(true)),
        (team(), read(1).mute(true)),
        (peer("carol"), ConversationChange::new().draft("Dear Carol,")),
        (group("quiet").into(), ConversationChange::new().pin(true)),
        (peer("dave"), ConversationChange::new().draft("Who are you?")),
    ] {
        phone.client().set_conversation(name, change).await.unwrap();
    }
    wait_until("all is set", PATIENCE, async || whole(&phone).await.version == 5).await;

    // Another device, without any state.
    let tab = stack.connect("alice", "web/tab", 0, via).await;
    let page = whole(&tab).await;
    let all = [
        row("bob", "4", 1),
        row("channel quiet", "", 0),
        row("channel team", "8", 1),
        row("carol", "5", 1),
        row("dave", "", 0),
    ];
    assert_eq!(shown(&page.conversations), all);
    assert_eq!(page.unread, 2, "the team is muted");
    assert_eq!(page.conversations[0].unread_seqs, [3]);
    assert_eq!(page.conversations[3].state.draft, "Dear Carol,");
    assert_eq!(page, whole(&phone).await);
    let seen = im.conversations(&id("alice"), 0, 10).await.unwrap();
    assert_eq!((seen.conversations.len(), seen.unread), (5, 2), "and so does the back end");
    // Bob sees how far alice has read his messages.
    let page = im.conversations(&id("bob"), 0, 10).await.unwrap();
    let alice = page.conversations.iter().find(|listed| listed.state.conversation == peer("alice")).unwrap();
    assert!(alice.state.peer_read.is_some() && alice.unread == 1);
}

async fn lists_on_devices_follow_without_asking(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["alice", "bob"]).await.unwrap();
    say(&im, "bob", "alice", "1").await;
    let mut phone = Device::connect(&stack, "alice", "ios/phone", via).await;
    phone.client.up_to_date().await;
    let mut tab = Device::connect(&stack, "alice", "web/tab", via).await;
    tab.client.up_to_date().await;
    for device in [&mut phone, &mut tab] {
        assert_eq!(device.until("the first message", |list| list.unread().count == 1).await, 1);
    }
    say(&im, "bob", "alice", "2").await;
    say_to_team(&im, "bob", "3").await;
    say(&im, "carol", "alice", "4").await;
    phone.client.publish("bob", "5").await.unwrap();
    let all = [row("bob", "5", 2), row("carol", "4", 1), row("channel team", "3", 1)];
    for device in [&mut phone, &mut tab] {
        let loads = device.until("all messages", |list| shown(&list.conversations()) == all).await;
        assert_eq!((loads, device.list.unread()), (0, Unread { count: 4, more: false }));
    }
    // A read mark of one device appears on the other. A message after the mark stays unread.
    let second = ReadMark::new(2, None);
    let change = ConversationChange::new().read(second).pin(true);
    phone.client.client().set_conversation(id("bob"), change).await.unwrap();
    say_to_team(&im, "bob", "6").await;
    phone
        .client
        .client()
        .set_conversation(group("team"), ConversationChange::new().read(ReadMark::new(1, None)))
        .await
        .unwrap();
    let all = [row("bob", "5", 0), row("channel team", "6", 1), row("carol", "4", 1)];
    for device in [&mut phone, &mut tab] {
        let loads = device.until("what was read", |list| shown(&list.conversations()) == all).await;
        assert_eq!((loads, device.list.unread().count), (0, 2));
        assert_eq!(shown(&whole(&device.client).await.conversations), all, "the back end says the same");
    }
}

async fn what_is_hidden_or_deleted_comes_back(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["alice", "bob"]).await.unwrap();
    for text in ["1", "2"] {
        say(&im, "bob", "alice", text).await;
        say_to_team(&im, "bob", text).await;
    }
    let mut phone = Device::connect(&stack, "alice", "ios/phone", via).await;
    phone.client.up_to_date().await;
    let mut tab = Device::connect(&stack, "alice", "web/tab", via).await;
    tab.client.up_to_date().await;
    for device in [&mut phone, &mut tab] {
        device.until("both", |list| list.unread().count == 4).await;
    }
    let client = phone.client.client();
    client.set_conversation(id("bob"), ConversationChange::new().delete(2)).await.unwrap();
    client.set_conversation(group("team"), ConversationChange::new().hide(2)).await.unwrap();
    for device in [&mut phone, &mut tab] {
        device.until("an empty list", |list| list.conversations().is_empty()).await;
        assert_eq!(device.list.unread(), Unread::default(), "what is not shown does not count");
        assert_eq!(shown(&whole(&device.client).await.conversations), []);
    }
    // Deleted messages are gone from the history, for alice alone.
    let with_bob = im_sdk::Conversation::User(id("bob"));
    for range in [HistoryRange::Newest, HistoryRange::Before(3), HistoryRange::After(0)] {
        let page = tab.client.client().history(with_bob.clone(), range, 10).await.unwrap();
        assert!(page.messages.is_empty() && page.next.is_none(), "{range:?}");
    }
    let with_alice = im_sdk::Conversation::User(id("alice"));
    let page = im.history(&id("bob"), &with_alice, HistoryRange::Newest, 10).await.unwrap();
    assert_eq!(page.messages.len(), 2);
    // A new message shows both again: all messages of the hidden one, and none of the deleted ones.
    say(&im, "bob", "alice", "3").await;
    say_to_team(&im, "bob", "3").await;
    let all = [row("channel team", "3", 3), row("bob", "3", 1)];
    for device in [&mut phone, &mut tab] {
        device.until("both", |list| shown(&list.conversations()) == all).await;
        assert_eq!(shown(&whole(&device.client).await.conversations), all);
    }
    let page = tab.client.client().history(with_bob, HistoryRange::Newest, 10).await.unwrap();
    assert_eq!(page.messages.len(), 1);
}

async fn long_lists_come_in_pages(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let long = "x".repeat(20_000);
    let names: Vec<String> = (0..8).map(|number| format!("peer-{number}")).collect();
    for name in &names {
        say(&im, name, "alice", &long).await;
    }
    // The largest content that is accepted: the list shows the message with or without it.
    let mut size = 64 * 1024;
    while im.send(Message::to(user("alice")).from("large").text("x".repeat(size))).await.is_err() {
        size -= 1;
    }
    for device in ["ios/phone", "web/tab"] {
        let client = stack.connect("alice", device, 0, via).await;
        let (mut found, mut skip) = (Vec::new(), 0);
        loop {
            let page = client.client().conversations(skip, 100).await.unwrap();
            assert_eq!(page.unread, 9);
            skip += page.count();
            found.extend(page.conversations.iter().map(|listed| listed.state.conversation.to_string()));
            assert_eq!(page.more, found.len() < 9, "{skip}");
            if !page.more {
                break;
            }
        }
        let expected: Vec<String> =
            std::iter::once("large".to_owned()).chain(names.iter().rev().cloned()).collect();
        assert_eq!(found, expected);
    }
}

async fn whoever_is_mentioned_sees_it_in_the_list(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["alice", "bob"]).await.unwrap();
    let mut phone = Device::connect(&stack, "alice", "ios/phone", via).await;
    phone.client.up_to_date().await;
    let bob = stack.connect("bob", "web/tab", 0, via).await;
    let contents = [
        Content::text("nobody"),
        Content::text("@alice").mention(id("alice")),
        Content::text("@bob").mention(id("bob")),
        Content::text("@all").mention_everybody(),
    ];
    for content in contents {
        bob.client().send(group("team"), content).outcome().await.unwrap();
    }
    let reply = Content::text("@alice, again").mention(id("alice"));
    bob.client().send(id("alice"), reply).outcome().await.unwrap();
    let mentions = |list: &ConversationList, name: &Recipient| {
        let found = list.conversations().into_iter().find(|listed| listed.state.conversation == *name);
        found.map(|listed| listed.mention_seqs).unwrap_or_default()
    };
    // One device counts by itself, the other one requests the list.
    let mut tab = Device::connect(&stack, "alice", "web/tab", via).await;
    for device in [&mut phone, &mut tab] {
        device
            .until("the mentions", |list| {
                mentions(list, &team()) == [2, 4] && mentions(list, &peer("bob")) == [1]
            })
            .await;
        assert_eq!(device.list.unread().count, 5);
    }
    let page = im.conversations(&id("alice"), 0, 10).await.unwrap();
    let counts = page.conversations.iter().map(|listed| (listed.unread, listed.mentions));
    assert_eq!(counts.collect::<Vec<_>>(), [(1, 1), (4, 2)]);
    // Messages that were read do not count as mentions any more, on either device.
    let read = ConversationChange::new().read(ReadMark::new(2, None));
    tab.client.client().set_conversation(group("team"), read).await.unwrap();
    for device in [&mut phone, &mut tab] {
        device.until("what is left", |list| mentions(list, &team()) == [4]).await;
        assert_eq!(device.list.unread().count, 3);
    }
}
