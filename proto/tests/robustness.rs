//! Whatever comes in, nothing panics, nothing is read that was not written, and nothing is held beyond the limit.
//!
//! For a longer search: `PROPTEST_CASES=100000 cargo test --release -p im-proto --test robustness`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod kinds;

use bytes::{Bytes, BytesMut};
use im_proto::{
    close::{CloseCode, fit_reason},
    frame::{self, FrameError},
    id::{ChannelId, Device, DeviceId, MessageId, NodeId, ServerId, Terminal, UserId},
    limits::{MAX_CLOSE_REASON_BYTES, MAX_PREFIX_BYTES},
    pb::{self, content, frame::Body, publish_result::Outcome},
};
use proptest::{collection::vec, prelude::*, sample::Index};
use prost::Message;

/// Above most generated frames, below some.
const LIMIT: usize = 400;

proptest! {
    #[test]
    fn a_stream_in_any_chunks_yields_what_was_written(
        bodies in vec(body(), 0..12),
        cuts in vec(any::<Index>(), 0..24),
    ) {
        let stream = concatenation(&bodies);
        let (frames, end) = take_in_chunks(&stream, &cuts, usize::MAX);
        prop_assert_eq!(end, Ok(0));
        prop_assert_eq!(decode_all(frames), bodies);
    }

    #[test]
    fn a_message_of_whole_frames_yields_what_was_written(bodies in vec(body(), 0..12)) {
        let frames: Result<Vec<_>, _> = frame::split(concatenation(&bodies), usize::MAX).collect();
        prop_assert_eq!(decode_all(frames.unwrap()), bodies);
    }

    #[test]
    fn a_cut_message_yields_its_whole_frames_and_an_error(bodies in vec(body(), 1..6), cut in any::<Index>()) {
        let whole = concatenation(&bodies);
        let part = whole.slice(..cut.index(whole.len()));
        let ends = ends(&bodies);
        let complete = ends.iter().filter(|end| **end <= part.len()).count();
        let begun = part.len() - complete.checked_sub(1).map_or(0, |last| ends[last]);

        let (frames, error) = split_until_error(part, usize::MAX);
        prop_assert_eq!(decode_all(frames), &bodies[..complete]);
        prop_assert_eq!(error, (begun > 0).then_some(FrameError::Truncated { bytes: begun }));
    }

    #[test]
    fn a_stream_and_a_message_read_the_same(bytes in garbage(), cuts in vec(any::<Index>(), 0..12)) {
        let (from_message, error) = split_until_error(bytes.clone(), LIMIT);
        let (from_stream, end) = take_in_chunks(&bytes, &cuts, LIMIT);
        prop_assert_eq!(from_stream, from_message);
        match (end, error) {
            (Ok(0), None) => {}
            (Ok(left), Some(FrameError::Truncated { bytes })) => prop_assert_eq!(left, bytes),
            (Err(from_stream), Some(from_message)) => prop_assert_eq!(from_stream, from_message),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn no_frame_is_larger_than_the_limit(bytes in garbage(), limit in 0_usize..64) {
        for frame in frame::split(bytes, limit).flatten() {
            prop_assert!(frame.len() <= limit);
        }
    }

    #[test]
    fn an_over_limit_prefix_is_refused_at_its_last_byte(limit in 0_u32..1 << 20, over in 1_u32..=u32::MAX - (1 << 20)) {
        let mut prefix = Vec::new();
        prost::encode_length_delimiter((limit + over) as usize, &mut prefix).unwrap();
        let mut buffer = BytesMut::new();
        for (index, byte) in prefix.iter().enumerate() {
            buffer.extend_from_slice(&[*byte]);
            let taken = frame::take(&mut buffer, limit as usize);
            if index + 1 < prefix.len() {
                prop_assert_eq!(taken, Ok(None));
            } else {
                let too_large = FrameError::TooLarge { bytes: (limit + over).into(), limit: limit as usize };
                prop_assert_eq!(taken, Err(too_large));
            }
        }
    }

    #[test]
    fn decoding_anything_fails_or_yields_no_more_than_came(bytes in garbage()) {
        decode_as_everything(&bytes)?;
        for frame in frame::split(bytes, usize::MAX).flatten() {
            decode_as_everything(&frame)?;
        }
    }

    #[test]
    fn what_a_frame_reads_a_device_frame_reads(bytes in garbage()) {
        for frame in frame::split(bytes, usize::MAX).flatten() {
            if frame::decode(frame.clone()).is_ok() {
                prop_assert!(pb::DeviceFrame::decode(frame).is_ok());
            }
        }
    }

    #[test]
    fn ids_are_refused_or_read_back(text in id_text()) {
        reads_back::<UserId>(&text)?;
        reads_back::<DeviceId>(&text)?;
        reads_back::<ChannelId>(&text)?;
        reads_back::<ServerId>(&text)?;
        reads_back::<Device>(&text)?;
        reads_back::<Terminal>(&text)?;
        if let Ok(id) = text.parse::<MessageId>() {
            prop_assert_eq!(id.to_string().parse::<MessageId>().unwrap(), id);
        }
    }

    #[test]
    fn message_ids_hold_their_parts(unix_ms: u64, node in 0..NodeId::COUNT, sequence in 0..MessageId::PER_MS) {
        let node = NodeId::new(node).unwrap();
        let id = MessageId::from_parts(unix_ms, node, sequence);
        prop_assert_eq!(MessageId::from_u64(id.as_u64()), Some(id));
        prop_assert_eq!((id.node(), id.sequence()), (node, sequence));
        prop_assert_eq!(MessageId::from_parts(id.unix_ms(), node, sequence), id);
    }

    #[test]
    fn reasons_are_cut_no_more_than_needed(reason in "\\PC{0,150}") {
        let fitted = fit_reason(&reason);
        prop_assert!(reason.starts_with(fitted) && fitted.len() <= MAX_CLOSE_REASON_BYTES);
        let next = reason[fitted.len()..].chars().next().map_or(usize::MAX, char::len_utf8);
        prop_assert!(next == usize::MAX || fitted.len() + next > MAX_CLOSE_REASON_BYTES);
    }
}

#[test]
fn ids_hold_where_the_clock_is_not_set() {
    let id = MessageId::from_parts(0, NodeId::new(0).unwrap(), 0);
    assert_eq!(MessageId::from_u64(id.as_u64()), Some(id));
}

#[test]
fn close_codes_keep_their_numbers() {
    for number in 0..=u16::MAX {
        let code = CloseCode::from(number);
        assert_eq!(code.code(), number);
        assert_eq!(matches!(code, CloseCode::Unknown(_)), !CloseCode::ALL.contains(&code));
        let _ = (code.policy(), code.to_string());
    }
}

/// Random bytes, and what is left of frames after some accidents: the second gets past the first checks.
fn garbage() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        1 => vec(any::<u8>(), 0..600).prop_map(Bytes::from),
        4 => (vec(body(), 1..4), vec(accident(), 1..6)).prop_map(|(bodies, accidents)| {
            let mut bytes = concatenation(&bodies).to_vec();
            for accident in accidents {
                accident.happen(&mut bytes);
            }
            bytes.into()
        }),
    ]
}

