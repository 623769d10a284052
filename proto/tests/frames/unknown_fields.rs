//! Unknown fields inside of contents survive decoding, for every kind that the `.proto` files have.

use im_proto::pb::Content;
use prost::{Message as _, encoding};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::pool::POOL;

/// The number of a field that no message has.
const UNKNOWN: u32 = 1_000;

/// Fields of `Content` whose messages do not keep unknown fields: only backends write them.
const NOT_KEPT: [&str; 1] = ["amended"];

/// Returns a message with every known field, and one unknown field in it and in each nested message;
/// and the unknown fields alone, as they are to be kept.
fn filled(message: &MessageDescriptor) -> (Vec<u8>, Vec<u8>) {
    let (mut bytes, mut unknown) = (Vec::new(), Vec::new());
    let mut fields: Vec<FieldDescriptor> = message.fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    for field in fields {
        let number = field.number();
        match field.kind() {
            // Pieces of a repeated field would be further entries, and a nested content keeps its own.
            Kind::Message(nested) if field.is_list() || field.is_map() || is_content(&nested) => {
                encoding::bytes::encode(number, &Vec::new(), &mut bytes);
            }
            Kind::Message(nested) => {
                let (inside, kept) = filled(&nested);
                encoding::bytes::encode(number, &inside, &mut bytes);
                encoding::bytes::encode(number, &kept, &mut unknown);
            }
            Kind::String | Kind::Bytes => encoding::bytes::encode(number, &b"a".to_vec(), &mut bytes),
            Kind::Fixed64 => encoding::fixed64::encode(number, &7, &mut bytes),
            Kind::Uint32 | Kind::Uint64 | Kind::Int64 | Kind::Sint32 | Kind::Bool | Kind::Enum(_) => {
                encoding::uint64::encode(number, &1, &mut bytes);
            }
            other => panic!("a field of the type {other:?} is new: {}", field.full_name()),
        }
    }
    for piece in [&mut bytes, &mut unknown] {
        encoding::uint64::encode(UNKNOWN, &7, piece);
    }
    (bytes, unknown)
}

fn is_content(message: &MessageDescriptor) -> bool {
    message.full_name() == "im.v1.Content"
}

#[test]
fn unknown_fields_of_every_kind_are_kept_and_known_ones_are_not_repeated() {
    let content = POOL.get_message_by_name("im.v1.Content").unwrap();
    let mut checked = 0;
    for field in content.fields().filter(|field| !NOT_KEPT.contains(&field.name())) {
        let Kind::Message(message) = field.kind() else { continue };
        let (inside, kept) = filled(&message);
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        encoding::bytes::encode(field.number(), &inside, &mut bytes);
        encoding::bytes::encode(field.number(), &kept, &mut expected);
        let decoded = Content::decode(&bytes[..]).unwrap();
        assert_eq!(decoded.unknown, expected, "{}", field.full_name());
        checked += 1;
    }
    assert_eq!(checked, 13, "the 11 kinds, mentions and quote");
}
