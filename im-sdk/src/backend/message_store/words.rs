//! The text of messages that is searched, and its comparison with words, alike in every store.

#[cfg(any(feature = "postgres", test))]
pub(super) mod terms;

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;

use crate::{InvalidSearch, MAX_SEARCH_BYTES, MAX_SEARCH_WORDS, content::Content, proto::pb};

/// Words of a search, prepared for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(Vec<String>);

impl Words {
    /// Parses the words of a typed text.
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

    /// Returns `true` if a text has all words.
    pub fn are_in(&self, text: &str) -> bool {
        let text = fold(text);
        self.0.iter().all(|word| text.contains(word))
    }
}

/// Returns the searched text of a message: its own, or a caption, a title or a name. Returns `None`
/// if it has none.
pub(super) fn searched(message: &pb::Message) -> Option<String> {
    let content = Content::from(message.content.clone()?);
    let text = content.summary();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Folds a text, so that differences in case, accents and vowel signs, the form of apostrophes,
/// quotation marks and dashes, and compatibility forms (wide characters, ligatures, old ideographs)
/// do not matter. Marks that make another letter, as in Japanese or Thai, stay. Stores hold folded
/// texts: a change here raises [`terms::VERSION`].
fn fold(text: &str) -> String {
    let small = text.nfkd().flat_map(char::to_lowercase);
    // Recomposed, so that a Korean syllable is not found by its first letters.
    small.filter(|char| !is_passed_over(*char)).flat_map(as_typed).nfc().collect()
}

/// Returns `true` for characters that people leave out, or do not see.
fn is_passed_over(char: char) -> bool {
    match char {
        // Accents of Latin, Greek and Cyrillic letters.
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' => true,
        // Hebrew: cantillation and vowel points.
        '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}'..='\u{5c2}' | '\u{5c4}'..='\u{5c5}' | '\u{5c7}' => true,
        // Arabic: vowel signs, the hamza over and under letters, signs of the Quran, and the
        // character that stretches a word.
        '\u{610}'..='\u{61a}' | '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}' => true,
        '\u{6d6}'..='\u{6dc}' | '\u{6df}'..='\u{6e4}' | '\u{6e7}'..='\u{6e8}' | '\u{6ea}'..='\u{6ed}' => true,
        // Variation selectors, and marks of word breaks, joins and directions.
        '\u{fe00}'..='\u{fe0f}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => false,
    }
}

/// Replaces letters that Unicode does not decompose although people type them without the mark, and
/// typographic signs by those of keyboards.
fn as_typed(char: char) -> impl Iterator<Item = char> {
    let (first, second) = match char {
        'đ' => ('d', None),
        'ı' => ('i', None),
        'ł' => ('l', None),
        'ø' => ('o', None),
        'ς' => ('σ', None),
        'ß' => ('s', Some('s')),
        'æ' => ('a', Some('e')),
        'œ' => ('o', Some('e')),
        // Arabic, and Persian as typed on other keyboards.
        '\u{671}' => ('\u{627}', None),
        '\u{629}' => ('\u{647}', None),
        '\u{649}' | '\u{6cc}' => ('\u{64a}', None),
        '\u{6a9}' => ('\u{643}', None),
        '\u{660}'..='\u{669}' => (digit(char, 0x660), None),
        '\u{6f0}'..='\u{6f9}' => (digit(char, 0x6f0), None),
        '\u{2018}'..='\u{201b}' | '\u{2032}' | '\u{2bb}'..='\u{2bd}' | '`' | '\u{b4}' | '\u{5f3}' => {
            ('\'', None)
        }
        '\u{201c}'..='\u{201f}' | '\u{2033}' | '\u{ab}' | '\u{bb}' | '\u{5f4}' => ('"', None),
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{5be}' => ('-', None),
        other => (other, None),
    };
    std::iter::once(first).chain(second)
}

/// Returns the ASCII digit for a digit of a script with this zero.
fn digit(char: char, zero: u32) -> char {
    char::from_digit(u32::from(char).wrapping_sub(zero), 10).unwrap_or(char)
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
            ("السَّلَامُ عَلَيْكُمْ", "السلام عليكم"),
            ("السلام عليكم", "السَّلَامُ عَلَيْكُمْ"),
            ("أهلًا وسهلًا، إلى آخر القرآن", "اهلا وسهلا الى اخر القران"),
            ("مـــرحـــبا", "مرحبا"),
            ("مدرسة", "مدرسه"),
            ("على", "علي"),
            ("کتاب\u{200c}های فارسی", "كتابهاي فارسي"),
            ("٢٠٢٦ ۱۲", "2026 12"),
            ("שָׁלוֹם עוֹלָם", "שלום עולם"),
            ("שלום", "שָׁלוֹם"),
            ("בית־ספר צה״ל ג׳ירפה", "בית-ספר צה\"ל ג'ירפה"),
            ("I don’t, you don‘t, rock ʼnʼ roll", "don't 'n'"),
            ("we don't", "don’t"),
            ("„so“, “so”, «so»", "\"so\""),
            ("2020–2026, a — b, non‑breaking −1", "2020-2026 - non-breaking -1"),
            ("2020-2026", "2020—2026"),
            ("I \u{2764} it", "\u{2764}\u{fe0f}"),
            ("I \u{2764}\u{fe0f} it", "\u{2764}"),
            ("long\u{ad}word, zero\u{200b}width", "longword zerowidth"),
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