#[derive(Clone, Debug)]
enum Accident {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Delete(Index, usize),
    Truncate(Index),
}

fn accident() -> impl Strategy<Value = Accident> {
    prop_oneof![
        4 => (any::<Index>(), 0_u8..8).prop_map(|(at, bit)| Accident::Flip(at, bit)),
        2 => (any::<Index>(), vec(any::<u8>(), 1..12)).prop_map(|(at, bytes)| Accident::Insert(at, bytes)),
        2 => (any::<Index>(), 1_usize..12).prop_map(|(at, count)| Accident::Delete(at, count)),
        1 => any::<Index>().prop_map(Accident::Truncate),
    ]
}

impl Accident {
    fn happen(self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Flip(at, bit) => *at.get_mut(bytes) ^= 1 << bit,
            Self::Insert(at, new) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, new);
            }
            Self::Delete(at, count) => {
                let at = at.index(bytes.len());
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Self::Truncate(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        hello().prop_map(Body::Hello),
        welcome().prop_map(Body::Welcome),
        any::<u64>().prop_map(|echo| Body::Ping(pb::Ping { echo })),
        any::<u64>().prop_map(|echo| Body::Pong(pb::Pong { echo })),
        (proptest::option::of(message()), "\\PC{0,20}", any::<u64>())
            .prop_map(|(message, channel, seq)| Body::Push(pb::Push { message, channel, seq })),
        cursors().prop_map(|cursors| Body::Sync(pb::Sync { cursors })),
        cursors().prop_map(|ends| Body::SyncDone(pb::SyncDone { ends })),
        (proptest::option::of(cursor()), any::<i32>())
            .prop_map(|(cursor, reason)| Body::Reset(pb::Reset { cursor, reason })),
        any::<(u32, bool)>()
            .prop_map(|(within_ms, rolled_back)| Body::SyncHint(pb::SyncHint { within_ms, rolled_back })),
        cursors().prop_map(|cursors| Body::Ack(pb::Ack { cursors })),
        publish().prop_map(Body::Publish),
        publish_result().prop_map(Body::PublishResult),
        signal().prop_map(Body::Signal),
        ("\\PC{0,20}", any::<i32>(), "\\PC{0,20}")
            .prop_map(|(channel, cause, reason)| Body::RoomLeft(pb::RoomLeft { channel, cause, reason })),
        presence().prop_map(Body::Presence),
        (state(), "\\PC{0,20}", any::<(u64, u64)>()).prop_map(|(state, channel, (seq, id))| {
            let receipt = pb::ReadReceipt { channel, user: state.user.clone(), seq, id };
            Body::ConversationsChanged(pb::ConversationsChanged {
                states: vec![state],
                receipts: vec![receipt],
            })
        }),
        any::<u32>().prop_map(|reconnect_within_ms| Body::GoAway(pb::GoAway { reconnect_within_ms })),
    ]
}

