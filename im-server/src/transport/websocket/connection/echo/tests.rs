//! RFC 6455 as a table: the bytes that a device sends, and all bytes that it receives. The frames are put together by hand, so that
//! the tests depend neither on our framing nor on the library's.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, join},
    time::timeout,
};

use super::*;

/// The time limit of each case on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const FIN: u8 = 0x80;
const CONTINUED: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// Encodes a device's frame (sections 5.2 and 5.3).
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x5a, 0x00, 0xff, 0x13];
    let mut frame = header(first, 0x80, payload.len());
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Encodes a server's frame.
fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    [header(first, 0, payload.len()), payload.to_vec()].concat()
}

fn header(first: u8, mask_bit: u8, length: usize) -> Vec<u8> {
    match length {
        0..126 => vec![first, mask_bit | length as u8],
        126..0x1_0000 => [&[first, mask_bit | 126][..], &(length as u16).to_be_bytes()].concat(),
        _ => [&[first, mask_bit | 127][..], &(length as u64).to_be_bytes()].concat(),
    }
}

fn closing(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

/// The end of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The server waits for more.
    Open,
    /// The server answers the device's close with its code, and ends the connection.
    Answered(Option<u16>),
    /// The server closes with this code, and ends the connection.
    Failed(u16),
}

use End::{Answered, Failed, Open};

struct Case {
    what: String,
    sent: Vec<u8>,
    answer: Vec<u8>,
    end: End,
}

fn case(what: impl Into<String>, sent: &[Vec<u8>], answer: &[Vec<u8>], end: End) -> Case {
    Case { what: what.into(), sent: sent.concat(), answer: answer.concat(), end }
}

impl Case {
    /// Sends the case in pieces of this size, over a wire that takes `room` bytes of the answer at once.
    async fn check(&self, piece: usize, room: usize) {
        let what = format!("{}, in pieces of {piece}, {room} bytes at once", self.what);
        let (mut device_out, server_in) = duplex(1 << 20);
        let (server_out, mut device_in) = duplex(room);
        let server = tokio::spawn(echo(join(server_in, server_out)));
        let sending = async {
            for piece in self.sent.chunks(piece) {
                // The server may have closed the connection.
                let _ = device_out.write_all(piece).await;
                // Lets the server read each piece by itself.
                tokio::task::yield_now().await;
            }
        };
        let mut got = vec![0; self.answer.len()];
        let (_, read) = tokio::join!(sending, device_in.read_exact(&mut got));
        assert!(read.is_ok() && got == self.answer, "{what}: {:x?}", &got[..got.len().min(100)]);
        if self.end == Open {
            assert!(!server.is_finished(), "{what}");
            // A device that leaves without a close frame gets none.
            device_out.shutdown().await.unwrap();
        }
        let mut rest = Vec::new();
        device_in.read_to_end(&mut rest).await.unwrap();
        let reason = match self.end {
            Open => Vec::new(),
            Answered(code) => plain(FIN | CLOSE, &code.map_or(Vec::new(), |code| closing(code, b""))),
            Failed(code) => {
                let reason = rest.get(4..).unwrap_or_default().to_vec();
                assert!(std::str::from_utf8(&reason).is_ok(), "{what}");
                plain(FIN | CLOSE, &closing(code, &reason))
            }
        };
        assert_eq!(rest, reason, "{what}");
        // A server that has failed a connection waits until the device has gone.
        drop(device_out);
        server.await.unwrap();
    }
}

async fn check_all(cases: &[Case], pieces: &[usize], rooms: &[usize]) {
    for case in cases {
        for piece in pieces {
            for room in rooms {
                let checked = timeout(PATIENCE, case.check(*piece, *room)).await;
                assert!(checked.is_ok(), "{} hangs: {piece}, {room}", case.what);
            }
        }
    }
}

