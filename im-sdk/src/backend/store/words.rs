//! What of a message is searched, and when it is found: the same in every store.

#[cfg(any(feature = "sql", test))]
pub(super) mod terms;

use std::collections::BTreeSet;

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
}

/// The text of a message that is searched: its own, or a caption, a title, a name. `None`: it has none.
pub(super) fn searched(message: &pb::Message) -> Option<String> {
    let content = Content::from(message.content.clone()?);
    let text = content.summary();
    (!text.is_empty()).then(|| text.to_owned())
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
}
