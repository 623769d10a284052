//! The origin of a message: the local id of its send, sealed so that only the device that sent it can read it.

use ring::digest::{Context, SHA256};

use crate::client::LocalId;

/// Seals the local id of a send, with the store's installation as the key. To everybody else, including the user's other devices,
/// the origin looks like a random number. Opening it needs no memory, so a device recognises its own messages after any restart,
/// as long as it has its store.
///
/// The mapping is a permutation of all 64-bit numbers, made of four Feistel rounds. So two sends never have the same origin, and
/// one send always has the same, as repetitions of a publish require. In rare cases the origin is 0, which means none in the
/// protocol.
pub(super) fn seal(installation: u64, local_id: LocalId) -> u64 {
    let (mut left, mut right) = halves(local_id.as_u64());
    for round in 0..ROUNDS {
        (left, right) = (right, left ^ mix(installation, round, right));
    }
    join(left, right)
}

/// Opens an origin. Returns `None` if it is not of this store, whose next local id is `next_local_id`.
pub(super) fn open(installation: u64, origin: u64, next_local_id: u64) -> Option<LocalId> {
    if installation == 0 || origin == 0 {
        return None;
    }
    let (mut left, mut right) = halves(origin);
    for round in (0..ROUNDS).rev() {
        (left, right) = (right ^ mix(installation, round, left), left);
    }
    let local_id = join(left, right);
    (1..next_local_id).contains(&local_id).then(|| LocalId::from_u64(local_id))
}

fn mix(key: u64, round: u8, half: u32) -> u32 {
    let mut context = Context::new(&SHA256);
    context.update(&key.to_le_bytes());
    context.update(&[round]);
    context.update(&half.to_le_bytes());
    let digest = context.finish();
    let bytes = digest.as_ref();
    u32::from_le_bytes(std::array::from_fn(|index| bytes[index]))
}

fn halves(number: u64) -> (u32, u32) {
    ((number >> 32) as u32, number as u32)
}

fn join(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

const ROUNDS: u8 = 4;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const KEY: u64 = 0x0123_4567_89ab_cdef;

    #[test]
    fn its_own_store_opens_what_it_has_sealed() {
        let mut seen = BTreeSet::new();
        for number in (1..200).chain([u64::from(u32::MAX), 1 << 40, u64::MAX - 1]) {
            let origin = seal(KEY, LocalId::from_u64(number));
            assert_eq!(open(KEY, origin, u64::MAX), Some(LocalId::from_u64(number)));
            assert!(seen.insert(origin));
        }
    }

    #[test]
    fn nobody_else_does() {
        for number in 1..2000 {
            let origin = seal(KEY, LocalId::from_u64(number));
            assert_eq!(open(KEY + 1, origin, 1 << 32), None, "another store");
            assert_eq!(open(KEY, origin, number), None, "it was never given");
            assert_eq!(open(0, origin, u64::MAX), None, "a store of an earlier version");
        }
        assert_eq!(open(KEY, 0, u64::MAX), None);
    }
}
