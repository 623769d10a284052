//! A filter for messages, used by history, search and stores alike.

use crate::{Kind, proto::pb};

/// A filter for messages by kind and time. The default accepts all.
/// [`HistoryQuery`](crate::HistoryQuery) and [`Search`](crate::Search) have one and pass it to the
/// message store.
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
    /// The accepted kinds; empty for all.
    pub kinds: Vec<Kind>,
    /// The earliest time of sending, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// The time before which messages were sent, in milliseconds since the Unix epoch.
    pub until_ms: Option<u64>,
}

impl Filter {
    /// Creates a filter that accepts all messages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts only these kinds; an empty list accepts all.
    #[must_use]
    pub fn kinds(self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self { kinds: kinds.into_iter().collect(), ..self }
    }

    /// Accepts only messages sent at this time or later, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn since_ms(self, unix_ms: u64) -> Self {
        Self { since_ms: Some(unix_ms), ..self }
    }

    /// Accepts only messages sent before this time, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn until_ms(self, unix_ms: u64) -> Self {
        Self { until_ms: Some(unix_ms), ..self }
    }

    /// Returns whether a message of this time is accepted.
    pub fn has_time(&self, unix_ms: u64) -> bool {
        self.since_ms.is_none_or(|since| unix_ms >= since)
            && self.until_ms.is_none_or(|until| unix_ms < until)
    }

    /// Returns whether a message of this kind is accepted; `None` for a message of unknown kind.
    pub fn has_kind(&self, kind: Option<&Kind>) -> bool {
        self.kinds.is_empty() || kind.is_some_and(|kind| self.kinds.contains(kind))
    }

    /// Encodes the filter for the wire: the kinds, the start and the end.
    #[cfg(feature = "client")]
    pub(crate) fn encode(&self) -> (Vec<pb::ContentKind>, u64, u64) {
        // No message was sent in 1970, and 0 would mean "up to now".
        let until = self.until_ms.map_or(0, |until| until.max(1));
        (self.kinds.iter().map(pb::ContentKind::from).collect(), self.since_ms.unwrap_or_default(), until)
    }

    /// Decodes the filter from the wire.
    #[cfg(feature = "backend")]
    pub(crate) fn decode(kinds: &[pb::ContentKind], since_ms: u64, until_ms: u64) -> Self {
        let time = |unix_ms: u64| (unix_ms != 0).then_some(unix_ms);
        let kinds = kinds.iter().map(Kind::from).collect();
        Self { kinds, since_ms: time(since_ms), until_ms: time(until_ms) }
    }
}

/// Implements the methods of a filter for a type that has one.
macro_rules! filtered {
    ($($name:ident),+) => {$(
        impl crate::$name {
            /// Accepts only these kinds; an empty list accepts all.
            #[must_use]
            pub fn kinds(self, kinds: impl IntoIterator<Item = Kind>) -> Self {
                Self { filter: self.filter.kinds(kinds), ..self }
            }

            /// Accepts only messages sent at this time or later, in milliseconds since the Unix
            /// epoch.
            #[must_use]
            pub fn since_ms(self, unix_ms: u64) -> Self {
                Self { filter: self.filter.since_ms(unix_ms), ..self }
            }

            /// Accepts only messages sent before this time, in milliseconds since the Unix epoch.
            #[must_use]
            pub fn until_ms(self, unix_ms: u64) -> Self {
                Self { filter: self.filter.until_ms(unix_ms), ..self }
            }

            /// Sets the filter. It replaces the previous one.
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
