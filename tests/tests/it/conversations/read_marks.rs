//! Read marks and conversation settings: equal on all devices of a user, visible to the users concerned.

use std::sync::Arc;

use im_sdk::{
    ConversationChange, ConversationState, ReadMark, Recipient,
    backend::{Im, Message, Service, channel},
    client::{
        Client, Event, ReadReceipt,
        device_store::{DeviceStore, SqliteStore},
    },
};
use im_tests::{
    Setup, Stack, TestClient, Via,
    channels::{connect, group, serve},
    conversation_list::{id, position, say},
    everywhere,
    stack::{PATIENCE, token},
    wait_until,
};

everywhere!(
    the_other_device_follows_and_the_peer_sees_it,
    marks_never_go_back,
    what_is_set_offline_is_told_later,
    what_is_set_offline_outlives_the_process,
    an_older_draft_does_not_replace_a_newer_one,
    groups_know_their_readers,
);

fn bob() -> Recipient {
    id("bob").into()
}

/// Waits for a wanted state of a conversation.
async fn state(
    client: &mut TestClient,
    conversation: &Recipient,
    wanted: impl Fn(&ConversationState) -> bool,
) -> ConversationState {
    client
        .next("a state of a conversation", |event| match event {
            Event::ConversationsChanged(states) => {
                states.iter().find(|state| state.conversation == *conversation && wanted(state)).cloned()
            }
            _ => None,
        })
        .await
}

/// Connects two devices of alice and one of bob; nothing is read yet.
struct Two {
    stack: Stack,
    im: Im,
    _service: Service,
    phone: TestClient,
    tab: TestClient,
    bob: TestClient,
}

impl Two {
    async fn start(setup: Setup, via: Via) -> Self {
        // Two servers if they are processes, so that notifications cross servers.
        let servers = if setup == Setup::Clustered { 2 } else { 1 };
        let stack = Stack::start(setup, servers).await;
        let im = stack.backend().await;
        let service = serve(&im).await;
        let mut phone = stack.connect("alice", "ios/phone", 0, via).await;
        phone.up_to_date().await;
        let tab = connect(&stack, "alice", servers - 1, via).await;
        let bob = connect(&stack, "bob", 0, via).await;
        Self { stack, im, _service: service, phone, tab, bob }
    }
}

async fn the_other_device_follows_and_the_peer_sees_it(setup: Setup, via: Via) {
    let mut two = Two::start(setup, via).await;
    for text in ["1", "2", "3"] {
        say(&two.im, "bob", "alice", text).await;
    }
    let second = position(&mut two.phone, "2").await;
    two.phone.client().mark_read(id("bob"), &second).await.unwrap();
    let own = state(&mut two.phone, &bob(), |state| state.read.seq == 2).await;
    assert_eq!(own.read, ReadMark::new(2, second.id), "the device itself learns that it stands");
    let other = state(&mut two.tab, &bob(), |state| state.read.seq == 2).await;
    assert_eq!(other, own, "and the user's other device");
    let alice: Recipient = id("alice").into();
    let peer = state(&mut two.bob, &alice, |state| state.peer_read.is_some()).await;
    assert_eq!((peer.peer_read, peer.read.seq), (second.id, 0), "and the peer, who has read nothing");

    let change = ConversationChange::new().pin(true).mute(true).draft("Dear Bob,");
    two.tab.client().set_conversation(id("bob"), change).await.unwrap();
    let set = state(&mut two.phone, &bob(), |state| state.pinned).await;
    assert!(set.muted && set.draft == "Dear Bob," && set.read.seq == 2, "{set:?}");
    // The back end changes the conversation too.
    let change = ConversationChange::new().draft("");
    two.im.set_conversation(&id("alice"), id("bob"), change).await.unwrap();
    for device in [&mut two.phone, &mut two.tab] {
        let set = state(device, &bob(), |state| state.draft.is_empty()).await;
        assert!(set.pinned && set.version == 3, "{set:?}");
    }
}

