//! The cluster's clock: the route store's time, advanced by this process's monotonic clock.
//!
//! Wall clocks of machines differ and step. Message ids, the age of log entries and the expiry of
//! tokens must mean the same on every machine, so they follow one clock: that of the route store.
//! It is sampled whenever a lease is taken or renewed, and advances with the monotonic clock in
//! between.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Instant,
};

use tokio::sync::Mutex;

use crate::cluster::{
    time::unix_ms,
    traits::{Routes, RoutesError},
};

/// The maximum disagreement of the wall clock and the monotonic clock about the time since the last
/// sample. Beyond it, the wall clock was set, or the machine was suspended, and the time has to be
/// sampled again.
const MAX_DISAGREEMENT_MS: i64 = 1_000;

/// The difference beyond which a clock counts as wrong. Clocks under NTP differ by milliseconds; a
/// slow reply of the store makes a sample wrong by half of its duration.
pub const MAX_CLOCK_SKEW_MS: i64 = 5_000;

/// The minimum time between two log messages about a wrong clock.
const LOG_INTERVAL_MS: i64 = 60_000;

/// The value before the first sample.
const UNKNOWN: i64 = i64::MIN;

/// The cluster's clock, as known to this process. Cloning is cheap; clones share all state.
#[derive(Clone, Debug)]
pub struct Clock {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    routes: Arc<dyn Routes>,
    local: Arc<dyn LocalClocks>,
    /// Cluster time minus monotonic time at the last sample.
    cluster_offset: AtomicI64,
    /// Wall time minus monotonic time at the last sample.
    wall_offset: AtomicI64,
    /// Whether the store's clock was seen to step.
    stepped: AtomicBool,
    /// The time of the last log message, by the monotonic clock.
    logged_at: AtomicI64,
    /// Held while sampling, so that concurrent readers of an unknown time ask once.
    sampling: Mutex<()>,
}

/// This machine's clocks, in milliseconds.
pub(crate) trait LocalClocks: Send + Sync + std::fmt::Debug {
    /// Returns a time that never steps, from any origin.
    fn monotonic_ms(&self) -> i64;

    /// Returns the time since the Unix epoch.
    fn wall_ms(&self) -> i64;
}

#[derive(Debug)]
struct SystemClocks {
    base: Instant,
}

