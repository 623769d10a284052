//! Getting connected, staying connected, and giving up.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use im_proto::pb;
use im_sdk::{
    Transport,
    client::{CloseCode, Event, SERVER_DELAY, State, StopCause, TokenRequest, Trust, WEBSOCKET_DELAY},
};
use tokio::net::{TcpListener, UdpSocket};

use super::{
    Device,
    server::{Identity, PATIENCE, Server, push, welcome},
};

/// Leaves room for a busy machine, and is far below what one attempt may take. That delays are exact is tested with a fake
/// clock.
const A_WHILE: Duration = Duration::from_secs(5);

async fn connects(server: Server, trust: Trust, transport: Transport) {
    let device = Device::connecting(&[server.url()], trust);
    let mut peer = server.accept().await;
    let pb::frame::Body::Hello(hello) = peer.receive().await else { panic!("no hello") };
    assert_eq!((hello.token.as_str(), hello.device.unwrap().id.as_str()), ("token", "test"));
    assert_eq!(device.client.state(), State::Connecting);
    peer.send(welcome(30_000)).await;
    assert_eq!(device.client.state_changed(State::Disconnected).await, device.client.state());
    assert_eq!(
        device.client.state_changed(State::Connecting).await,
        State::Connected,
        "before any event is taken"
    );
    let Event::Connected { user, transport: over, endpoint } = device.event().await else {
        panic!("not connected")
    };
    assert_eq!((user.as_str(), over, endpoint), ("alice", transport, server.url().parse().unwrap()));
    assert_eq!((device.client.state(), device.client.transport()), (State::Connected, Some(transport)));
    peer.send(push(7, "hello")).await;
    let Event::Message(message) = device.event().await else { panic!("no message") };
    assert_eq!((message.id.as_u64(), message.content.as_text()), (7, Some("hello")));
    assert_eq!((message.from.unwrap().as_str(), message.to, message.transport), ("bob", None, transport));
    let closing = device.client.state_changed(State::Connected);
    let ((), closed, state) = tokio::join!(device.client.shutdown(), peer.try_receive(), closing);
    assert_eq!((closed, state), (Err(Some(CloseCode::ClientClosed)), State::Closed));
    assert_eq!(device.client.state_changed(State::Closed).now_or_never(), Some(State::Closed));
    assert_eq!((device.client.state(), device.client.next_events(9).await), (State::Closed, vec![]));
}

#[tokio::test]
async fn over_websocket() {
    connects(Server::websocket().await, Trust::WebPki, Transport::WebSocket).await;
}

#[tokio::test]
async fn over_websocket_with_tls() {
    let identity = Identity::new();
    connects(Server::secure_websocket(&identity).await, identity.pin(), Transport::WebSocket).await;
    connects(Server::secure_websocket(&identity).await, identity.root(), Transport::WebSocket).await;
}

#[tokio::test]
async fn over_quic() {
    let identity = Identity::new();
    connects(Server::quic(&identity), identity.pin(), Transport::Quic).await;
    connects(Server::quic(&identity), identity.root(), Transport::Quic).await;
}

#[tokio::test]
async fn a_server_that_is_not_trusted_gets_no_hello() {
    let identity = Identity::new();
    for trust in [Trust::WebPki, Identity::new().pin(), Identity::new().root()] {
        let (quic, websocket) = (Server::quic(&identity), Server::secure_websocket(&identity).await);
        let device = Device::connecting(&[quic.url(), websocket.url()], trust);
        let Server::WebSocket(listener, Some(tls)) = &websocket else { panic!("no TLS") };
        let Server::Quic(endpoint) = &quic else { panic!("no QUIC") };
        let refused = async {
            let (tcp, _) = listener.accept().await.unwrap();
            assert!(tls.accept(tcp).await.is_err());
            assert!(endpoint.accept().await.unwrap().await.is_err());
        };
        tokio::time::timeout(PATIENCE, refused).await.unwrap();
        let Event::Disconnected { code: None, reason, .. } = device.event().await else {
            panic!("not refused")
        };
        assert!(reason.contains("quic://") && reason.contains("wss://"), "{reason}");
    }
}

#[tokio::test]
async fn quic_wins_where_it_works() {
    let identity = Identity::new();
    let (quic, websocket) = (Server::quic(&identity), Server::websocket().await);
    let device = Device::connecting(&[websocket.url(), quic.url()], identity.pin());
    let _peer = quic.welcome().await;
    device.connected().await;
    assert_eq!(device.client.transport(), Some(Transport::Quic));
}

