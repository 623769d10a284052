//! The file of golden vectors, compared with what is written and read.

use std::{env, fs};

use bytes::Bytes;
use im_proto::{frame, limits::MAX_FRAME_BYTES, pb};
use prost::Message;
use prost_reflect::DynamicMessage;

use crate::{
    lenient::{readable, refusals},
    list::{frames, messages},
    pool::POOL,
};

pub(crate) const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/frames.json");

#[test]
fn golden_bytes() {
    let written = render();
    if env::var_os("UPDATE_VECTORS").is_some() {
        fs::write(VECTORS, &written).unwrap();
    }
    let golden = fs::read_to_string(VECTORS).unwrap();
    for (number, (golden, written)) in golden.lines().zip(written.lines()).enumerate() {
        assert_eq!(golden, written, "line {} of {VECTORS}; see the top of tests/frames/main.rs", number + 1);
    }
    assert_eq!(golden, written);
}

#[test]
fn everything_reads_back() {
    for (name, body) in frames() {
        let bytes = frame::encode(body.clone());
        let read: Vec<_> =
            frame::split(bytes, MAX_FRAME_BYTES).map(|frame| frame::decode(frame.unwrap())).collect();
        assert_eq!(read, [Ok(Some(body))], "{name}");
    }
    for vector in messages() {
        assert!((vector.reads_back)(&vector.bytes), "{}", vector.name);
    }
}

/// Clients start from the JSON, so it must produce the same bytes.
#[test]
fn json_means_the_bytes() {
    for vector in vectors() {
        let descriptor = POOL.get_message_by_name(&vector.kind).unwrap();
        let json = vector.json();
        let mut reader = serde_json::Deserializer::from_str(&json);
        let read = DynamicMessage::deserialize(descriptor, &mut reader).unwrap();
        assert_eq!(hex(&read.encode_to_vec()), hex(&vector.bytes), "{}", vector.name);
    }
}

pub(crate) type ReadsBack = Box<dyn Fn(&[u8]) -> bool>;

/// One message with its encodings.
pub(crate) struct Vector {
    name: &'static str,
    /// The full name of its type, such as `im.v1.Frame`.
    kind: String,
    /// The encoded message, without a length prefix.
    bytes: Bytes,
    reads_back: ReadsBack,
}

pub(crate) fn message<M: Message + Default + PartialEq + 'static>(name: &'static str, message: M) -> Vector {
    let kind = std::any::type_name::<M>().rsplit("::").next().unwrap();
    Vector {
        name,
        kind: format!("im.v1.{kind}"),
        bytes: message.encode_to_vec().into(),
        reads_back: Box::new(move |bytes| M::decode(bytes).as_ref() == Ok(&message)),
    }
}

impl Vector {
    pub(crate) fn dynamic(&self) -> DynamicMessage {
        let descriptor = POOL.get_message_by_name(&self.kind).unwrap();
        DynamicMessage::decode(descriptor, self.bytes.clone()).unwrap()
    }

    /// Returns protobuf's own JSON mapping, with fields in the order of their numbers.
    fn json(&self) -> String {
        serde_json::to_string(&self.dynamic()).unwrap()
    }
}

pub(crate) fn frame_vectors() -> Vec<Vector> {
    frames().into_iter().map(|(name, body)| message(name, pb::Frame { body: Some(body) })).collect()
}

pub(crate) fn vectors() -> impl Iterator<Item = Vector> {
    frame_vectors().into_iter().chain(messages())
}

/// Renders the whole file, one entry to a line, so that differences are readable.
pub(crate) fn render() -> String {
    let frames = frames().into_iter().zip(frame_vectors()).map(|((name, body), vector)| {
        format!("\"name\":\"{name}\",\"hex\":\"{}\",\"json\":{}", hex(&frame::encode(body)), vector.json())
    });
    let messages = messages().into_iter().map(|vector| {
        let Vector { name, kind, bytes, .. } = &vector;
        format!(
            "\"name\":\"{name}\",\"type\":\"{kind}\",\"hex\":\"{}\",\"json\":{}",
            hex(bytes),
            vector.json()
        )
    });
    let readable = readable().into_iter().map(|(name, bytes, body)| {
        let json = message(name, pb::Frame { body }).json();
        format!("\"name\":\"{name}\",\"hex\":\"{}\",\"json\":{json}", hex(&unhex(bytes)))
    });
    let refused = refusals().into_iter().map(|(name, bytes, code)| {
        format!("\"name\":\"{name}\",\"hex\":\"{}\",\"code\":{}", hex(&unhex(bytes)), code.code())
    });
    let sections = [
        section("frames", frames),
        section("messages", messages),
        section("readable", readable),
        section("refused", refused),
    ];
    format!("{{\n{}\n}}\n", sections.join(",\n"))
}

pub(crate) fn section(name: &str, entries: impl Iterator<Item = String>) -> String {
    let entries: Vec<String> = entries.map(|entry| format!("    {{{entry}}}")).collect();
    format!("  \"{name}\": [\n{}\n  ]", entries.join(",\n"))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Bytes {
    text.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}
