//! Validates UTF-8 in messages of several frames (RFC 6455, sections 5.6 and 8.1): a frame may end inside a character.

/// The longest character.
const MAX_CHARACTER_BYTES: usize = 4;

/// Returns whether a text is valid UTF-8 or, if it is not complete, the beginning of valid UTF-8.
///
/// The first `known` bytes were valid before and are not checked again, so that the cost does not depend on the number of frames.
pub(super) fn is_valid_prefix(text: &[u8], known: usize, is_complete: bool) -> bool {
    let from = last_character(&text[..known]);
    match std::str::from_utf8(&text[from..]) {
        Ok(_) => true,
        // The end of a character is missing.
        Err(error) => !is_complete && error.error_len().is_none(),
    }
}

/// Returns the position of the last character, complete or not.
fn last_character(text: &[u8]) -> usize {
    let begins = |byte: &u8| byte & 0xc0 != 0x80;
    let last = text.iter().rev().take(MAX_CHARACTER_BYTES).position(begins);
    last.map_or(text.len(), |back| text.len() - 1 - back)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns whether a text passes that comes in frames of these lengths.
    fn passes(text: &[u8], lengths: &[usize]) -> bool {
        let mut known = 0;
        for length in lengths {
            let end = (known + length).min(text.len());
            if !is_valid_prefix(&text[..end], known, false) {
                return false;
            }
            known = end;
        }
        is_valid_prefix(text, known, true)
    }

    #[test]
    fn characters_may_be_cut_anywhere() {
        // One to four bytes each.
        let text = "aäअ𐍈".as_bytes();
        for cut in 0..=text.len() {
            assert!(passes(text, &[cut]), "{cut}");
        }
        assert!(passes(text, &[1; 10]));
        assert!(passes(b"", &[]) && passes(b"", &[0, 0]));
    }

    #[test]
    fn what_is_wrong_is_noticed_in_its_frame() {
        let wrong: [&[u8]; 6] = [
            &[0x80],
            &[0xff],
            // More bytes than needed.
            &[0xc0, 0x80],
            // A surrogate.
            &[0xed, 0xa0],
            // Beyond the last character there is.
            &[0xf4, 0x90],
            // A character that breaks off.
            &[0xe0, 0xa4, b'a'],
        ];
        for bytes in wrong {
            let text = [b"good ", bytes].concat();
            assert!(is_valid_prefix(&text[..5], 0, false));
            assert!(!is_valid_prefix(&text, 5, false), "{bytes:x?}");
        }
    }

    #[test]
    fn a_text_ends_with_a_whole_character() {
        let text = "ä".as_bytes();
        assert!(is_valid_prefix(&text[..1], 0, false));
        assert!(!is_valid_prefix(&text[..1], 0, true));
        assert!(!is_valid_prefix(&text[..1], 1, true), "also when nothing is added");
    }

    proptest! {
        #[test]
        fn frames_make_no_difference(
            text in prop_oneof![
                any::<String>().prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..8),
                // Nearly right: most bytes begin or continue characters.
                prop::collection::vec(prop::sample::select(vec![0x61, 0x80, 0xa0, 0xbf, 0xc3, 0xe2, 0xed, 0xf0, 0xf4]), 0..12),
            ],
            lengths in prop::collection::vec(0..5_usize, 0..8),
        ) {
            prop_assert_eq!(passes(&text, &lengths), std::str::from_utf8(&text).is_ok());
        }
    }
}
