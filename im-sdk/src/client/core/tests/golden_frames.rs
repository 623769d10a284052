//! The frames of the protocol's golden vectors, every kind with every field, as they are and with other numbers in them.

use std::{collections::BTreeMap, sync::LazyLock};

use bytes::{Buf as _, BufMut as _};
use proptest::{prelude::*, sample::Index, strategy::ValueTree as _};
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

use super::*;

/// Another number for one of a frame's fields.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    at: Index,
    pub(super) number: u64,
}

pub(super) fn edit() -> impl Strategy<Value = Edit> {
    let number = prop_oneof![
        8 => 0..8_u64,
        1 => any::<u64>(),
        1 => Just(u64::from(u32::MAX)),
        1 => Just(i64::MAX as u64),
        4 => Just(u64::MAX - 1),
        8 => Just(u64::MAX),
    ];
    (any::<Index>(), number).prop_map(|(at, number)| Edit { at, number })
}

/// Returns a golden frame without its length. All kinds are equally likely.
pub(super) fn golden(kind: &Index, which: &Index) -> &'static Bytes {
    static GOLDEN: LazyLock<Vec<Vec<Bytes>>> = LazyLock::new(|| by_kind().into_values().collect());
    let frames: &Vec<Bytes> = kind.get(&GOLDEN);
    which.get(frames)
}

/// Returns the frames of servers by kind. The frames of devices, which a server may send, too, count as one kind.
fn by_kind() -> BTreeMap<String, Vec<Bytes>> {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../../../proto/vectors/frames.json")).unwrap();
    let mut kinds: BTreeMap<String, Vec<Bytes>> = BTreeMap::new();
    for vector in vectors["frames"].as_array().unwrap() {
        let text = |field: &str| vector[field].as_str().unwrap();
        let hex = text("hex");
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes: Bytes = (0..hex.len()).step_by(2).map(byte).collect();
        let mut parts = text("name").split('.');
        let kind = match parts.next().unwrap() {
            "response" => parts.next().unwrap(),
            "hello" | "publish" | "request" | "sync" | "ack" | "signal" => "device",
            kind => kind,
        };
        let frames = frame::split(bytes, usize::MAX).map(|frame| frame.unwrap());
        kinds.entry(kind.to_owned()).or_default().extend(frames);
    }
    kinds
}

/// Returns a frame with some of its numbers replaced.
pub(super) fn edited(frame: &Bytes, edits: &[Edit]) -> Bytes {
    let mut fields = parse(frame.clone()).expect("a golden frame");
    for edit in edits {
        let mut numbers = Vec::new();
        fields.iter_mut().for_each(|(_, value)| value.numbers(&mut numbers));
        if !numbers.is_empty() {
            **edit.at.get_mut(&mut numbers) = edit.number;
        }
    }
    let mut bytes = Vec::new();
    write(&fields, &mut bytes);
    bytes.into()
}

/// A field of any message, as encoded.
enum Value {
    Varint(u64),
    Fixed(u64),
    Bytes(Bytes),
    Message(Vec<(u32, Value)>),
}

impl Value {
    fn numbers<'a>(&'a mut self, into: &mut Vec<&'a mut u64>) {
        match self {
            Self::Varint(number) | Self::Fixed(number) => into.push(number),
            Self::Bytes(_) => {}
            Self::Message(fields) => fields.iter_mut().for_each(|(_, value)| value.numbers(into)),
        }
    }
}

/// Parses a message. Returns `None` if the bytes are not one.
fn parse(mut bytes: Bytes) -> Option<Vec<(u32, Value)>> {
    let mut fields = Vec::new();
    while bytes.has_remaining() {
        let (tag, wire) = decode_key(&mut bytes).ok()?;
        let value = match wire {
            WireType::Varint => Value::Varint(decode_varint(&mut bytes).ok()?),
            WireType::SixtyFourBit => Value::Fixed(bytes.try_get_u64_le().ok()?),
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
                let inner = (length <= bytes.len()).then(|| bytes.split_to(length))?;
                // A text that happens to parse as a message is treated as one. It is written as the same field.
                parse(inner.clone()).map_or(Value::Bytes(inner), Value::Message)
            }
            _ => return None,
        };
        fields.push((tag, value));
    }
    Some(fields)
}

fn write(fields: &[(u32, Value)], into: &mut Vec<u8>) {
    for (tag, value) in fields {
        match value {
            Value::Varint(number) => {
                encode_key(*tag, WireType::Varint, into);
                encode_varint(*number, into);
            }
            Value::Fixed(number) => {
                encode_key(*tag, WireType::SixtyFourBit, into);
                into.put_u64_le(*number);
            }
            Value::Bytes(bytes) => write_bytes(*tag, bytes, into),
            Value::Message(fields) => {
                let mut bytes = Vec::new();
                write(fields, &mut bytes);
                write_bytes(*tag, &bytes, into);
            }
        }
    }
}

fn write_bytes(tag: u32, bytes: &[u8], into: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, into);
    encode_varint(bytes.len() as u64, into);
    into.extend_from_slice(bytes);
}

#[test]
fn golden_frames_are_read_and_written_as_they_are_and_their_numbers_change() {
    let kinds = by_kind();
    assert!(kinds.len() > 20, "{:?}", kinds.keys());
    for frame in kinds.into_values().flatten() {
        assert_eq!(edited(&frame, &[]), frame);
    }
    let hint = frame::encode(pb::frame::Body::SyncHint(pb::SyncHint { within_ms: 7, rolled_back: true }));
    let hint = frame::split(hint, usize::MAX).next().unwrap().unwrap();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let edits: Vec<Edit> = (0..20)
        .map(|_| Edit { number: u64::MAX, ..edit().new_tree(&mut runner).unwrap().current() })
        .collect();
    let Some(pb::frame::Body::SyncHint(hint)) = frame::decode(edited(&hint, &edits)).unwrap() else {
        panic!("another frame")
    };
    assert_eq!(hint.within_ms, u32::MAX);
}
