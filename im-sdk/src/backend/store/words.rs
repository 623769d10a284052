//! What of a message is searched, and when it is found: the same in every store.

#[cfg(any(feature = "postgres", test))]
pub(super) mod terms;

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;

use crate::{Content, InvalidSearch, MAX_SEARCH_BYTES, MAX_SEARCH_WORDS, proto::pb};

/// Words to look for, ready to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(Vec<String>);

impl Words {
    /// The words of a text that somebody typed.
    ///
    /// # Errors
    /// [`InvalidSearch`].
    pub fn parse(text: &str) -> Result<Self, InvalidSearch> {
        if text.len() > MAX_SEARCH_BYTES {
            return Err(InvalidSearch::TooLong);
        }
        let words: BTreeSet<String> = fold(text).split_whitespace().map(str::to_owned).collect();
        match words.len() {
            0 => Err(InvalidSearch::Empty),
            1..=MAX_SEARCH_WORDS => Ok(Self(words.into_iter().collect())),
            _ => Err(InvalidSearch::TooManyWords),
        }
    }

    /// Whether a text has all of them.
    pub fn are_in(&self, text: &str) -> bool {
        let text = fold(text);
        self.0.iter().all(|word| text.contains(word))
    }
}

/// The text of a message that is searched: its own, or a caption, a title, a name. `None`: it has none.
pub(super) fn searched(message: &pb::Message) -> Option<String> {
    let content = Content::from(message.content.clone()?);
    let text = content.summary();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The same for large and small letters, with and without accents, and for characters that are others in another form: wide,
/// ligatures, the old code points of ideographs. Marks that make another letter, as in Japanese or Thai, stay. Stores hold
/// what this makes: who changes it raises [`terms::VERSION`].
fn fold(text: &str) -> String {
    let small = text.nfkd().flat_map(char::to_lowercase);
    // Put together again, so that a Korean syllable is not found by its first letters.
    small.filter(|char| !is_accent(*char)).flat_map(without_stroke).nfc().collect()
}

/// The marks of Latin, Greek and Cyrillic letters.
fn is_accent(char: char) -> bool {
    matches!(char, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}')
}

/// Letters that Unicode does not take for others with an accent, and people do.
fn without_stroke(char: char) -> impl Iterator<Item = char> {
    let (first, second) = match char {
        'đ' => ('d', None),
        'ı' => ('i', None),
        'ł' => ('l', None),
        'ø' => ('o', None),
        'ς' => ('σ', None),
        'ß' => ('s', Some('s')),
        'æ' => ('a', Some('e')),
        'œ' => ('o', Some('e')),
        other => (other, None),
    };
    std::iter::once(first).chain(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Words {
        Words::parse(text).unwrap()
    }

    #[test]
    fn words_are_found_wherever_they_are() {
        let text = "Héllo wörld, 今天天气很好 100% 😀!";
        for found in [
            "hello",
            "WORLD",
            "ell",
            "o",
            "天气",
            "气",
            "world hello",
            "100%",
            "%",
            "😀",
            "d,",
            "e\u{301}llo",
        ] {
            assert!(words(found).are_in(text), "{found}");
        }
        for missing in ["hello mars", "天好", "10%", "_orld", "h*llo", "h%o"] {
            assert!(!words(missing).are_in(text), "{missing}");
        }
    }

    #[test]
    fn letters_are_found_however_they_are_written() {
        for (text, found) in [
            ("Tiếng Việt, Đà Nẵng", "tieng viet da nang"),
            ("tieng viet", "TIẾNG VIỆT"),
            ("Straße, Müller, Übergröße", "strasse muller ubergrosse"),
            ("STRASSE", "straße"),
            ("İstanbul, Iğdır, ısı", "istanbul igdir isi"),
            ("ISPARTA", "ısparta"),
            ("Łódź, smørrebrød, cœur, Ærø", "lodz smorrebrod coeur aero"),
            ("Ёлка, Αθήνα, ΟΔΟΣ", "елка αθηνα οδος"),
            ("ＡＢＣ １２３ ﬁn ①", "abc 123 fin 1"),
            ("ｶﾞｷﾞ", "ガギ"),
            ("\u{f900}", "\u{8c48}"),
            ("\u{1112}\u{1161}\u{11ab}국", "한국"),
        ] {
            assert!(words(found).are_in(text), "{found} in {text}");
        }
        for (text, missing) in
            [("각", "가"), ("かき", "がき"), ("がき", "かき"), ("天气", "天氣"), ("กิน", "กน")]
        {
            assert!(!words(missing).are_in(text), "{missing} in {text}");
        }
    }

    #[test]
    fn what_is_no_search_is_refused() {
        assert_eq!(Words::parse(" \n\u{3000}"), Err(InvalidSearch::Empty));
        assert_eq!(Words::parse("\u{301} \u{b4}"), Err(InvalidSearch::Empty));
        assert_eq!(Words::parse(&"x".repeat(MAX_SEARCH_BYTES + 1)), Err(InvalidSearch::TooLong));
        let many: Vec<_> = (0..=MAX_SEARCH_WORDS).map(|number| number.to_string()).collect();
        assert_eq!(Words::parse(&many.join(" ")), Err(InvalidSearch::TooManyWords));
        assert!(Words::parse(&"again ".repeat(20)).is_ok(), "each word once");
    }
}