impl LocalClocks for SystemClocks {
    fn monotonic_ms(&self) -> i64 {
        i64::try_from(self.base.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn wall_ms(&self) -> i64 {
        i64::try_from(unix_ms()).unwrap_or(i64::MAX)
    }
}

impl Clock {
    /// Creates a clock that follows this store's. The time is unknown until the first
    /// [`Clock::sample`].
    pub fn new(routes: Arc<dyn Routes>) -> Self {
        Self::with_local(routes, Arc::new(SystemClocks { base: Instant::now() }))
    }

    pub(crate) fn with_local(routes: Arc<dyn Routes>, local: Arc<dyn LocalClocks>) -> Self {
        let inner = Inner {
            routes,
            local,
            cluster_offset: AtomicI64::new(UNKNOWN),
            wall_offset: AtomicI64::new(UNKNOWN),
            stepped: AtomicBool::new(false),
            logged_at: AtomicI64::new(UNKNOWN),
            sampling: Mutex::new(()),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Returns the cluster's time in milliseconds since the Unix epoch.
    ///
    /// Returns `None` if it is unknown: before the first sample, and when this machine's wall clock
    /// was set, or the machine was suspended, since the last one.
    pub fn now_ms(&self) -> Option<u64> {
        let monotonic = self.inner.local.monotonic_ms();
        let wall = self.inner.local.wall_ms();
        let offset = self.offset()?;
        let elapsed_by_wall = wall.saturating_sub(self.inner.wall_offset.load(Ordering::Acquire));
        let disagreement = elapsed_by_wall.saturating_sub(monotonic).saturating_abs();
        if disagreement > MAX_DISAGREEMENT_MS {
            return None;
        }
        u64::try_from(monotonic.saturating_add(offset)).ok()
    }

    /// Returns the cluster's time in milliseconds since the Unix epoch, and asks the store only if
    /// it is unknown.
    ///
    /// # Errors
    /// [`RoutesError`] if the time is unknown and the store does not answer.
    pub async fn read(&self) -> Result<u64, RoutesError> {
        if let Some(now) = self.now_ms() {
            return Ok(now);
        }
        let _sampling = self.inner.sampling.lock().await;
        match self.now_ms() {
            Some(now) => Ok(now),
            None => self.ask().await,
        }
    }

    /// Asks the store for its time and continues from there. Call it with every lease.
    ///
    /// # Errors
    /// [`RoutesError`]; the known time is kept.
    pub async fn sample(&self) -> Result<u64, RoutesError> {
        let _sampling = self.inner.sampling.lock().await;
        self.ask().await
    }

    /// Returns this machine's wall clock minus the cluster's, in milliseconds; `None` if the
    /// cluster's time is unknown.
    pub fn skew_ms(&self) -> Option<i64> {
        let now = i64::try_from(self.now_ms()?).ok()?;
        Some(self.inner.local.wall_ms().saturating_sub(now))
    }

    /// Returns the cluster's time for deletions by age.
    ///
    /// Returns `None` while nothing may be deleted by age: the time is unknown, this machine's wall
    /// clock differs from it by more than [`MAX_CLOCK_SKEW_MS`], so that one of the two is wrong,
    /// or the store's clock has stepped since this process began.
    pub fn expiry_ms(&self) -> Option<u64> {
        let now = self.now_ms()?;
        let is_right = self.skew_ms()?.saturating_abs() <= MAX_CLOCK_SKEW_MS;
        (is_right && !self.inner.stepped.load(Ordering::Acquire)).then_some(now)
    }

    fn offset(&self) -> Option<i64> {
        let offset = self.inner.cluster_offset.load(Ordering::Acquire);
        (offset != UNKNOWN).then_some(offset)
    }

    /// Samples the time. The caller holds `sampling`.
    async fn ask(&self) -> Result<u64, RoutesError> {
        let local = &self.inner.local;
        let asked = local.monotonic_ms();
        let time = self.inner.routes.time().await?;
        let answered = local.monotonic_ms();
        // The store read its clock at some moment between the two.
        let took = answered.saturating_sub(asked);
        let offset = i64::try_from(time).unwrap_or(i64::MAX).saturating_sub(asked.saturating_add(took / 2));
        self.look_for_a_step(offset, took);
        self.inner.cluster_offset.store(offset, Ordering::Release);
        self.inner.wall_offset.store(local.wall_ms().saturating_sub(answered), Ordering::Release);
        self.look_for_skew();
        let now = answered.saturating_add(offset);
        Ok(u64::try_from(now).unwrap_or(time))
    }

    fn look_for_a_step(&self, offset: i64, took: i64) {
        let Some(before) = self.offset() else { return };
        let step_ms = offset.saturating_sub(before);
        if step_ms.saturating_abs() <= MAX_CLOCK_SKEW_MS.saturating_add(took) {
            return;
        }
        self.inner.stepped.store(true, Ordering::Release);
        tracing::warn!(
            step_ms,
            "the route store's clock has stepped, or this machine was suspended: nothing is deleted by age \
             until this process restarts"
        );
    }

    fn look_for_skew(&self) {
        let Some(skew_ms) = self.skew_ms().filter(|skew| skew.saturating_abs() > MAX_CLOCK_SKEW_MS) else {
            return;
        };
        let (now, logged_at) =
            (self.inner.local.monotonic_ms(), self.inner.logged_at.load(Ordering::Relaxed));
        if logged_at != UNKNOWN && now.saturating_sub(logged_at) < LOG_INTERVAL_MS {
            return;
        }
        self.inner.logged_at.store(now, Ordering::Relaxed);
        tracing::warn!(
            skew_ms,
            "the clocks of this machine and of the route store differ: correct both, for example with NTP; ids \
             follow the store's clock, and nothing is deleted by age here meanwhile"
        );
    }
}

#[cfg(test)]
pub(crate) mod tests;