fn state() -> impl Strategy<Value = pb::ConversationState> {
    ("\\PC{0,20}", "\\PC{0,20}", "\\PC{0,50}", any::<[u64; 6]>(), any::<(bool, bool)>()).prop_map(
        |(user, channel, draft, [version, read, read_id, peer_read, hidden, deleted], (pinned, muted))| {
            pb::ConversationState {
                user,
                channel,
                version,
                read,
                read_id,
                peer_read,
                pinned,
                muted,
                draft,
                hidden,
                deleted,
            }
        },
    )
}

fn signal() -> impl Strategy<Value = pb::Signal> {
    let call = ("\\PC{0,20}", any::<i32>(), bytes()).prop_map(|(id, step, data)| pb::Call { id, step, data });
    ("\\PC{0,20}", "\\PC{0,20}", proptest::option::of(call)).prop_map(|(to, channel, call)| pb::Signal {
        to,
        channel,
        device: None,
        body: call.map(pb::signal::Body::Call),
    })
}

fn presence() -> impl Strategy<Value = pb::Presence> {
    let terminal = any::<(i32, bool, i64)>()
        .prop_map(|(terminal, online, last_seen_ms)| pb::TerminalPresence { terminal, online, last_seen_ms });
    ("\\PC{0,20}", vec(terminal, 0..4)).prop_map(|(user, terminals)| pb::Presence { user, terminals })
}

fn hello() -> impl Strategy<Value = pb::Hello> {
    let device = (any::<i32>(), "\\PC{0,20}").prop_map(|(terminal, id)| pb::Device { terminal, id });
    (any::<(u32, u32)>(), "\\PC{0,200}", proptest::option::of(device), "\\PC{0,20}", cursors()).prop_map(
        |((min_version, max_version), token, device, client, cursors)| pb::Hello {
            min_version,
            max_version,
            token,
            device,
            client,
            cursors,
        },
    )
}

fn cursor() -> impl Strategy<Value = pb::Cursor> {
    ("\\PC{0,20}", any::<(u64, u64)>()).prop_map(|(channel, (seq, id))| pb::Cursor { channel, seq, id })
}

fn cursors() -> impl Strategy<Value = Vec<pb::Cursor>> {
    vec(cursor(), 0..4)
}

fn welcome() -> impl Strategy<Value = pb::Welcome> {
    let limits = any::<(u32, u32)>().prop_map(|(max_frame_bytes, max_inflight_publishes)| pb::Limits {
        max_frame_bytes,
        max_inflight_publishes,
    });
    (any::<u32>(), "\\PC{0,20}", any::<(u64, i64, u32)>(), proptest::option::of(limits)).prop_map(
        |(version, user, (connection, server_time_ms, heartbeat_ms), limits)| pb::Welcome {
            version,
            user,
            connection,
            server_time_ms,
            heartbeat_ms,
            limits,
        },
    )
}

/// Every kind, some with what every kind may have, some with what nobody knows.
fn content() -> impl Strategy<Value = pb::Content> {
    let kinds = kinds::kinds().into_iter().map(|(_, content)| content).collect::<Vec<_>>();
    let body = prop_oneof![
        "\\PC{0,150}".prop_map(|text| Some(content::Body::Text(pb::Text { text }))),
        ("\\PC{0,20}", bytes())
            .prop_map(|(kind, data)| Some(content::Body::Custom(pb::Custom { kind, data }))),
        proptest::sample::select(kinds).prop_map(|content| content.body),
        Just(None),
    ];
    // Kind 11 with anything in it.
    let unknown = vec(any::<u8>(), 0..100).prop_map(|data| [&[0x5a, data.len() as u8], &data[..]].concat());
    (body, any::<u64>(), proptest::option::of(unknown)).prop_map(|(body, thread, unknown)| pb::Content {
        body,
        thread,
        unknown: unknown.unwrap_or_default(),
        ..Default::default()
    })
}

fn message() -> impl Strategy<Value = pb::Message> {
    (any::<u64>(), "\\PC{0,20}", "\\PC{0,20}", proptest::option::of(content()))
        .prop_map(|(id, from, to, content)| pb::Message { id, from, to, content })
}

