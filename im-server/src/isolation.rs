//! Whether this server alone is cut off from the route store or from the bus. Where everybody is, its devices are as well off
//! here as elsewhere and stay. Where others are not, they serve its devices, which nothing reaches here: it sends them away.
//!
//! - **The route store**: once its lease has run out, the server asks the back ends over the bus whether the store answers them.
//! - **The bus**: the server publishes to its own subject. When nothing comes back it says so beside its lease, and looks whether
//!   other servers do not say so.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use im_proto::pb;
use im_sdk::cluster::{BusError, Publication};
use prost::Message as _;
use tokio::time::{MissedTickBehavior, interval};

use crate::{server::Stopped, shared::Shared};

/// How often the server looks, with a lease that is not shorter than three of these.
const LOOK: Duration = Duration::from_secs(3);

/// For how long nothing may come back of what the server says to itself: a connection to NATS that was lost is there again by
/// then.
const SILENCE: Duration = Duration::from_secs(10);

/// For how long other servers must have heard the bus while this one does not: after an outage of NATS not all connect at the
/// same moment, and what a server says beside its lease is some seconds old.
const OTHERS_HEAR: Duration = Duration::from_secs(10);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Isolation {
    state: Mutex<State>,
    deaf: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// When the server heard itself last.
    heard_at: Instant,
    /// Since when others hear the bus and this server does not.
    others_hear: Option<Instant>,
    /// The number of the last question about the route store.
    asked: u64,
}

impl Isolation {
    pub(crate) fn new() -> Self {
        let state = State { heard_at: Instant::now(), others_hear: None, asked: 0 };
        Self { state: Mutex::new(state), deaf: AtomicBool::new(false) }
    }

    /// Whether nothing comes from the bus.
    pub(crate) fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::Relaxed)
    }

    /// What the server has said to itself is here.
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

    /// Looks whether nothing has come for too long.
    fn check_silence(&self, now: Instant) -> bool {
        let silent = now.saturating_duration_since(self.lock().heard_at) >= SILENCE;
        if silent && !self.deaf.swap(true, Ordering::Relaxed) {
            tracing::warn!("nothing is heard from the bus, not even what this server says to itself");
        }
        silent
    }

    /// Notes whether others hear the bus while this server does not. True: for long enough.
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
        state.asked += 1;
        state.asked
    }

    /// Whether a report answers the last question.
    fn is_answer(&self, report: &pb::StoreReport) -> bool {
        report.number > 0 && self.lock().asked == report.number
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an envelope is what this server says to itself.
pub(crate) fn is_own(shared: &Shared, envelope: &pb::Envelope) -> bool {
    envelope.records.is_empty()
        && envelope.number == 0
        && !envelope.answer_to.is_empty()
        && envelope.publisher == shared.id.as_str()
}

/// A back end says how it finds the route store.
pub(crate) fn heard_report(shared: &Shared, report: &pb::StoreReport) {
    if !shared.isolation.is_answer(report) || !report.reachable {
        return;
    }
    let Some(without) = shared.without_lease_for() else { return };
    // A lease that runs all the same was renewed, and only the answer did not come: once may be.
    if !report.leased || without >= shared.config.lease {
        tracing::warn!(?without, "others reach the route store, and this server does not");
        shared.end(Stopped::Isolated);
    }
}

/// Looks until the server has stopped.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut ticks = interval(LOOK.min(shared.config.lease / 3));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stopped.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = speak(&shared).await {
            tracing::debug!(%error, "cannot look whether the bus works");
        }
        if shared.isolation.check_silence(Instant::now()) {
            look_at_others(&shared).await;
        }
    }
}

/// To itself, and where the lease has run out to a back end.
async fn speak(shared: &Shared) -> Result<(), BusError> {
    let (names, bus) = (shared.cluster.names(), shared.cluster.bus());
    let own = names.server(&shared.id);
    let (publisher, answer_to) = (shared.id.to_string(), own.to_string());
    let payload = pb::Envelope { publisher, answer_to, ..pb::Envelope::default() }.encode_to_vec().into();
    bus.publish(Publication { subject: own, return_to: None, payload }).await?;
    if shared.holds_lease() {
        return Ok(());
    }
    let number = shared.isolation.next_question();
    let question = pb::UpstreamStoreCheck { server: shared.id.to_string(), number };
    let payload = question.encode_to_vec().into();
    // Where no back end is listening, nobody sends these devices anything either.
    bus.publish(Publication { subject: names.upstream_store(), return_to: None, payload }).await
}

/// Whether other servers hear the bus.
async fn look_at_others(shared: &Shared) {
    let others = match shared.cluster.routes().live_servers().await {
        Ok(others) => others,
        Err(error) => return tracing::debug!(%error, "cannot look whether other servers hear the bus"),
    };
    let hears = |info: &pb::ServerInfo| !info.deaf && !info.draining;
    let hear = others.iter().any(|other| other.id != shared.id && hears(&other.info));
    if shared.isolation.note_others(hear, Instant::now()) {
        tracing::warn!("other servers hear the bus, and this one does not");
        shared.end(Stopped::Isolated);
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
