//! Connections that are not let in yet: between their first packet and `Welcome`. Nobody knows who they are, so they are
//! bounded in number, in all and from one address, and in what they have sent, beside the time that they have
//! (`hello_timeout`). How often an address connects can be bounded too.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{config::Limits, occurrences::Occurrences};

/// A QUIC client has to prove its address first (RFC 9000, section 8.1.2) while more than this arrive: who forges addresses
/// costs no memory then, and everybody else a round trip more.
const TRUSTED: usize = 1024;

/// What each may have sent whatever others hold, so that a crowd that sends much keeps out nobody who does not: a usual request,
/// or a usual `Hello`.
const OWN_BYTES: usize = 2 * 1024;

const SECOND: Duration = Duration::from_secs(1);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Arrivals {
    max: usize,
    max_per_address: usize,
    max_per_second: u32,
    max_bytes: usize,
    /// What all together hold beyond [`OWN_BYTES`] each.
    bytes: AtomicUsize,
    state: Mutex<State>,
    refused: Occurrences,
}

#[derive(Debug, Default)]
struct State {
    all: usize,
    /// Of the addresses from where something arrives. Empty where only the number in all is bounded.
    by_address: HashMap<IpAddr, usize>,
    /// How often addresses have connected in the current second. Empty where that is not bounded; else it has no more
    /// entries than connections can come in a second.
    connects: HashMap<IpAddr, u32>,
    /// When that second began.
    second: Option<Instant>,
}

