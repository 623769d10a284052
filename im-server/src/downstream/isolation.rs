//! Detects that this server alone is cut off from the route store or from the bus. It then sends its devices to other servers,
//! which can serve them, while messages do not reach them here. If all servers are cut off, the devices stay: they would be no
//! better off elsewhere.
//!
//! - **The route store**: once the lease has run out, the server asks the backends over the bus whether the store answers them.
//! - **The bus**: the server publishes to its own subject. If nothing comes back, it says so beside its lease, and looks whether
//!   other servers say so too.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use im_proto::pb;
use im_sdk::cluster::{BusError, Publication};
use parking_lot::{Mutex, MutexGuard};
use prost::Message as _;
use tokio::time::{MissedTickBehavior, interval};

use super::Downstream;
use crate::lifecycle::StopReason;

/// How often the server probes the bus, with a lease of at least three times as long.
const PROBE_INTERVAL: Duration = Duration::from_secs(3);

/// The silence after which the bus counts as unreachable. A lost connection to NATS is restored by then.
const SILENCE: Duration = Duration::from_secs(10);

/// How long other servers must have heard the bus while this one does not. After an outage of NATS, servers reconnect at different
/// times, and the state that a server stores with its lease is some seconds old.
const OTHERS_HEAR: Duration = Duration::from_secs(10);

/// The state of the detection.
#[derive(Debug)]
pub(crate) struct Isolation {
    state: Mutex<State>,
    deaf: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// The time at which the server last heard its own probe.
    heard_at: Instant,
    /// The time since which others hear the bus while this server does not.
    others_hear: Option<Instant>,
    /// The number of the last question about the route store.
    question: u64,
}

impl Isolation {
    pub(crate) fn new() -> Self {
        let state = State { heard_at: Instant::now(), others_hear: None, question: 0 };
        Self { state: Mutex::new(state), deaf: AtomicBool::new(false) }
    }

    /// Returns whether the bus is silent.
    pub(crate) fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::Relaxed)
    }

    /// Notes that the server's own probe has arrived.
    pub(crate) fn heard(&self) {
        self.heard_at(Instant::now());
    }

    fn heard_at(&self, now: Instant) {
        let mut state = self.lock();
        (state.heard_at, state.others_hear) = (now, None);
        drop(state);
        if self.deaf.swap(false, Ordering::Relaxed) {
            tracing::info!("the bus is heard again");
        }
    }

    /// Returns whether the bus has been silent for too long.
    fn check_silence(&self, now: Instant) -> bool {
        let silent = now.saturating_duration_since(self.lock().heard_at) >= SILENCE;
        if silent && !self.deaf.swap(true, Ordering::Relaxed) {
            tracing::warn!("nothing is heard from the bus, not even this server's own probes");
        }
        silent
    }

    /// Notes whether others hear the bus while this server does not. Returns `true` once that has lasted long enough.
    fn note_others(&self, hear: bool, now: Instant) -> bool {
        let mut state = self.lock();
        if !hear {
            state.others_hear = None;
            return false;
        }
        let since = *state.others_hear.get_or_insert(now);
        now.saturating_duration_since(since) >= OTHERS_HEAR
    }

    fn next_question(&self) -> u64 {
        let mut state = self.lock();
        state.question += 1;
        state.question
    }

    /// Returns whether a report answers the last question.
    fn is_answer(&self, report: &pb::StoreReport) -> bool {
        report.number > 0 && self.lock().question == report.number
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Downstream {
    /// Returns whether an envelope is this server's own probe.
    pub(super) fn is_own_probe(&self, envelope: &pb::Envelope) -> bool {
        envelope.records.is_empty()
            && envelope.number == 0
            && !envelope.answer_to.is_empty()
            && envelope.publisher == self.id.as_str()
    }

    /// Handles a backend's report on whether it reaches the route store.
    pub(super) fn handle_store_report(&self, report: &pb::StoreReport) {
        if !self.isolation.is_answer(report) || !report.reachable {
            return;
        }
        let Some(without_lease) = self.lifecycle.without_lease_for() else { return };
        // A lease that is valid nevertheless was renewed, and only the response was lost. That may happen once.
        if !report.leased || without_lease >= self.lease {
            tracing::warn!(?without_lease, "others reach the route store, and this server does not");
            self.lifecycle.become_unreachable(StopReason::Isolated);
        }
    }
}

/// Probes until the server has stopped.
pub(super) async fn watch(downstream: Arc<Downstream>) {
    let mut ticks = interval(PROBE_INTERVAL.min(downstream.lease / 3));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = downstream.lifecycle.stopped.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = probe(&downstream).await {
            tracing::debug!(%error, "cannot probe the bus");
        }
        if downstream.isolation.check_silence(Instant::now()) {
            look_at_others(&downstream).await;
        }
    }
}

