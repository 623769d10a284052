//! Watches whether any backend listens. While none does, devices are refused: the server logs the beginning of the outage, probes
//! the bus, and logs the end. The watch also finds out which publications no backend took.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use im_proto::pb;
use im_sdk::{
    cluster::{BusError, Cluster, Publication, Subject},
    id::ServerId,
};
use parking_lot::{Mutex, MutexGuard};
use prost::Message as _;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::in_flight::{Fate, InFlight, PublicationId};
use crate::logging::throttle::LogThrottle;

/// The minimum time between two probes of the bus, and the interval of markers while devices publish or ask.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// The time after which a probe counts as lost, together with the connection to the bus.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// The state of the watch.
#[derive(Debug, Default)]
pub(crate) struct BackendWatch {
    state: Mutex<State>,
    /// Whether a message was published that the bus does not return if no backend takes it.
    probe_wanted: AtomicBool,
    log: LogThrottle,
}

#[derive(Debug, Default)]
struct State {
    absence: Option<Absence>,
    probe: Option<Probe>,
    in_flight: InFlight,
}

/// A time without a backend.
#[derive(Debug)]
struct Absence {
    since: Instant,
    logged: bool,
}

/// An empty publish, followed by a marker. No backend listens if the publish comes back first.
#[derive(Debug)]
struct Probe {
    at: Instant,
    /// The number of publications that have come back since.
    returned: u32,
}

/// The messages that a tick sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tick {
    Probe,
    /// A marker alone, which decides the fate of the publications before it.
    Marker,
    Nothing,
}

/// A publication that is being handed to the bus, until this guard is dropped.
#[derive(Debug)]
pub(crate) struct HandOver {
    watch: Arc<BackendWatch>,
    pub(super) publication: PublicationId,
}

impl Drop for HandOver {
    fn drop(&mut self) {
        self.watch.lock().in_flight.handed_over(self.publication);
    }
}

impl BackendWatch {
    /// Counts a publication that is about to be handed to the bus, and that comes back if no backend takes it.
    pub(crate) fn hand_over(self: &Arc<Self>) -> HandOver {
        let publication = self.lock().in_flight.hand_over();
        HandOver { watch: Arc::clone(self), publication }
    }

    /// Notes that a backend has answered a part of a publication. Returns the fate of others if it is known now.
    pub(crate) fn note_taken(&self, publication: PublicationId) -> Option<Fate> {
        self.lock().in_flight.taken(publication)
    }

    /// Requests a probe with the next tick.
    pub(crate) fn probe_soon(&self) {
        self.probe_wanted.store(true, Ordering::Relaxed);
    }

    /// Notes that a publication of this server came back because no backend took it. Returns the fate of publications if it is
    /// known now.
    pub(crate) fn note_undelivered(&self, subject: &Subject) -> Option<Fate> {
        let mut state = self.lock();
        if let Some(probe) = &mut state.probe {
            probe.returned += 1;
        }
        let fate = state.in_flight.returned();
        if state.absence.is_none() {
            let logged = self.log.note().is_some();
            state.absence = Some(Absence { since: Instant::now(), logged });
            drop(state);
            if logged {
                tracing::warn!(
                    %subject,
                    "no back end is listening: publishes and requests are refused, and devices are not brought up to date; \
                     check that one is serving, on this NATS and with this prefix"
                );
            }
        }
        fate
    }

    /// Notes that a marker has arrived. Returns the publications of which some came back, if their fate is unclear.
    pub(crate) fn note_marker(&self, number: u64) -> Option<Fate> {
        let mut state = self.lock();
        let fate = state.in_flight.marked(number);
        if state.probe.take().is_none_or(|probe| probe.returned > 0) {
            return fate;
        }
        let Some(Absence { since, logged: true }) = state.absence.take() else { return fate };
        drop(state);
        tracing::info!(absent_for = ?since.elapsed(), "a back end is listening again");
        fate
    }

