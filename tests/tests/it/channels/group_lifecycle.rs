//! Groups from creation to deletion on all devices of their members, including members in the application's own tables.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use im_proto::{pb, pb::frame::Body};
use im_sdk::{
    Conversation, HistoryRange, async_trait,
    backend::{Im, Message, user},
    client::{Event, PublishError, RefusalKind, RequestError, ResetReason},
    cluster::{Cluster, LogId, MemberStore, MembersError},
    content::Content,
    id::{ChannelId, UserId},
};
use im_tests::{
    Setup, Stack, TestClient, Via,
    channels::{expect, group, reset, serve, text_to},
    everywhere,
    permissive_handler::device,
    raw::{Heard, Raw},
    stack::PATIENCE,
    wait_until,
};

everywhere!(
    from_its_beginning_to_its_end,
    the_applications_own_members,
    groups_in_own_tables_end_whatever_comes_first,
    who_joins_from_now_on_is_sent_nothing_of_the_past,
    members_that_cannot_be_asked_for_are_waited_for,
);

fn id(name: &str) -> UserId {
    name.parse().unwrap()
}

/// Connects two devices of a user, on different servers.
async fn pair(stack: &Stack, user: &str, via: Via) -> [TestClient; 2] {
    let last = stack.servers.len() - 1;
    [device(stack, user, "ios/phone", 0, via).await, device(stack, user, "web/tab", last, via).await]
}

async fn all_expect(devices: &mut [[TestClient; 2]], text: &str) {
    for client in devices.iter_mut().flatten() {
        expect(client, "team", text).await;
    }
}

/// Asserts that a user's devices receive nothing of the group before a marker.
async fn hear_nothing(im: &Im, devices: &mut [TestClient], name: &str) {
    im.send(Message::to(user(name)).text("marker")).await.unwrap();
    for client in devices {
        client
            .next("the marker", |event| match event {
                Event::Message(message) if message.channel.is_some() => panic!("{name}: {message:?}"),
                Event::Message(message) if message.content.as_text() == Some("marker") => Some(()),
                _ => None,
            })
            .await;
    }
}

async fn refused(client: &TestClient) -> (RefusalKind, String) {
    match client.client().send(group("team"), Content::text("too late")).outcome().await {
        Err(PublishError::Refused { kind, reason, .. }) => (kind, reason),
        other => panic!("{other:?}"),
    }
}

async fn texts(client: &TestClient) -> Result<Vec<String>, RequestError> {
    let team = Conversation::Channel(group("team"));
    let page = client.client().history(team, HistoryRange::Newest, 50).await?;
    Ok(page.messages.iter().map(|message| message.content.as_text().unwrap().to_owned()).collect())
}

async fn from_its_beginning_to_its_end(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let (im, other) = (stack.backend().await, stack.backend().await);
    let _services = [serve(&im).await, serve(&other).await];
    let team = im.channel("team");
    let mut devices = [pair(&stack, "alice", via).await, pair(&stack, "bob", via).await];
    assert_eq!(team.online().await.unwrap(), 0);

    team.add_members(["alice", "bob", "carol"]).await.unwrap();
    for client in devices.iter_mut().flatten() {
        reset(client, "team", ResetReason::New).await;
    }
    assert_eq!(team.online().await.unwrap(), 4, "carol has no device");
    devices[0][1].client().send(group("team"), Content::text("one")).outcome().await.unwrap();
    text_to(&other, "team", "two").await;
    devices[1][0].client().send(group("team"), Content::text("three")).outcome().await.unwrap();
    for text in ["one", "two", "three"] {
        all_expect(&mut devices, text).await;
    }
    // Everybody reads the same history, and all devices are online.
    for client in devices.iter().flatten() {
        assert_eq!(texts(client).await.unwrap(), ["one", "two", "three"]);
    }
    let page = other.channel("team").history(HistoryRange::After(1), 10).await.unwrap();
    assert_eq!(page.messages.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [2, 3]);
    devices[1][1].client().disconnect();
    wait_until("one less", PATIENCE, async || other.channel("team").online().await.unwrap() == 3).await;
    devices[1][1].client().connect();
    devices[1][1].up_to_date().await;
    assert_eq!(team.online().await.unwrap(), 4);

    // After a removal, no device of the user receives, sends or reads anything.
    other.channel("team").remove_members(["bob"]).await.unwrap();
    text_to(&im, "team", "without bob").await;
    for client in &mut devices[1] {
        reset(client, "team", ResetReason::Left).await;
        assert_eq!(refused(client).await.0, RefusalKind::Rule);
        assert_eq!(texts(client).await.unwrap_err().code(), "refused");
    }
    assert_eq!(team.online().await.unwrap(), 2);
    all_expect(&mut devices[..1], "without bob").await;
    hear_nothing(&im, &mut devices[1], "bob").await;
    team.add_members(["bob"]).await.unwrap();
    for client in &mut devices[1] {
        reset(client, "team", ResetReason::New).await;
        assert_eq!(texts(client).await.unwrap().len(), 4, "and what was said meanwhile is there");
    }

    team.close().await.unwrap();
    for client in devices.iter_mut().flatten() {
        // Bob's devices have started near the end of the log again, with the messages of the last moments.
        let left =
            |event: &Event| matches!(event, Event::Reset { reason: ResetReason::Left, .. }).then_some(());
        client.next("out of it", left).await;
        assert_eq!(refused(client).await.0, RefusalKind::Rule);
    }
    assert_eq!((team.online().await.unwrap(), team.members(None, 10).await.unwrap()), (0, Vec::new()));
    let receipt = text_to(&im, "team", "to nobody").await.channel.unwrap();
    assert_eq!((receipt.seq, receipt.connections), (5, 0), "the log stays");
    for (pair, user) in devices.iter_mut().zip(["alice", "bob"]) {
        hear_nothing(&im, pair, user).await;
    }
}

