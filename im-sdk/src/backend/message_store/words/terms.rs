//! Terms in a database's index of texts.
//!
//! An index of words finds nothing in languages without spaces. The index therefore holds pairs of neighbouring
//! characters: in any language, a text that contains a word contains all its pairs. Entries that the index offers are
//! compared once more, because the pairs may also occur apart from each other.

use std::collections::BTreeSet;

use super::{Words, fold};
use crate::cluster::LogId;

/// The version of the terms in stores. It rises with every change of the terms of a text.
#[cfg(feature = "postgres")]
pub(in crate::backend::message_store) const VERSION: i64 = 3;

impl Words {
    /// Returns the terms that the index has for every text with these words.
    pub(in crate::backend::message_store) fn terms(&self) -> BTreeSet<Term> {
        self.0.iter().flat_map(|word| runs(word).into_iter().flat_map(|run| query_terms(&run))).collect()
    }
}

/// A condition on terms.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::backend::message_store) enum Term {
    /// This term.
    Exact(String),
    /// Any term with this prefix.
    Prefix(String),
}

/// Returns the indexed terms of a text: each pair of neighbouring characters, and each last
/// character, so that every character begins a term. Of ASCII only lower-case letters and digits
/// are included.
pub(in crate::backend::message_store) fn index_terms(text: &str) -> BTreeSet<String> {
    let text = fold(text);
    let runs = runs(&text);
    let pairs = runs.iter().flat_map(|run| run.windows(2).map(String::from_iter));
    let last = runs.iter().filter_map(|run| run.last().map(ToString::to_string));
    pairs.chain(last).collect()
}

/// Returns a term that all texts of a log get, so that a search does not scan those of other logs.
/// No text contains it: ASCII's `_` is in no term of a text. Two logs may have the same term, so
/// readers of an index check the log too.
pub(in crate::backend::message_store) fn log_term(log: &LogId) -> String {
    // FNV-1a, because it must never change.
    let hash = log.to_string().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("_{hash:016x}")
}

fn query_terms(run: &[char]) -> Vec<Term> {
    match run {
        [single] => vec![Term::Prefix(single.to_string())],
        _ => run.windows(2).map(|pair| Term::Exact(String::from_iter(pair))).collect(),
    }
}

/// Returns runs of neighbouring indexed characters.
fn runs(text: &str) -> Vec<Vec<char>> {
    let runs = text.split(|char: char| !is_indexed(char)).filter(|run| !run.is_empty());
    runs.map(|run| run.chars().collect()).collect()
}

/// Returns `true` for letters and digits, and beyond ASCII also for signs such as emoji.
fn is_indexed(char: char) -> bool {
    char.is_alphanumeric() || !(char.is_ascii() || char.is_whitespace() || char.is_control())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        /// The index must offer every text that matches.
        #[test]
        fn whatever_matches_has_the_terms(text in ".{0,40}", at in 0_usize..40, length in 1_usize..8) {
            let part: String = text.chars().skip(at).take(length).collect();
            // A part of a text can be another letter than the same part with the mark behind it.
            if let Some(words) = Words::parse(&part).ok().filter(|words| words.are_in(&text)) {
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

        /// Terms are put into statements unquoted.
        #[test]
        fn terms_need_no_quoting(text in any::<String>()) {
            let is_plain = |char: char| {
                char.is_ascii_lowercase() || char.is_ascii_digit() || !char.is_ascii() && !char.is_whitespace()
            };
            prop_assert!(index_terms(&text).iter().all(|term| term.chars().all(is_plain)));
        }
    }
}
