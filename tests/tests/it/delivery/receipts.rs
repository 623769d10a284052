//! Receipts and acknowledgement callbacks: accepted, pushed, acknowledged.

use std::{future::Future, time::Duration};

use im_proto::{pb, pb::ResetReason, pb::frame::Body};
use im_sdk::{
    backend::{
        Acceptance, AckError, AckOutcome, AckReport, DeviceState, Durability, Handler, Im, Incoming, Message,
        Refusal, Service, user, users,
    },
    cluster::{AckQuery, BusEvent, DeviceAck, LogId},
    id::{Device, UserId},
};
use im_tests::{
    Setup, Stack, TestClient, Via, everywhere,
    raw::{Heard, Raw},
    stack::PATIENCE,
    wait_until,
};
use prost::Message as _;
use tokio::{sync::mpsc, time::timeout};

everywhere!(
    all_devices_of_two_users_acknowledge,
    a_device_that_never_acknowledges_is_named,
    nobody_waits_for_who_is_offline,
    a_device_that_left_is_told_from_one_that_is_silent,
    a_device_acknowledges_after_it_came_back_elsewhere,
    another_back_end_stores_the_acknowledgement,
    a_lost_acknowledgement_comes_again,
    handlers_hear_of_progress_once,
    lies_do_no_harm,
    a_branch_that_was_lost_is_not_acknowledged,
    live_messages_are_not_acknowledged,
);

/// Long enough for an unwanted event to happen.
const SHORT: Duration = Duration::from_millis(700);

async fn serve(im: &Im) -> Service {
    im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.unwrap()
}

async fn connect(stack: &Stack, user: &str, device: &str, server: usize, via: Via) -> TestClient {
    let mut client = stack.connect(user, device, server, via).await;
    client.up_to_date().await;
    client
}

/// Receives a message and acknowledges it.
async fn take(client: &mut TestClient) {
    let position = client.message().await.position.unwrap();
    client.client().ack(&position);
}

fn id(user: &str) -> UserId {
    user.parse().unwrap()
}

fn devices(report: &AckReport, state: DeviceState) -> Vec<String> {
    report.devices_in(state).map(|device| format!("{} {}", device.user, device.device)).collect()
}

async fn all_devices_of_two_users_acknowledge(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut all = [
        connect(&stack, "bob", "web/tab", 0, via).await,
        connect(&stack, "bob", "ios/phone", 1, via).await,
        connect(&stack, "carol", "web/tab", 1, via).await,
    ];
    for _ in 0..3 {
        let message = Message::to(users(["bob", "carol"])).from("alice").text("hi");
        let receipt = im.send(message).await.unwrap();
        assert_eq!(receipt.pushed.len(), 3);
        let (report, ()) = tokio::join!(im.wait_acked(&receipt, PATIENCE), async {
            for client in &mut all {
                take(client).await;
            }
        });
        let report = report.unwrap();
        assert_eq!((report.outcome, report.offline.len()), (AckOutcome::Acked, 0));
        assert_eq!(devices(&report, DeviceState::Acked), ["bob web/tab", "bob ios/phone", "carol web/tab"]);
        // The acknowledgement is stored: a later wait returns at once.
        assert_eq!(im.wait_acked(&receipt, Duration::ZERO).await.unwrap().outcome, AckOutcome::Acked);
    }
}

async fn a_device_that_never_acknowledges_is_named(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut tab = connect(&stack, "bob", "web/tab", 0, via).await;
    let mut phone = connect(&stack, "bob", "ios/phone", 0, via).await;
    let receipt = im.send(Message::to(user("bob")).text("hi")).await.unwrap();
    take(&mut tab).await;
    let read = phone.message().await.position.unwrap();
    let report = im.wait_acked(&receipt, SHORT).await.unwrap();
    assert_eq!(report.outcome, AckOutcome::TimedOut);
    assert_eq!(devices(&report, DeviceState::Acked), ["bob web/tab"]);
    assert_eq!(devices(&report, DeviceState::Pushed), ["bob ios/phone"]);
    assert!(report.acked_by(&id("bob")) && report.offline.is_empty());
    // A late acknowledgement still counts.
    phone.client().ack(&read);
    assert_eq!(im.wait_acked(&receipt, PATIENCE).await.unwrap().outcome, AckOutcome::Acked);
}