#[tokio::test]
async fn messages_of_all_lengths_come_back() {
    // 5.2: one, three or nine bytes of length.
    for length in [0, 1, 125, 126, 127, 128, 0xffff, 0x1_0000] {
        let payload = vec![b'x'; length];
        let cases = [TEXT, BINARY].map(|kind| {
            let answer = [plain(FIN | kind, &payload)];
            case(format!("{length} bytes"), &[masked(FIN | kind, &payload)], &answer, Open)
        });
        let (pieces, rooms): (&[_], &[_]) =
            if length < 1000 { (&[1, 2, 1000], &[1, 1000]) } else { (&[997, 1 << 20], &[997, 1 << 20]) };
        check_all(&cases, pieces, rooms).await;
    }
    // Section 5.2 requires senders to use the shortest form; refusing a longer one would gain nothing.
    let longer: [&[u8]; 2] = [&[0x82, 0xfe, 0, 2], &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 2]];
    let cases = longer.map(|header| {
        case(
            "a length in a longer form",
            &[header.to_vec(), vec![0; 4], b"hi".to_vec()],
            &[plain(0x82, b"hi")],
            Open,
        )
    });
    check_all(&cases, &[1, 100], &[100]).await;
}

#[tokio::test]
async fn messages_may_come_in_frames() {
    let back = |kind: u8, payload: &[u8]| [plain(FIN | kind, payload)];
    let cases = [
        // 5.4
        case(
            "three frames",
            &[masked(BINARY, b"a"), masked(CONTINUED, b"b"), masked(FIN | CONTINUED, b"c")],
            &back(BINARY, b"abc"),
            Open,
        ),
        case(
            "empty frames",
            &[masked(TEXT, b""), masked(CONTINUED, b""), masked(FIN | CONTINUED, b"")],
            &back(TEXT, b""),
            Open,
        ),
        case(
            "control frames between frames",
            &[
                masked(TEXT, b"he"),
                masked(FIN | PING, b"now"),
                masked(FIN | PONG, b"never asked for"),
                masked(FIN | CONTINUED, b"llo"),
                masked(FIN | TEXT, b"next"),
            ],
            &[plain(FIN | PONG, b"now"), plain(FIN | TEXT, b"hello"), plain(FIN | TEXT, b"next")],
            Open,
        ),
        case("a continuation of nothing", &[masked(FIN | CONTINUED, b"a")], &[], Failed(1002)),
        case("a continuation that is not the last one", &[masked(CONTINUED, b"a")], &[], Failed(1002)),
        case(
            "a continuation of what is complete",
            &[masked(FIN | TEXT, b"a"), masked(FIN | CONTINUED, b"b")],
            &back(TEXT, b"a"),
            Failed(1002),
        ),
        case("text inside of text", &[masked(TEXT, b"a"), masked(FIN | TEXT, b"b")], &[], Failed(1002)),
        case("binary inside of text", &[masked(TEXT, b"a"), masked(BINARY, b"b")], &[], Failed(1002)),
        // 8.1
        case(
            "a character in two frames",
            &[masked(TEXT, &[0xe2]), masked(FIN | CONTINUED, &[0x82, 0xac])],
            &back(TEXT, "€".as_bytes()),
            Open,
        ),
        case("half a character", &[masked(FIN | TEXT, &[0xe2, 0x82])], &[], Failed(1007)),
        case("no character", &[masked(TEXT, &[0xe2]), masked(CONTINUED, b"a")], &[], Failed(1007)),
        case("a surrogate", &[masked(FIN | TEXT, &[0xed, 0xa0, 0x80])], &[], Failed(1007)),
        case("bytes", &[masked(FIN | BINARY, &[0xed, 0xa0, 0x80])], &back(BINARY, &[0xed, 0xa0, 0x80]), Open),
        case(
            "a message that is too large",
            &[header(FIN | BINARY, 0x80, MESSAGE_LIMIT + 1), vec![0; 4]],
            &[],
            Failed(1009),
        ),
        case("the largest length", &[vec![0x82, 0xff], vec![0xff; 8], vec![0; 4]], &[], Failed(1009)),
    ];
    check_all(&cases, &[1, 3, 1000], &[1, 1000]).await;
}

#[tokio::test]
async fn what_is_reserved_and_what_is_not_masked_is_refused() {
    let mut cases = Vec::new();
    for kind in [TEXT, BINARY, CLOSE, PING, PONG] {
        // 5.2: bits of extensions, none of which were negotiated.
        for bits in 1..8 {
            let sent = [masked(FIN | bits << 4 | kind, b"")];
            cases.push(case(format!("bits {bits:b} with {kind}"), &sent, &[], Failed(1002)));
        }
        // 5.1
        cases.push(case(format!("{kind} without a mask"), &[plain(FIN | kind, b"")], &[], Failed(1002)));
    }
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        for payload in [&b""[..], b"some"] {
            let sent = [masked(FIN | opcode, payload)];
            cases.push(case(format!("opcode {opcode}"), &sent, &[], Failed(1002)));
        }
    }
    check_all(&cases, &[1, 100], &[100]).await;
}

