//! Arbitrary messages, generated from the `.proto` files, so that no message and no field is left
//! out.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use im_proto::pb::{self, frame::Body};
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    strategy::Union,
};
use prost::Message as _;
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, OneofDescriptor, Value,
};

use crate::pool::POOL;

/// Returns a frame of any kind with any content.
pub(crate) fn body() -> impl Strategy<Value = Body> {
    let frame = Maker::default().of("im.v1.Frame", NESTING).prop_map(|frame| frame.encode_to_vec());
    frame.prop_filter_map("a frame has a body", |bytes| pb::Frame::decode(&bytes[..]).unwrap().body)
}

/// Returns the bytes of any message of any type: on the wire, and stored.
pub(crate) fn message() -> impl Strategy<Value = Bytes> {
    let mut maker = Maker::default();
    let types = POOL.all_messages().filter(|message| !message.is_map_entry());
    let any = types.map(|message| maker.message(message, NESTING)).collect::<Vec<_>>();
    Union::new(any).prop_map(|message| message.encode_to_vec().into())
}

/// The maximum nesting of a message in itself: contents in contents.
const NESTING: usize = 2;

/// Creates strategies, each once: they share their parts.
#[derive(Default)]
struct Maker {
    made: BTreeMap<(String, usize), BoxedStrategy<DynamicMessage>>,
}

impl Maker {
    fn of(&mut self, name: &str, nesting: usize) -> BoxedStrategy<DynamicMessage> {
        self.message(POOL.get_message_by_name(name).unwrap(), nesting)
    }

    fn message(&mut self, message: MessageDescriptor, nesting: usize) -> BoxedStrategy<DynamicMessage> {
        let key = (message.full_name().to_owned(), nesting);
        if let Some(made) = self.made.get(&key) {
            return made.clone();
        }
        let mut parts = Vec::new();
        for field in message.fields() {
            if field.containing_oneof().is_none_or(|oneof| oneof.is_synthetic()) {
                parts.extend(self.field(field, nesting).map(|field| option::weighted(0.6, field).boxed()));
            }
        }
        for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            parts.push(self.oneof(&oneof, nesting));
        }
        let is_content = message.name() == "Content";
        let made = (parts, option::weighted(0.2, unknown_field()))
            .prop_map(move |(fields, unknown)| {
                let mut made = DynamicMessage::new(message.clone());
                for (field, value) in fields.into_iter().flatten() {
                    made.set_field(&field, value);
                }
                // Only contents keep unknown fields.
                if let Some(unknown) = unknown.filter(|_| is_content) {
                    made.merge(&unknown[..]).unwrap();
                }
                made
            })
            .boxed();
        self.made.insert(key, made.clone());
        made
    }

    /// Sets one of the fields, rarely none. A frame always has a body.
    fn oneof(
        &mut self,
        oneof: &OneofDescriptor,
        nesting: usize,
    ) -> BoxedStrategy<Option<(FieldDescriptor, Value)>> {
        let fields: Vec<_> = oneof.fields().filter_map(|field| self.field(field, nesting)).collect();
        let one = Union::new(fields);
        match oneof.parent_message().name() {
            "Frame" => one.prop_map(Some).boxed(),
            _ => option::weighted(0.9, one).boxed(),
        }
    }

    /// Returns `None` if messages would be nested too deeply.
    fn field(
        &mut self,
        field: FieldDescriptor,
        nesting: usize,
    ) -> Option<BoxedStrategy<(FieldDescriptor, Value)>> {
        let value = if field.is_map() {
            // The only kind of map: texts by texts.
            let entries = btree_map(text(), text(), 0..3);
            let value = |(key, value)| (MapKey::String(key), Value::String(value));
            entries.prop_map(move |entries| Value::Map(entries.into_iter().map(value).collect())).boxed()
        } else {
            let value = self.value(field.kind(), nesting)?;
            match field.is_list() {
                true => vec(value, 0..3).prop_map(Value::List).boxed(),
                false => value,
            }
        };
        Some(value.prop_map(move |value| (field.clone(), value)).boxed())
    }

    fn value(&mut self, kind: Kind, nesting: usize) -> Option<BoxedStrategy<Value>> {
        Some(match kind {
            Kind::Message(message) => {
                let inside = if message.name() == "Content" { nesting.checked_sub(1)? } else { nesting };
                self.message(message, inside).prop_map(Value::Message).boxed()
            }
            Kind::Enum(kind) => enumerated(&kind),
            Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            Kind::Int32 | Kind::Sint32 => number(any::<i32>()).prop_map(Value::I32).boxed(),
            Kind::Int64 => number(any::<i64>()).prop_map(Value::I64).boxed(),
            Kind::Uint32 => number(any::<u32>()).prop_map(Value::U32).boxed(),
            Kind::Uint64 | Kind::Fixed64 => number(any::<u64>()).prop_map(Value::U64).boxed(),
            Kind::String => text().prop_map(Value::String).boxed(),
            Kind::Bytes => bytes().prop_map(Value::Bytes).boxed(),
            other => panic!("{other:?} is new to the protocol: say here what it can be"),
        })
    }
}

