//! Devices whose store was restored from a backup can send, and repeat nothing.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use im_sdk::{
    ConversationChange, Recipient,
    client::{
        Client, Event, SendState,
        device_store::{Batch, DeviceStore, MemoryStore, SqliteStore},
    },
    content::ChangeKind,
    content::Content,
    id::UserId,
};
use im_tests::{
    Setup, Stack, TestClient, Via,
    channels::{group, serve},
    everywhere,
    stack::{PATIENCE, token},
    wait_until,
};

everywhere!(
    a_restored_backup_can_send,
    a_restored_backup_repeats_nothing,
    a_restored_device_goes_on_under_other_numbers,
    what_a_restored_device_takes_offline_arrives,
    what_a_backup_had_set_replaces_nothing_newer,
);

fn id(user: &str) -> UserId {
    UserId::parse(user).unwrap()
}

/// Opens a device on a store without connecting it.
fn open(stack: &Stack, store: Arc<dyn DeviceStore>, via: Via) -> TestClient {
    let endpoints = [stack.servers[0].endpoint(via)];
    let mut config = stack.client_config("ios/phone", &endpoints, Arc::new(token("alice")));
    config.store = store;
    TestClient::new(Client::open(config).unwrap())
}

/// The file of a device's store, and a backup of it.
struct Phone {
    file: PathBuf,
    backup: PathBuf,
}

impl Phone {
    fn new(folder: &Path) -> Self {
        Self { file: folder.join("alice.db"), backup: folder.join("backup.db") }
    }

    fn store(&self) -> Arc<dyn DeviceStore> {
        Arc::new(SqliteStore::open(&self.file).unwrap())
    }

    async fn connect(&self, stack: &Stack, via: Via) -> TestClient {
        let mut alice = open(stack, self.store(), via);
        alice.client().connect();
        alice.up_to_date().await;
        alice
    }

    /// Ages the marks in the store of a closed client.
    fn age_marks(&self, age: Duration) {
        let store = SqliteStore::open(&self.file).unwrap();
        let mut saved = store.load().unwrap();
        let marks = saved.marks.iter_mut().flat_map(|marks| &mut marks.marks);
        marks.for_each(|mark| mark.set_at_ms -= u64::try_from(age.as_millis()).unwrap());
        let batch = Batch {
            user: saved.user,
            next_local_id: saved.next_local_id,
            next_number: saved.next_number,
            installation: saved.installation,
            origin_key: saved.origin_key,
            marks: saved.marks,
            ..Batch::default()
        };
        store.save(&batch).unwrap();
    }

    /// Backs up the file of a closed client.
    fn back_up(&self) {
        std::fs::copy(&self.file, &self.backup).unwrap();
    }

    /// Restores the backup.
    fn restore(&self) {
        for suffix in ["-wal", "-shm"] {
            let beside = self.file.with_file_name(format!("alice.db{suffix}"));
            assert!(!beside.exists() || std::fs::remove_file(beside).is_ok());
        }
        std::fs::copy(&self.backup, &self.file).unwrap();
    }
}

/// Waits for the texts of the next messages.
async fn texts(client: &mut TestClient, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        texts.push(client.text().await);
    }
    texts
}

async fn a_restored_backup_can_send(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut bob = stack.connect("bob", "web/tab", 0, via).await;
    bob.up_to_date().await;
    let folder = tempfile::tempdir().unwrap();
    let phone = Phone::new(folder.path());
    let alice = phone.connect(&stack, via).await;
    for text in ["before 1", "before 2"] {
        alice.publish("bob", text).await.unwrap();
    }
    alice.into_client().shutdown().await;
    phone.back_up();
    let alice = phone.connect(&stack, via).await;
    let since: Vec<String> = (0..20).map(|n| format!("since {n}")).collect();
    for text in &since {
        alice.publish("bob", text).await.unwrap();
    }
    assert_eq!(texts(&mut bob, 22).await[2..], since);
    alice.into_client().shutdown().await;
    // Twice, so that the messages after the first restore use further numbers.
    for round in ["restored", "restored once more"] {
        phone.restore();
        let alice = phone.connect(&stack, via).await;
        // Including texts that were sent before.
        for text in [round, "since 0", "since 1"] {
            alice.publish("bob", text).await.unwrap();
        }
        assert_eq!(texts(&mut bob, 3).await, [round, "since 0", "since 1"]);
        alice.into_client().shutdown().await;
    }
}

