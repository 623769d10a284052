//! Golden vectors of the protocol as seeds of property tests: every message and every field is in
//! one of them.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::Value;

const VECTORS: &str = include_str!("../../proto/vectors/frames.json");

/// Returns the entries of a list whose names have this prefix, as bytes that may be concatenated:
/// frames with their length prefixes, other messages without.
pub(crate) fn vectors(list: &str, prefix: &str) -> Vec<Bytes> {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let entries = file[list].as_array().unwrap().iter();
    let wanted = entries.filter(|entry| entry["name"].as_str().unwrap().starts_with(prefix));
    let found: Vec<_> = wanted.map(|entry| unhex(entry["hex"].as_str().unwrap())).collect();
    assert!(!found.is_empty(), "no {prefix}* among the {list}");
    found
}

/// Returns one of them, unchanged or with some random damage.
pub(crate) fn any_vector(list: &str, prefix: &str) -> impl Strategy<Value = Bytes> + use<> {
    let one = proptest::sample::select(vectors(list, prefix));
    (one, vec(accident(), 0..4)).prop_map(|(bytes, accidents)| {
        let mut bytes = bytes.to_vec();
        for (at, change, new) in accidents {
            let at = at.index(bytes.len().max(1)).min(bytes.len());
            match change {
                _ if bytes.is_empty() => bytes = new,
                0 => bytes[at] ^= 1 << (new.len() % 8),
                1 => drop(bytes.splice(at..at, new)),
                2 => drop(bytes.drain(at..(at + new.len()).min(bytes.len()))),
                3 => bytes[at] = new.first().copied().unwrap_or_default(),
                _ => bytes.truncate(at),
            }
        }
        bytes.into()
    })
}

fn accident() -> impl Strategy<Value = (Index, u8, Vec<u8>)> {
    (any::<Index>(), 0..5_u8, vec(any::<u8>(), 0..12))
}

fn unhex(text: &str) -> Bytes {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}
