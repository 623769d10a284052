//! Property tests of contents as anybody may write them.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::golden::any_vector;

proptest! {
    /// A content that was read is written as something that reads the same: otherwise a message
    /// would change on its way through devices that forward it.
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