async fn a_restored_backup_repeats_nothing(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["alice", "bob"]).await.unwrap();
    let mut bob = stack.connect("bob", "web/tab", 0, via).await;
    bob.up_to_date().await;
    let folder = tempfile::tempdir().unwrap();
    let phone = Phone::new(folder.path());
    let alice = open(&stack, phone.store(), via);
    let sends: Vec<(Recipient, String)> = (0..3)
        .flat_map(|n| {
            [(id("bob").into(), format!("offline {n}")), (group("team").into(), format!("team {n}"))]
        })
        .collect();
    for (to, text) in &sends {
        alice.client().send(to.clone(), Content::text(text)).await.unwrap();
    }
    alice.into_client().shutdown().await;
    phone.back_up();

    let alice = phone.connect(&stack, via).await;
    let mut heard = texts(&mut bob, sends.len()).await;
    wait_until("all is settled", PATIENCE, async || alice.client().unsettled_sends().await.is_empty()).await;
    alice.into_client().shutdown().await;
    phone.restore();

    let mut alice = open(&stack, phone.store(), via);
    alice.client().connect();
    for _ in &sends {
        let failed = alice.next("an outcome", |event| match event {
            Event::Published { .. } => Some(None),
            Event::PublishFailed { error, .. } => Some(Some(error.clone())),
            _ => None,
        });
        assert_eq!(failed.await, None, "it has arrived");
    }
    alice.publish("bob", "after").await.unwrap();
    heard.extend(texts(&mut bob, 1).await);
    let mut expected: Vec<&str> = sends.iter().map(|(_, text)| text.as_str()).chain(["after"]).collect();
    expected.sort_unstable();
    heard.sort_unstable();
    assert_eq!(heard, expected, "each of them once");
}

/// The numbers after the backup have been used: the original went on with higher numbers than the copy can
/// reach.
async fn a_restored_device_goes_on_under_other_numbers(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["alice", "bob"]).await.unwrap();
    let mut bob = stack.connect("bob", "web/tab", 0, via).await;
    bob.up_to_date().await;
    let store = Arc::new(MemoryStore::new());
    let connect = async |store: Arc<MemoryStore>| {
        let mut alice = open(&stack, store, via);
        alice.client().connect();
        alice.up_to_date().await;
        alice
    };
    let mut alice = connect(Arc::clone(&store)).await;
    alice.publish("bob", "a typo").await.unwrap();
    let edited = alice.message().await;
    assert_eq!(bob.text().await, "a typo");
    alice.into_client().shutdown().await;
    let mut state = store.load().unwrap();
    let copy = MemoryStore::with(state.clone());
    state.next_number = 1 << 40;
    let alice = connect(Arc::new(MemoryStore::with(state))).await;
    let team = || Recipient::from(group("team"));
    alice.publish("bob", "since").await.unwrap();
    alice.client().send(team(), "since").outcome().await.unwrap();
    assert_eq!(texts(&mut bob, 2).await, ["since"; 2]);
    alice.into_client().shutdown().await;

    let mut alice = connect(Arc::new(copy)).await;
    let client = alice.client().clone();
    let edit = edited.reference(&id("alice")).unwrap().change(ChangeKind::Edit(Box::new("no typo".into())));
    for (to, content) in [
        (id("bob").into(), Content::text("1")),
        (id("bob").into(), Content::text("2")),
        (team(), Content::text("3")),
        (id("bob").into(), edit),
        (id("bob").into(), Content::text("4")),
    ] {
        client.send(to, content).await.unwrap();
    }
    for _ in 0..5 {
        alice
            .next("an outcome", |event| match event {
                Event::Published { .. } => Some(()),
                Event::PublishFailed { error, .. } => panic!("{error}"),
                _ => None,
            })
            .await;
    }
    let mut contents = Vec::new();
    while contents.len() < 5 {
        contents.push(bob.message().await.content);
    }
    let change = contents.iter().position(|content| content.as_change().is_some()).expect("the edit");
    contents.remove(change);
    let mut texts: Vec<&str> = contents.iter().filter_map(Content::as_text).collect();
    let to_team = texts.iter().position(|text| *text == "3").expect("the message to the team");
    texts.remove(to_team);
    assert_eq!((texts.as_slice(), change > 1), (&["1", "2", "4"][..], true), "in order");
    assert_eq!(client.unsettled_sends().await.len(), 0);
}