async fn nobody_waits_for_who_is_offline(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let receipt = im.send(Message::to(users(["bob", "carol"])).text("hi")).await.unwrap();
    let report = timeout(PATIENCE, im.wait_acked(&receipt, PATIENCE * 100)).await.unwrap().unwrap();
    assert_eq!((report.outcome, report.devices.len()), (AckOutcome::Offline, 0));
    assert_eq!(report.offline, [id("bob"), id("carol")]);

    let mut bob = connect(&stack, "bob", "web/tab", 0, via).await;
    let receipt = im.send(Message::to(users(["bob", "carol"])).text("again")).await.unwrap();
    while bob.text().await != "again" {}
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.log_in_with("carol", vec![cursor(0, 0)]).await;
    // Carol connects during the wait, and counts.
    let (report, ()) = tokio::join!(im.wait_acked(&receipt, PATIENCE), async {
        ack(&mut raw, 2, receipt.message_id.as_u64()).await;
        wait_until("carol's acknowledgement is stored", PATIENCE, async || {
            stored(&stack, "carol", 2).await == ["web/raw"]
        })
        .await;
        let newest = im_sdk::client::Position {
            log: im_sdk::client::Log::Inbox,
            seq: 2,
            id: Some(receipt.message_id),
        };
        bob.client().ack(&newest);
    });
    let report = report.unwrap();
    assert_eq!((report.outcome, report.offline.len()), (AckOutcome::Acked, 0));
    assert_eq!(devices(&report, DeviceState::Acked), ["bob web/tab", "carol web/raw"]);
}

async fn a_device_that_left_is_told_from_one_that_is_silent(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let _silent = connect(&stack, "bob", "web/tab", 0, via).await;
    let mut gone = connect(&stack, "bob", "ios/phone", 0, via).await;
    let receipt = im.send(Message::to(user("bob")).text("hi")).await.unwrap();
    gone.text().await;
    gone.client().shutdown().await;
    stack.wait_online(&im, "bob", 1).await;
    let report = im.wait_acked(&receipt, SHORT).await.unwrap();
    assert_eq!(report.outcome, AckOutcome::TimedOut);
    assert_eq!(devices(&report, DeviceState::Pushed), ["bob web/tab"]);
    assert_eq!(devices(&report, DeviceState::Offline), ["bob ios/phone"]);
}

fn cursor(seq: u64, id: u64) -> pb::Cursor {
    pb::Cursor { channel: String::new(), seq, id }
}

async fn ack(raw: &mut Raw, seq: u64, id: u64) {
    raw.send_frame(Body::Ack(pb::Ack { cursors: vec![cursor(seq, id)] })).await;
}

/// Returns the seq and the id of the next entry.
async fn entry(raw: &mut Raw) -> (u64, u64) {
    loop {
        match raw.heard().await {
            Heard::Frame(Body::Push(push)) => return (push.seq, push.message.unwrap().id),
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed: {code}"),
        }
    }
}

/// Returns the devices that have acknowledged the user's inbox up to a seq.
async fn stored(stack: &Stack, user: &str, seq: u64) -> Vec<String> {
    let question = AckQuery { user: id(user), log: LogId::Inbox(id(user)), seq };
    let devices = stack.cluster().log().acked(&[question]).await.unwrap().remove(0);
    devices.into_iter().map(|(device, _)| device.to_string()).collect()
}

