//! Publications on the bus of which it is not known yet whether a backend took them.
//!
//! The bus returns publications that no backend takes, without naming them. But it preserves the order of one connection: once a
//! marker has arrived (an envelope of the server to itself), nothing comes back that was handed over before it. So the publications
//! since the last marker are counted. When the number of returned ones equals the number of unanswered ones, the unanswered ones
//! came back.

use std::collections::BTreeSet;

/// The number of a publication that comes back if no backend takes it; 0 for none.
pub(crate) type PublicationId = u64;

/// The maximum number of publications remembered between two markers. Beyond it, nothing is certain until the next marker.
const MAX_OPEN: usize = 16_384;

/// The publications since the last marker.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    last: PublicationId,
    last_marker: u64,
    /// The publications since the last marker that no backend has answered.
    open: BTreeSet<PublicationId>,
    /// The publications that are being handed to the bus, at most one for each lane. They may be before or behind a marker that is
    /// sent now.
    in_hand: BTreeSet<PublicationId>,
    /// The number of publications that have come back since the last marker.
    returned: usize,
    marker: Option<Marker>,
    /// The last publication that was not remembered.
    forgotten: PublicationId,
}

/// A marker in transit.
#[derive(Debug)]
struct Marker {
    number: u64,
    /// All publications up to this one are before the marker, except for those in `in_hand`.
    last: PublicationId,
    /// Publications that may be before or behind the marker.
    in_hand: BTreeSet<PublicationId>,
    /// All publications after this one are behind the marker.
    last_perhaps: PublicationId,
}

/// The fate of publications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Each of them came back: no backend has taken it.
    Returned(BTreeSet<PublicationId>),
    /// Some of them came back, and backends may have taken the others.
    Unclear(BTreeSet<PublicationId>),
}

impl InFlight {
    /// Counts a publication that is about to be handed to the bus.
    pub(crate) fn hand_over(&mut self) -> PublicationId {
        self.last += 1;
        self.in_hand.insert(self.last);
        if self.open.len() < MAX_OPEN {
            self.open.insert(self.last);
        } else {
            self.forgotten = self.last;
        }
        self.last
    }

    /// Notes that the bus has the publication.
    pub(crate) fn handed_over(&mut self, publication: PublicationId) {
        self.in_hand.remove(&publication);
    }

    /// Notes that a backend has answered a part of the publication.
    pub(crate) fn taken(&mut self, publication: PublicationId) -> Option<Fate> {
        if self.open.remove(&publication) { self.all_returned() } else { None }
    }

    /// Notes that a publication came back.
    pub(crate) fn returned(&mut self) -> Option<Fate> {
        self.returned += 1;
        self.all_returned()
    }

    fn all_returned(&mut self) -> Option<Fate> {
        if self.returned == 0 || self.returned != self.open.len() || self.forgotten > 0 {
            return None;
        }
        self.returned = 0;
        Some(Fate::Returned(std::mem::take(&mut self.open)))
    }

    /// Returns whether a marker would decide anything.
    pub(crate) fn is_open(&self) -> bool {
        !self.open.is_empty() || self.forgotten > 0
    }

    /// Returns the number of a marker that is about to be handed to the bus. An earlier marker counts as lost.
    pub(crate) fn mark(&mut self) -> u64 {
        self.last_marker += 1;
        let (number, last) = (self.last_marker, self.last);
        let in_hand = self.in_hand.clone();
        self.marker = Some(Marker { number, last, in_hand, last_perhaps: PublicationId::MAX });
        number
    }

    /// Notes that the bus has the marker.
    pub(crate) fn mark_handed_over(&mut self, number: u64) {
        if let Some(marker) = self.marker.as_mut().filter(|marker| marker.number == number) {
            marker.last_perhaps = self.last;
        }
    }

