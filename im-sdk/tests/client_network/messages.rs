//! Messages in both directions, also when one side is slow.

use futures_util::FutureExt as _;
use im_proto::{frame, pb};
use im_sdk::{
    client::{CloseCode, Event, MAX_QUEUED_EVENTS, PublishError, Trust},
    content::Content,
    id::UserId,
};

use super::{
    Device,
    server::{Identity, Peer, Server, accepted, push},
};

fn bob() -> UserId {
    UserId::parse("bob").unwrap()
}

async fn publish(peer: &mut Peer) -> pb::Publish {
    match peer.receive().await {
        pb::frame::Body::Publish(publish) => publish,
        other => panic!("{other:?}"),
    }
}

async fn pair(server: &Server, trust: Trust) -> (Device, Peer) {
    let device = Device::connecting(&[server.url()], trust);
    let peer = server.welcome().await;
    device.connected().await;
    (device, peer)
}

async fn both() -> [(Server, Trust); 2] {
    let identity = Identity::new();
    [(Server::websocket().await, Trust::WebPki), (Server::quic(&identity), identity.pin())]
}

#[tokio::test]
async fn a_publish_waits_for_its_answer() {
    for (server, trust) in both().await {
        let (device, mut peer) = pair(&server, trust).await;
        let served = async {
            let publish = publish(&mut peer).await;
            peer.send(accepted(publish.number)).await;
            publish
        };
        let (published, publish) = tokio::join!(device.client.send(bob(), "hi").outcome(), served);
        assert_eq!(publish.to, "bob");
        assert_eq!(Content::from(publish.content), Content::text("hi"));
        let published = published.unwrap();
        let id = published.message_id.unwrap().as_u64();
        assert_eq!((id, &published.answer[..]), (publish.number, &b"done"[..]));
    }
}

#[tokio::test]
async fn a_publish_survives_its_connection() {
    for (server, trust) in both().await {
        let (device, mut peer) = pair(&server, trust).await;
        let served = async {
            let first = publish(&mut peer).await;
            drop(peer);
            let mut peer = server.welcome().await;
            assert_eq!(publish(&mut peer).await, first);
            peer.send(accepted(first.number)).await;
            peer
        };
        let (outcome, _peer) = tokio::join!(device.client.send(bob(), "hi").outcome(), served);
        assert!(outcome.is_ok());
    }
}

#[tokio::test]
async fn closing_sends_what_was_published_before() {
    for (server, trust) in both().await {
        let (device, mut peer) = pair(&server, trust).await;
        let served = async {
            for text in ["1", "2", "3"] {
                let publish = publish(&mut peer).await;
                assert_eq!(Content::from(publish.content), Content::text(text));
                peer.send(accepted(publish.number)).await;
            }
            peer.try_receive().await
        };
        let client = &device.client;
        // In this order: all are published before the close, since `join!` polls them in turn.
        let (one, two, three, (), closed) = tokio::join!(
            client.send(bob(), "1").outcome(),
            client.send(bob(), "2").outcome(),
            client.send(bob(), "3").outcome(),
            client.shutdown(),
            served
        );
        assert!(one.is_ok() && two.is_ok() && three.is_ok());
        assert_eq!(closed, Err(Some(CloseCode::ClientClosed)));
        assert_eq!(client.send(bob(), "4").outcome().await, Err(PublishError::Closed));
    }
}

#[tokio::test]
async fn no_message_is_lost_when_the_application_is_slow() {
    for (server, trust) in both().await {
        let (device, mut peer) = pair(&server, trust).await;
        let many = 20 * MAX_QUEUED_EVENTS as u64;
        let text = "x".repeat(1000);
        let sending = async {
            for ids in (1..=many).collect::<Vec<_>>().chunks(10) {
                let frames: Vec<u8> = ids.iter().flat_map(|id| frame::encode(push(*id, &text))).collect();
                peer.send_bytes(frames.into()).await;
            }
        };
        let receiving = async {
            let mut next = 1;
            while next <= many {
                for event in device.client.next_events(7).await {
                    let Event::Message(message) = event else { panic!("{event:?}") };
                    assert_eq!(message.id.as_u64(), next);
                    next += 1;
                }
            }
        };
        tokio::join!(sending, receiving);
    }
}

/// All that was sent before has come to the client's events.
async fn delivered(peer: &mut Peer) {
    peer.send(pb::frame::Body::Ping(pb::Ping { echo: 7 })).await;
    // Its own pings and syncs are in between.
    while peer.receive().await != pb::frame::Body::Pong(pb::Pong { echo: 7 }) {}
}

#[tokio::test]
async fn events_come_in_batches_and_none_is_lost_with_a_future() {
    let ids = |events: Vec<Event>| {
        let id = |event| match event {
            Event::Message(message) => message.id.as_u64(),
            other => panic!("{other:?}"),
        };
        events.into_iter().map(id).collect::<Vec<_>>()
    };
    for (server, trust) in both().await {
        let (device, mut peer) = pair(&server, trust).await;
        let client = &device.client;
        let mut waiting = Box::pin(client.next_events(4));
        assert!(waiting.as_mut().now_or_never().is_none(), "nothing is there");
        for id in 1..=10 {
            peer.send(push(id, "hi")).await;
        }
        delivered(&mut peer).await;
        drop(waiting);
        assert_eq!(ids(client.next_events(4).await), [1, 2, 3, 4], "as many as asked for");
        assert_eq!(ids(client.next_events(0).await), [5], "0 counts as 1");
        assert_eq!(ids(client.next_events(100).await), [6, 7, 8, 9, 10], "all that is there");
        let (later, ()) = tokio::join!(client.next_events(2), async {
            peer.send(push(11, "hi")).await;
        });
        assert_eq!(ids(later), [11], "it waits for one, and for no more");
    }
}

#[tokio::test]
async fn reading_does_not_wait_for_writing() {
    for (server, trust) in both().await {
        let (device, mut peer) = pair(&server, trust).await;
        // More than any socket buffer takes, and the server reads nothing of it.
        let content = Content::text("x".repeat(60_000));
        let publishing = futures_util::future::join_all((0..500).map(|number| {
            let to = UserId::parse(&format!("user{number}")).unwrap();
            device.client.send(to, content.clone()).outcome()
        }));
        let pushing = async {
            for id in 1..=500 {
                peer.send(push(id, "hi")).await;
                let Event::Message(message) = device.event().await else { panic!("no message") };
                assert_eq!(message.id.as_u64(), id);
            }
        };
        tokio::select! {
            biased;
            _ = publishing => panic!("nobody answers these"),
            () = pushing => {}
        }
    }
}

#[tokio::test]
async fn a_frame_that_is_too_large_ends_the_connection() {
    for (server, trust) in both().await {
        let (device, mut peer) = pair(&server, trust).await;
        peer.send_bytes(vec![0xff, 0xff, 0xff, 0x7f, 0].into()).await;
        let Event::Disconnected { code, retry_in: Some(_), .. } = device.event().await else {
            panic!("not disconnected");
        };
        assert_eq!(code, Some(CloseCode::ProtocolError));
        assert_eq!(peer.try_receive().await, Err(Some(CloseCode::ProtocolError)));
        drop(peer);
        let _peer = server.welcome().await;
        device.connected().await;
    }
}