async fn a_device_acknowledges_after_it_came_back_elsewhere(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut bob = Raw::connect(&stack, 0, via).await;
    bob.log_in("bob").await;
    let receipt = im.send(Message::to(user("bob")).text("hi")).await.unwrap();
    assert_eq!(receipt.pushed.len(), 1);
    let (report, ()) = tokio::join!(im.wait_acked(&receipt, PATIENCE), async {
        entry(&mut bob).await;
        drop(bob);
        let mut bob = Raw::connect(&stack, 1, via).await;
        bob.log_in_with("bob", vec![cursor(0, 0)]).await;
        let (seq, id) = entry(&mut bob).await;
        ack(&mut bob, seq, id).await;
        wait_until("it is stored", PATIENCE, async || stored(&stack, "bob", seq).await.len() == 1).await;
    });
    let report = report.unwrap();
    assert_eq!(report.outcome, AckOutcome::Acked);
    assert_eq!(devices(&report, DeviceState::Acked), ["bob web/raw"]);
}

async fn another_back_end_stores_the_acknowledgement(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let (sender, other) = (stack.backend().await, stack.backend().await);
    let _service = serve(&other).await;
    let mut bob = connect(&stack, "bob", "web/tab", 0, via).await;
    let mut news = stack.cluster().bus().subscribe(stack.cluster().names().acks_stored()).await.unwrap();
    for seq in 1..=3 {
        let receipt = sender.send(Message::to(user("bob")).text("hi")).await.unwrap();
        let (report, ()) = tokio::join!(sender.wait_acked(&receipt, PATIENCE), take(&mut bob));
        assert_eq!(report.unwrap().outcome, AckOutcome::Acked);
        // The other device has acknowledged it, which the listener reports.
        loop {
            let told = timeout(PATIENCE, news.next()).await.unwrap().unwrap();
            let BusEvent::Message(message) = told else { panic!("{told:?}") };
            let acks = pb::UpstreamAcks::decode(message.payload).unwrap().acks;
            let told = acks.iter().map(|told| pb::Ack::decode(told.ack.clone()).unwrap().cursors);
            let told: Vec<u64> = told.flatten().map(|cursor| cursor.seq).collect();
            assert!(told.iter().all(|told| *told <= seq));
            if told.contains(&seq) {
                break;
            }
        }
    }
}

async fn a_lost_acknowledgement_comes_again(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let service = serve(&im).await;
    let mut bob = connect(&stack, "bob", "web/tab", 0, via).await;
    service.shutdown().await;
    // No device is connected.
    let receipt = im.send(Message::to(user("bob")).text("hi")).await.unwrap();
    take(&mut bob).await;
    assert_eq!(im.wait_acked(&receipt, SHORT).await.unwrap().outcome, AckOutcome::TimedOut);
    let _service = serve(&im).await;
    bob.client().disconnect();
    bob.client().connect();
    assert_eq!(im.wait_acked(&receipt, PATIENCE).await.unwrap().outcome, AckOutcome::Acked);
}

/// Forwards acknowledgements to the test.
struct Listener(mpsc::UnboundedSender<DeviceAck>);

impl Handler for Listener {
    fn publish(&self, incoming: Incoming) -> impl Future<Output = Result<Acceptance, Refusal>> + Send {
        std::future::ready(Ok(incoming.accept()))
    }

    async fn acked(&self, ack: DeviceAck) {
        self.0.send(ack).unwrap();
    }
}

async fn handlers_hear_of_progress_once(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let (im, other) = (stack.backend().await, stack.backend().await);
    let (sender, mut heard) = mpsc::unbounded_channel();
    let _services = [
        im.serve(Listener(sender.clone())).await.unwrap(),
        other.serve(Listener(sender.clone())).await.unwrap(),
    ];
    let mut bob = Raw::connect(&stack, 0, via).await;
    bob.log_in("bob").await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let receipt = im.send(Message::to(user("bob")).text("hi")).await.unwrap();
        ids.push(receipt.message_id.as_u64());
    }
    let device: Device = "web/raw".parse().unwrap();
    // Each acknowledgement several times, including earlier ones, at any back end.
    let mut before = 1_u64;
    for seq in [1, 3, 4, 5] {
        for again in [seq, before, seq, before] {
            ack(&mut bob, again, ids[again as usize - 1]).await;
        }
        let told = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
        let bob = id("bob");
        assert_eq!(told, DeviceAck::new(bob.clone(), device.clone(), LogId::Inbox(bob), seq));
        before = seq;
    }
    assert_eq!(heard.try_recv().ok(), None);
}

