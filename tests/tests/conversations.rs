//! The list of conversations: what a new device restores, what counts as unread, and that a device's own list stays the
//! same as the back end's without asking.
#![allow(clippy::unwrap_used, clippy::panic)]

use im_sdk::{
    Content, ConversationChange, ReadMark, Recipient,
    backend::{Im, Message, channel, user},
    client::{ConversationList, ConversationPage, HistoryRange, ListedConversation, Unread},
    cluster::LogId,
    id::UserId,
};
use im_tests::{
    Setup, Stack, TestClient, Via, everywhere,
    group::{group, serve},
    past::{Past, keeping},
    stack::PATIENCE,
    wait_until,
};
use tokio::time::timeout;

everywhere!(
    a_new_device_restores_the_list,
    lists_on_devices_follow_without_asking,
    counts_are_exact_after_reconnects_and_resets,
    what_the_log_has_lost_is_counted_in_the_store,
    what_is_hidden_or_deleted_comes_back,
    long_lists_come_in_pages,
    whoever_is_mentioned_sees_it_in_the_list,
);

fn id(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn peer(name: &str) -> Recipient {
    id(name).into()
}

fn team() -> Recipient {
    group("team").into()
}

async fn say(im: &Im, from: &str, to: &str, text: &str) {
    let message = Message::to(user(to)).text(text);
    let message = if from.is_empty() { message } else { message.from(from) };
    im.send(message).await.unwrap();
}

async fn say_to_team(im: &Im, from: &str, text: &str) {
    im.send(Message::to(channel("team")).from(from).text(text)).await.unwrap();
}

/// Name, last text and unread count of each.
fn shown(conversations: &[ListedConversation]) -> Vec<(String, String, u32)> {
    let shown = conversations.iter().map(|listed| {
        let last = listed.last.as_ref().and_then(|last| last.content.as_text()).unwrap_or_default();
        (listed.state.conversation.to_string(), last.to_owned(), listed.unread)
    });
    shown.collect()
}

fn row(name: &str, last: &str, unread: u32) -> (String, String, u32) {
    (name.to_owned(), last.to_owned(), unread)
}

async fn whole(client: &TestClient) -> ConversationPage {
    client.client().conversations(0, 0).await.unwrap()
}

/// A device with a list that it keeps.
struct Device {
    client: TestClient,
    list: ConversationList,
}

impl Device {
    async fn connect(stack: &Stack, name: &str, device: &str, via: Via) -> Self {
        let client = stack.connect(name, device, 0, via).await;
        Self { client, list: ConversationList::new(id(name)) }
    }

    /// Takes events until the list is as wanted; loads it when it says that it has to be. Returns how often.
    async fn until(&mut self, what: &str, wanted: impl Fn(&ConversationList) -> bool) -> u32 {
        let mut loads = 0;
        let looking = async {
            loop {
                if self.list.needs_loading() {
                    self.list.begin_loading();
                    self.list.load(whole(&self.client).await);
                    loads += 1;
                }
                if wanted(&self.list) {
                    return;
                }
                for event in self.client.client().next_events(100).await {
                    self.list.apply(&event);
                }
            }
        };
        if timeout(PATIENCE, looking).await.is_err() {
            panic!("waited in vain: {what}; there is {:?}", shown(&self.list.conversations()));
        }
        loads
    }
}

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

    // Another device, which knows nothing.
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
    // Bob knows how far his messages were read.
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
    // Read on one, seen on the other; a message that came after what was read stays unread.
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

async fn counts_are_exact_after_reconnects_and_resets(setup: Setup, via: Via) {
    let stack = Stack::start_keeping(setup, 1, keeping(50)).await;
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
    // So much that the log loses what the devices have.
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
    // Read to the end, all is exact again.
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

/// Sends until alice's inbox has lost what is up to this seq; returns its first.
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
    let past = Past::start(setup).await;
    let im = &past.im;
    im.channel("team").add_members(["alice"]).await.unwrap();
    say(im, "carol", "alice", "long ago").await;
    let state = im.set_conversation(&id("alice"), id("carol"), ConversationChange::new().pin(true)).await;
    assert!(state.unwrap().pinned);
    for _ in 0..5 {
        say_to_team(im, "bob", "old").await;
    }
    let first = fill(&past.stack, im, 20).await;
    let team_log = LogId::Channel(group("team"));
    let mut in_team = 5;
    loop {
        say_to_team(im, "bob", "more").await;
        in_team += 1;
        if past.ends(&team_log).await.0 > 8 {
            break;
        }
    }
    past.settled().await;
    let (_, end) = past.ends(&LogId::Inbox(id("alice"))).await;
    assert!(first > 20);
    let mut lists = Vec::new();
    for name in ["ios/phone", "web/tab"] {
        let device = past.stack.connect("alice", name, 0, via).await;
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
    // What was deleted is gone from the history, for alice alone.
    let with_bob = im_sdk::Conversation::User(id("bob"));
    for range in [HistoryRange::Newest, HistoryRange::Before(3), HistoryRange::After(0)] {
        let page = tab.client.client().history(with_bob.clone(), range, 10).await.unwrap();
        assert!(page.messages.is_empty() && !page.more, "{range:?}");
    }
    let with_alice = im_sdk::Conversation::User(id("alice"));
    let page = im.history(&id("bob"), &with_alice, HistoryRange::Newest, 10).await.unwrap();
    assert_eq!(page.entries.len(), 2);
    // A new message brings both back: all of what was hidden, and nothing of what was deleted.
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
    // The largest that is taken: it shows, with or without its content.
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
        bob.client().publish(group("team"), content).await.unwrap();
    }
    let reply = Content::text("@alice, again").mention(id("alice"));
    bob.client().publish(id("alice"), reply).await.unwrap();
    let mentions = |list: &ConversationList, name: &Recipient| {
        let found = list.conversations().into_iter().find(|listed| listed.state.conversation == *name);
        found.map(|listed| listed.mention_seqs).unwrap_or_default()
    };
    // The one counts on by itself, the other one asks.
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
    // What was read is no mention any more, on either.
    let read = ConversationChange::new().read(ReadMark::new(2, None));
    tab.client.client().set_conversation(group("team"), read).await.unwrap();
    for device in [&mut phone, &mut tab] {
        device.until("what is left", |list| mentions(list, &team()) == [4]).await;
        assert_eq!(device.list.unread().count, 3);
    }
}
