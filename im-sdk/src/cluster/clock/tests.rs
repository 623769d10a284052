use std::sync::Mutex;

use tracing::{
    Dispatch, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::{DefaultGuard, NoSubscriber},
};

use super::*;
use crate::cluster::MemoryRoutes;

/// Clocks that stand where they are set.
#[derive(Debug, Default)]
pub(crate) struct SetClocks {
    monotonic: AtomicI64,
    wall: AtomicI64,
}

impl SetClocks {
    pub(crate) fn at(wall_ms: u64) -> Arc<Self> {
        let clocks = Self::default();
        clocks.wall.store(i64::try_from(wall_ms).unwrap(), Ordering::Relaxed);
        Arc::new(clocks)
    }

    /// Advances both clocks.
    pub(crate) fn pass(&self, ms: i64) {
        self.monotonic.fetch_add(ms, Ordering::Relaxed);
        self.wall.fetch_add(ms, Ordering::Relaxed);
    }

    /// Sets the wall clock forward by some milliseconds.
    pub(crate) fn set_by(&self, ms: i64) {
        self.wall.fetch_add(ms, Ordering::Relaxed);
    }
}

impl LocalClocks for SetClocks {
    fn monotonic_ms(&self) -> i64 {
        self.monotonic.load(Ordering::Relaxed)
    }

    fn wall_ms(&self) -> i64 {
        self.wall.load(Ordering::Relaxed)
    }
}

const NOW: u64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;

/// A store whose clock stands at `NOW`, and a machine whose wall clock is off by `skew_ms`.
fn clock(skew_ms: i64) -> (MemoryRoutes, Arc<SetClocks>, Clock) {
    let routes = MemoryRoutes::new();
    routes.set_time(NOW);
    let local = SetClocks::at(NOW);
    local.set_by(skew_ms);
    (routes.clone(), local.clone(), Clock::with_local(Arc::new(routes), local))
}

#[tokio::test]
async fn the_time_is_the_stores_whatever_the_wall_clock_says() {
    for skew in [0, HOUR, -31 * 24 * HOUR] {
        let (_, local, clock) = clock(skew);
        assert_eq!((clock.now_ms(), clock.skew_ms()), (None, None));
        assert_eq!(clock.read().await.unwrap(), NOW);
        local.pass(1234);
        assert_eq!((clock.now_ms(), clock.skew_ms()), (Some(NOW + 1234), Some(skew)));
    }
}

#[tokio::test]
async fn a_wall_clock_that_steps_has_the_store_asked_again() {
    for step in [HOUR, -HOUR, MAX_DISAGREEMENT_MS + 1] {
        let (routes, local, clock) = clock(0);
        clock.sample().await.unwrap();
        local.pass(50);
        local.set_by(step);
        assert_eq!(clock.now_ms(), None);
        routes.set_time(NOW + 60);
        assert_eq!(clock.read().await.unwrap(), NOW + 60);
        assert_eq!(clock.now_ms(), Some(NOW + 60));
    }
}

#[tokio::test]
async fn nothing_is_deleted_by_age_while_a_clock_is_wrong() {
    let (_, local, clock) = clock(MAX_CLOCK_SKEW_MS + 1);
    assert_eq!(clock.expiry_ms(), None, "the time is not known yet");
    clock.sample().await.unwrap();
    assert_eq!(clock.expiry_ms(), None, "the wall clock is off");
    local.set_by(-2);
    assert_eq!(clock.expiry_ms(), Some(NOW), "it was set right");
}

#[tokio::test]
async fn nothing_is_deleted_by_age_after_the_stores_clock_stepped() {
    let (routes, local, clock) = clock(0);
    clock.sample().await.unwrap();
    local.pass(10_000);
    routes.set_time(NOW + 10_000 + 4_000);
    clock.sample().await.unwrap();
    assert!(clock.expiry_ms().is_some(), "a small difference is none");
    routes.set_time(NOW + 31 * 86_400_000);
    clock.sample().await.unwrap();
    local.set_by(31 * 24 * HOUR);
    clock.sample().await.unwrap();
    assert_eq!(clock.skew_ms(), Some(31 * 24 * HOUR + NOW as i64 + 10_000 - (NOW as i64 + 31 * 24 * HOUR)));
    assert_eq!(clock.expiry_ms(), None, "also when both moved together");
}

/// Counts the warnings of the thread that installs it.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Installs it. While it is the only subscriber, another test's thread could decide that nobody listens.
    fn install(&self) -> (Dispatch, DefaultGuard) {
        (Dispatch::new(NoSubscriber::new()), tracing::subscriber::set_default(self.clone()))
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The fields of an event.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!("{field}={value:?} "));
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told_once_in_a_while() {
    let warnings = Warnings::default();
    let _installed = warnings.install();
    let (routes, local, clock) = clock(-MAX_CLOCK_SKEW_MS);
    clock.sample().await.unwrap();
    assert_eq!(warnings.take(), NOTHING, "as much as is allowed");
    local.set_by(-1);
    for _ in 0..3 {
        clock.sample().await.unwrap();
    }
    let told = warnings.take();
    let skew = format!("skew_ms={}", -MAX_CLOCK_SKEW_MS - 1);
    assert!(
        matches!(&told[..], [one] if one.contains("the clocks of this machine") && one.contains(&skew)),
        "{told:?}"
    );
    routes.set_time(NOW + LOG_INTERVAL_MS as u64);
    local.pass(LOG_INTERVAL_MS);
    clock.sample().await.unwrap();
    assert_eq!(warnings.take().len(), 1, "it still is");
}

#[tokio::test]
async fn a_store_whose_clock_stepped_is_told() {
    let warnings = Warnings::default();
    let _installed = warnings.install();
    let (routes, _, clock) = clock(0);
    clock.sample().await.unwrap();
    routes.set_time(NOW + 2 * MAX_CLOCK_SKEW_MS as u64);
    clock.sample().await.unwrap();
    let told = warnings.take();
    let step = format!("step_ms={}", 2 * MAX_CLOCK_SKEW_MS);
    assert!(told.iter().any(|line| line.contains("clock has stepped") && line.contains(&step)), "{told:?}");
}

const NOTHING: [String; 0] = [];