#[tokio::test]
async fn control_frames_are_short_and_whole() {
    let mut cases = vec![
        case("an empty ping", &[masked(FIN | PING, b"")], &[plain(FIN | PONG, b"")], Open),
        case("the longest ping", &[masked(FIN | PING, &[7; 125])], &[plain(FIN | PONG, &[7; 125])], Open),
        case("a pong", &[masked(FIN | PONG, b"nobody asked")], &[], Open),
    ];
    // 5.5
    for kind in [CLOSE, PING, PONG] {
        cases.push(case(format!("a long {kind}"), &[masked(FIN | kind, &[b'x'; 126])], &[], Failed(1002)));
        cases.push(case(format!("{kind} in frames"), &[masked(kind, b"")], &[], Failed(1002)));
    }
    check_all(&cases, &[1, 100, 1000], &[1, 1000]).await;
}

#[tokio::test]
async fn a_close_is_answered_and_nothing_after_it_counts() {
    let close = |payload: &[u8]| masked(FIN | CLOSE, payload);
    let cases = [
        case("without a code", &[close(b"")], &[], Answered(None)),
        case("with a reason", &[close(&closing(1000, "grün".as_bytes()))], &[], Answered(Some(1000))),
        case("with the longest reason", &[close(&closing(1000, &[b'x'; 123]))], &[], Answered(Some(1000))),
        case(
            "with more behind it",
            &[close(&closing(1001, b"")), masked(FIN | PING, b""), masked(FIN | TEXT, b"a")],
            &[],
            Answered(Some(1001)),
        ),
        case(
            "inside of a message",
            &[masked(TEXT, b"a"), close(&closing(1001, b"")), masked(FIN | CONTINUED, b"b")],
            &[],
            Answered(Some(1001)),
        ),
        // 5.5.1
        case("half a code", &[close(&[3])], &[], Failed(1002)),
        case("a reason that is no text", &[close(&closing(1000, &[0xc3]))], &[], Failed(1007)),
    ];
    check_all(&cases, &[1, 1000], &[1, 1000]).await;
}

#[tokio::test]
async fn only_codes_that_may_be_sent_are_taken() {
    // 7.4: codes defined by the RFC, codes registered since, codes for libraries, codes for applications.
    let may_be_sent =
        |code| matches!(code, 1000..=1003 | 1007..=1011 | 1012..=1014 | 3000..=3999 | 4000..=4999);
    let codes = (0..1100).chain([1999, 2000, 2999, 3000, 3999, 4000, 4405, 4999, 5000, u16::MAX]);
    let cases: Vec<Case> = codes
        .map(|code| {
            let end = if may_be_sent(code) { Answered(Some(code)) } else { Failed(1002) };
            case(format!("code {code}"), &[masked(FIN | CLOSE, &closing(code, b"bye"))], &[], end)
        })
        .collect();
    check_all(&cases, &[100], &[100]).await;
}

/// A conversation may end after any byte: the complete part was answered, and nothing else.
#[tokio::test]
async fn a_connection_may_end_after_any_byte() {
    let sent = [
        masked(FIN | TEXT, b"one"),
        masked(BINARY, &[7; 130]),
        masked(FIN | PING, b"two"),
        masked(FIN | CONTINUED, b""),
        masked(FIN | CLOSE, &closing(1000, b"")),
    ];
    let answers = [
        plain(FIN | TEXT, b"one"),
        vec![],
        plain(FIN | PONG, b"two"),
        plain(FIN | BINARY, &[7; 130]),
        plain(FIN | CLOSE, &closing(1000, b"")),
    ];
    let whole = sent.concat();
    for end in 0..=whole.len() {
        let mut complete = 0;
        let answered = sent.iter().zip(&answers).take_while(|(frame, _)| {
            complete += frame.len();
            complete <= end
        });
        let answer: Vec<u8> = answered.flat_map(|(_, answer)| answer.clone()).collect();
        let (mut device, server) = duplex(1 << 20);
        let server = tokio::spawn(echo(server));
        device.write_all(&whole[..end]).await.unwrap();
        device.shutdown().await.unwrap();
        let mut got = Vec::new();
        device.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, answer, "the first {end} bytes");
        server.await.unwrap();
    }
}
