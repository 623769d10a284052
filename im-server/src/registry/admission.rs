//! Admission of connections that are not authenticated yet: from their first packet to `Welcome`. They are bounded in number (in
//! total and per address), in the bytes that they have sent, and in time (`hello_timeout`). The rate of connections from an address
//! can be bounded too.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};

use crate::{config::Limits, logging::throttle::LogThrottle};

/// While more connections than this are being admitted, a QUIC client has to prove its address first (RFC 9000, section 8.1.2). Forged
/// addresses cost no memory then, and genuine ones one more round trip.
const CROWD: usize = 1024;

/// The bytes that each connection may hold in any case: a usual request, or a usual `Hello`. A crowd that sends much therefore
/// keeps out no connection that sends little.
const OWN_BYTES: usize = 2 * 1024;

const SECOND: Duration = Duration::from_secs(1);

/// The connections that are being admitted, and their limits.
#[derive(Debug)]
pub(crate) struct Admission {
    max: usize,
    max_per_address: usize,
    max_per_second: u32,
    max_bytes: usize,
    /// The bytes that all connections hold together beyond [`OWN_BYTES`] each.
    bytes: AtomicUsize,
    state: Mutex<State>,
    refused: LogThrottle,
}

#[derive(Debug, Default)]
struct State {
    total: usize,
    /// By address. Empty if only the total is bounded.
    by_address: HashMap<IpAddr, usize>,
    /// The number of connections from each address in the current second. Empty if that is not bounded; otherwise it has no more
    /// entries than connections can come in a second.
    connects: HashMap<IpAddr, u32>,
    /// The start of that second.
    second: Option<Instant>,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            max: limits.max_handshakes,
            max_per_address: limits.max_handshakes_per_address,
            max_per_second: limits.max_connects_per_second_per_address,
            max_bytes: limits.max_handshake_bytes,
            bytes: AtomicUsize::new(0),
            state: Mutex::default(),
            refused: LogThrottle::default(),
        }
    }

    /// Admits a connection until the permit is dropped, after its `Welcome` or at its end. Returns `None` if there is no room.
    pub(crate) fn try_admit(self: &Arc<Self>, peer: IpAddr) -> Option<AdmissionPermit> {
        self.try_admit_at(peer, Instant::now())
    }

    fn try_admit_at(self: &Arc<Self>, peer: IpAddr, now: Instant) -> Option<AdmissionPermit> {
        let address = network(peer);
        if self.is_allowed(address, now) {
            return Some(AdmissionPermit { admission: Arc::clone(self), address, peer });
        }
        if let Some(count) = self.refused.note() {
            tracing::warn!(%peer, count, total = self.refused.total(), "connections refused: too many arrive at once");
        }
        None
    }

    fn note_refused(&self) {
        if let Some(count) = self.refused.note() {
            tracing::warn!(
                count,
                total = self.refused.total(),
                "connections refused: those that arrive hold too much memory"
            );
        }
    }

    fn is_allowed(&self, address: IpAddr, now: Instant) -> bool {
        let mut state = self.lock();
        let is_rare = self.max_per_second == 0 || state.connects(address, now) <= self.max_per_second;
        is_rare && state.total < self.max && state.enter(address, self.max_per_address)
    }

    /// Accounts for the bytes that one connection sends.
    pub(crate) fn handshake_memory(self: &Arc<Self>) -> HandshakeMemory {
        HandshakeMemory { admission: Arc::clone(self), held: 0 }
    }

    /// Returns whether so many connections arrive that their addresses may be forged.
    pub(crate) fn is_crowded(&self) -> bool {
        self.lock().total > CROWD.min(self.max / 2)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// Counts a connection from an address. Returns the number of them in this second.
    fn connects(&mut self, address: IpAddr, now: Instant) -> u32 {
        if self.second.is_none_or(|second| now.saturating_duration_since(second) >= SECOND) {
            self.second = Some(now);
            self.connects.clear();
        }
        let connects = self.connects.entry(address).or_default();
        *connects = connects.saturating_add(1);
        *connects
    }

    /// Returns `false` if the address is at its limit; 0 means unlimited.
    fn enter(&mut self, address: IpAddr, max_per_address: usize) -> bool {
        if max_per_address > 0 {
            let there = self.by_address.entry(address).or_default();
            if *there >= max_per_address {
                return false;
            }
            *there += 1;
        }
        self.total += 1;
        true
    }

    fn leave(&mut self, address: IpAddr) {
        self.total -= 1;
        if let Some(there) = self.by_address.get_mut(&address) {
            *there -= 1;
            if *there == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

/// Returns the network that an address stands for. Every IPv6 host has at least a /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// The memory that a connection holds until it is admitted; freed when dropped.
#[derive(Debug)]
pub(crate) struct HandshakeMemory {
    admission: Arc<Admission>,
    /// The bytes held beyond [`OWN_BYTES`].
    held: usize,
}

impl HandshakeMemory {
    /// Sets the number of bytes held now. Returns `false` if there is no room for more.
    pub(crate) fn try_hold(&mut self, bytes: usize) -> bool {
        let wanted = bytes.saturating_sub(OWN_BYTES);
        let all = &self.admission.bytes;
        if let Some(more) = wanted.checked_sub(self.held) {
            let add = |held: usize| held.checked_add(more).filter(|sum| *sum <= self.admission.max_bytes);
            if more > 0 && all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_err() {
                self.admission.note_refused();
                return false;
            }
        } else {
            all.fetch_sub(self.held - wanted, Ordering::Relaxed);
        }
        self.held = wanted;
        true
    }

    /// Sets the number of bytes held to 0.
    pub(crate) fn release(&mut self) {
        self.admission.bytes.fetch_sub(std::mem::take(&mut self.held), Ordering::Relaxed);
    }
}

impl Drop for HandshakeMemory {
    fn drop(&mut self) {
        self.release();
    }
}

/// The right of a connection to be admitted; its room is freed when dropped.
#[derive(Debug)]
pub(crate) struct AdmissionPermit {
    admission: Arc<Admission>,
    address: IpAddr,
    peer: IpAddr,
}

impl AdmissionPermit {
    /// Returns the address of the peer.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }
}

impl Drop for AdmissionPermit {
    fn drop(&mut self) {
        self.admission.lock().leave(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max: usize, max_per_address: usize) -> Arc<Admission> {
        let limits =
            Limits { max_handshakes: max, max_handshakes_per_address: max_per_address, ..Limits::default() };
        Arc::new(Admission::new(&limits))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_bounded_and_come_free() {
        let admission = admission(2, 0);
        let peer = address("192.0.2.1");
        let (first, second) = (admission.try_admit(peer), admission.try_admit(peer));
        assert!(first.is_some() && second.is_some());
        assert!(admission.try_admit(address("192.0.2.2")).is_none());
        assert!(admission.lock().by_address.is_empty(), "addresses do not matter");
        drop(first);
        assert!(admission.try_admit(peer).is_some());
    }

    #[test]
    fn one_address_leaves_room_for_others() {
        let admission = admission(10, 2);
        let (greedy, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let there = [admission.try_admit(greedy), admission.try_admit(greedy)];
        assert!(admission.try_admit(greedy).is_none());
        let forms = [address("::ffff:192.0.2.1"), greedy];
        assert!(forms.iter().all(|form| admission.try_admit(*form).is_none()), "it is the same one");
        assert!(admission.try_admit(other).is_some());
        drop(there);
        assert!(admission.lock().by_address.is_empty(), "nobody is remembered");
        assert!(admission.try_admit(greedy).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let admission = admission(10, 1);
        let _first = admission.try_admit(address("2001:db8:0:1::1")).unwrap();
        assert!(admission.try_admit(address("2001:db8:0:1:ffff::2")).is_none());
        assert!(admission.try_admit(address("2001:db8:0:2::1")).is_some());
    }

    #[test]
    fn who_connects_too_often_stays_out_for_that_second() {
        let limits = Limits { max_connects_per_second_per_address: 3, ..Limits::default() };
        let admission = Arc::new(Admission::new(&limits));
        let (hasty, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let start = Instant::now();
        let let_in = |peer, ms| {
            let now = start + Duration::from_millis(ms);
            (0..10).filter(|_| admission.try_admit_at(peer, now).is_some()).count()
        };
        assert_eq!((let_in(hasty, 0), let_in(other, 500)), (3, 3));
        assert_eq!(let_in(hasty, 999), 0);
        assert_eq!(let_in(hasty, 1000), 3);
        assert_eq!(let_in(other, 3_600_000), 3);
        assert_eq!(admission.lock().connects.len(), 1, "of other seconds nothing is remembered");
    }

    #[test]
    fn a_crowd_that_sends_much_keeps_out_nobody_who_does_not() {
        let limits = Limits { max_handshake_bytes: 10_000, ..Limits::default() };
        let admission = Arc::new(Admission::new(&limits));
        let (mut one, mut other) = (admission.handshake_memory(), admission.handshake_memory());
        assert!(one.try_hold(OWN_BYTES + 6_000) && other.try_hold(OWN_BYTES + 4_000));
        assert!(!one.try_hold(OWN_BYTES + 6_001) && !admission.handshake_memory().try_hold(OWN_BYTES + 1));
        assert!(admission.handshake_memory().try_hold(OWN_BYTES));
        assert!(one.try_hold(OWN_BYTES + 1_000) && other.try_hold(OWN_BYTES + 9_000));
        drop(other);
        one.release();
        assert_eq!(admission.bytes.load(Ordering::Relaxed), 0);
        assert!(one.try_hold(OWN_BYTES + 10_000));
    }

    #[test]
    fn many_are_told_from_few() {
        let admission = admission(8, 0);
        let mut there: Vec<_> = (0..4).map(|_| admission.try_admit(address("192.0.2.1"))).collect();
        assert!(!admission.is_crowded());
        there.push(admission.try_admit(address("192.0.2.1")));
        assert!(admission.is_crowded());
    }
}
