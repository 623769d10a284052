use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use im_proto::close::CloseCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, join};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role},
    },
};

use super::*;

type Device = WebSocketStream<DuplexStream>;

/// Returns a connection, and the library's client at its other end; at most `room` bytes are in transit.
async fn connect(room: usize) -> (WebSocketConnection<DuplexStream>, Device) {
    let (server, device) = duplex(room);
    (
        WebSocketConnection::new(server, 100_000),
        WebSocketStream::from_raw_socket(device, Role::Client, None).await,
    )
}

fn batch(sizes: &[usize]) -> FrameBatch {
    let mut batch = FrameBatch::default();
    let mut next = 0_u8;
    for size in sizes {
        let bytes = std::iter::repeat_with(|| {
            next = next.wrapping_add(1);
            next
        });
        batch.push(bytes.take(*size).collect());
    }
    batch
}

async fn write(transport: &mut WebSocketConnection<DuplexStream>, batch: &mut FrameBatch) {
    poll_fn(|cx| transport.poll_write(cx, batch)).await.unwrap();
}

async fn next(device: &mut Device) -> Message {
    device.next().await.unwrap().unwrap()
}

#[tokio::test]
async fn what_waits_goes_in_one_message_up_to_a_size() {
    let sizes: &[(&[usize], &[usize])] = &[
        (&[10], &[10]),
        (&[10, 20, 30], &[60]),
        (&[5000], &[5000]),
        (&[5000, 10, 5000], &[10_010]),
        (&[WRITE_BYTES - 1, 1, 1], &[WRITE_BYTES, 1]),
        (&[WRITE_BYTES + 1, 1], &[WRITE_BYTES + 1, 1]),
        (&[4096; 40], &[WRITE_BYTES, WRITE_BYTES, 8 * 4096]),
    ];
    for room in [1, 13, 4097, 1 << 20] {
        for (pieces, messages) in sizes {
            let (mut transport, mut device) = connect(room).await;
            let mut waiting = batch(pieces);
            let expected: Vec<u8> = waiting.iter().flatten().copied().collect();
            let writing = tokio::spawn(async move {
                write(&mut transport, &mut waiting).await;
                assert!(waiting.is_empty());
                transport
            });
            let mut read = Vec::new();
            for length in *messages {
                let message = next(&mut device).await.into_data();
                assert_eq!(message.len(), *length);
                read.extend_from_slice(&message);
            }
            assert_eq!(read, expected);
            writing.await.unwrap();
        }
    }
}

#[tokio::test]
async fn frames_come_out_one_by_one() {
    let (mut transport, mut device) = connect(1 << 20).await;
    device.send(Message::binary(&b"\x01a\x02bc"[..])).await.unwrap();
    for expected in ["a", "bc"] {
        let frame = poll_fn(|cx| transport.poll_receive(cx)).await.unwrap().unwrap();
        assert_eq!(frame, expected);
    }
}

#[tokio::test]
async fn pings_are_answered_between_messages() {
    for room in [3, 1 << 20] {
        let (mut transport, mut device) = connect(room).await;
        let server = tokio::spawn(async move {
            let mut waiting = batch(&[100]);
            // As in a session: both directions in one task.
            poll_fn(|cx| {
                let _ = transport.poll_write(cx, &mut waiting);
                transport.poll_receive(cx)
            })
            .await
        });
        let (mut sink, mut stream) = device.split();
        let sending = tokio::spawn(async move {
            sink.send(Message::Ping("are you there".into())).await.unwrap();
            sink.flush().await.unwrap();
            sink
        });
        let mut pongs = 0;
        while pongs == 0 {
            match stream.next().await.unwrap().unwrap() {
                Message::Binary(message) => assert_eq!(message.len(), 100),
                Message::Pong(payload) => pongs += usize::from(payload == "are you there"),
                other => panic!("{other:?}"),
            }
        }
        device = sending.await.unwrap().reunite(stream).unwrap();
        device.close(None).await.unwrap();
        let read =
            tokio::join!(server, async { while device.next().await.is_some_and(|read| read.is_ok()) {} }).0;
        assert!(matches!(read.unwrap(), Ok(None)), "the device has closed");
    }
}

