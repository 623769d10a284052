//! Whether any back end listens. Where none does, devices are refused and the server can do nothing about it; so it says when
//! that begins, and asks the bus until it is over.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use im_proto::pb;
use im_sdk::cluster::{BusError, Publication, Subject};
use prost::Message as _;
use tokio::time::{MissedTickBehavior, interval};

use crate::{occurrences::Occurrences, shared::Shared};

/// How often it is asked whether one listens again.
const ASK: Duration = Duration::from_secs(1);

/// When a question counts as lost, with the connection to the bus.
const LOST: Duration = Duration::from_secs(10);

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct BackEnds {
    state: Mutex<State>,
    /// Something was published of which nobody hears whether it was taken.
    wondering: AtomicBool,
    occurrences: Occurrences,
}

#[derive(Debug, Default)]
struct State {
    missing: Option<Missing>,
    asked: Option<Asked>,
}

#[derive(Debug)]
struct Missing {
    since: Instant,
    /// Whether that was said.
    said: bool,
}

/// A publish without a content, and behind it, to this server itself, an envelope without one: nobody is listening if the first
/// comes back before the second.
#[derive(Debug)]
struct Asked {
    at: Instant,
    /// How much has come back since.
    came_back: u32,
}

impl BackEnds {
    /// Has it asked soon whether one is listening.
    pub(crate) fn wonder(&self) {
        self.wondering.store(true, Ordering::Relaxed);
    }

    /// Something that this server published came back, since nobody was there for it. True when it may have been a device's:
    /// the bus does not say, and one of those that come back behind a question is the question.
    pub(crate) fn undelivered(&self, subject: &Subject) -> bool {
        let mut state = self.lock();
        let is_question = state.asked.as_mut().is_some_and(|asked| {
            asked.came_back += 1;
            asked.came_back == 1
        });
        if state.missing.is_none() {
            let said = self.occurrences.note().is_some();
            state.missing = Some(Missing { since: Instant::now(), said });
            drop(state);
            if said {
                tracing::warn!(
                    %subject,
                    "no back end is listening: what devices publish and ask is refused, and nobody is brought up to date. Is \
                     one running that serves, on this NATS and with this prefix?"
                );
            }
        }
        !is_question
    }

    /// The envelope that followed a question is here.
    pub(crate) fn answered(&self) {
        let mut state = self.lock();
        if state.asked.take().is_none_or(|asked| asked.came_back > 0) {
            return;
        }
        let Some(Missing { since, said: true }) = state.missing.take() else { return };
        drop(state);
        tracing::info!(away = ?since.elapsed(), "a back end is listening again");
    }

    /// Whether it is to be asked now.
    fn begin_to_ask(&self, now: Instant) -> bool {
        let mut state = self.lock();
        if state.asked.as_ref().is_some_and(|asked| now.saturating_duration_since(asked.at) < LOST) {
            return false;
        }
        let wondering = self.wondering.swap(false, Ordering::Relaxed);
        if !wondering && state.missing.is_none() {
            return false;
        }
        state.asked = Some(Asked { at: now, came_back: 0 });
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks while none is listening, and where that is not known, until the server has stopped.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut ticks = interval(ASK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stopped.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if shared.back_ends.begin_to_ask(Instant::now())
            && let Err(error) = ask(&shared).await
        {
            tracing::debug!(%error, "cannot ask whether a back end is listening");
        }
    }
}

/// In this order: what one connection publishes is dealt with in its order.
async fn ask(shared: &Shared) -> Result<(), BusError> {
    let (names, bus) = (shared.cluster.names(), shared.cluster.bus());
    let own = names.server(&shared.id);
    let question = pb::Upstream { server: shared.id.to_string(), publishes: Vec::new() };
    let subject = names.upstream_publish();
    let payload = question.encode_to_vec().into();
    bus.publish(Publication { subject, return_to: Some(own.clone()), payload }).await?;
    let envelope = pb::Envelope { publisher: shared.id.to_string(), ..pb::Envelope::default() };
    let payload = envelope.encode_to_vec().into();
    bus.publish(Publication { subject: own, return_to: None, payload }).await
}

/// Whether an envelope is the one that follows a question.
pub(crate) fn is_answer(shared: &Shared, envelope: &pb::Envelope) -> bool {
    envelope.records.is_empty() && envelope.number == 0 && envelope.publisher == shared.id.as_str()
}

#[cfg(test)]
mod tests {
    use im_sdk::cluster::Cluster;

    use super::*;

    fn subject() -> Subject {
        Cluster::embedded().names().upstream_publish()
    }

    fn is_missing(back_ends: &BackEnds) -> bool {
        back_ends.lock().missing.is_some()
    }

    #[test]
    fn one_listens_again_when_a_question_does_not_come_back() {
        let (back_ends, now) = (BackEnds::default(), Instant::now());
        assert!(!back_ends.begin_to_ask(now), "why should it");
        assert!(back_ends.undelivered(&subject()), "a device's");
        assert!(is_missing(&back_ends));
        back_ends.answered();
        assert!(is_missing(&back_ends), "nothing was asked");
        assert!(back_ends.begin_to_ask(now) && !back_ends.begin_to_ask(now));
        assert!(!back_ends.undelivered(&subject()), "the question");
        back_ends.answered();
        assert!(is_missing(&back_ends), "it came back");
        assert!(back_ends.begin_to_ask(now));
        back_ends.answered();
        assert!(!is_missing(&back_ends) && !back_ends.begin_to_ask(now));
    }

    #[test]
    fn who_wonders_asks_once_and_devices_do_not_pay_for_it() {
        let (back_ends, now) = (BackEnds::default(), Instant::now());
        back_ends.wonder();
        assert!(back_ends.begin_to_ask(now));
        assert!(!back_ends.undelivered(&subject()) && is_missing(&back_ends));
        // Beside the question something of a device came back.
        assert!(back_ends.undelivered(&subject()));
        back_ends.answered();
        assert!(is_missing(&back_ends));
    }

    #[test]
    fn a_question_that_got_lost_is_asked_again() {
        let (back_ends, now) = (BackEnds::default(), Instant::now());
        back_ends.undelivered(&subject());
        assert!(back_ends.begin_to_ask(now));
        assert!(!back_ends.begin_to_ask(now + LOST / 2));
        assert!(back_ends.begin_to_ask(now + LOST));
    }
}
