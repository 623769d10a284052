//! Rules for acknowledgements.

use std::time::Duration;

use super::{channel, fresh, now_ms, unique};
use crate::{
    cluster::{
        AckQuery, DeviceAck, LogBounds, LogId, LogStore, MAX_ACKED_SEQ, MAX_ACKS_PER_USER,
        conformance::eventually,
    },
    id::{Device, UserId},
};

/// A lifetime whose end a check waits for.
const SHORT: Duration = Duration::from_millis(300);

pub(super) async fn check<L: LogStore>(open: &impl AsyncFn(LogBounds) -> L) {
    let log = open(LogBounds::default()).await;
    a_device_goes_forward_alone(&log).await;
    everybody_is_apart(&log).await;
    a_device_is_sent_back(&log).await;
    what_no_log_reaches_is_not_noted(&log).await;
    the_oldest_are_forgotten(&log).await;
    let brief = open(LogBounds { max_age: SHORT, ..LogBounds::default() }).await;
    the_silent_are_forgotten(&brief).await;
}

async fn a_device_goes_forward_alone(store: &dyn LogStore) {
    let (bob, log) = (user(), fresh());
    for (seq, forward, then) in [(5, true, 5), (5, false, 5), (3, false, 5), (6, true, 6), (0, false, 6)] {
        assert_eq!(note(store, &bob, "web/tab", &log, seq).await, forward, "{seq}");
        assert_eq!(acked(store, &bob, &log, 1).await, [("web/tab".into(), then)]);
    }
    let [tab, phone] = ["web/tab", "ios/phone"].map(|device| ack(&bob, device, &log, 9));
    let further = DeviceAck { seq: 10, ..tab.clone() };
    let forward = store.note_acks(&[tab.clone(), phone, tab, further]).await.expect("note");
    assert_eq!(forward, [true, true, false, true], "in the order of the acknowledgements");
    assert_eq!(acked(store, &bob, &log, 10).await, [("web/tab".into(), 10)], "who is behind is left out");
    assert!(store.note_acks(&[]).await.expect("note").is_empty());
    assert!(store.acked(&[]).await.expect("ask").is_empty());
}

async fn everybody_is_apart(store: &dyn LogStore) {
    let users = [user(), user()];
    let name = unique();
    // A user and a channel of one name, and names with every allowed character.
    let logs =
        [LogId::Inbox(name.parse().expect("a user")), LogId::Channel(name.parse().expect("a channel"))];
    let devices = ["web/a", "web/a:b.*>c:", "ios/a", "other/u:x|\"'\\"];
    let mut seq = 0;
    for user in &users {
        for log in &logs {
            for device in devices {
                seq += 1;
                assert!(note(store, user, device, log, seq).await);
            }
        }
    }
    let questions: Vec<AckQuery> =
        users.iter().flat_map(|user| logs.iter().map(|log| ask(user, log, 1))).collect();
    let answers = store.acked(&questions).await.expect("ask");
    let mut expected = 1..;
    for answer in answers {
        let mut answer =
            answer.into_iter().map(|(device, seq)| (seq, device.to_string())).collect::<Vec<_>>();
        answer.sort();
        let names = devices.iter().map(ToString::to_string);
        assert_eq!(answer, expected.by_ref().zip(names).take(devices.len()).collect::<Vec<_>>());
    }
    assert_eq!(acked(store, &users[0], &fresh(), 0).await, []);
    assert_eq!(acked(store, &user(), &logs[0], 0).await, []);
}

async fn a_device_is_sent_back(store: &dyn LogStore) {
    let (bob, log, other) = (user(), fresh(), channel());
    for (device, log) in [("web/tab", &log), ("ios/phone", &log), ("web/tab", &other)] {
        note(store, &bob, device, log, 10).await;
    }
    lower(store, &bob, "web/tab", &log, 4).await;
    lower(store, &bob, "web/tab", &log, 7).await;
    lower(store, &bob, "web/unknown", &log, 7).await;
    lower(store, &bob, "ios/phone", &log, 11).await;
    assert_eq!(acked(store, &bob, &log, 1).await, [("ios/phone".into(), 10), ("web/tab".into(), 4)]);
    assert_eq!(acked(store, &bob, &other, 1).await, [("web/tab".into(), 10)]);
    assert!(note(store, &bob, "web/tab", &log, 5).await, "from there it goes on");
}