#[tokio::test]
async fn a_close_comes_after_the_message_that_was_begun() {
    let (mut transport, mut device) = connect(50).await;
    let mut waiting = batch(&[100, WRITE_BYTES]);
    let first = poll_fn(|cx| Poll::Ready(transport.poll_write(cx, &mut waiting))).await;
    assert!(first.is_pending());
    let close = Close::new(CloseCode::Kicked, "no more");
    let closing = tokio::spawn(transport.close(Some(close), waiting));
    assert_eq!(next(&mut device).await.into_data().len(), 100);
    let Message::Close(Some(frame)) = next(&mut device).await else { panic!("no close") };
    assert_eq!((u16::from(frame.code), &*frame.reason), (CloseCode::Kicked.code(), "no more"));
    // The library answers the close while it reads.
    while device.next().await.is_some_and(|read| read.is_ok()) {}
    closing.await.unwrap();
}

#[tokio::test]
async fn a_device_that_breaks_the_protocol_is_told_so() {
    let (server, mut device) = duplex(1000);
    let mut transport = WebSocketConnection::new(server, 1000);
    // A frame that is not masked.
    device.write_all(&[0x82, 1, 7, 1, 2, 3]).await.unwrap();
    let Err(TransportError::Refused(close)) = poll_fn(|cx| transport.poll_receive(cx)).await else {
        panic!("it was taken")
    };
    let closing = tokio::spawn(transport.close(Some(close), FrameBatch::default()));
    let mut read = Vec::new();
    device.read_to_end(&mut read).await.unwrap();
    assert_eq!(read[0], 0x88);
    assert_eq!(read[2..4], CloseCode::ProtocolError.code().to_be_bytes());
    drop(device);
    closing.await.unwrap();
}

#[tokio::test]
async fn a_device_that_is_gone_is_lost() {
    let (mut transport, device) = connect(1000).await;
    drop(device);
    let read = poll_fn(|cx| transport.poll_receive(cx)).await;
    assert!(matches!(read, Err(TransportError::Lost)));
    assert!(poll_fn(|cx| transport.poll_write(cx, &mut batch(&[10]))).await.is_err());
}

#[tokio::test]
async fn of_pings_that_cannot_be_answered_the_last_one_is() {
    let (mut device_out, server_in) = duplex(1000);
    let (server_out, mut device_in) = duplex(3);
    let mut transport = WebSocketConnection::new(join(server_in, server_out), 1000);
    for payload in [b"aa", b"bb", b"cc"] {
        // Masked with zeros.
        device_out.write_all(&[0x89, 0x82, 0, 0, 0, 0, payload[0], payload[1]]).await.unwrap();
    }
    // Three bytes of the first pong are written, and no more until the device reads.
    let read = poll_fn(|cx| Poll::Ready(transport.poll_receive(cx))).await;
    assert!(read.is_pending());
    let writing = tokio::spawn(async move {
        poll_fn(|cx| transport.poll_write(cx, &mut FrameBatch::default())).await.unwrap();
        transport
    });
    let mut pongs = [0; 8];
    let read = timeout(Duration::from_secs(20), device_in.read_exact(&mut pongs)).await;
    read.expect("the last ping is answered").unwrap();
    assert_eq!(pongs, *b"\x8a\x02aa\x8a\x02cc");
    let transport = writing.await.unwrap();
    assert!(transport.control.is_empty() && transport.control_begun == 0);
}

#[tokio::test]
async fn a_close_is_answered_after_the_message_that_was_begun() {
    let (mut transport, mut device) = connect(50).await;
    let mut waiting = batch(&[100]);
    let first = poll_fn(|cx| Poll::Ready(transport.poll_write(cx, &mut waiting))).await;
    assert!(first.is_pending());
    let closing = tokio::spawn(async move {
        let read = poll_fn(|cx| transport.poll_receive(cx)).await;
        assert!(matches!(read, Ok(None)));
        transport.close(None, waiting).await;
    });
    device.close(Some(CloseFrame { code: 4405.into(), reason: "bye".into() })).await.unwrap();
    assert_eq!(next(&mut device).await.into_data().len(), 100);
    let Message::Close(Some(frame)) = next(&mut device).await else { panic!("no close") };
    assert_eq!(u16::from(frame.code), 4405);
    assert!(device.next().await.is_none(), "the server ends the connection");
    closing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_closing_link_waits_for_a_while_and_for_nobody_who_is_gone() {
    for (close, seconds) in [(None, 0), (Some(Close::new(CloseCode::Kicked, "now")), LINGER.as_secs())] {
        let (mut transport, _device) = connect(50).await;
        // The device does not read.
        let mut waiting = batch(&[100]);
        let first = poll_fn(|cx| Poll::Ready(transport.poll_write(cx, &mut waiting))).await;
        assert!(first.is_pending());
        let started = tokio::time::Instant::now();
        transport.close(close, waiting).await;
        assert_eq!(started.elapsed().as_secs(), seconds);
    }
}
