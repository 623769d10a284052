use std::io::{self, Cursor, Read, Write};

use proptest::{collection::vec, prelude::*};
use tokio_tungstenite::tungstenite::{
    Message, WebSocket,
    protocol::{
        Role, WebSocketConfig,
        frame::{
            Frame, FrameHeader,
            coding::{Control, Data, OpCode},
        },
    },
};

use super::*;

const LIMIT: usize = 100_000;

/// Encodes a frame as the library's client does.
fn frame(opcode: OpCode, is_final: bool, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader { is_final, opcode, mask, ..FrameHeader::default() };
    let mut wire = Vec::new();
    Frame::from_payload(header, payload.to_vec().into()).format(&mut wire).unwrap();
    wire
}

fn data(opcode: Data, is_final: bool, payload: &[u8]) -> Vec<u8> {
    frame(OpCode::Data(opcode), is_final, Some([1, 2, 3, 4]), payload)
}

fn control(opcode: Control, payload: &[u8]) -> Vec<u8> {
    frame(OpCode::Control(opcode), true, Some([9, 0, 255, 7]), payload)
}

/// Returns the units in these bytes, read in pieces of this size, and whether the bytes are valid.
fn read(wire: &[u8], piece: usize, limit: usize) -> (Vec<Incoming>, Result<(), FrameViolation>) {
    let (mut reader, mut all) = (Reader::new(limit), Vec::new());
    for piece in wire.chunks(piece.max(1)) {
        reader.extend(piece);
        loop {
            match reader.next() {
                Ok(Some(received)) => all.push(received),
                Ok(None) => break,
                Err(error) => return (all, Err(error)),
            }
        }
        let kept = reader.bytes.len() + reader.fragments.as_ref().map_or(0, BytesMut::len);
        assert!(kept <= limit + 2 * (MAX_CONTROL_BYTES + 14), "{kept} bytes are kept");
    }
    (all, Ok(()))
}

fn message(bytes: &'static [u8]) -> Incoming {
    Incoming::Message(MessageKind::Binary, Bytes::from_static(bytes))
}

fn text(text: &'static str) -> Incoming {
    Incoming::Message(MessageKind::Text, Bytes::from_static(text.as_bytes()))
}

#[test]
fn a_message_may_come_in_parts_with_control_frames_between() {
    let wire = [
        data(Data::Binary, false, b"one "),
        control(Control::Ping, b"ping"),
        data(Data::Continue, false, b""),
        data(Data::Continue, true, b"message"),
        control(Control::Pong, b""),
        data(Data::Binary, true, b""),
        control(Control::Close, &1000_u16.to_be_bytes()),
    ];
    for piece in [1, 3, 1000] {
        let (received, result) = read(&wire.concat(), piece, LIMIT);
        result.unwrap();
        let ping = Incoming::Ping(Bytes::from_static(b"ping"));
        let close = Incoming::Close(Some(1000));
        assert_eq!(received, [ping, message(b"one message"), Incoming::Pong, message(b""), close]);
    }
}

#[test]
fn between_messages_no_memory_is_held() {
    let mut reader = Reader::new(LIMIT);
    reader.extend(&data(Data::Binary, true, &[7; 5000]));
    assert!(matches!(reader.next(), Ok(Some(Incoming::Message(..)))));
    assert!(matches!(reader.next(), Ok(None)));
    assert_eq!((reader.bytes.capacity(), reader.fragments), (0, None));
}

#[test]
fn what_breaks_the_protocol_is_refused() {
    let reserved = |opcode: u8| vec![FIN | opcode, MASKED, 0, 0, 0, 0];
    let broken = [
        ("not masked", frame(OpCode::Data(Data::Binary), true, None, b"x")),
        ("a continuation alone", data(Data::Continue, true, b"x")),
        (
            "a message in a message",
            [data(Data::Binary, false, b"x"), data(Data::Binary, true, b"x")].concat(),
        ),
        ("text in a message", [data(Data::Binary, false, b"x"), data(Data::Text, true, b"x")].concat()),
        ("a ping in parts", frame(OpCode::Control(Control::Ping), false, Some([0; 4]), b"x")),
        ("a large ping", control(Control::Ping, &[0; 126])),
        ("half a close code", control(Control::Close, b"x")),
        ("a close code that is never sent", control(Control::Close, &1005_u16.to_be_bytes())),
        ("an unknown kind of data", reserved(3)),
        ("an unknown kind of control", reserved(11)),
        ("a reserved bit", vec![FIN | 0x40 | BINARY, MASKED, 0, 0, 0, 0]),
    ];
    for (what, wire) in broken {
        let (_, result) = read(&wire, 1, LIMIT);
        assert!(matches!(&result, Err(FrameViolation::Protocol(_))), "{what}");
    }
}

