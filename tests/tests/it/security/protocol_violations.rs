//! Devices that violate the protocol get a close code and are disconnected, and nobody else is affected.

use std::time::Duration;

use bytes::Bytes;
use im_proto::{close::CloseCode, frame, limits, pb, pb::frame::Body};
use im_sdk::backend::{Message, user};
use im_tests::{
    Setup, Stack, Via, everywhere,
    raw::{Heard, Raw},
    stack::{PATIENCE, ServerOptions, token},
    wait_until,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

everywhere!(
    frames_before_hello_are_refused,
    garbage_is_refused,
    oversized_frames_are_refused,
    half_a_frame_is_refused,
    unknown_frames_are_ignored,
    a_second_hello_is_refused,
    silence_before_hello_is_ended,
    silence_after_hello_is_ended,
    too_many_publishes_are_refused,
    a_device_that_does_not_read_is_closed,
);

/// Frame of an unknown kind: field 1000, two bytes.
const UNKNOWN: &[u8] = &[0x05, 0xc2, 0x3e, 0x02, 0xab, 0xcd];

fn ping(echo: u64) -> Body {
    Body::Ping(pb::Ping { echo })
}

fn pong(echo: u64) -> Heard {
    Heard::Frame(Body::Pong(pb::Pong { echo }))
}

fn publish(number: u64) -> Body {
    let text = pb::content::Body::Text(pb::Text { text: "hi".into() });
    Body::Publish(pb::Publish {
        number,
        to: "alice".into(),
        content: Some(text.into()),
        ..pb::Publish::default()
    })
}

/// Asserts that a well-behaved device is still served.
async fn check_others(stack: &Stack, via: Via) {
    let im = stack.backend().await;
    let mut bystander = stack.connect("bystander", "web/tab", 0, via).await;
    im.send(Message::to(user("bystander")).text("still here?")).await.unwrap();
    assert_eq!(bystander.text().await, "still here?");
}

async fn frames_before_hello_are_refused(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    for body in [ping(1), publish(1)] {
        let mut raw = Raw::connect(&stack, 0, via).await;
        raw.send_frame(body).await;
        assert_eq!(raw.heard().await, Heard::Closed(CloseCode::ProtocolError));
    }
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.send(UNKNOWN).await;
    assert_eq!(raw.heard().await, Heard::Closed(CloseCode::ProtocolError));
    check_others(&stack, via).await;
}

async fn garbage_is_refused(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let garbage: [&[u8]; 3] = [&[0xff; 64], b"\x03\xff\xff\xff", b"\x80\x80\x80\x80\x80\x80"];
    for bytes in garbage {
        let mut early = Raw::connect(&stack, 0, via).await;
        early.send(bytes).await;
        let code = early.closed().await;
        assert!([CloseCode::ProtocolError, CloseCode::FrameTooLarge].contains(&code), "{code}: {bytes:?}");
        let mut late = Raw::connect(&stack, 0, via).await;
        late.log_in("mallory").await;
        late.send(bytes).await;
        let code = late.closed().await;
        assert!([CloseCode::ProtocolError, CloseCode::FrameTooLarge].contains(&code), "{code}: {bytes:?}");
    }
    check_others(&stack, via).await;
}

async fn oversized_frames_are_refused(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let mut early = Raw::connect(&stack, 0, via).await;
    early.hello("x".repeat(limits::MAX_HELLO_BYTES)).await;
    assert_eq!(early.heard().await, Heard::Closed(CloseCode::FrameTooLarge));

    let mut late = Raw::connect(&stack, 0, via).await;
    let max = late.log_in("mallory").await.limits.unwrap().max_frame_bytes as usize;
    // A frame of the maximum size is accepted.
    late.send(ignored_frame(max)).await;
    late.send_frame(ping(7)).await;
    assert_eq!(late.heard().await, pong(7));
    late.send(ignored_frame(max + 1)).await;
    assert_eq!(late.closed().await, CloseCode::FrameTooLarge);

    // A frame that exceeds the maximum size of a WebSocket message.
    let mut huge = Raw::connect(&stack, 0, via).await;
    huge.log_in("mallory").await;
    huge.send(ignored_frame(limits::max_message_bytes(max) + 1)).await;
    assert_eq!(huge.closed().await, CloseCode::FrameTooLarge);
    check_others(&stack, via).await;
}

/// Returns a frame of an unknown kind and of exactly this size.
fn ignored_frame(size: usize) -> Bytes {
    let varint = |mut number: usize| {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    // Field 1000, length-delimited: a two-byte key, and a length of three bytes at the sizes used here.
    let payload = size - 2 - 3;
    assert_eq!(varint(payload).len(), 3);
    let frame = [&[0xc2, 0x3e][..], &varint(payload), &vec![0; payload]].concat();
    [varint(frame.len()), frame].concat().into()
}

async fn half_a_frame_is_refused(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.log_in("mallory").await;
    let whole = frame::encode(publish(1));
    raw.send(whole.slice(..whole.len() / 2)).await;
    if let Raw::Quic { send, .. } = &mut raw {
        // On a stream, half a frame is wrong once the stream ends.
        send.finish().unwrap();
    }
    assert_eq!(raw.closed().await, CloseCode::ProtocolError);
    check_others(&stack, via).await;
}

async fn unknown_frames_are_ignored(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.log_in("newer").await;
    raw.send(UNKNOWN).await;
    // Frames of the other direction and empty frames are ignored as well.
    raw.send_frame(Body::GoAway(pb::GoAway { reconnect_within_ms: 1 })).await;
    raw.send(&[0][..]).await;
    raw.send_frame(ping(3)).await;
    assert_eq!(raw.heard().await, pong(3));
    // Several frames in one message or write.
    let both = [
        frame::encode(ping(4)),
        Bytes::from_static(UNKNOWN),
        frame::encode(Body::Pong(pb::Pong { echo: 1 })),
    ];
    raw.send(both.concat()).await;
    assert_eq!(raw.heard().await, pong(4));
}

async fn a_second_hello_is_refused(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.log_in("mallory").await;
    raw.hello(token("mallory")).await;
    assert_eq!(raw.closed().await, CloseCode::ProtocolError);
}

async fn silence_before_hello_is_ended(setup: Setup, via: Via) {
    let options = ServerOptions { hello_timeout: Duration::from_millis(300), ..ServerOptions::default() };
    let stack = Stack::start_with(setup, 1, options).await;
    let mut raw = Raw::connect(&stack, 0, via).await;
    if via == Via::Quic {
        // A stream becomes visible only once something is sent on it: the beginning of a frame that never
        // ends.
        raw.send(&[0x20][..]).await;
    }
    assert_eq!(raw.heard().await, Heard::Closed(CloseCode::HelloTimeout));
}

async fn silence_after_hello_is_ended(setup: Setup, via: Via) {
    let options = ServerOptions { heartbeat: Duration::from_millis(400), ..ServerOptions::default() };
    let stack = Stack::start_with(setup, 1, options).await;
    let im = stack.backend().await;
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.log_in("sleepy").await;
    // A client that sends its heartbeats stays.
    let mut awake = stack.connect("awake", "web/tab", 0, via).await;
    let code = raw.closed().await;
    // QUIC's own idle timeout may come first; it has no code.
    assert!([CloseCode::IdleTimeout, CloseCode::Unknown(0)].contains(&code), "{code}");
    stack.wait_online(&im, "sleepy", 0).await;
    im.send(Message::to(user("awake")).text("awake?")).await.unwrap();
    assert_eq!(awake.text().await, "awake?");
}

async fn too_many_publishes_are_refused(setup: Setup, via: Via) {
    let options = ServerOptions { max_inflight_publishes: 3, ..ServerOptions::default() };
    let stack = Stack::start_with(setup, 1, options).await;
    let im = stack.backend().await;
    // A back end that never answers.
    let _service = im.serve(async |_| std::future::pending().await).await.unwrap();
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.log_in("mallory").await;
    for number in 1..=4 {
        raw.send_frame(publish(number)).await;
    }
    assert_eq!(refused(&mut raw).await, (4, pb::RefusalKind::TooMany));
    // Repetitions of pending publishes do not count as further ones. Frames are handled in order, so nothing is
    // answered before the next one.
    for number in [3, 1, 1, 5] {
        raw.send_frame(publish(number)).await;
    }
    assert_eq!(refused(&mut raw).await, (5, pb::RefusalKind::TooMany));
    raw.send_frame(ping(1)).await;
    until_pong(&mut raw, 1).await;
}

/// Sends a ping and waits for the pong; asserts that only frames of the initial sync come before it.
async fn until_pong(raw: &mut Raw, echo: u64) {
    loop {
        match raw.heard().await {
            Heard::Frame(Body::Reset(_) | Body::SyncDone(_)) => {}
            heard => return assert_eq!(heard, pong(echo)),
        }
    }
}

/// Waits for the next publish result, a refusal: number and reason. Skips frames of the initial sync.
async fn refused(raw: &mut Raw) -> (u64, pb::RefusalKind) {
    let result = loop {
        match raw.heard().await {
            Heard::Frame(Body::PublishResult(result)) => break result,
            Heard::Frame(Body::Reset(_) | Body::SyncDone(_)) => {}
            other => panic!("a result expected: {other:?}"),
        }
    };
    let Some(pb::publish_result::Outcome::Refused(refused)) = &result.outcome else { panic!("{result:?}") };
    assert!(refused.retry_after_ms > 0);
    (result.number, refused.kind())
}

async fn a_device_that_does_not_read_is_closed(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let mut deaf = Raw::connect(&stack, 0, via).await;
    deaf.log_in("deaf").await;
    let mut listener = stack.connect("listener", "web/tab", 0, via).await;
    // More than the kernel's buffers and the outbox hold together.
    let text = "x".repeat(60_000);
    wait_until("the slow consumer is closed", Duration::from_secs(30), async || {
        let receipt = im.send(Message::to(user("deaf")).text(&text)).await.unwrap();
        receipt.pushed.is_empty()
    })
    .await;
    // When it reads again, it gets the close code, after whole frames.
    assert_eq!(deaf.closed().await, CloseCode::SlowConsumer);
    im.send(Message::to(user("listener")).text("nobody else waits")).await.unwrap();
    assert_eq!(listener.text().await, "nobody else waits");
    stack.wait_online(&im, "deaf", 0).await;
}

#[tokio::test]
async fn text_messages_are_refused() {
    use futures_util::SinkExt;
    let stack = Stack::start(Setup::Embedded, 1).await;
    let mut raw = Raw::connect(&stack, 0, Via::WebSocket).await;
    let Raw::WebSocket { socket, .. } = &mut raw else { unreachable!() };
    socket.send("hello".into()).await.unwrap();
    assert_eq!(raw.heard().await, Heard::Closed(CloseCode::ProtocolError));
}

#[tokio::test]
async fn other_subprotocols_are_refused() {
    use tokio_tungstenite::tungstenite::{Error, client::IntoClientRequest};
    let stack = Stack::start(Setup::Embedded, 1).await;
    let mut request = stack.servers[0].endpoint(Via::WebSocket).into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "chat".parse().unwrap());
    let refused = tokio_tungstenite::connect_async(request).await.unwrap_err();
    assert!(matches!(refused, Error::Http(response) if response.status() == 400));
}

#[tokio::test]
async fn what_is_no_websocket_does_no_harm() {
    let stack = Stack::start(Setup::Embedded, 1).await;
    let address = stack.servers[0].endpoint(Via::WebSocket).replace("ws://", "");
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 5000], b"\x16\x03\x01"] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        // The server may have closed already.
        let _ = stream.write_all(bytes).await;
    }
    check_others(&stack, Via::WebSocket).await;
}

#[tokio::test]
async fn an_oversized_message_is_told_so_and_not_reset() {
    let stack = Stack::start(Setup::Embedded, 1).await;
    let address = stack.servers[0].endpoint(Via::WebSocket).replace("ws://", "");
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let upgrade = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    // A masked binary message of 16 MiB, and the beginning of it.
    let header = [0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    stream.write_all(&[&header[..], &[0; 100_000]].concat()).await.unwrap();
    answer.clear();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    read.expect("an end, and no reset, which can destroy the reason on its way");
    let code = CloseCode::FrameTooLarge.code().to_be_bytes();
    assert!(answer.windows(2).any(|window| window == code), "{answer:?}");
}
