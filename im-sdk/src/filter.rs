//! Which messages are wanted of those that are there: one answer for histories, searches and stores.

use crate::{Kind, proto::pb};

/// Which messages are wanted, of all that are there: those of some kinds, and of some time. Of all kinds and times, unless it says
/// otherwise. [`HistoryQuery`](crate::HistoryQuery) and [`Search`](crate::Search) have one, and hand it to the message store.
///
/// ```
/// use im_sdk::{Filter, Kind};
/// let pictures = Filter::new().kinds([Kind::Image]).since_ms(1_767_225_600_000);
/// assert!(pictures.has_time(1_767_225_600_000) && !pictures.has_time(7));
/// assert!(pictures.has_kind(Some(&Kind::Image)) && !pictures.has_kind(None));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// Only these kinds; of none named, all.
    pub kinds: Vec<Kind>,
    /// Only what was sent then or later, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Only what was sent before.
    pub until_ms: Option<u64>,
}

impl Filter {
    /// Everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only messages of these kinds; of none named, all.
    #[must_use]
    pub fn kinds(self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self { kinds: kinds.into_iter().collect(), ..self }
    }

    /// Only what was sent then or later, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn since_ms(self, unix_ms: u64) -> Self {
        Self { since_ms: Some(unix_ms), ..self }
    }

    /// Only what was sent before, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn until_ms(self, unix_ms: u64) -> Self {
        Self { until_ms: Some(unix_ms), ..self }
    }

    /// Whether a message of this time is wanted.
    pub fn has_time(&self, unix_ms: u64) -> bool {
        self.since_ms.is_none_or(|since| unix_ms >= since)
            && self.until_ms.is_none_or(|until| unix_ms < until)
    }

    /// Whether a message of this kind is wanted. `None`: it has none that can be told.
    pub fn has_kind(&self, kind: Option<&Kind>) -> bool {
        self.kinds.is_empty() || kind.is_some_and(|kind| self.kinds.contains(kind))
    }

    /// As it travels: the kinds, since when, and until when.
    #[cfg(feature = "client")]
    pub(crate) fn encode(&self) -> (Vec<pb::ContentKind>, u64, u64) {
        // Nothing was sent in 1970, and 0 would mean up to now.
        let until = self.until_ms.map_or(0, |until| until.max(1));
        (self.kinds.iter().map(pb::ContentKind::from).collect(), self.since_ms.unwrap_or_default(), until)
    }

    /// What travelled.
    #[cfg(feature = "backend")]
    pub(crate) fn decode(kinds: &[pb::ContentKind], since_ms: u64, until_ms: u64) -> Self {
        let time = |unix_ms: u64| (unix_ms != 0).then_some(unix_ms);
        let kinds = kinds.iter().map(Kind::from).collect();
        Self { kinds, since_ms: time(since_ms), until_ms: time(until_ms) }
    }
}

/// The same for what has a filter, so that it reads as one.
macro_rules! filtered {
    ($($name:ident),+) => {$(
        impl crate::$name {
            /// Only messages of these kinds; of none named, all.
            #[must_use]
            pub fn kinds(self, kinds: impl IntoIterator<Item = Kind>) -> Self {
                Self { filter: self.filter.kinds(kinds), ..self }
            }

            /// Only what was sent then or later, in milliseconds since the Unix epoch.
            #[must_use]
            pub fn since_ms(self, unix_ms: u64) -> Self {
                Self { filter: self.filter.since_ms(unix_ms), ..self }
            }

            /// Only what was sent before, in milliseconds since the Unix epoch.
            #[must_use]
            pub fn until_ms(self, unix_ms: u64) -> Self {
                Self { filter: self.filter.until_ms(unix_ms), ..self }
            }

            /// Only what a filter wants; it replaces what was named before.
            #[must_use]
            pub fn filter(self, filter: Filter) -> Self {
                Self { filter, ..self }
            }
        }
    )+};
}

filtered!(HistoryQuery, Search);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_from_one_moment_up_to_another() {
        let some = Filter::new().since_ms(5).until_ms(7);
        let wanted: Vec<u64> = (0..10).filter(|time| some.has_time(*time)).collect();
        assert_eq!(wanted, [5, 6]);
        assert!(Filter::new().has_time(0) && Filter::new().has_kind(None));
    }

    #[cfg(all(feature = "backend", feature = "client"))]
    #[test]
    fn a_filter_travels() {
        let all =
            [Filter::new(), Filter::new().since_ms(5).until_ms(7).kinds([Kind::Image, Kind::custom("x")])];
        for filter in all {
            let (kinds, since, until) = filter.encode();
            assert_eq!(Filter::decode(&kinds, since, until), filter);
        }
        let none = Filter::new().until_ms(0);
        assert_eq!(none.encode().2, 1, "0 would mean up to now");
    }
}