#[test]
fn text_is_utf8_and_keeps_its_kind() {
    let wire = [
        data(Data::Text, true, "grün".as_bytes()),
        // Cut inside a character.
        data(Data::Text, false, &[0xe2, 0x82]),
        control(Control::Pong, b"\xff"),
        data(Data::Continue, true, &[0xac]),
        data(Data::Binary, false, b"\xff"),
        data(Data::Continue, true, b"\xfe"),
        data(Data::Text, true, b""),
    ];
    for piece in [1, 5, 1000] {
        let (received, result) = read(&wire.concat(), piece, LIMIT);
        assert_eq!(result, Ok(()));
        assert_eq!(received, [text("grün"), Incoming::Pong, text("€"), message(b"\xff\xfe"), text("")]);
    }
    let wrong = [
        data(Data::Text, true, b"\xff"),
        // Reported before the end of the message: further bytes cannot make it valid.
        [data(Data::Text, false, b"\xed"), data(Data::Continue, false, b"\xa0")].concat(),
        [data(Data::Text, false, b"\xe2\x82"), data(Data::Continue, true, b"")].concat(),
        control(Control::Close, &[3, 232, 0xff]),
    ];
    for wire in wrong {
        assert_eq!(read(&wire, 1, LIMIT).1, Err(FrameViolation::NotUtf8), "{wire:x?}");
    }
}

#[test]
fn a_device_is_told_in_codes_of_the_protocol() {
    let code = |broken: FrameViolation| match broken.into() {
        TransportError::Refused(close) => close.code,
        TransportError::Lost => panic!("it is told"),
    };
    assert_eq!(code(FrameViolation::Protocol("x")), CloseCode::ProtocolError);
    assert_eq!(code(FrameViolation::NotUtf8), CloseCode::ProtocolError);
    assert_eq!(
        code(FrameViolation::TooLarge(FrameError::TooLarge { bytes: 2, limit: 1 })),
        CloseCode::FrameTooLarge
    );
}

#[test]
fn a_message_is_bounded_before_it_has_come() {
    let too_large = |wire: &[u8]| {
        let (_, result) = read(wire, 1, 1000);
        matches!(&result, Err(FrameViolation::TooLarge(_)))
    };
    assert!(!too_large(&data(Data::Binary, true, &[0; 1000])));
    assert!(too_large(&data(Data::Binary, true, &[0; 1001])[..8]));
    assert!(too_large(&[FIN | BINARY, MASKED | 127, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0]));
    let parts = [data(Data::Binary, false, &[0; 600]), data(Data::Continue, true, &[0; 401])].concat();
    assert!(too_large(&parts));
}

/// A stream that reads prepared bytes and discards written ones.
struct Wire(Cursor<Vec<u8>>);

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the messages that the library reads from these bytes.
fn read_by_library(wire: Vec<u8>, role: Role) -> Vec<Message> {
    let config = WebSocketConfig::default().max_message_size(Some(LIMIT)).max_frame_size(Some(LIMIT));
    let mut socket = WebSocket::from_raw_socket(Wire(Cursor::new(wire)), role, Some(config));
    std::iter::from_fn(|| socket.read().ok()).collect()
}