async fn what_a_restored_device_takes_offline_arrives(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut bob = stack.connect("bob", "web/tab", 0, via).await;
    bob.up_to_date().await;
    let folder = tempfile::tempdir().unwrap();
    let phone = Phone::new(folder.path());
    let alice = phone.connect(&stack, via).await;
    alice.publish("bob", "before").await.unwrap();
    alice.into_client().shutdown().await;
    phone.back_up();
    let alice = phone.connect(&stack, via).await;
    alice.publish("bob", "since").await.unwrap();
    alice.into_client().shutdown().await;
    phone.restore();

    // Two processes that never connect, and a third one.
    for text in ["one", "two"] {
        let alice = open(&stack, phone.store(), via);
        alice.client().send(id("bob"), Content::text(text)).await.unwrap();
        let waiting = alice.client().unsettled_sends().await;
        assert!(waiting.iter().all(|send| send.state != SendState::Failed));
        alice.into_client().shutdown().await;
    }
    let alice = phone.connect(&stack, via).await;
    alice.publish("bob", "three").await.unwrap();
    assert_eq!(texts(&mut bob, 5).await, ["before", "since", "one", "two", "three"]);
    assert!(alice.client().unsettled_sends().await.is_empty());
}

/// Waits for the next state of the conversation with bob. Returns the draft, and whether it is pinned.
async fn state(client: &mut TestClient) -> (String, bool) {
    client
        .next("a state of the conversation", |event| match event {
            Event::ConversationsChanged(states) => {
                // The last state counts.
                let state = states.iter().rfind(|state| state.conversation == Recipient::User(id("bob")));
                state.map(|state| (state.draft.clone(), state.pinned))
            }
            _ => None,
        })
        .await
}

async fn what_a_backup_had_set_replaces_nothing_newer(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let folder = tempfile::tempdir().unwrap();
    let phone = Phone::new(folder.path());
    let set = async |alice: &TestClient, draft: &str| {
        let change = ConversationChange::new().draft(draft).pin(true);
        alice.client().set_conversation(id("bob"), change).await.unwrap();
    };
    let alice = open(&stack, phone.store(), via);
    set(&alice, "of the backup").await;
    alice.into_client().shutdown().await;
    // Older than any network delay of what a device sets.
    phone.age_marks(Duration::from_secs(120));
    phone.back_up();
    let mut alice = open(&stack, phone.store(), via);
    alice.client().connect();
    assert_eq!(state(&mut alice).await, ("of the backup".to_owned(), true));
    set(&alice, "newer").await;
    while state(&mut alice).await.0 != "newer" {}
    alice.into_client().shutdown().await;
    phone.restore();

    // Marks are sent in order: this one follows the old draft, which has changed nothing.
    let mut alice = open(&stack, phone.store(), via);
    alice.client().connect();
    alice.client().set_conversation(id("bob"), ConversationChange::new().pin(false)).await.unwrap();
    while {
        let (draft, is_pinned) = state(&mut alice).await;
        assert_eq!(draft, "newer");
        is_pinned
    } {}
    alice.into_client().shutdown().await;
    assert_eq!(phone.store().load().unwrap().marks, []);
    let page = im.conversations(&id("alice"), 0, 10).await.unwrap();
    assert_eq!((page.conversations.len(), &*page.conversations[0].state.draft), (1, "newer"));
}
