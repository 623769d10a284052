//! Unknown fields inside of known messages. Protobuf merges several pieces of one message, so
//! unknown fields are kept in a piece of their own.

use std::borrow::Cow;

use bytes::Buf;
use prost::encoding::{self, WireType};

/// The known fields of a message by number, with the known fields of nested messages.
struct Known(&'static [(u32, Option<&'static Known>)]);

const MEDIA: Known = Known(&[(1, None), (2, None), (3, None), (4, None), (5, None)]);
const TEXT: Known = Known(&[(1, None)]);
const IMAGE: Known = Known(&[(1, Some(&MEDIA)), (2, None), (3, None), (4, Some(&MEDIA)), (5, None)]);
const FILE: Known = Known(&[(1, Some(&MEDIA)), (2, None)]);
const VOICE: Known = Known(&[(1, Some(&MEDIA)), (2, None), (3, None)]);
const VIDEO: Known =
    Known(&[(1, Some(&MEDIA)), (2, None), (3, None), (4, None), (5, Some(&MEDIA)), (6, None)]);
const LOCATION: Known = Known(&[(1, None), (2, None), (3, None), (4, None)]);
const CARD: Known = Known(&[(1, None), (2, None), (3, None), (4, None), (5, None), (6, Some(&MEDIA))]);
/// Without the fields of entries: pieces of a repeated field would be further entries.
const FORWARDED: Known = Known(&[(1, None), (2, None)]);
const NOTICE: Known = Known(&[(1, None), (2, None), (3, None)]);
/// An edit is a `Content`, which keeps its own unknown fields.
const CHANGE: Known = Known(&[
    (1, None),
    (2, None),
    (3, Some(&Known(&[]))),
    (4, None),
    (5, Some(&Known(&[]))),
    (6, Some(&Known(&[(1, None), (2, None)]))),
    (7, Some(&Known(&[(1, None)]))),
    (8, None),
    (9, None),
    (10, None),
]);
const CUSTOM: Known = Known(&[(1, None), (2, None)]);
const MENTIONS: Known = Known(&[(1, None), (2, None)]);
const QUOTE: Known = Known(&[
    (1, None),
    (2, None),
    (3, None),
    (4, None),
    (5, None),
    (6, None),
    (7, None),
    (8, None),
    (9, None),
]);

fn known(tag: u32) -> Option<&'static Known> {
    Some(match tag {
        1 => &TEXT,
        2 => &IMAGE,
        3 => &FILE,
        4 => &VOICE,
        5 => &VIDEO,
        6 => &LOCATION,
        7 => &CARD,
        8 => &FORWARDED,
        9 => &NOTICE,
        10 => &CHANGE,
        15 => &CUSTOM,
        super::MENTIONS => &MENTIONS,
        super::QUOTE => &QUOTE,
        _ => return None,
    })
}

/// Keeps the unknown fields inside of the message that comes next in `buf`, which is not advanced.
pub(super) fn keep(tag: u32, wire_type: WireType, buf: &impl Buf, unknown: &mut Vec<u8>) {
    let Some(known) = known(tag).filter(|_| wire_type == WireType::LengthDelimited) else { return };
    // The buffer is contiguous.
    let mut rest = buf.chunk();
    let Some(message) = take_message(&mut rest) else { return };
    if let Some(inside) = unknown_in(message, known) {
        encoding::bytes::encode(tag, &inside, unknown);
    }
}

/// Returns the fields without those of some numbers.
pub(super) fn without(fields: &[u8], is_left_out: impl Fn(u32) -> bool) -> Cow<'_, [u8]> {
    let mut kept = Vec::new();
    let mut rest = fields;
    while let Some(field) = take_field(&mut rest) {
        if !is_left_out(field.tag) {
            kept.extend_from_slice(field.bytes);
        }
    }
    if kept.len() == fields.len() { Cow::Borrowed(fields) } else { Cow::Owned(kept) }
}

