use bytes::Bytes;
use prost::Message as _;

use super::{watch::MAX_WAITED_FOR, *};
use crate::{
    backend::{Im, Message, user, users},
    cluster::{Cluster, DeviceAck, Publication},
    proto::pb,
};

fn id(user: &str) -> UserId {
    user.parse().unwrap()
}

fn device(user: &str, device: &str) -> UserDevice {
    UserDevice::new(&id(user), device.parse().unwrap())
}

/// Returns a receipt by which these devices were reached.
async fn receipt(im: &Im, to: &[&str], pushed: &[UserDevice]) -> Receipt {
    let receipt = im.send(Message::to(users(to.iter().copied())).text("hi")).await.unwrap();
    Receipt { pushed: pushed.to_vec(), ..receipt }
}

async fn store(cluster: &Cluster, of: &UserDevice, seq: u64) {
    let log = LogId::Inbox(of.user.clone());
    let ack = DeviceAck::new(of.user.clone(), of.device.clone(), log, seq);
    cluster.log().note_acks(&[ack]).await.unwrap();
}

async fn broadcast(cluster: &Cluster, of: &UserDevice, channel: &str, seq: u64) {
    let cursors = vec![pb::Cursor { channel: channel.into(), seq, id: 0 }];
    let ack = pb::UpstreamAck {
        user: of.user.to_string(),
        device: Some((&of.device).into()),
        ack: pb::Ack { cursors }.encode_to_vec().into(),
    };
    let payload = pb::UpstreamAcks { acks: vec![ack] }.encode_to_vec().into();
    let subject = cluster.names().acks_stored();
    cluster.bus().publish(Publication { subject, return_to: None, payload }).await.unwrap();
}

async fn listening(im: &Im) {
    while !im.inner.acks.watch.is_listening().await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn news_alone_are_enough() {
    let cluster = Cluster::embedded();
    let im = Im::with_cluster(cluster.clone()).await.unwrap();
    let (tab, phone) = (device("bob", "web/tab"), device("bob", "ios/phone"));
    let receipt = receipt(&im, &["bob"], &[tab.clone(), phone.clone()]).await;
    let begun = Instant::now();
    let (report, ()) = tokio::join!(im.wait_acked(&receipt, Duration::from_secs(60)), async {
        listening(&im).await;
        // Of another log, of another user, and too early: none of them counts.
        broadcast(&cluster, &phone, "general", 9).await;
        broadcast(&cluster, &device("carol", "ios/phone"), "", 9).await;
        broadcast(&cluster, &phone, "", 0).await;
        broadcast(&cluster, &tab, "", 1).await;
        broadcast(&cluster, &phone, "", 7).await;
    });
    let report = report.unwrap();
    assert_eq!(report.outcome, AckOutcome::Acked);
    assert_eq!(report.devices.into_keys().collect::<Vec<_>>(), [tab, phone]);
    assert!(begun.elapsed() < READ_AGAIN, "without reading again");
}

#[tokio::test(start_paused = true)]
async fn lost_news_are_read() {
    let cluster = Cluster::embedded();
    let im = Im::with_cluster(cluster.clone()).await.unwrap();
    let tab = device("bob", "web/tab");
    let receipt = receipt(&im, &["bob"], std::slice::from_ref(&tab)).await;
    let begun = Instant::now();
    let (report, ()) = tokio::join!(im.wait_acked(&receipt, Duration::from_secs(60)), async {
        listening(&im).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        store(&cluster, &tab, 1).await;
    });
    assert_eq!(report.unwrap().outcome, AckOutcome::Acked);
    assert!(begun.elapsed() < 2 * READ_AGAIN);
}

#[tokio::test(start_paused = true)]
async fn a_place_beyond_the_end_is_no_acknowledgement() {
    let cluster = Cluster::embedded();
    let im = Im::with_cluster(cluster.clone()).await.unwrap();
    let tab = device("bob", "web/tab");
    store(&cluster, &tab, 5).await;
    let receipt = receipt(&im, &["bob"], std::slice::from_ref(&tab)).await;
    let report = im.wait_acked(&receipt, Duration::from_secs(3)).await.unwrap();
    assert_eq!(report.devices[&tab], DeviceState::Offline, "it has no route, and nothing is known of it");
    for _ in 0..4 {
        im.send(Message::to(user("bob")).text("hi")).await.unwrap();
    }
    let report = im.wait_acked(&receipt, Duration::MAX).await.unwrap();
    assert_eq!(report.outcome, AckOutcome::Acked, "from here on it is a place of the log");
}

#[tokio::test]
async fn those_who_wait_are_bounded_and_leave() {
    let im = Im::with_cluster(Cluster::embedded()).await.unwrap();
    let names: Vec<String> = (0..=MAX_WAITED_FOR).map(|number| format!("user-{number}")).collect();
    let want = |name: &String| (id(name), Want { log: LogId::Inbox(id(name)), seq: 1 });
    let wait = |count: usize| im.inner.acks.watch.clone().wait(names[..count].iter().map(want).collect());
    assert!(wait(MAX_WAITED_FOR + 1).await.is_none());
    let most = wait(MAX_WAITED_FOR - 1).await.unwrap();
    let one = wait(1).await.unwrap();
    assert!(wait(1).await.is_none(), "all places are taken");
    drop(one);
    assert!(wait(1).await.is_some(), "a place came free");
    drop(most);
    assert_eq!(im.inner.acks.watch.waited_for(), 0, "nothing is left of them");
}

#[tokio::test(start_paused = true)]
async fn the_subscription_ends_with_the_need_for_it() {
    let im = Im::with_cluster(Cluster::embedded()).await.unwrap();
    let receipt = receipt(&im, &["bob"], &[device("bob", "web/tab")]).await;
    for _ in 0..2 {
        im.wait_acked(&receipt, Duration::from_secs(1)).await.unwrap();
        assert!(im.inner.acks.watch.is_listening().await);
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(!im.inner.acks.watch.is_listening().await);
    }
}

#[tokio::test]
async fn nonsense_does_no_harm() {
    let cluster = Cluster::embedded();
    let im = Im::with_cluster(cluster.clone()).await.unwrap();
    let tab = device("bob", "web/tab");
    let receipt = receipt(&im, &["bob"], std::slice::from_ref(&tab)).await;
    let (report, ()) = tokio::join!(im.wait_acked(&receipt, Duration::from_secs(60)), async {
        listening(&im).await;
        let subject = cluster.names().acks_stored();
        let nobody = pb::UpstreamAck { user: "bob".into(), device: None, ack: Bytes::from_static(&[255]) };
        let nonsense = pb::UpstreamAcks { acks: vec![nobody] }.encode_to_vec().into();
        for payload in [Bytes::from_static(&[255; 9]), nonsense] {
            let publication = Publication { subject: subject.clone(), return_to: None, payload };
            cluster.bus().publish(publication).await.unwrap();
        }
        broadcast(&cluster, &tab, "", 1).await;
    });
    assert_eq!(report.unwrap().outcome, AckOutcome::Acked);
}