async fn what_no_log_reaches_is_not_noted(store: &dyn LogStore) {
    let (bob, log) = (user(), fresh());
    for beyond in [MAX_ACKED_SEQ + 1, 1 << 63, u64::MAX] {
        assert!(!note(store, &bob, "web/tab", &log, beyond).await);
        let acks = [beyond, 1].map(|seq| ack(&bob, "web/tab", &log, seq));
        let forward = store.note_acks(&acks).await.expect("note");
        assert_eq!(forward, [false, beyond == MAX_ACKED_SEQ + 1]);
        assert_eq!(acked(store, &bob, &log, 0).await, [("web/tab".into(), 1)]);
    }
    assert!(note(store, &bob, "web/tab", &log, MAX_ACKED_SEQ - 1).await);
    assert!(note(store, &bob, "web/tab", &log, MAX_ACKED_SEQ).await);
    assert_eq!(
        acked(store, &bob, &log, MAX_ACKED_SEQ).await,
        [("web/tab".into(), MAX_ACKED_SEQ)],
        "to the last digit"
    );
}

async fn the_oldest_are_forgotten(store: &dyn LogStore) {
    let (bob, log) = (user(), fresh());
    let device = |number: usize| ack(&bob, &format!("web/{number}"), &log, 1);
    let early: Vec<_> = (0..10).map(device).collect();
    store.note_acks(&early).await.expect("note");
    next_millisecond().await;
    let others: Vec<_> = (10..MAX_ACKS_PER_USER).map(device).collect();
    store.note_acks(&others).await.expect("note");
    next_millisecond().await;
    // It repeats its acknowledgement, and so stays known.
    store.note_acks(&early[..1]).await.expect("note");
    assert_eq!(acked(store, &bob, &log, 1).await.len(), MAX_ACKS_PER_USER);
    let late: Vec<_> = (MAX_ACKS_PER_USER..MAX_ACKS_PER_USER + 9).map(device).collect();
    store.note_acks(&late).await.expect("note");
    let kept = acked(store, &bob, &log, 1).await;
    assert_eq!(kept.len(), MAX_ACKS_PER_USER);
    let is_kept = |number: usize| kept.iter().any(|(device, _)| *device == format!("web/{number}"));
    assert!(is_kept(0) && is_kept(10) && is_kept(MAX_ACKS_PER_USER + 8));
    assert!((1..10).all(|number| !is_kept(number)), "those that were not heard of for the longest time");
}

async fn the_silent_are_forgotten(store: &dyn LogStore) {
    let (bob, log) = (user(), fresh());
    note(store, &bob, "web/tab", &log, 7).await;
    eventually("a silent device is forgotten", async || {
        acked(store, &bob, &log, 1).await.is_empty().then_some(())
    })
    .await;
    assert!(note(store, &bob, "web/tab", &log, 5).await, "it begins anew");
}

async fn next_millisecond() {
    let now = now_ms();
    eventually("the clock goes on", async || (now_ms() > now + 1).then_some(())).await;
}

fn user() -> UserId {
    unique().parse().expect("a user id")
}

fn ack(user: &UserId, device: &str, log: &LogId, seq: u64) -> DeviceAck {
    let device: Device = device.parse().expect("a device");
    DeviceAck::new(user.clone(), device, log.clone(), seq)
}

fn ask(user: &UserId, log: &LogId, seq: u64) -> AckQuery {
    AckQuery { user: user.clone(), log: log.clone(), seq }
}

async fn note(store: &dyn LogStore, user: &UserId, device: &str, log: &LogId, seq: u64) -> bool {
    let forward = store.note_acks(&[ack(user, device, log, seq)]).await.expect("note");
    forward == [true]
}

async fn lower(store: &dyn LogStore, user: &UserId, device: &str, log: &LogId, seq: u64) {
    store.lower_ack(&ack(user, device, log, seq)).await.expect("lower");
}

async fn acked(store: &dyn LogStore, user: &UserId, log: &LogId, seq: u64) -> Vec<(String, u64)> {
    let devices = store.acked(&[ask(user, log, seq)]).await.expect("ask").remove(0);
    let mut devices: Vec<_> = devices.into_iter().map(|(device, seq)| (device.to_string(), seq)).collect();
    devices.sort();
    devices
}