#[tokio::test]
async fn websocket_wins_where_udp_is_swallowed() {
    let swallows = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let websocket = Server::websocket().await;
    let start = Instant::now();
    let quic = format!("quic://{}", swallows.local_addr().unwrap());
    let device = Device::connecting(&[quic, websocket.url()], Trust::WebPki);
    let _peer = websocket.welcome().await;
    device.connected().await;
    assert_eq!(device.client.transport(), Some(Transport::WebSocket));
    assert!((WEBSOCKET_DELAY..A_WHILE).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(device.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn the_next_server_is_tried_at_once() {
    let gone = Server::websocket().await.url();
    let websocket = Server::websocket().await;
    let device = Device::connecting(&[gone, websocket.url()], Trust::WebPki);
    let _peer = websocket.welcome().await;
    assert!(matches!(device.event().await, Event::Connected { .. }));
}

/// Connects past a server that is of no use, and says how long that took.
async fn passes(device: &Device, quic: &Server) -> Duration {
    let start = Instant::now();
    let mut peer = quic.welcome().await;
    device.connected().await;
    let took = start.elapsed();
    device.client.disconnect();
    assert_eq!(peer.try_receive().await, Err(Some(CloseCode::ClientClosed)));
    device.client.connect();
    let _peer = quic.welcome().await;
    device.connected().await;
    took
}

/// A failure that QUIC does not notice and WebSocket does.
#[tokio::test]
async fn a_server_that_is_gone_costs_no_more_than_its_websocket() {
    let identity = Identity::new();
    let gone = [Server::quic(&identity).url(), Server::websocket().await.url()];
    let live = [Server::quic(&identity), Server::secure_websocket(&identity).await];
    let urls = [&gone[0], &gone[1], &live[0].url(), &live[1].url()].map(Clone::clone);
    let took = passes(&Device::connecting(&urls, identity.pin()), &live[0]).await;
    assert!((WEBSOCKET_DELAY..A_WHILE).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_costs_a_second_and_is_the_last_one_from_then_on() {
    let identity = Identity::new();
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let live = [Server::quic(&identity), Server::secure_websocket(&identity).await];
    let silent = [&udp.local_addr(), &tcp.local_addr()].map(|address| address.as_ref().unwrap().to_string());
    let urls = [format!("quic://{}", silent[0]), format!("ws://{}", silent[1]), live[0].url(), live[1].url()];
    let took = passes(&Device::connecting(&urls, identity.pin()), &live[0]).await;
    assert!((WEBSOCKET_DELAY + SERVER_DELAY..A_WHILE).contains(&took), "{took:?}");
    assert!(tcp.accept().now_or_never().is_some_and(|accepted| accepted.is_ok()), "tried once");
    assert!(tcp.accept().now_or_never().is_none(), "and not when the device came again");
}

async fn kicked(server: Server, trust: Trust) {
    let device = Device::connecting(&[server.url()], trust);
    let peer = server.welcome().await;
    device.connected().await;
    peer.close(CloseCode::Kicked).await;
    let cause = StopCause::Server(CloseCode::Kicked);
    let stopped = Event::Stopped { code: Some(CloseCode::Kicked), cause, reason: "test".to_owned() };
    assert_eq!((device.event().await, device.client.state()), (stopped, State::Stopped));
    device.client.connect();
    let _peer = server.welcome().await;
    device.connected().await;
}

#[tokio::test]
async fn kicked_means_stopped_until_told_otherwise() {
    kicked(Server::websocket().await, Trust::WebPki).await;
    let identity = Identity::new();
    kicked(Server::quic(&identity), identity.pin()).await;
}

#[tokio::test]
async fn a_refused_token_is_replaced() {
    let server = Server::websocket().await;
    let device = Device::connecting(&[server.url()], Trust::WebPki);
    let mut peer = server.accept().await;
    peer.receive().await;
    peer.close(CloseCode::TokenExpired).await;
    let _peer = server.welcome().await;
    device.connected().await;
    let rejected = TokenRequest::Rejected { code: CloseCode::TokenExpired, reason: "test".to_owned() };
    assert_eq!(*device.asked.lock().unwrap(), [TokenRequest::First, rejected]);
}

#[tokio::test]
async fn a_lost_connection_is_remade() {
    let server = Server::websocket().await;
    let device = Device::connecting(&[server.url()], Trust::WebPki);
    for _ in 0..3 {
        let peer = server.welcome().await;
        device.connected().await;
        // The TCP connection just ends.
        drop(peer);
        let Event::Disconnected { code: None, retry_in: Some(_), .. } = device.event().await else {
            panic!("not disconnected");
        };
    }
    let _peer = server.welcome().await;
    device.connected().await;
    assert_eq!(
        device.asked.lock().unwrap()[1..],
        [TokenRequest::Reconnect, TokenRequest::Reconnect, TokenRequest::Reconnect]
    );
}

#[tokio::test]
async fn a_silent_server_is_left() {
    let server = Server::websocket().await;
    let device = Device::connecting(&[server.url()], Trust::WebPki);
    let mut peer = server.accept().await;
    peer.receive().await;
    peer.send(welcome(400)).await;
    device.connected().await;
    assert!(matches!(peer.receive().await, pb::frame::Body::Ping(_)));
    let Event::Disconnected { code, .. } = device.event().await else { panic!("not disconnected") };
    assert_eq!(code, Some(CloseCode::IdleTimeout));
}

#[tokio::test]
async fn disconnecting_says_so() {
    let server = Server::websocket().await;
    let device = Device::connecting(&[server.url()], Trust::WebPki);
    let mut peer = server.welcome().await;
    device.connected().await;
    device.client.disconnect();
    assert_eq!(peer.try_receive().await, Err(Some(CloseCode::ClientClosed)));
    assert!(matches!(device.event().await, Event::Disconnected { retry_in: None, .. }));
    device.client.connect();
    let _peer = server.welcome().await;
    device.connected().await;
}

#[tokio::test]
async fn dropping_the_client_ends_the_connection() {
    let identity = Identity::new();
    for server in [Server::websocket().await, Server::quic(&identity)] {
        let device = Device::connecting(&[server.url()], identity.pin());
        let mut peer = server.welcome().await;
        device.connected().await;
        drop(device);
        let closed = tokio::time::timeout(PATIENCE, peer.try_receive()).await.unwrap();
        assert_eq!(closed, Err(Some(CloseCode::ClientClosed)));
    }
}
