//! What is logged of the connection to NATS: that it is lost, why, and that it is back. The client library tries again every
//! few milliseconds to seconds, and each try would be a line.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use async_nats::ClientError;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Outage {
    place: String,
    state: Mutex<Option<Lasting>>,
}

#[derive(Debug)]
struct Lasting {
    since: Instant,
    /// How often connecting failed.
    tries: u32,
}

impl Outage {
    /// Of the connection to these servers.
    pub(super) fn at(place: String) -> Self {
        Self { place, state: Mutex::default() }
    }

    /// The servers, without passwords.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn begin(&self) {
        let mut state = self.lock();
        if state.is_none() {
            *state = Some(Lasting { since: Instant::now(), tries: 0 });
            tracing::warn!(
                nats = self.place,
                "lost the connection to NATS: it is tried again until it is back"
            );
        }
    }

    /// The first try that fails says why; an error while the connection stands is one of its own.
    pub(super) fn failed(&self, error: &ClientError) {
        let mut state = self.lock();
        let tries = state.as_mut().map(|lasting| {
            lasting.tries = lasting.tries.saturating_add(1);
            lasting.tries
        });
        drop(state);
        match tries {
            None => tracing::warn!(nats = self.place, %error, "the connection to NATS failed"),
            Some(1) => tracing::warn!(
                nats = self.place, %error,
                "cannot connect to NATS: is it running, and can it be reached from here? Further tries are not logged"
            ),
            Some(tries) => tracing::debug!(nats = self.place, %error, tries, "cannot connect to NATS"),
        }
    }

    pub(super) fn end(&self) {
        let lasted = self.lock().take();
        let (away, failed_tries) = lasted.map_or_else(Default::default, |l| (l.since.elapsed(), l.tries));
        tracing::info!(nats = self.place, ?away, failed_tries, "reconnected to NATS");
    }

    fn lock(&self) -> MutexGuard<'_, Option<Lasting>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
