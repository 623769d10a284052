//! What of a message is searched, and how: the same in every store.
//!
//! An index that knows words alone finds nothing in languages without spaces. So what is indexed are the pairs of
//! neighbouring characters: whatever holds a word holds all pairs of it, in any language. What an index gives is looked
//! at once more, since pairs can also stand apart from each other.

use std::collections::BTreeSet;

use crate::{InvalidSearch, MAX_SEARCH_BYTES, MAX_SEARCH_WORDS, cluster::LogId, proto::pb};

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
        let words: BTreeSet<String> =
            text.split_whitespace().map(fold).filter(|word| !word.is_empty()).collect();
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

    /// What an index has of every text with these words.
    pub(super) fn terms(&self) -> BTreeSet<Term> {
        self.0.iter().flat_map(|word| runs(word).into_iter().flat_map(|run| query_terms(&run))).collect()
    }
}

/// What an index is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Term {
    /// This term.
    Exact(String),
    /// Any term that begins so.
    Prefix(String),
}

/// What an index holds of a text: each pair of neighbouring characters, and each last character, so that every character
/// is at the beginning of a term. Of ASCII there are lower-case letters and digits only.
pub(super) fn index_terms(text: &str) -> BTreeSet<String> {
    let text = fold(text);
    let runs = runs(&text);
    let pairs = runs.iter().flat_map(|run| run.windows(2).map(String::from_iter));
    let last = runs.iter().filter_map(|run| run.last().map(ToString::to_string));
    pairs.chain(last).collect()
}

/// A term that all texts of a log have, so that a search does not go through those of others. No text has it itself: ASCII's
/// `_` is in no term of a text. Two logs can have the same; whoever reads an index looks at the log too.
pub(super) fn log_term(log: &LogId) -> String {
    // FNV-1a: it has to be the same for ever, no more.
    let hash = log.to_string().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("_{hash:016x}")
}

/// The text of a message that is searched; `None`: it has none.
pub(super) fn searched(message: &pb::Message) -> Option<&str> {
    match message.content.as_ref()?.body.as_ref()? {
        pb::content::Body::Text(text) => Some(&text.text),
        // The application's own bytes: nobody here can read them.
        pb::content::Body::Custom(_) => None,
    }
}

fn query_terms(run: &[char]) -> Vec<Term> {
    match run {
        [single] => vec![Term::Prefix(single.to_string())],
        _ => run.windows(2).map(|pair| Term::Exact(String::from_iter(pair))).collect(),
    }
}

/// Neighbours that are indexed together.
fn runs(text: &str) -> Vec<Vec<char>> {
    let runs = text.split(|char: char| !is_indexed(char)).filter(|run| !run.is_empty());
    runs.map(|run| run.chars().collect()).collect()
}

/// Letters and digits, and beyond ASCII also signs such as emoji.
fn is_indexed(char: char) -> bool {
    char.is_alphanumeric() || !(char.is_ascii() || char.is_whitespace() || char.is_control())
}

/// The same for large and small letters, and for Latin ones with and without accents.
fn fold(text: &str) -> String {
    let chars = text.chars().flat_map(char::to_lowercase);
    chars.filter(|char| !('\u{300}'..='\u{36f}').contains(char)).map(without_accent).collect()
}

fn without_accent(char: char) -> char {
    match char {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => 'c',
        'ď' => 'd',
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => 'e',
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => 'g',
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' => 'i',
        'ĺ' | 'ļ' | 'ľ' => 'l',
        'ñ' | 'ń' | 'ņ' | 'ň' => 'n',
        'ò'..='ö' | 'ō' | 'ŏ' | 'ő' => 'o',
        'ŕ' | 'ŗ' | 'ř' => 'r',
        'ś' | 'ŝ' | 'ş' | 'š' => 's',
        'ţ' | 'ť' => 't',
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn what_is_no_search_is_refused() {
        assert_eq!(Words::parse(" \n\u{3000}"), Err(InvalidSearch::Empty));
        assert_eq!(Words::parse("\u{301}"), Err(InvalidSearch::Empty));
        assert_eq!(Words::parse(&"x".repeat(MAX_SEARCH_BYTES + 1)), Err(InvalidSearch::TooLong));
        let many: Vec<_> = (0..=MAX_SEARCH_WORDS).map(|number| number.to_string()).collect();
        assert_eq!(Words::parse(&many.join(" ")), Err(InvalidSearch::TooManyWords));
        assert!(Words::parse(&"again ".repeat(20)).is_ok(), "each word once");
    }

    #[test]
    fn terms_are_pairs_and_last_characters() {
        assert_eq!(
            index_terms("Hey you").into_iter().collect::<Vec<_>>(),
            ["ey", "he", "ou", "u", "y", "yo"]
        );
        assert_eq!(index_terms("天气, x").into_iter().collect::<Vec<_>>(), ["x", "天气", "气"]);
        assert_eq!(index_terms("%_ '\""), BTreeSet::new());
        assert_eq!(log_term(&LogId::Inbox("bob".parse().unwrap())).len(), 17);
    }

    proptest! {
        /// An index must offer whatever is to be found.
        #[test]
        fn whatever_matches_has_the_terms(text in ".{0,40}", at in 0_usize..40, length in 1_usize..8) {
            let part: String = text.chars().skip(at).take(length).collect();
            if let Ok(words) = Words::parse(&part) {
                prop_assert!(words.are_in(&text), "{part:?} in {text:?}");
                let terms = index_terms(&text);
                for term in words.terms() {
                    let is_there = match &term {
                        Term::Exact(term) => terms.contains(term),
                        Term::Prefix(prefix) => terms.iter().any(|term| term.starts_with(prefix)),
                    };
                    prop_assert!(is_there, "{term:?} of {part:?} in {text:?}");
                }
            }
        }

        /// Terms stand in statements as they are.
        #[test]
        fn terms_need_no_quoting(text in any::<String>()) {
            let is_plain = |char: char| {
                char.is_ascii_lowercase() || char.is_ascii_digit() || !char.is_ascii() && !char.is_whitespace()
            };
            prop_assert!(index_terms(&text).iter().all(|term| term.chars().all(is_plain)));
        }
    }
}