/// Members in the application's own tables; `add` and `remove` do nothing.
#[derive(Clone, Debug, Default)]
struct Table {
    members: Arc<Mutex<BTreeMap<ChannelId, BTreeSet<UserId>>>>,
    /// Set while the database fails.
    away: Arc<AtomicBool>,
    /// Number of failed requests.
    in_vain: Arc<AtomicUsize>,
}

impl Table {
    fn set(&self, channel: &str, members: &[&str]) {
        let members = members.iter().map(|name| id(name)).collect();
        self.members.lock().unwrap().insert(group(channel), members);
    }

    fn look<T>(
        &self,
        action: &'static str,
        look: impl FnOnce(&BTreeMap<ChannelId, BTreeSet<UserId>>) -> T,
    ) -> Result<T, MembersError> {
        if self.away.load(Ordering::Relaxed) {
            self.in_vain.fetch_add(1, Ordering::Relaxed);
            return Err(MembersError::new(action, "the database is away"));
        }
        Ok(look(&self.members.lock().unwrap()))
    }
}

#[async_trait]
impl MemberStore for Table {
    async fn channels(&self, user: &UserId) -> Result<Vec<ChannelId>, MembersError> {
        self.look("list a user's channels", |all| {
            let of_user = all.iter().filter(|(_, members)| members.contains(user));
            of_user.map(|(channel, _)| channel.clone()).collect()
        })
    }

    async fn is_member(&self, channel: &ChannelId, user: &UserId) -> Result<bool, MembersError> {
        self.look("look a member up", |all| all.get(channel).is_some_and(|members| members.contains(user)))
    }

    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, MembersError> {
        self.look("list a channel's members", |all| {
            let members = all.get(channel).into_iter().flatten();
            let behind = members.filter(|user| after.is_none_or(|after| *user > after));
            behind.take(limit).cloned().collect()
        })
    }

    async fn add(&self, _: &ChannelId, _: &[UserId]) -> Result<(), MembersError> {
        Ok(())
    }

    async fn remove(&self, _: &ChannelId, _: &[UserId]) -> Result<(), MembersError> {
        Ok(())
    }
}

/// Starts a back end whose members are in this table.
async fn back_end(stack: &Stack, table: &Table) -> Im {
    let cluster = match stack.services() {
        None => stack.cluster().clone(),
        Some(services) => Cluster::connect(services.config()).await.unwrap(),
    };
    Im::with_cluster(cluster.with_members(Arc::new(table.clone()))).await.unwrap()
}

async fn the_applications_own_members(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let table = Table::default();
    let (im, other) = (back_end(&stack, &table).await, back_end(&stack, &table).await);
    let _services = [serve(&im).await, serve(&other).await];
    let mut devices = [pair(&stack, "alice", via).await, pair(&stack, "bob", via).await];
    let stranger = device(&stack, "stranger", "web/tab", 0, via).await;

    // Membership is decided by the tables, not by the users named in the call.
    table.set("team", &["alice", "bob", "carol"]);
    im.channel("team").add_members(["alice", "bob", "stranger"]).await.unwrap();
    for client in devices.iter_mut().flatten() {
        reset(client, "team", ResetReason::New).await;
    }
    devices[0][0].client().send(group("team"), Content::text("one")).outcome().await.unwrap();
    text_to(&other, "team", "two").await;
    for text in ["one", "two"] {
        all_expect(&mut devices, text).await;
    }
    let (kind, reason) = refused(&stranger).await;
    assert_eq!((kind, &*reason), (RefusalKind::Rule, "stranger is not a member of channel team"));
    let members = ["alice", "bob", "carol"].map(id);
    assert_eq!(other.channel("team").members(None, 10).await.unwrap(), members);
    let mut carol = stack.connect("carol", "web/tab", 1, via).await;
    reset(&mut carol, "team", ResetReason::New).await;

    table.set("team", &["alice", "carol"]);
    other.channel("team").remove_members(["bob"]).await.unwrap();
    text_to(&im, "team", "three").await;
    for client in &mut devices[1] {
        reset(client, "team", ResetReason::Left).await;
    }
    hear_nothing(&im, &mut devices[1], "bob").await;
    all_expect(&mut devices[..1], "three").await;
    let ends = stack.cluster().log().ends(&[LogId::Channel(group("team"))]).await.unwrap();
    assert_eq!(ends[0].last, 3, "one entry each");
}