fn publish() -> impl Strategy<Value = pb::Publish> {
    (any::<u64>(), "\\PC{0,20}", proptest::option::of(content()))
        .prop_map(|(number, to, content)| pb::Publish { number, to, content, channel: String::new() })
}

fn publish_result() -> impl Strategy<Value = pb::PublishResult> {
    let outcome = prop_oneof![
        (any::<u64>(), bytes())
            .prop_map(|(message_id, answer)| Outcome::Accepted(pb::Accepted { message_id, answer })),
        (any::<(i32, i32, u32)>(), "\\PC{0,20}").prop_map(|((kind, code, retry_after_ms), reason)| {
            Outcome::Refused(pb::Refused { kind, reason, code, retry_after_ms })
        }),
    ];
    (any::<u64>(), proptest::option::of(outcome))
        .prop_map(|(number, outcome)| pb::PublishResult { number, outcome })
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

/// Texts of which some are ids.
fn id_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,80}",
        any::<String>(),
        "[!-~]{0,70}",
        "(web|android|ios|desktop|mini_program|other|toaster)/[!-~]{0,66}",
        any::<u64>().prop_map(|number| number.to_string()),
    ]
}

fn concatenation(bodies: &[Body]) -> Bytes {
    bodies.iter().flat_map(|body| frame::encode(body.clone())).collect()
}

/// Where each frame ends in the concatenation.
fn ends(bodies: &[Body]) -> Vec<usize> {
    let sizes = bodies.iter().map(|body| frame::encode(body.clone()).len());
    sizes
        .scan(0, |end, size| {
            *end += size;
            Some(*end)
        })
        .collect()
}

fn decode_all(frames: Vec<Bytes>) -> Vec<Body> {
    frames.into_iter().map(|frame| frame::decode(frame).unwrap().unwrap()).collect()
}

/// The frames, and the error that ended them.
fn split_until_error(message: Bytes, limit: usize) -> (Vec<Bytes>, Option<FrameError>) {
    let mut frames = Vec::new();
    let mut rest = frame::split(message, limit);
    for frame in rest.by_ref() {
        match frame {
            Ok(frame) => frames.push(frame),
            Err(error) => {
                assert_eq!(rest.next(), None, "nothing follows an error");
                return (frames, Some(error));
            }
        }
    }
    (frames, None)
}

/// The frames of a stream that arrives in chunks, and how many bytes were left over, or the error that ended it.
fn take_in_chunks(stream: &[u8], cuts: &[Index], limit: usize) -> (Vec<Bytes>, Result<usize, FrameError>) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.push(stream.len());
    cuts.sort_unstable();

    let (mut frames, mut buffer, mut fed) = (Vec::new(), BytesMut::new(), 0);
    for cut in cuts {
        buffer.extend_from_slice(&stream[fed..cut]);
        fed = cut;
        loop {
            match frame::take(&mut buffer, limit) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
        assert!(buffer.len() < MAX_PREFIX_BYTES.saturating_add(limit), "what waits is less than one frame");
    }
    (frames, Ok(buffer.len()))
}

/// What is decoded takes, written again, at most twice the bytes that came (a negative number in five bytes is written
/// in ten): nothing that came makes more of itself.
fn decode_as_everything(bytes: &Bytes) -> Result<(), TestCaseError> {
    fn decode<M: Message + Default>(bytes: &Bytes) -> Result<(), TestCaseError> {
        if let Ok(message) = M::decode(bytes.clone()) {
            prop_assert!(message.encoded_len() <= 2 * bytes.len());
        }
        Ok(())
    }
    decode::<pb::Frame>(bytes)?;
    decode::<pb::DeviceFrame>(bytes)?;
    decode::<pb::Publish>(bytes)?;
    decode::<pb::PublishHead>(bytes)?;
    decode::<pb::Envelope>(bytes)?;
    decode::<pb::Delivered>(bytes)?;
    decode::<pb::Upstream>(bytes)?;
    decode::<pb::UpstreamSync>(bytes)?;
    decode::<pb::UpstreamSignals>(bytes)?;
    decode::<pb::UpstreamPresences>(bytes)?;
    decode::<pb::SignalHead>(bytes)?;
    decode::<pb::RequestHead>(bytes)?;
    decode::<pb::RawPush>(bytes)?;
    decode::<pb::ServerInfo>(bytes)
}

fn reads_back<T>(text: &str) -> Result<(), TestCaseError>
where
    T: std::str::FromStr<Err: std::fmt::Display> + ToString,
{
    match text.parse::<T>() {
        Ok(id) => prop_assert_eq!(id.to_string(), text),
        Err(error) => prop_assert!(!error.to_string().is_empty()),
    }
    Ok(())
}