    /// Returns the messages to send now, which then count as sent.
    fn tick(&self, now: Instant) -> Tick {
        let mut state = self.lock();
        if state.probe.as_ref().is_some_and(|probe| now.saturating_duration_since(probe.at) < PROBE_TIMEOUT) {
            return Tick::Nothing;
        }
        let wanted = self.probe_wanted.swap(false, Ordering::Relaxed);
        if wanted || state.absence.is_some() {
            state.probe = Some(Probe { at: now, returned: 0 });
            return Tick::Probe;
        }
        state.probe = None;
        if state.in_flight.is_open() { Tick::Marker } else { Tick::Nothing }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Probes while no backend listens, and while that is not known, until the server has stopped.
pub(crate) async fn run(
    watch: Arc<BackendWatch>,
    cluster: Cluster,
    server: ServerId,
    stopped: CancellationToken,
) {
    let mut ticks = interval(PROBE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopped.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = watch.send(&cluster, &server).await {
            tracing::debug!(%error, "cannot probe for back ends");
        }
    }
}

impl BackendWatch {
    async fn send(self: &Arc<Self>, cluster: &Cluster, server: &ServerId) -> Result<(), BusError> {
        match self.tick(Instant::now()) {
            Tick::Nothing => Ok(()),
            Tick::Marker => self.send_marker(cluster, server).await,
            Tick::Probe => {
                self.send_probe(cluster, server).await?;
                self.send_marker(cluster, server).await
            }
        }
    }

    async fn send_probe(self: &Arc<Self>, cluster: &Cluster, server: &ServerId) -> Result<(), BusError> {
        let names = cluster.names();
        let probe = pb::Upstream { server: server.to_string(), publishes: Vec::new() };
        let (subject, return_to) = (names.upstream_publish(), Some(names.server(server)));
        let payload = probe.encode_to_vec().into();
        let _hand_over = self.hand_over();
        cluster.bus().publish(Publication { subject, return_to, payload }).await
    }

    /// Sends this server an envelope from itself. The bus preserves the order of one connection's publications.
    async fn send_marker(&self, cluster: &Cluster, server: &ServerId) -> Result<(), BusError> {
        let number = self.lock().in_flight.mark();
        let envelope = pb::Envelope { publisher: server.to_string(), number, ..pb::Envelope::default() };
        let (subject, payload) = (cluster.names().server(server), envelope.encode_to_vec().into());
        cluster.bus().publish(Publication { subject, return_to: None, payload }).await?;
        self.lock().in_flight.mark_handed_over(number);
        Ok(())
    }
}

/// Returns the number of a marker, if the envelope is a marker of this server.
pub(crate) fn marker(server: &ServerId, envelope: &pb::Envelope) -> Option<u64> {
    let is_marker = envelope.records.is_empty()
        && envelope.number > 0
        && envelope.answer_to.is_empty()
        && envelope.publisher == server.as_str();
    is_marker.then_some(envelope.number)
}

#[cfg(test)]
mod tests {
    use im_sdk::cluster::Cluster;

    use super::*;

    fn subject() -> Subject {
        Cluster::embedded().names().upstream_publish()
    }

    fn is_absent(backends: &BackendWatch) -> bool {
        backends.lock().absence.is_some()
    }

    /// Sends a device's publish.
    fn publish(backends: &Arc<BackendWatch>) -> PublicationId {
        backends.hand_over().publication
    }

    fn return_one(backends: &BackendWatch) -> Option<Fate> {
        backends.note_undelivered(&subject())
    }

    /// Sends a probe. Returns the number of the marker behind it.
    fn probe(backends: &Arc<BackendWatch>) -> u64 {
        publish(backends);
        backends.lock().in_flight.mark()
    }

    #[test]
    fn one_listens_again_when_a_question_does_not_come_back() {
        let (backends, now) = (Arc::<BackendWatch>::default(), Instant::now());
        assert_eq!(backends.tick(now), Tick::Nothing, "why should it");
        let published = publish(&backends);
        assert_eq!(return_one(&backends), Some(Fate::Returned([published].into())));
        assert!(is_absent(&backends));
        assert_eq!((backends.tick(now), backends.tick(now)), (Tick::Probe, Tick::Nothing));
        let marker = probe(&backends);
        return_one(&backends);
        backends.note_marker(marker);
        assert!(is_absent(&backends), "it came back");
        assert_eq!(backends.tick(now), Tick::Probe);
        let marker = probe(&backends);
        backends.note_marker(marker);
        assert!(!is_absent(&backends));
        assert_eq!(backends.tick(now), Tick::Nothing);
    }

    #[test]
    fn who_wonders_asks_once_and_devices_do_not_pay_for_it() {
        let (backends, now) = (Arc::<BackendWatch>::default(), Instant::now());
        backends.probe_soon();
        assert_eq!(backends.tick(now), Tick::Probe);
        let marker = probe(&backends);
        let Some(Fate::Returned(returned)) = return_one(&backends) else { panic!("the question alone") };
        assert!(is_absent(&backends));
        // While the probe is in flight, a publication of a device comes back.
        let published = publish(&backends);
        assert!(!returned.contains(&published));
        assert_eq!(return_one(&backends), Some(Fate::Returned([published].into())));
        backends.note_marker(marker);
        assert!(is_absent(&backends));
    }

    #[test]
    fn a_question_that_got_lost_is_asked_again() {
        let (backends, now) = (Arc::<BackendWatch>::default(), Instant::now());
        return_one(&backends);
        assert_eq!(backends.tick(now), Tick::Probe);
        assert_eq!(backends.tick(now + PROBE_TIMEOUT / 2), Tick::Nothing);
        assert_eq!(backends.tick(now + PROBE_TIMEOUT), Tick::Probe);
    }

    #[test]
    fn a_marker_goes_behind_what_devices_publish_while_a_backend_listens() {
        let (backends, now) = (Arc::<BackendWatch>::default(), Instant::now());
        publish(&backends);
        assert_eq!(backends.tick(now), Tick::Marker);
        let marker = backends.lock().in_flight.mark();
        assert_eq!(backends.note_marker(marker), None);
        assert_eq!(backends.tick(now), Tick::Nothing);
        // The backend stops.
        let published = publish(&backends);
        assert_eq!(return_one(&backends), Some(Fate::Returned([published].into())));
    }
}
