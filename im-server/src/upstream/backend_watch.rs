//! Watches whether any backend listens. While none does, devices are refused and the server cannot help it: it logs when that
//! begins, probes the bus, and logs when it is over.

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

use crate::logging::throttle::LogThrottle;

/// How often the bus may be probed.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// After which time a probe counts as lost, together with the connection to the bus.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct BackendWatch {
    state: Mutex<State>,
    /// Something was published that the bus does not return if nobody takes it.
    probe_wanted: AtomicBool,
    log: LogThrottle,
}

#[derive(Debug, Default)]
struct State {
    absence: Option<Absence>,
    probe: Option<Probe>,
}

/// A time without a backend.
#[derive(Debug)]
struct Absence {
    since: Instant,
    logged: bool,
}

/// An empty publish, followed by an empty envelope to this server itself. No backend listens if the publish comes back first.
#[derive(Debug)]
struct Probe {
    at: Instant,
    /// How much has come back since.
    returned: u32,
}

impl BackendWatch {
    /// Requests a probe with the next tick.
    pub(crate) fn probe_soon(&self) {
        self.probe_wanted.store(true, Ordering::Relaxed);
    }

    /// Notes that a publication of this server came back because nobody took it.
    ///
    /// Returns whether it may have been a device's. The bus does not tell; of those that return behind a probe, one is the probe.
    pub(crate) fn note_undelivered(&self, subject: &Subject) -> bool {
        let mut state = self.lock();
        let is_probe = state.probe.as_mut().is_some_and(|probe| {
            probe.returned += 1;
            probe.returned == 1
        });
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
        !is_probe
    }

    /// Notes that the envelope behind a probe has arrived.
    pub(crate) fn note_answer(&self) {
        let mut state = self.lock();
        if state.probe.take().is_none_or(|probe| probe.returned > 0) {
            return;
        }
        let Some(Absence { since, logged: true }) = state.absence.take() else { return };
        drop(state);
        tracing::info!(absent_for = ?since.elapsed(), "a back end is listening again");
    }

    /// Returns whether to send a probe now, which counts as sent.
    fn begin_probe(&self, now: Instant) -> bool {
        let mut state = self.lock();
        if state.probe.as_ref().is_some_and(|probe| now.saturating_duration_since(probe.at) < PROBE_TIMEOUT) {
            return false;
        }
        let wanted = self.probe_wanted.swap(false, Ordering::Relaxed);
        if !wanted && state.absence.is_none() {
            return false;
        }
        state.probe = Some(Probe { at: now, returned: 0 });
        true
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
        if watch.begin_probe(Instant::now())
            && let Err(error) = probe(&cluster, &server).await
        {
            tracing::debug!(%error, "cannot probe for back ends");
        }
    }
}

/// Sends a probe. The bus keeps the order of what one connection publishes.
async fn probe(cluster: &Cluster, server: &ServerId) -> Result<(), BusError> {
    let (names, bus) = (cluster.names(), cluster.bus());
    let own = names.server(server);
    let probe = pb::Upstream { server: server.to_string(), publishes: Vec::new() };
    let subject = names.upstream_publish();
    let payload = probe.encode_to_vec().into();
    bus.publish(Publication { subject, return_to: Some(own.clone()), payload }).await?;
    let envelope = pb::Envelope { publisher: server.to_string(), ..pb::Envelope::default() };
    let payload = envelope.encode_to_vec().into();
    bus.publish(Publication { subject: own, return_to: None, payload }).await
}

/// Returns whether an envelope is the one that follows a probe.
pub(crate) fn is_answer(server: &ServerId, envelope: &pb::Envelope) -> bool {
    envelope.records.is_empty() && envelope.number == 0 && envelope.publisher == server.as_str()
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

    #[test]
    fn one_listens_again_when_a_question_does_not_come_back() {
        let (backends, now) = (BackendWatch::default(), Instant::now());
        assert!(!backends.begin_probe(now), "why should it");
        assert!(backends.note_undelivered(&subject()), "a device's");
        assert!(is_absent(&backends));
        backends.note_answer();
        assert!(is_absent(&backends), "nothing was asked");
        assert!(backends.begin_probe(now) && !backends.begin_probe(now));
        assert!(!backends.note_undelivered(&subject()), "the question");
        backends.note_answer();
        assert!(is_absent(&backends), "it came back");
        assert!(backends.begin_probe(now));
        backends.note_answer();
        assert!(!is_absent(&backends) && !backends.begin_probe(now));
    }

    #[test]
    fn who_wonders_asks_once_and_devices_do_not_pay_for_it() {
        let (backends, now) = (BackendWatch::default(), Instant::now());
        backends.probe_soon();
        assert!(backends.begin_probe(now));
        assert!(!backends.note_undelivered(&subject()) && is_absent(&backends));
        // Beside the question something of a device came back.
        assert!(backends.note_undelivered(&subject()));
        backends.note_answer();
        assert!(is_absent(&backends));
    }

    #[test]
    fn a_question_that_got_lost_is_asked_again() {
        let (backends, now) = (BackendWatch::default(), Instant::now());
        backends.note_undelivered(&subject());
        assert!(backends.begin_probe(now));
        assert!(!backends.begin_probe(now + PROBE_TIMEOUT / 2));
        assert!(backends.begin_probe(now + PROBE_TIMEOUT));
    }
}
