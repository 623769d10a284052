//! Vectors that readers must accept, and vectors that they must refuse.

use im_proto::{
    close::CloseCode,
    frame::{self, FrameError},
    limits::MAX_FRAME_BYTES,
    pb::{self, frame::Body, publish_result::Outcome},
};

use crate::{golden::unhex, said::result, session::cursor};

/// Returns frames that no writer here writes and every reader reads: name, bytes, expected body
/// (`None`: ignored).
pub(crate) fn readable() -> Vec<(&'static str, &'static str, Option<Body>)> {
    let ping = || Some(Body::Ping(pb::Ping { echo: 7 }));
    vec![
        ("no_body", "00", None),
        ("unknown_body", "06 aa 01 03 01 02 03", None),
        ("unknown_body.last_reserved", "03 fa 01 00", None),
        ("unknown_field_in_body", "06 1a 04 08 07 10 01", ping()),
        ("unknown_field_beside_body", "07 1a 02 08 07 a8 01 05", ping()),
        ("prefix_longer_than_needed", "84 80 00 1a 02 08 07", ping()),
        ("last_body_counts", "08 22 02 08 01 1a 02 08 07", ping()),
        ("unknown_content", "08 2a 06 0a 04 22 02 72 00", unknown_content()),
        ("unknown_reset_reason", "08 5a 06 0a 02 10 07 10 63", unknown_reset_reason()),
        ("unknown_refusal", "08 3a 06 08 02 1a 02 08 63", unknown_refusal()),
    ]
}

/// Returns WebSocket messages that a reader with the default limits refuses: name, bytes, close
/// code.
pub(crate) fn refusals() -> Vec<(&'static str, &'static str, CloseCode)> {
    vec![
        ("one_byte_over_the_limit", "81 80 04", CloseCode::FrameTooLarge),
        ("largest_prefix", "ff ff ff ff 0f", CloseCode::FrameTooLarge),
        ("prefix_of_six_bytes", "80 80 80 80 80 01", CloseCode::ProtocolError),
        ("ends_in_prefix", "80", CloseCode::ProtocolError),
        ("ends_in_frame", "04 1a 02 08", CloseCode::ProtocolError),
        ("body_longer_than_frame", "02 1a 05", CloseCode::ProtocolError),
        ("field_number_zero", "02 00 00", CloseCode::ProtocolError),
    ]
}

#[test]
fn lenient_where_the_protocol_says_so() {
    for (name, bytes, body) in readable() {
        let frames: Vec<_> = frame::split(unhex(bytes), MAX_FRAME_BYTES).collect();
        let [Ok(frame)] = &frames[..] else { panic!("{name}: {frames:?}") };
        assert_eq!(frame::decode(frame.clone()), Ok(body), "{name}");
    }
}

#[test]
fn strict_where_the_protocol_says_so() {
    for (name, bytes, code) in refusals() {
        let mut frames = frame::split(unhex(bytes), MAX_FRAME_BYTES);
        let error = frames.next().unwrap().and_then(frame::decode).unwrap_err();
        let follows = match error {
            FrameError::TooLarge { .. } => CloseCode::FrameTooLarge,
            _ => CloseCode::ProtocolError,
        };
        assert_eq!(follows, code, "{name}: {error}");
    }
}

pub(crate) fn unknown_content() -> Option<Body> {
    let message = pb::Message {
        content: Some(pb::Content { unknown: vec![0x72, 0], ..Default::default() }),
        ..Default::default()
    };
    Some(Body::Push(pb::Push { message: Some(message), ..Default::default() }))
}

pub(crate) fn unknown_reset_reason() -> Option<Body> {
    Some(Body::Reset(pb::Reset { cursor: Some(cursor("", 7, 0)), reason: 99 }))
}

pub(crate) fn unknown_refusal() -> Option<Body> {
    Some(result(2, Outcome::Refused(pb::Refused { kind: 99, ..Default::default() })))
}