async fn lies_do_no_harm(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut mallory = Raw::connect(&stack, 0, via).await;
    mallory.log_in("mallory").await;
    im.send(Message::to(user("mallory")).text("first")).await.unwrap();
    let (_, first) = entry(&mut mallory).await;
    for (seq, id) in
        [(u64::MAX, 0), (1 << 63, first), (1 << 53, 0), ((1 << 53) - 1, 0), (3, 0), (1, 4711), (0, 1)]
    {
        ack(&mut mallory, seq, id).await;
    }
    // A malformed acknowledgement, and one of another user's log.
    mallory.send(&b"\x04\x6a\x02\xff\xff"[..]).await;
    let others = vec![pb::Cursor { channel: "{".into(), seq: 1, id: 0 }; 100];
    mallory.send_frame(Body::Ack(pb::Ack { cursors: others })).await;
    let receipt = im.send(Message::to(user("mallory")).text("second")).await.unwrap();
    let second = receipt.message_id.as_u64();
    // A sync may bring the first one again.
    while entry(&mut mallory).await != (2, second) {}
    assert_eq!(im.wait_acked(&receipt, SHORT).await.unwrap().outcome, AckOutcome::TimedOut);
    assert!(stored(&stack, "mallory", 0).await.is_empty(), "nothing of it was believed");
    // A true acknowledgement is still accepted.
    ack(&mut mallory, 2, second).await;
    assert_eq!(im.wait_acked(&receipt, PATIENCE).await.unwrap().outcome, AckOutcome::Acked);
}

async fn a_branch_that_was_lost_is_not_acknowledged(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    // What remains of a log with nine entries after a failover lost them all.
    let (bob, device) = (id("bob"), "web/raw".parse::<Device>().unwrap());
    let lost = DeviceAck::new(bob.clone(), device, LogId::Inbox(bob), 9);
    stack.cluster().log().note_acks(std::slice::from_ref(&lost)).await.unwrap();
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.log_in("bob").await;
    let receipt = im.send(Message::to(user("bob")).text("hi")).await.unwrap();
    assert_eq!(receipt.logged[0].1, 1);
    assert_eq!(im.wait_acked(&receipt, SHORT).await.unwrap().outcome, AckOutcome::TimedOut);

    raw.send_frame(Body::Sync(pb::Sync { cursors: vec![cursor(9, 4711)] })).await;
    loop {
        match raw.heard().await {
            Heard::Frame(Body::Reset(reset)) if reset.reason() == ResetReason::Forked => break,
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed: {code}"),
        }
    }
    // From now on the log may grow beyond the old branch.
    assert!(stored(&stack, "bob", 1).await.is_empty());
    ack(&mut raw, 1, receipt.message_id.as_u64()).await;
    assert_eq!(im.wait_acked(&receipt, PATIENCE).await.unwrap().outcome, AckOutcome::Acked);
}

async fn live_messages_are_not_acknowledged(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _bob = stack.connect("bob", "web/tab", 0, via).await;
    let live = Message::to(user("bob")).text("typing").durability(Durability::Transient);
    let receipt = im.send(live).await.unwrap();
    assert_eq!(im.wait_acked(&receipt, SHORT).await, Err(AckError::Transient));
    let receipt = im.send(Message::to(user("bob")).text("hi")).await.unwrap();
    let (waited, ()) = tokio::join!(im.wait_acked(&receipt, PATIENCE * 100), im.clone().shutdown());
    assert_eq!(waited, Err(AckError::Ended));
    assert_eq!(im.wait_acked(&receipt, SHORT).await, Err(AckError::Ended));
}