async fn marks_never_go_back(setup: Setup, via: Via) {
    let mut two = Two::start(setup, via).await;
    for text in ["1", "2", "3", "4"] {
        say(&two.im, "bob", "alice", text).await;
    }
    let first = position(&mut two.tab, "1").await;
    let third = position(&mut two.tab, "3").await;
    two.tab.client().mark_read(id("bob"), &third).await.unwrap();
    state(&mut two.phone, &bob(), |state| state.read.seq == 3).await;
    // A late, earlier mark from the other device.
    two.phone.client().mark_read(id("bob"), &first).await.unwrap();
    let answered = state(&mut two.phone, &bob(), |_| true).await;
    assert_eq!((answered.read.seq, answered.version), (3, 1), "nothing has changed");
    // The furthest of many concurrent marks wins, in any order.
    let fourth = position(&mut two.tab, "4").await;
    for mark in [&first, &fourth, &third, &first] {
        two.tab.client().mark_read(id("bob"), mark).await.unwrap();
        two.phone.client().mark_read(id("bob"), mark).await.unwrap();
    }
    for device in [&mut two.phone, &mut two.tab] {
        state(device, &bob(), |state| state.read.seq == 4).await;
    }
    // A mark beyond the end is cut to the end: later messages stay unread.
    let beyond = ConversationChange::new().read(ReadMark::new(1000, None)).draft("beyond");
    two.phone.client().set_conversation(id("bob"), beyond).await.unwrap();
    let answered = state(&mut two.phone, &bob(), |state| state.draft == "beyond").await;
    assert_eq!(answered.read, ReadMark::new(4, fourth.id));
    // A mark whose message is not at that position is ignored.
    say(&two.im, "bob", "alice", "5").await;
    let wrong = ConversationChange::new().read(ReadMark::new(5, first.id)).draft("wrong");
    two.phone.client().set_conversation(id("bob"), wrong).await.unwrap();
    let answered = state(&mut two.phone, &bob(), |state| state.draft == "wrong").await;
    assert_eq!(answered.read.seq, 4);
}

async fn what_is_set_offline_is_told_later(setup: Setup, via: Via) {
    let mut two = Two::start(setup, via).await;
    // From now on the tab is notified of every change.
    two.tab.client().conversations(0, 0).await.unwrap();
    for text in ["1", "2"] {
        say(&two.im, "bob", "alice", text).await;
    }
    let second = position(&mut two.phone, "2").await;
    two.tab.client().disconnect();
    two.phone.client().disconnect();
    two.stack.wait_online(&two.im, "alice", 0).await;
    // The mark waits for the connection.
    two.phone.client().mark_read(id("bob"), &second).await.unwrap();
    let change = ConversationChange::new().pin(true);
    two.phone.client().set_conversation(group("team"), change.clone()).await.unwrap();
    two.phone.client().set_conversation(id("carol"), change).await.unwrap();
    two.phone.client().connect();
    state(&mut two.phone, &bob(), |state| state.read.seq == 2).await;
    assert_eq!(two.im.conversations(&id("alice"), 0, 10).await.unwrap().unread, 0);
    // The tab was offline and could not be notified.
    two.tab.client().connect();
    let mut missing = vec![bob(), id("carol").into()];
    while !missing.is_empty() {
        let states = two
            .tab
            .next("what was missed", |event| match event {
                Event::ConversationsChanged(states) => Some(states.clone()),
                _ => None,
            })
            .await;
        for state in states {
            assert!(state.read.seq == 2 || state.pinned, "{state:?}");
            assert_ne!(state.conversation, group("team"), "no member");
            missing.retain(|name| *name != state.conversation);
        }
    }
    // Marks that are set before a client closes are sent.
    two.tab.client().set_conversation(id("bob"), ConversationChange::new().mute(true)).await.unwrap();
    two.tab.client().shutdown().await;
    state(&mut two.phone, &bob(), |state| state.muted).await;
}

/// Opens a device of alice with this store, without connecting it.
fn offline(stack: &Stack, device: &str, store: Arc<dyn DeviceStore>, via: Via) -> TestClient {
    let endpoints = [stack.servers[0].endpoint(via)];
    let mut config = stack.client_config(device, &endpoints, Arc::new(token("alice")));
    config.store = store;
    TestClient::new(Client::open(config).unwrap())
}

async fn what_is_set_offline_outlives_the_process(setup: Setup, via: Via) {
    let mut two = Two::start(setup, via).await;
    for text in ["1", "2"] {
        say(&two.im, "bob", "alice", text).await;
    }
    let second = position(&mut two.phone, "2").await;
    let folder = tempfile::tempdir().unwrap();
    let store = || Arc::new(SqliteStore::open(folder.path().join("alice.db")).unwrap());
    let pad = offline(&two.stack, "desktop/pc", store(), via);
    pad.client().mark_read(id("bob"), &second).await.unwrap();
    let change = ConversationChange::new().draft("on the train").pin(true).mark_unread(true);
    pad.client().set_conversation(id("carol"), change).await.unwrap();
    pad.client().shutdown().await;
    let standing = two.im.conversations(&id("alice"), 0, 10).await.unwrap();
    assert_eq!((standing.unread, standing.version), (2, 0), "nobody has heard of it");

    let mut pad = offline(&two.stack, "desktop/pc", store(), via);
    pad.client().connect();
    state(&mut pad, &bob(), |state| state.read.seq == 2).await;
    let carol = state(&mut two.phone, &id("carol").into(), |state| state.pinned).await;
    assert_eq!((&*carol.draft, carol.marked_unread), ("on the train", true));
    assert_eq!(two.im.unread(&id("alice")).await.unwrap().count, 0);
    // The marks are settled, and are not sent again.
    pad.client().shutdown().await;
    assert_eq!(store().load().unwrap().marks, []);
}

