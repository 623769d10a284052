//! Every message and every field of the `.proto` files is in a vector.

use std::collections::BTreeSet;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use crate::{golden::vectors, pool::POOL};

#[test]
fn no_field_is_missing() {
    let mut missing = BTreeSet::new();
    for message in POOL.all_messages() {
        // The entries of a map are no messages of their own.
        let fields = message.fields().filter(|_| !message.is_map_entry());
        missing.extend(fields.map(|field| field.full_name().to_owned()));
    }
    for kind in POOL.all_enums() {
        let set = kind.values().filter(|value| value.number() != 0);
        missing.extend(set.map(|value| value.full_name().to_owned()));
    }
    for vector in vectors() {
        remove_what_is_set(&vector.dynamic(), &mut missing);
    }
    assert!(missing.is_empty(), "in no vector: {missing:#?}");
}

pub(crate) fn remove_what_is_set(message: &DynamicMessage, missing: &mut BTreeSet<String>) {
    assert_eq!(
        message.unknown_fields().count(),
        0,
        "the generated types write what the .proto files do not tell"
    );
    for (field, value) in message.fields() {
        missing.remove(field.full_name());
        let values = if let Value::List(values) = value { &values[..] } else { std::slice::from_ref(value) };
        for value in values {
            match (value, field.kind()) {
                (Value::Message(message), _) => remove_what_is_set(message, missing),
                (Value::EnumNumber(number), Kind::Enum(kind)) => {
                    missing.remove(kind.get_value(*number).unwrap().full_name());
                }
                _ => {}
            }
        }
    }
}

/// Types that share the bytes of another type: the type of servers or backends, the type of devices,
/// and whether all fields must be there.
const SAME_BYTES: [(&str, &str, bool); 12] = [
    ("DeviceFrame", "Frame", false),
    ("PublishHead", "Publish", false),
    ("RequestHead", "Request", false),
    ("SignalHead", "Signal", false),
    ("RawFrame", "Frame", false),
    ("RawResponse", "Response", false),
    ("RawPush", "Push", true),
    ("RawHistory", "History", true),
    ("RawFound", "Found", true),
    ("RawJoinedRoom", "JoinedRoom", true),
    ("RawConversations", "Conversations", true),
    ("RawConversation", "Conversation", true),
];

#[test]
fn types_for_the_same_bytes_have_the_same_fields() {
    let message = |name: &str| POOL.get_message_by_name(&format!("im.v1.{name}")).unwrap();
    for (name, original, whole) in SAME_BYTES {
        let (other, original) = (message(name), message(original));
        for field in other.fields() {
            let same = original.get_field(field.number()).filter(|same| is_same(&field, same));
            assert!(same.is_some(), "{} is not in {}", field.full_name(), original.name());
        }
        assert!(!whole || other.fields().count() == original.fields().count(), "{name} lacks a field");
    }
    let named: BTreeSet<_> = SAME_BYTES.iter().map(|(name, ..)| *name).collect();
    let is_other = |name: &str| name.starts_with("Raw") || name.ends_with("Head") || name == "DeviceFrame";
    for message in POOL.all_messages().filter(|message| is_other(message.name())) {
        assert!(named.contains(message.name()), "{} belongs into `SAME_BYTES`", message.name());
    }
}

/// Returns whether two fields have the same bytes: a message may be read as bytes, or as another type.
fn is_same(other: &FieldDescriptor, original: &FieldDescriptor) -> bool {
    let kinds = match (other.kind(), original.kind()) {
        (Kind::Bytes, Kind::Message(_)) => true,
        (Kind::Message(other), Kind::Message(original)) => is_message_same(&other, &original),
        (other, original) => other == original,
    };
    kinds && other.name() == original.name() && other.cardinality() == original.cardinality()
}

fn is_message_same(other: &MessageDescriptor, original: &MessageDescriptor) -> bool {
    other == original || SAME_BYTES.iter().any(|(o, r, _)| (*o, *r) == (other.name(), original.name()))
}
