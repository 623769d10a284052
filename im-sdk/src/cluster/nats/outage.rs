//! Log messages about outages of the NATS connection: that it was lost, why, and that it is back.
//! The client library tries again every few milliseconds to seconds, and each attempt would be a
//! message.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use async_nats::ClientError;

/// The outage in progress, if there is one.
#[derive(Debug, Default)]
pub(super) struct Outage {
    place: String,
    state: Mutex<Option<Lasting>>,
}

#[derive(Debug)]
struct Lasting {
    since: Instant,
    /// The number of failed attempts.
    tries: u32,
}

impl Outage {
    /// Creates the state of the connection to these servers.
    pub(super) fn at(place: String) -> Self {
        Self { place, state: Mutex::default() }
    }

    /// Returns the servers, without passwords.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn begin(&self) {
        let mut state = self.lock();
        if state.is_none() {
            *state = Some(Lasting { since: Instant::now(), tries: 0 });
            tracing::warn!(nats = self.place, "lost the connection to NATS; reconnecting");
        }
    }

    /// Logs the first failed attempt with its cause. An error while the connection stands is logged
    /// by itself.
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
                "cannot connect to NATS; check that it is running and reachable (further attempts are not logged)"
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