impl Arrivals {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            max: limits.max_handshakes,
            max_per_address: limits.max_handshakes_per_address,
            max_per_second: limits.max_connects_per_second_per_address,
            max_bytes: limits.max_handshake_bytes,
            bytes: AtomicUsize::new(0),
            state: Mutex::default(),
            refused: Occurrences::default(),
        }
    }

    /// A place for a connection until it is let in or gone, which is when the guard is dropped. `None`: there is none.
    pub(crate) fn try_enter(self: &Arc<Self>, peer: IpAddr) -> Option<Arrival> {
        self.try_enter_at(peer, Instant::now())
    }

    fn try_enter_at(self: &Arc<Self>, peer: IpAddr, now: Instant) -> Option<Arrival> {
        let address = network(peer);
        if self.is_allowed(address, now) {
            return Some(Arrival { arrivals: Arc::clone(self), address, peer });
        }
        if let Some(times) = self.refused.note() {
            tracing::warn!(%peer, times, all = self.refused.all(), "connections are refused: too many arrive at once");
        }
        None
    }

    fn note_refused(&self) {
        if let Some(times) = self.refused.note() {
            tracing::warn!(
                times,
                all = self.refused.all(),
                "connections are refused: too much waits of those who arrive"
            );
        }
    }

    fn is_allowed(&self, address: IpAddr, now: Instant) -> bool {
        let mut state = self.lock();
        let is_rare = self.max_per_second == 0 || state.connects(address, now) <= self.max_per_second;
        is_rare && state.all < self.max && state.enter(address, self.max_per_address)
    }

    /// For what one of them sends.
    pub(crate) fn unheard(self: &Arc<Self>) -> Unheard {
        Unheard { arrivals: Arc::clone(self), held: 0 }
    }

    /// Whether so many arrive that addresses may be forged.
    pub(crate) fn are_many(&self) -> bool {
        self.lock().all > TRUSTED.min(self.max / 2)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How often an address has connected in this second, this time included.
    fn connects(&mut self, address: IpAddr, now: Instant) -> u32 {
        if self.second.is_none_or(|second| now.saturating_duration_since(second) >= SECOND) {
            self.second = Some(now);
            self.connects.clear();
        }
        let connects = self.connects.entry(address).or_default();
        *connects = connects.saturating_add(1);
        *connects
    }

    /// False: as many as may be are there from this address. A maximum of 0 is none.
    fn enter(&mut self, address: IpAddr, max_per_address: usize) -> bool {
        if max_per_address > 0 {
            let there = self.by_address.entry(address).or_default();
            if *there >= max_per_address {
                return false;
            }
            *there += 1;
        }
        self.all += 1;
        true
    }

    fn leave(&mut self, address: IpAddr) {
        self.all -= 1;
        if let Some(there) = self.by_address.get_mut(&address) {
            *there -= 1;
            if *there == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

/// Whom an address stands for. Of IPv6, everybody has a /64 at least.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// What is held of a connection that is not let in yet. Dropped, it is nothing any more.
#[derive(Debug)]
pub(crate) struct Unheard {
    arrivals: Arc<Arrivals>,
    /// Beyond [`OWN_BYTES`].
    held: usize,
}

impl Unheard {
    /// Notes how much is held now. False: there is no room for more.
    pub(crate) fn try_hold(&mut self, bytes: usize) -> bool {
        let wanted = bytes.saturating_sub(OWN_BYTES);
        let all = &self.arrivals.bytes;
        if let Some(more) = wanted.checked_sub(self.held) {
            let add = |held: usize| held.checked_add(more).filter(|sum| *sum <= self.arrivals.max_bytes);
            if more > 0 && all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_err() {
                self.arrivals.note_refused();
                return false;
            }
        } else {
            all.fetch_sub(self.held - wanted, Ordering::Relaxed);
        }
        self.held = wanted;
        true
    }

    /// Nothing is held just now.
    pub(crate) fn release(&mut self) {
        self.arrivals.bytes.fetch_sub(std::mem::take(&mut self.held), Ordering::Relaxed);
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        self.release();
    }
}

/// A place among those who arrive.
#[derive(Debug)]
pub(crate) struct Arrival {
    arrivals: Arc<Arrivals>,
    address: IpAddr,
    peer: IpAddr,
}

impl Arrival {
    /// Where it comes from.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.arrivals.lock().leave(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(max: usize, max_per_address: usize) -> Arc<Arrivals> {
        let limits =
            Limits { max_handshakes: max, max_handshakes_per_address: max_per_address, ..Limits::default() };
        Arc::new(Arrivals::new(&limits))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_bounded_and_come_free() {
        let arrivals = arrivals(2, 0);
        let peer = address("192.0.2.1");
        let (first, second) = (arrivals.try_enter(peer), arrivals.try_enter(peer));
        assert!(first.is_some() && second.is_some());
        assert!(arrivals.try_enter(address("192.0.2.2")).is_none());
        assert!(arrivals.lock().by_address.is_empty(), "addresses do not matter");
        drop(first);
        assert!(arrivals.try_enter(peer).is_some());
    }

    #[test]
    fn one_address_leaves_room_for_others() {
        let arrivals = arrivals(10, 2);
        let (greedy, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let there = [arrivals.try_enter(greedy), arrivals.try_enter(greedy)];
        assert!(arrivals.try_enter(greedy).is_none());
        let forms = [address("::ffff:192.0.2.1"), greedy];
        assert!(forms.iter().all(|form| arrivals.try_enter(*form).is_none()), "it is the same one");
        assert!(arrivals.try_enter(other).is_some());
        drop(there);
        assert!(arrivals.lock().by_address.is_empty(), "nobody is remembered");
        assert!(arrivals.try_enter(greedy).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let arrivals = arrivals(10, 1);
        let _first = arrivals.try_enter(address("2001:db8:0:1::1")).unwrap();
        assert!(arrivals.try_enter(address("2001:db8:0:1:ffff::2")).is_none());
        assert!(arrivals.try_enter(address("2001:db8:0:2::1")).is_some());
    }

    #[test]
    fn who_connects_too_often_stays_out_for_that_second() {
        let limits = Limits { max_connects_per_second_per_address: 3, ..Limits::default() };
        let arrivals = Arc::new(Arrivals::new(&limits));
        let (hasty, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let start = Instant::now();
        let let_in = |peer, ms| {
            let now = start + Duration::from_millis(ms);
            (0..10).filter(|_| arrivals.try_enter_at(peer, now).is_some()).count()
        };
        assert_eq!((let_in(hasty, 0), let_in(other, 500)), (3, 3));
        assert_eq!(let_in(hasty, 999), 0);
        assert_eq!(let_in(hasty, 1000), 3);
        assert_eq!(let_in(other, 3_600_000), 3);
        assert_eq!(arrivals.lock().connects.len(), 1, "of other seconds nothing is remembered");
    }

    #[test]
    fn a_crowd_that_sends_much_keeps_out_nobody_who_does_not() {
        let limits = Limits { max_handshake_bytes: 10_000, ..Limits::default() };
        let arrivals = Arc::new(Arrivals::new(&limits));
        let (mut one, mut other) = (arrivals.unheard(), arrivals.unheard());
        assert!(one.try_hold(OWN_BYTES + 6_000) && other.try_hold(OWN_BYTES + 4_000));
        assert!(!one.try_hold(OWN_BYTES + 6_001) && !arrivals.unheard().try_hold(OWN_BYTES + 1));
        assert!(arrivals.unheard().try_hold(OWN_BYTES));
        assert!(one.try_hold(OWN_BYTES + 1_000) && other.try_hold(OWN_BYTES + 9_000));
        drop(other);
        one.release();
        assert_eq!(arrivals.bytes.load(Ordering::Relaxed), 0);
        assert!(one.try_hold(OWN_BYTES + 10_000));
    }

    #[test]
    fn many_are_told_from_few() {
        let arrivals = arrivals(8, 0);
        let mut there: Vec<_> = (0..4).map(|_| arrivals.try_enter(address("192.0.2.1"))).collect();
        assert!(!arrivals.are_many());
        there.push(arrivals.try_enter(address("192.0.2.1")));
        assert!(arrivals.are_many());
    }
}