/// Publishes to this server itself and, if the lease has run out, asks the backends about the route store.
async fn probe(downstream: &Downstream) -> Result<(), BusError> {
    let (names, bus) = (downstream.cluster.names(), downstream.cluster.bus());
    let own = names.server(&downstream.id);
    let (publisher, answer_to) = (downstream.id.to_string(), own.to_string());
    let payload = pb::Envelope { publisher, answer_to, ..pb::Envelope::default() }.encode_to_vec().into();
    bus.publish(Publication { subject: own, return_to: None, payload }).await?;
    if downstream.lifecycle.holds_lease() {
        return Ok(());
    }
    let number = downstream.isolation.next_question();
    let question = pb::UpstreamStoreCheck { server: downstream.id.to_string(), number };
    let payload = question.encode_to_vec().into();
    // If no backend listens, messages do not reach these devices elsewhere either.
    bus.publish(Publication { subject: names.upstream_store(), return_to: None, payload }).await
}

/// Finds out whether other servers hear the bus.
async fn look_at_others(downstream: &Downstream) {
    let others = match downstream.cluster.routes().live_servers().await {
        Ok(others) => others,
        Err(error) => return tracing::debug!(%error, "cannot find out whether other servers hear the bus"),
    };
    let hears = |info: &pb::ServerInfo| !info.deaf && !info.draining;
    let hear = others.iter().any(|other| other.id != downstream.id && hears(&other.info));
    if downstream.isolation.note_others(hear, Instant::now()) {
        tracing::warn!("other servers hear the bus, and this one does not");
        downstream.lifecycle.become_unreachable(StopReason::Isolated);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_hears_itself_is_not_deaf() {
        let (isolation, start) = (Isolation::new(), Instant::now());
        isolation.heard_at(start);
        assert!(!isolation.check_silence(start + SILENCE / 2) && !isolation.is_deaf());
        assert!(isolation.check_silence(start + SILENCE) && isolation.is_deaf());
        isolation.heard_at(start + SILENCE);
        assert!(!isolation.check_silence(start + SILENCE) && !isolation.is_deaf());
    }

    #[test]
    fn others_count_when_they_have_heard_the_bus_for_a_while() {
        let (isolation, start) = (Isolation::new(), Instant::now());
        assert!(!isolation.note_others(true, start));
        assert!(!isolation.note_others(true, start + OTHERS_HEAR / 2));
        assert!(!isolation.note_others(false, start + OTHERS_HEAR), "they do not either");
        assert!(!isolation.note_others(true, start + OTHERS_HEAR));
        assert!(isolation.note_others(true, start + 2 * OTHERS_HEAR));
        isolation.heard();
        assert!(!isolation.note_others(true, start + 3 * OTHERS_HEAR), "it hears again");
    }

    #[test]
    fn only_the_last_question_is_answered() {
        let isolation = Isolation::new();
        let report = |number| pb::StoreReport { number, reachable: true, leased: false };
        assert!(!isolation.is_answer(&report(0)), "nothing was asked");
        let (first, second) = (isolation.next_question(), isolation.next_question());
        assert!(!isolation.is_answer(&report(first)) && isolation.is_answer(&report(second)));
    }
}