async fn an_older_draft_does_not_replace_a_newer_one(setup: Setup, via: Via) {
    let mut two = Two::start(setup, via).await;
    let set = async |client: &TestClient, draft: &str, pinned: bool| {
        let change = ConversationChange::new().draft(draft).pin(pinned).mute(pinned).hide(u64::from(pinned));
        client.client().set_conversation(id("bob"), change).await.unwrap();
    };
    say(&two.im, "bob", "alice", "1").await;
    position(&mut two.phone, "1").await;
    two.phone.client().disconnect();
    two.stack.wait_online(&two.im, "alice", 1).await;
    set(&two.phone, "older", true).await;
    // Waits until the clocks differ.
    let set_at = std::time::Instant::now();
    wait_until("a moment has passed", PATIENCE, async || set_at.elapsed().as_millis() > 20).await;
    set(&two.tab, "newer", true).await;
    state(&mut two.tab, &bob(), |state| state.draft == "newer").await;
    set(&two.tab, "newest", false).await;
    state(&mut two.tab, &bob(), |state| state.draft == "newest").await;
    two.phone.client().connect();
    let answered = state(&mut two.phone, &bob(), |_| true).await;
    assert_eq!(
        (&*answered.draft, answered.pinned, answered.muted, answered.hidden),
        ("newest", false, false, 0)
    );

    // The draft that was typed last wins, even if it arrives late.
    two.phone.client().disconnect();
    two.stack.wait_online(&two.im, "alice", 1).await;
    set(&two.tab, "early", false).await;
    state(&mut two.tab, &bob(), |state| state.draft == "early").await;
    let set_at = std::time::Instant::now();
    wait_until("a moment has passed", PATIENCE, async || set_at.elapsed().as_millis() > 20).await;
    set(&two.phone, "late", false).await;
    two.phone.client().connect();
    state(&mut two.tab, &bob(), |state| state.draft == "late").await;
}

async fn groups_know_their_readers(setup: Setup, via: Via) {
    let mut two = Two::start(setup, via).await;
    let (team, name) = (two.im.channel("team"), group("team"));
    team.add_members(["alice", "bob", "carol"]).await.unwrap();
    for text in ["1", "2", "3"] {
        two.im.send(Message::to(channel("team")).from("carol").text(text)).await.unwrap();
    }
    let third = position(&mut two.bob, "3").await;
    let second = position(&mut two.phone, "2").await;
    two.phone.client().mark_read(name.clone(), &second).await.unwrap();
    let receipt = receipt(&mut two.bob).await;
    assert_eq!((receipt.channel, receipt.user, receipt.seq), (name.clone(), id("alice"), 2));
    two.bob.client().mark_read(name.clone(), &third).await.unwrap();
    state(&mut two.bob, &name.clone().into(), |state| state.read.seq == 3).await;
    for (seq, expected) in [(1, 2), (2, 2), (3, 1), (4, 0)] {
        let readers = two.tab.client().readers(&name, seq, 10).await.unwrap();
        assert_eq!((readers.count, readers.users.len() as u64), (expected, expected), "{seq}");
    }
    let readers = two.tab.client().readers(&name, 3, 10).await.unwrap();
    assert_eq!(readers.users, [id("bob")]);
    let readers = two.tab.client().readers(&name, 1, 1).await.unwrap();
    assert_eq!((readers.count, readers.users.len()), (2, 1), "as many names as asked for");
    let readers = team.readers(2, 10).await.unwrap();
    assert_eq!(readers.count, 2);
    // A removed member is not a reader any more, and cannot request the readers.
    team.remove_members(["alice"]).await.unwrap();
    assert_eq!(team.readers(1, 10).await.unwrap().users, [id("bob")]);
    let refused = two.tab.client().readers(&name, 1, 10).await.unwrap_err();
    assert_eq!(refused.code(), "refused");
    // In a large group nobody is notified, but all may request the readers.
    let many: Vec<String> = (0..120).map(|number| format!("member-{number}")).collect();
    team.add_members(many.iter().map(String::as_str)).await.unwrap();
    let all = ConversationChange::new().read(ReadMark::new(3, None));
    two.im.set_conversation(&id("carol"), name.clone(), all).await.unwrap();
    say(&two.im, "carol", "bob", "marker").await;
    two.bob
        .next("the marker, and no receipt before it", |event| match event {
            Event::Message(message) if message.content.as_text() == Some("marker") => Some(()),
            Event::ChannelRead(receipt) => panic!("{receipt:?}"),
            _ => None,
        })
        .await;
    assert_eq!(two.bob.client().readers(&name, 3, 10).await.unwrap().count, 2);
}

async fn receipt(client: &mut TestClient) -> ReadReceipt {
    client
        .next("a receipt", |event| match event {
            Event::ChannelRead(receipt) => Some(receipt.clone()),
            _ => None,
        })
        .await
}
