//! Clones of a client, handles of sends, and the stream of events.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use im_proto::pb;
use im_sdk::{
    Recipient,
    client::{Client, Event, PublishError, RetryError, SendState, State, Trust, device_store::MemoryStore},
};
use tokio::time::timeout;

use super::{
    Device,
    server::{PATIENCE, Peer, Server, accepted},
};

fn bob() -> Recipient {
    Recipient::user("bob").unwrap()
}

async fn number(peer: &mut Peer) -> u64 {
    match peer.receive().await {
        pb::frame::Body::Publish(publish) => publish.number,
        other => panic!("{other:?}"),
    }
}

fn refused(number: u64) -> pb::frame::Body {
    let refused =
        pb::Refused { kind: pb::RefusalKind::Rule.into(), reason: "no".into(), ..Default::default() };
    let outcome = Some(pb::publish_result::Outcome::Refused(refused));
    pb::frame::Body::PublishResult(pb::PublishResult { number, outcome })
}

async fn connected() -> (Server, Device, Peer) {
    let server = Server::websocket().await;
    let device = Device::connecting(&[server.url()], Trust::WebPki);
    let peer = server.welcome().await;
    device.connected().await;
    (server, device, peer)
}

#[tokio::test]
async fn a_handle_tells_the_outcome_as_often_as_it_is_asked() {
    let (_server, device, mut peer) = connected().await;
    let sent = device.client.send(bob(), "hi").await.unwrap();
    let other = sent.clone();
    let number = number(&mut peer).await;
    peer.send(accepted(number)).await;
    let published = timeout(PATIENCE, sent.outcome()).await.unwrap().unwrap();
    assert_eq!(published.message_id.unwrap().as_u64(), number);
    assert_eq!(other.await, Ok(published), "a clone is of the same send");
    let id = sent.local_id();
    device
        .until(|event| matches!(event, Event::Published { local_id, .. } if local_id == id).then_some(()))
        .await;
    assert_eq!((sent.discard().await, sent.retry().await), (false, Err(RetryError::NotFailed)));
}

#[tokio::test]
async fn what_failed_can_be_retried_and_discarded_by_its_handle() {
    let (_server, device, mut peer) = connected().await;
    let sent = device.client.send(bob(), "hi").await.unwrap();
    let first = number(&mut peer).await;
    peer.send(refused(first)).await;
    let refused_as = timeout(PATIENCE, sent.outcome()).await.unwrap();
    assert!(matches!(refused_as, Err(PublishError::Refused { .. })), "{refused_as:?}");
    let retried = sent.retry().await.unwrap();
    assert_ne!(retried.local_id(), sent.local_id());
    let second = number(&mut peer).await;
    peer.send(refused(second)).await;
    assert!(timeout(PATIENCE, retried.outcome()).await.unwrap().is_err());
    // As an application does that was started anew.
    let unsettled = device.client.unsettled_sends().await;
    assert_eq!((unsettled.len(), unsettled[0].state), (1, SendState::Failed));
    assert_eq!((&unsettled[0].handle, unsettled[0].local_id()), (&retried, retried.local_id()));
    assert_eq!(unsettled[0].handle.outcome().await.unwrap_err(), unsettled[0].error.clone().unwrap());
    assert!(unsettled[0].handle.discard().await);
    assert_eq!(device.client.unsettled_sends().await, []);
}

#[tokio::test]
async fn a_dropped_handle_cancels_nothing_and_a_listed_one_tells_the_outcome() {
    let (_server, device, mut peer) = connected().await;
    drop(device.client.send(bob(), "hi").await.unwrap());
    let listed = device.client.unsettled_sends().await.remove(0).handle;
    let number = number(&mut peer).await;
    peer.send(accepted(number)).await;
    assert!(timeout(PATIENCE, listed.outcome()).await.unwrap().is_ok());
}

#[tokio::test]
async fn the_end_of_the_client_ends_the_wait_for_an_outcome() {
    let device =
        Device::with_store(&["ws://127.0.0.1:9".to_owned()], Trust::WebPki, Arc::new(MemoryStore::new()));
    let sent = device.client.send(bob(), "hi").await.unwrap();
    let (outcome, ()) = tokio::join!(sent.outcome(), device.client.shutdown());
    assert!(matches!(outcome, Err(PublishError::Unconfirmed { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_limit_ends_a_send() {
    let device =
        Device::with_store(&["ws://127.0.0.1:9".to_owned()], Trust::WebPki, Arc::new(MemoryStore::new()));
    let limit = Duration::from_millis(20);
    let outcome = device.client.send(bob(), "hi").within(limit).outcome().await;
    assert_eq!(outcome, Err(PublishError::TimedOut));
    assert_eq!(device.client.unsettled_sends().await, [], "it is told by the result alone");
    let sent = device.client.send(bob(), "hi").within(limit).await.unwrap();
    assert_eq!(timeout(PATIENCE, sent.outcome()).await.unwrap(), Err(PublishError::TimedOut));
    assert!(sent.discard().await, "it is kept until it is discarded");
}

#[tokio::test]
async fn the_client_ends_with_its_last_clone() {
    let (_server, device, mut peer) = connected().await;
    let Device { client, .. } = device;
    let clone: Client = client.clone();
    let (mut events, sent) = (client.events(), client.send(bob(), "hi").await.unwrap());
    number(&mut peer).await;
    drop(client);
    let another = clone.send(Recipient::user("carol").unwrap(), "hi").await.unwrap();
    let number = number(&mut peer).await;
    peer.send(accepted(number)).await;
    assert!(timeout(PATIENCE, another.outcome()).await.unwrap().is_ok(), "the other clone keeps it");
    drop(clone);
    // Neither a handle nor a stream does.
    assert!(timeout(PATIENCE, peer.try_receive()).await.unwrap().is_err());
    assert!(timeout(PATIENCE, sent.outcome()).await.unwrap().is_err());
    let last = async { while events.next().await.is_some() {} };
    timeout(PATIENCE, last).await.expect("the stream ends");
}

#[tokio::test]
async fn a_stream_and_batches_take_from_one_queue() {
    let (_server, device, mut peer) = connected().await;
    let sent = device.client.send(bob(), "hi").await.unwrap();
    let number = number(&mut peer).await;
    peer.send(accepted(number)).await;
    sent.outcome().await.unwrap();
    let mut events = device.client.events();
    let event = timeout(PATIENCE, events.next()).await.unwrap();
    assert!(matches!(event, Some(Event::Published { .. })), "{event:?}");
    let ((), rest) = tokio::join!(device.client.shutdown(), async { peer.try_receive().await });
    assert!(rest.is_err());
    assert_eq!((events.next().await, device.client.next_events(9).await), (None, vec![]));
    assert_eq!(device.client.state(), State::Closed);
}
