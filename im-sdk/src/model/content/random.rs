//! Property tests of contents from arbitrary writers.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::golden::any_vector;

proptest! {
    /// A decoded content is encoded as bytes that decode to the same content: otherwise a message would
    /// change on its way through devices that forward it.
    #[test]
    fn what_is_read_stays_the_same(bytes in prop_oneof![
        8 => any_vector("messages", "content."),
        1 => vec(any::<u8>(), 0..300).prop_map(Into::into),
    ]) {
        if let Ok(content) = Content::decode(&bytes) {
            let written = content.encode();
            prop_assert_eq!(Content::decode(&written).unwrap(), content.clone());
            // Only fields at their default may be added.
            prop_assert!(written.len() <= 2 * bytes.len() + 16, "{} of {} bytes", written.len(), bytes.len());
            let _ = (content.kind(), content.summary(), content.as_text(), content.as_change(), content.is_empty());
        }
    }

    #[test]
    fn an_unknown_field_beside_anything_is_kept(
        known in any_vector("messages", "content."),
        unknown in vec(any::<u8>(), 0..100),
    ) {
        if Content::decode(&known).is_ok() {
            // Field 11, a kind of a newer version.
            let unknown = [&[0x5a, unknown.len() as u8], &unknown[..]].concat();
            let content = Content::decode(&[&known[..], &unknown].concat()).unwrap();
            let written = content.encode();
            prop_assert!(written.windows(unknown.len()).any(|window| window == unknown));
        }
    }
}

/// Returns a field of bytes.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let key = u16::from(number) << 3 | 2;
    let key = [(key & 0x7f) as u8 | 0x80, (key >> 7) as u8];
    [&key[..], &[value.len() as u8], value].concat()
}

/// Checks a body and a quote without a message id, and empty mentions, each with a field of a later version.
#[test]
fn what_is_unknown_in_an_invalid_part_goes_with_it() {
    for (number, is_kept) in [(10, false), (17, false), (16, true)] {
        let later = field(14, b"of a later version");
        let content = Content::decode(&field(number, &later)).unwrap();
        assert_eq!(content.unknown.windows(later.len()).any(|window| window == later), is_kept, "{number}");
        assert_eq!(Content::decode(&content.encode()).unwrap(), content, "{number}");
    }
}