/// Returns numbers, small ones among them, which are more often meaningful.
fn number<T: std::fmt::Debug + From<u8> + 'static>(
    any: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<T> {
    prop_oneof![(0..4_u8).prop_map(T::from), any].boxed()
}

/// Returns existing numbers of an enum, and others.
fn enumerated(kind: &EnumDescriptor) -> BoxedStrategy<Value> {
    let known: Vec<_> = kind.values().map(|value| value.number()).collect();
    prop_oneof![4 => proptest::sample::select(known), 1 => any::<i32>()].prop_map(Value::EnumNumber).boxed()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z]{0,8}", 1 => "\\PC{0,40}"]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![4 => vec(any::<u8>(), 0..20), 1 => vec(any::<u8>(), 0..300)].prop_map(Bytes::from)
}

/// Returns field 11 of a content, an unknown kind, with any value.
fn unknown_field() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..100).prop_map(|data| [&[0x5a, data.len() as u8], &data[..]].concat())
}

/// Finds each field, and each number of an enum, that can be reached from here: `im.v1.Push.seq`.
fn reachable(from: &MessageDescriptor, found: &mut BTreeSet<String>) {
    for field in from.fields() {
        if !found.insert(field.full_name().to_owned()) {
            continue;
        }
        match field.kind() {
            Kind::Message(message) if !field.is_map() => reachable(&message, found),
            Kind::Enum(kind) => {
                found.extend(kind.values().map(|value| value.full_name().to_owned()));
            }
            _ => {}
        }
    }
}

/// Finds the fields and enum numbers that a message has.
fn present(message: &DynamicMessage, found: &mut BTreeSet<String>) {
    for (field, value) in message.fields() {
        found.insert(field.full_name().to_owned());
        let values = if let Value::List(values) = value { &values[..] } else { std::slice::from_ref(value) };
        for value in values {
            match (value, field.kind()) {
                (Value::Message(message), _) => present(message, found),
                (Value::EnumNumber(number), Kind::Enum(kind)) => {
                    found.extend(kind.get_value(*number).map(|value| value.full_name().to_owned()));
                }
                _ => {}
            }
        }
    }
}

#[test]
fn everything_that_a_frame_can_have_is_generated() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    /// Enough to find the rarest field, also when fields are added.
    const FRAMES: usize = 10_000;
    let descriptor = POOL.get_message_by_name("im.v1.Frame").unwrap();
    let (mut missing, mut sizes) = (BTreeSet::new(), Vec::new());
    reachable(&descriptor, &mut missing);
    // Zero is the value of an unset field.
    missing.retain(|name| !name.ends_with("_UNSPECIFIED"));
    let (strategy, mut runner) = (body(), TestRunner::deterministic());
    for _ in 0..FRAMES {
        let bytes = im_proto::frame::encode(strategy.new_tree(&mut runner).unwrap().current());
        let frame = im_proto::frame::split(bytes.clone(), usize::MAX).next().unwrap().unwrap();
        let mut found = BTreeSet::new();
        present(&DynamicMessage::decode(descriptor.clone(), frame).unwrap(), &mut found);
        missing.retain(|name| !found.contains(name));
        sizes.push(bytes.len());
    }
    assert!(missing.is_empty(), "never generated: {missing:#?}");
    let small = sizes.iter().filter(|size| **size <= crate::LIMIT).count();
    let (few, most) = (FRAMES * 7 / 10, FRAMES * 98 / 100);
    assert!((few..most).contains(&small), "{small} of {FRAMES} are below the limit: most, and not all");
}