fn unknown_in(message: &[u8], known: &Known) -> Option<Vec<u8>> {
    let mut unknown = Vec::new();
    let mut rest = message;
    while let Some(field) = take_field(&mut rest) {
        match known.0.iter().find(|(tag, _)| *tag == field.tag) {
            None => unknown.extend_from_slice(field.bytes),
            Some((tag, Some(known))) => {
                if let Some(inside) = field.message.and_then(|message| unknown_in(message, known)) {
                    encoding::bytes::encode(*tag, &inside, &mut unknown);
                }
            }
            Some((_, None)) => {}
        }
    }
    (!unknown.is_empty()).then_some(unknown)
}

/// A field in wire format.
struct Field<'a> {
    tag: u32,
    bytes: &'a [u8],
    /// The value, if it is a message, a string or bytes.
    message: Option<&'a [u8]>,
}

/// Takes the next field. Returns `None` at the end, or before an invalid field, which the library
/// reports.
fn take_field<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    let whole = *rest;
    if whole.is_empty() {
        return None;
    }
    let (tag, wire_type) = encoding::decode_key(rest).ok()?;
    let mut message = None;
    match wire_type {
        WireType::Varint => {
            encoding::decode_varint(rest).ok()?;
        }
        WireType::SixtyFourBit => *rest = rest.get(8..)?,
        WireType::ThirtyTwoBit => *rest = rest.get(4..)?,
        WireType::LengthDelimited => message = Some(take_message(rest)?),
        // Groups, which proto3 does not have.
        WireType::StartGroup | WireType::EndGroup => return None,
    }
    Some(Field { tag, bytes: &whole[..whole.len() - rest.len()], message })
}

fn take_message<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(encoding::decode_varint(rest).ok()?).ok()?;
    let message = rest.get(..length)?;
    *rest = &rest[length..];
    Some(message)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor};

    use super::{Known, known};
    use crate::{content::Body, pb};

    const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

    /// Compares the known fields of a message with those of its definition.
    fn check(message: &MessageDescriptor, known: &Known) {
        let mut numbers: Vec<u32> = message.fields().map(|field| field.number()).collect();
        let mut listed: Vec<u32> = known.0.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, numbers, "the fields of {}", message.name());
        for (number, inner) in known.0 {
            let field = message.get_field(*number).unwrap();
            match (inner, nested(&field)) {
                (Some(inner), Some(message)) => check(&message, inner),
                (None, None) => {}
                (inner, _) => {
                    panic!("{}: its own fields are listed: {}", field.full_name(), inner.is_some());
                }
            }
        }
    }

    /// Returns the message in a field, unless it is a `Content`, which keeps its own unknown fields, a map, or repeated: pieces of a
    /// repeated field would be further entries.
    fn nested(field: &FieldDescriptor) -> Option<MessageDescriptor> {
        let kind = field.kind();
        let message = kind.as_message().filter(|message| message.name() != "Content")?;
        (!field.is_list() && !field.is_map()).then(|| message.clone())
    }

    #[test]
    fn the_known_fields_are_those_of_the_definitions() {
        let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
        let content = pool.get_message_by_name("im.v1.Content").unwrap();
        for field in content.fields() {
            // Backends alone write this note, so it is read as it is known.
            let message = nested(&field).filter(|_| field.name() != "amended");
            match (known(field.number()), message) {
                (Some(known), Some(message)) => check(&message, known),
                (known, message) => assert_eq!(known.is_some(), message.is_some(), "{}", field.name()),
            }
        }
    }

    #[test]
    fn what_is_known_is_not_taken_for_unknown() {
        let quote = pb::Quote {
            message_id: 1,
            from: "alice".to_owned(),
            kind: "text".to_owned(),
            excerpt: "hi".to_owned(),
            seq: 2,
            verified: true,
            recalled: true,
            change: 3,
            order: 4,
        };
        let change = pb::Change {
            message_id: 1,
            seq: 2,
            channel: "team".to_owned(),
            between: vec!["alice".to_owned(), "bob".to_owned()],
            order: 3,
            what: None,
        };
        let content = pb::Content {
            body: Some(Body::Change(Box::new(change))),
            quote: Some(Box::new(quote)),
            ..pb::Content::default()
        };
        let read = pb::Content::decode(&*content.encode_to_vec()).unwrap();
        assert_eq!(read, content);
    }
}
