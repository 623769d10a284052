//! Damage to bytes in transit.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{any, concatenation};

/// Returns random bytes, and damaged frames, which get past the first checks.
pub(crate) fn garbage() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        1 => vec(any::<u8>(), 0..600).prop_map(Bytes::from),
        4 => damaged(vec(any::body(), 1..4).prop_map(|bodies| concatenation(&bodies))),
    ]
}

/// Returns the same for messages between backends and servers, and for stored ones.
pub(crate) fn garbage_of_any_type() -> impl Strategy<Value = Bytes> {
    damaged(any::message())
}

fn damaged(whole: impl Strategy<Value = Bytes>) -> impl Strategy<Value = Bytes> {
    (whole, vec(accident(), 1..6)).prop_map(|(whole, accidents)| {
        let mut bytes = whole.to_vec();
        for accident in accidents {
            accident.happen(&mut bytes);
        }
        bytes.into()
    })
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
