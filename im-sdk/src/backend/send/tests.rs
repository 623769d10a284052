use std::time::Duration;

use tokio::time::Instant;

use super::device::UserDevice;
use super::*;
use crate::{
    backend::{
        AckOutcome, DeviceState, Im, SendError, channel,
        test_support::broken_cluster::{FlakyRoutes, connect, deaf_server, impatient, silent_server},
        user, users,
    },
    cluster::{Cluster, DeviceAck},
};

fn id(user: &str) -> UserId {
    user.parse().unwrap()
}

fn tab() -> UserDevice {
    UserDevice::new(&id("bob"), "web/tab".parse().unwrap())
}

/// A send's future is copied when it is created, and the futures of waiting sends make up most of a sender's
/// memory.
#[tokio::test]
async fn a_send_is_small() {
    let im = Im::with_cluster(Cluster::embedded()).await.unwrap();
    let send = im.send(Message::new());
    assert!(std::mem::size_of_val(&send) <= 1536, "{} bytes", std::mem::size_of_val(&send));
    let sender = &im.inner.sender;
    let prepared = sender.prepare(Message::to(user("bob")).text("hi")).unwrap();
    let logged = sender.send_logged(sender.ids.next().await.unwrap(), prepared, None, None);
    assert!(std::mem::size_of_val(&logged) <= 1536, "{} bytes", std::mem::size_of_val(&logged));
}

#[tokio::test]
async fn devices_whose_server_does_not_answer_are_unconfirmed() {
    let cluster = Cluster::embedded();
    let (server, _heard) = silent_server(&cluster, "s1").await;
    connect(&cluster, &server, "web/tab", 7).await;
    let im = impatient(cluster.clone()).await;
    for durability in [Durability::Transient, Durability::Logged] {
        let message = Message::to(users(["bob", "carol"])).text("hi").durability(durability);
        let receipt = im.send(message).await.unwrap();
        assert_eq!(
            (receipt.unconfirmed.as_slice(), receipt.offline.as_slice()),
            (&[tab()][..], &[id("carol")][..])
        );
        assert!(receipt.pushed.is_empty() && receipt.unlocated.is_empty(), "{receipt:?}");
    }
    cluster.routes().join_channels(&server, &["team".parse().unwrap()]).await.unwrap();
    for durability in [Durability::Transient, Durability::Logged] {
        let message = Message::to(channel("team")).text("hi").durability(durability);
        let told = im.send(message).await.unwrap().channel.unwrap();
        assert_eq!((told.unconfirmed.as_slice(), told.pushed.len()), (std::slice::from_ref(&server), 0));
        assert!(!told.unlocated);
    }
}

#[tokio::test]
async fn a_server_that_nobody_hears_of_has_offline_users() {
    let cluster = Cluster::embedded();
    let server = deaf_server(&cluster, "s1").await;
    connect(&cluster, &server, "web/tab", 7).await;
    let receipt = impatient(cluster).await.send(Message::to(user("bob")).text("hi")).await.unwrap();
    assert_eq!((receipt.offline, receipt.unconfirmed), (vec![id("bob")], vec![]));
}

#[tokio::test]
async fn users_who_cannot_be_located_are_not_offline() {
    let (routes, cluster) = FlakyRoutes::cluster();
    let (server, _heard) = silent_server(&cluster, "s1").await;
    connect(&cluster, &server, "web/tab", 7).await;
    cluster.routes().join_channels(&server, &["team".parse().unwrap()]).await.unwrap();
    let im = impatient(cluster.clone()).await;
    routes.hide(true);
    let message = || Message::to(users(["bob", "carol"])).from("alice").text("hi");
    let receipt = im.send(message()).await.unwrap();
    assert_eq!(
        (receipt.unlocated, receipt.offline),
        (vec![id("bob"), id("carol")], vec![]),
        "and alice is no recipient"
    );
    assert!(receipt.pushed.is_empty() && receipt.unconfirmed.is_empty());
    assert_eq!(receipt.logged.len(), 2, "it is in the logs all the same");
    let live = im.send(message().durability(Durability::Transient)).await;
    assert!(matches!(live, Err(SendError::Routes(_))), "{live:?}");

    let team = || Message::to(channel("team")).text("hi");
    let told = im.send(team()).await.unwrap().channel.unwrap();
    assert!(told.unlocated && told.unconfirmed.is_empty(), "{told:?}");
    let live = im.send(team().durability(Durability::Transient)).await;
    assert!(matches!(live, Err(SendError::Routes(_))), "{live:?}");
}

#[tokio::test]
async fn a_live_message_is_sent_once_under_one_key() {
    let cluster = Cluster::embedded();
    let (server, _heard) = silent_server(&cluster, "s1").await;
    connect(&cluster, &server, "web/tab", 7).await;
    let im = impatient(cluster).await;
    let live = |text: &str| {
        Message::to(user("bob")).text(text).durability(Durability::Transient).idempotency_key("k")
    };
    let (first, again) = (im.send(live("a")).await.unwrap(), im.send(live("a")).await.unwrap());
    assert_eq!((first.repeated, first.unconfirmed), (false, vec![tab()]));
    assert_eq!((again.repeated, again.message_id), (true, first.message_id));
    assert!(again.pushed.is_empty() && again.offline.is_empty() && again.unconfirmed.is_empty());
    let other = im.send(live("b")).await;
    assert!(matches!(other, Err(SendError::Conflict)), "{other:?}");
    let logged = im.send(live("a").durability(Durability::Logged)).await.unwrap();
    assert!(!logged.repeated, "those of the log are others");
}

/// Waits for acknowledgements of a send whose users could not be located. Their routes can be read again
/// after `found_after`.
async fn unlocated(found_after: Option<Duration>, within: Duration) -> (crate::backend::AckReport, Duration) {
    let (routes, cluster) = FlakyRoutes::cluster();
    let (server, _heard) = silent_server(&cluster, "s1").await;
    connect(&cluster, &server, "web/tab", 7).await;
    let im = impatient(cluster.clone()).await;
    routes.hide(true);
    let receipt = im.send(Message::to(users(["bob", "carol"])).text("hi")).await.unwrap();
    let begun = Instant::now();
    let (report, ()) = tokio::join!(im.wait_acked(&receipt, within), async {
        let Some(after) = found_after else { return };
        tokio::time::sleep(after).await;
        routes.hide(false);
        tokio::time::sleep(after).await;
        let ack = DeviceAck::new(id("bob"), tab().device, LogId::Inbox(id("bob")), 1);
        cluster.log().note_acks(&[ack]).await.unwrap();
    });
    (report.unwrap(), begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn users_who_cannot_be_located_are_looked_for_and_waited_for() {
    let (report, took) = unlocated(Some(Duration::from_secs(5)), Duration::from_secs(60)).await;
    assert_eq!((report.outcome, report.offline), (AckOutcome::Acked, vec![id("carol")]));
    assert_eq!((report.devices[&tab()], report.unlocated), (DeviceState::Acked, vec![]));
    assert!((10..15).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn users_who_are_never_located_are_waited_for_all_the_time() {
    for within in [Duration::ZERO, Duration::from_secs(20)] {
        let (report, took) = unlocated(None, within).await;
        assert_eq!((report.outcome, report.offline), (AckOutcome::TimedOut, vec![]));
        assert_eq!(report.unlocated, [id("bob"), id("carol")]);
        assert!(report.devices.is_empty() && took >= within, "{took:?}");
    }
}