#[test]
fn what_we_write_the_library_reads() {
    let sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000];
    let mut wire = Vec::new();
    for size in sizes {
        let (header, used) = message_header(MessageKind::Binary, size);
        wire.extend_from_slice(&header[..used]);
        wire.resize(wire.len() + size, 7);
    }
    let (header, used) = message_header(MessageKind::Text, 4);
    wire.extend_from_slice(&[&header[..used], b"text"].concat());
    wire.extend_from_slice(&pong_frame(b"payload"));
    wire.extend_from_slice(&close_frame(CloseCode::Kicked, "a reason"));
    let mut read = read_by_library(wire, Role::Client);
    let Some(Message::Close(Some(close))) = read.pop() else { panic!("no close") };
    assert_eq!((u16::from(close.code), &*close.reason), (CloseCode::Kicked.code(), "a reason"));
    assert_eq!(read.pop(), Some(Message::Pong(Bytes::from_static(b"payload"))));
    assert_eq!(read.pop(), Some(Message::text("text")));
    assert_eq!(read, sizes.map(|size| Message::binary(vec![7; size])));
    assert_eq!(read_by_library(close_answer_frame(None).to_vec(), Role::Client), [Message::Close(None)]);
}

/// Returns bytes that a device may send, in one frame or several.
fn arbitrary_wire() -> impl Strategy<Value = Vec<u8>> {
    let payload = || vec(any::<u8>(), 0..300);
    let whole = payload().prop_map(|payload| data(Data::Binary, true, &payload));
    let text = (any::<String>(), any::<prop::sample::Index>()).prop_map(|(text, at)| {
        let (first, rest) = text.as_bytes().split_at(at.index(text.len() + 1));
        [data(Data::Text, false, first), data(Data::Continue, true, rest)].concat()
    });
    let parts = (vec(payload(), 1..4), payload()).prop_map(|(parts, ping)| {
        let mut wire = data(Data::Binary, false, &parts[0]);
        wire.extend(control(Control::Ping, &ping[..ping.len().min(MAX_CONTROL_BYTES)]));
        parts[1..].iter().for_each(|part| wire.extend(data(Data::Continue, false, part)));
        wire.extend(data(Data::Continue, true, b"end"));
        wire
    });
    let ping = payload()
        .prop_map(|payload| control(Control::Ping, &payload[..payload.len().min(MAX_CONTROL_BYTES)]));
    vec(prop_oneof![whole, text, parts, ping], 0..8).prop_map(|parts| parts.concat())
}

/// Returns messages and pings in the form of the library.
fn as_library(received: Vec<Incoming>) -> Vec<Message> {
    let message = |received| match received {
        Incoming::Message(MessageKind::Binary, bytes) => Message::Binary(bytes),
        Incoming::Message(MessageKind::Text, bytes) => {
            Message::text(String::from_utf8(bytes.to_vec()).unwrap())
        }
        Incoming::Ping(bytes) => Message::Ping(bytes),
        Incoming::Pong => Message::Pong(Bytes::new()),
        Incoming::Close(_) => Message::Close(None),
    };
    received.into_iter().map(message).collect()
}

proptest! {
    #[test]
    fn we_read_what_the_library_reads(wire in arbitrary_wire(), piece in 1..700_usize) {
        let (received, result) = read(&wire, piece, LIMIT);
        prop_assert!(result.is_ok());
        prop_assert_eq!(as_library(received), read_by_library(wire, Role::Server));
    }

    /// Our reader refuses some bytes that the library accepts, such as frames without a mask, and never reads a different message.
    #[test]
    fn a_broken_stream_is_no_other_message(
        mut wire in arbitrary_wire(), at in any::<prop::sample::Index>(), bits in 1..=255_u8, piece in 1..700_usize,
    ) {
        if !wire.is_empty() {
            let at = at.index(wire.len());
            wire[at] ^= bits;
        }
        let messages = |all: Vec<Message>| all.into_iter().filter(|message| message.is_binary() || message.is_text()).collect::<Vec<_>>();
        let (received, result) = read(&wire, piece, LIMIT);
        let (ours, theirs) = (messages(as_library(received)), messages(read_by_library(wire, Role::Server)));
        prop_assert!(theirs.starts_with(&ours), "{} and {}", ours.len(), theirs.len());
        if result.is_ok() {
            prop_assert_eq!(ours.len(), theirs.len());
        }
    }

    #[test]
    fn any_bytes_do_no_harm(wire in vec(any::<u8>(), 0..2000), piece in 1..100_usize) {
        let _ = read(&wire, piece, 500);
    }
}