/// Deletes the rows before the group is closed, and after.
async fn groups_in_own_tables_end_whatever_comes_first(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let table = Table::default();
    let (im, other) = (back_end(&stack, &table).await, back_end(&stack, &table).await);
    let _services = [serve(&im).await, serve(&other).await];
    let mut devices = [pair(&stack, "alice", via).await, pair(&stack, "bob", via).await];
    for (name, rows_first) in [("team", true), ("crew", false)] {
        table.set(name, &["alice", "bob"]);
        // Bob is not named: everybody who follows the channel is reached, including users who were never
        // named.
        im.channel(name).add_members(["alice"]).await.unwrap();
        devices[1].iter().for_each(|client| client.client().disconnect());
        stack.wait_online(&im, "bob", 0).await;
        devices[1].iter().for_each(|client| client.client().connect());
        for client in devices.iter_mut().flatten() {
            reset(client, name, ResetReason::New).await;
        }
        text_to(&im, name, "last words").await;
        for client in devices.iter_mut().flatten() {
            expect(client, name, "last words").await;
        }
        if rows_first {
            table.set(name, &[]);
        }
        other.channel(name).close().await.unwrap();
        for client in devices.iter_mut().flatten() {
            reset(client, name, ResetReason::Left).await;
        }
        if !rows_first {
            // A device that syncs in between does not follow the channel again.
            let late = device(&stack, "alice", "desktop/pc", 0, via).await;
            let receipt = text_to(&im, name, "to nobody").await.channel.unwrap();
            assert_eq!(receipt.connections, 0);
            late.client().disconnect();
            table.set(name, &[]);
        }
        let receipt = text_to(&im, name, "to nobody").await.channel.unwrap();
        assert_eq!(receipt.connections, 0, "rows first: {rows_first}");
        for (pair, user) in devices.iter_mut().zip(["alice", "bob"]) {
            hear_nothing(&im, pair, user).await;
        }
    }
}

async fn who_joins_from_now_on_is_sent_nothing_of_the_past(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let team = im.channel("team").history_from_joining();
    team.add_members(["alice"]).await.unwrap();
    let mut carol = device(&stack, "carol", "ios/phone", 0, via).await;
    for text in ["one", "two"] {
        text_to(&im, "team", text).await;
    }
    // Added just now: otherwise a new device would receive the messages of the last moments.
    team.add_members(["carol"]).await.unwrap();
    reset(&mut carol, "team", ResetReason::New).await;
    text_to(&im, "team", "three").await;
    let first = carol.next("the first", |event| match event {
        Event::Message(message) if message.channel.is_some() => message.content.as_text().map(str::to_owned),
        _ => None,
    });
    assert_eq!(first.await, "three");
    assert_eq!(texts(&carol).await.unwrap(), ["three"]);

    // A client that names an earlier position does not receive earlier messages either.
    let mut mallory = Raw::connect(&stack, 0, via).await;
    mallory.log_in("carol").await;
    while !matches!(mallory.heard().await, Heard::Frame(Body::SyncDone(_))) {}
    let everything = pb::Cursor { channel: "team".into(), seq: 0, id: 0 };
    mallory.send_frame(Body::Sync(pb::Sync { cursors: vec![everything] })).await;
    let mut seqs = Vec::new();
    loop {
        match mallory.heard().await {
            Heard::Frame(Body::Push(push)) if push.channel == "team" => seqs.push(push.seq),
            Heard::Frame(Body::SyncDone(_)) => break,
            _ => {}
        }
    }
    assert_eq!(seqs, [3]);
}

async fn members_that_cannot_be_asked_for_are_waited_for(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let table = Table::default();
    table.set("team", &["alice", "bob"]);
    let im = back_end(&stack, &table).await;
    let _service = serve(&im).await;
    let mut alice = pair(&stack, "alice", via).await;
    let mut bob = pair(&stack, "bob", via).await;
    table.away.store(true, Ordering::Relaxed);
    // Sends are logged and reach all followers.
    text_to(&im, "team", "one").await;
    for client in alice.iter_mut().chain(&mut bob) {
        expect(client, "team", "one").await;
    }
    // Publishes and requests of a device wait on the device.
    let team = group("team");
    let asked = alice[0].client().readers(&team, 1, 10);
    let publishing = alice[0].client().send(team.clone(), Content::text("two")).outcome();
    let back = async {
        wait_until("both were asked in vain", PATIENCE, async || table.in_vain.load(Ordering::Relaxed) >= 2)
            .await;
        table.away.store(false, Ordering::Relaxed);
    };
    let (readers, published, ()) = tokio::join!(asked, publishing, back);
    assert!(readers.is_ok() && published.is_ok(), "{readers:?} {published:?}");
    for client in alice.iter_mut().chain(&mut bob) {
        expect(client, "team", "two").await;
    }
}