    /// Notes that a marker has arrived.
    pub(crate) fn marked(&mut self, number: u64) -> Option<Fate> {
        let marker = self.marker.take_if(|marker| marker.number == number)?;
        let Marker { last, in_hand, last_perhaps, .. } = marker;
        if self.forgotten <= last && in_hand.is_empty() {
            self.forgotten = 0;
        }
        let before = self.open.iter().copied().take_while(|publication| *publication <= last_perhaps);
        let fate = (self.returned > 0).then(|| Fate::Unclear(before.collect()));
        self.returned = 0;
        self.open.retain(|publication| *publication > last || in_hand.contains(publication));
        fate
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn handed_over(in_flight: &mut InFlight) -> PublicationId {
        let publication = in_flight.hand_over();
        in_flight.handed_over(publication);
        publication
    }

    #[test]
    fn what_comes_back_alone_is_known() {
        let mut in_flight = InFlight::default();
        let (one, other) = (handed_over(&mut in_flight), handed_over(&mut in_flight));
        assert_eq!(in_flight.returned(), None, "either may have been taken");
        assert_eq!(in_flight.returned(), Some(Fate::Returned([one, other].into())));
        assert!(!in_flight.is_open());
    }

    #[test]
    fn an_answer_tells_which_one_came_back() {
        let mut in_flight = InFlight::default();
        let (one, other) = (handed_over(&mut in_flight), handed_over(&mut in_flight));
        assert_eq!(in_flight.returned(), None);
        assert_eq!(in_flight.taken(one), Some(Fate::Returned([other].into())));
        let third = handed_over(&mut in_flight);
        assert_eq!(in_flight.returned(), Some(Fate::Returned([third].into())));
    }

    #[test]
    fn nothing_before_a_marker_comes_back_behind_it() {
        let mut in_flight = InFlight::default();
        handed_over(&mut in_flight);
        let marker = in_flight.mark();
        assert_eq!(in_flight.marked(marker), None, "it was taken");
        assert_eq!(in_flight.marked(marker), None, "one is not heard twice");
        let two = [handed_over(&mut in_flight), handed_over(&mut in_flight)];
        let (lost, marker) = (in_flight.mark(), in_flight.mark());
        in_flight.mark_handed_over(marker);
        assert_eq!(in_flight.marked(lost), None, "it came too late");
        let third = handed_over(&mut in_flight);
        assert_eq!(in_flight.returned(), None);
        assert_eq!(in_flight.marked(marker), Some(Fate::Unclear(two.into())));
        assert_eq!(in_flight.returned(), Some(Fate::Returned([third].into())));
    }

    #[test]
    fn one_in_hand_may_be_before_or_behind_a_marker() {
        let mut in_flight = InFlight::default();
        let in_hand = in_flight.hand_over();
        let marker = in_flight.mark();
        in_flight.handed_over(in_hand);
        assert_eq!(in_flight.marked(marker), None);
        assert!(in_flight.is_open());
        let other = handed_over(&mut in_flight);
        assert_eq!(in_flight.returned(), None, "it may be either");
        assert_eq!(in_flight.taken(in_hand), Some(Fate::Returned([other].into())));
    }

    #[test]
    fn too_many_are_not_remembered_and_not_mistaken() {
        let mut in_flight = InFlight::default();
        for _ in 0..=MAX_OPEN {
            handed_over(&mut in_flight);
        }
        for _ in 0..MAX_OPEN {
            assert_eq!(in_flight.returned(), None);
        }
        let marker = in_flight.mark();
        assert!(matches!(in_flight.marked(marker), Some(Fate::Unclear(some)) if some.len() == MAX_OPEN));
        let next = handed_over(&mut in_flight);
        assert_eq!(in_flight.returned(), Some(Fate::Returned([next].into())));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// A lane counts its next publication.
        HandOver(usize),
        /// A lane's publication is handed to the bus.
        Send(usize),
        Mark,
        SendMark,
        /// The bus passes the next publication to a backend, or returns it.
        Pass(bool),
        /// The server receives the next returned publication.
        Receive,
        Answer(usize),
    }

    enum OnBus {
        Publication(PublicationId),
        Marker(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..2_usize).prop_map(Step::HandOver),
            4 => (0..2_usize).prop_map(Step::Send),
            1 => Just(Step::Mark),
            1 => Just(Step::SendMark),
            4 => any::<bool>().prop_map(Step::Pass),
            4 => Just(Step::Receive),
            2 => (0..3_usize).prop_map(Step::Answer),
        ]
    }

    proptest! {
        /// Whatever lanes, bus and backends do, a publication that a backend took never counts as returned.
        #[test]
        fn what_was_taken_is_never_said_to_have_come_back(steps in proptest::collection::vec(step(), 0..200)) {
            let mut in_flight = InFlight::default();
            let (mut lanes, mut marker) = ([None; 2], None);
            let (mut bus, mut back) = (std::collections::VecDeque::new(), std::collections::VecDeque::new());
            let (mut taken, mut unanswered) = (BTreeSet::new(), Vec::new());
            for step in steps {
                let fate = match step {
                    Step::HandOver(lane) if lanes[lane].is_none() => {
                        lanes[lane] = Some((in_flight.hand_over(), false));
                        None
                    }
                    Step::Send(lane) => {
                        // First the bus gets it; that it has it is noted some time later.
                        match lanes[lane].take() {
                            Some((publication, false)) => {
                                bus.push_back(OnBus::Publication(publication));
                                lanes[lane] = Some((publication, true));
                            }
                            Some((publication, true)) => in_flight.handed_over(publication),
                            None => {}
                        }
                        None
                    }
                    Step::Mark if marker.is_none() => {
                        marker = Some(in_flight.mark());
                        None
                    }
                    Step::SendMark => {
                        if let Some(number) = marker.take() {
                            bus.push_back(OnBus::Marker(number));
                            in_flight.mark_handed_over(number);
                        }
                        None
                    }
                    Step::Pass(takes) => {
                        match bus.pop_front() {
                            Some(OnBus::Publication(publication)) if takes => {
                                taken.insert(publication);
                                unanswered.push(publication);
                            }
                            Some(other) => back.push_back(other),
                            None => {}
                        }
                        None
                    }
                    Step::Receive => match back.pop_front() {
                        Some(OnBus::Publication(_)) => in_flight.returned(),
                        Some(OnBus::Marker(number)) => in_flight.marked(number),
                        None => None,
                    },
                    Step::Answer(index) if index < unanswered.len() => {
                        let publication = unanswered.remove(index);
                        in_flight.taken(publication)
                    }
                    _ => None,
                };
                if let Some(Fate::Returned(returned)) = fate {
                    prop_assert!(returned.is_disjoint(&taken), "{returned:?} of {taken:?}");
                }
            }
        }
    }
}
