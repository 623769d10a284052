//! Runs a scenario from its start to its verdict.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use im_sdk::{client::Log, cluster::LogId};
use tokio::{
    sync::{Mutex, MutexGuard},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Allowed, Backend, Checker, Deployment, DeploymentOptions, DeviceState, Fleet, Outcome, Profile,
    lines::{DeviceLine, print},
};

/// Share of the load that devices send.
const DEVICES_SHARE: f64 = 0.2;

/// Factor by which the load exceeds the required rate, to make up for faults.
const SURPLUS: f64 = 1.05;

/// Time limit after the load's duration until its last message is sent.
const LATE: Duration = Duration::from_secs(60);

/// Time limit after that until devices have everything. A client gives up an unanswered sync after ten seconds, and
/// several may be lost. Anything that takes longer was missed and left to the slow check, which runs
/// after minutes.
const SETTLE: Duration = Duration::from_secs(90);

const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Number of violations that are shown.
const SHOWN: usize = 20;

/// Runs scenarios one at a time, since they measure what the machine can do.
static TURN: Mutex<()> = Mutex::const_new(());

/// Name and requirements of a scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    name: &'static str,
    seconds: f64,
    surplus: f64,
    options: DeploymentOptions,
}

impl Scenario {
    /// Creates a scenario with the profile's load.
    pub fn new(name: &'static str) -> Self {
        Self { name, seconds: 0.0, surplus: SURPLUS, options: DeploymentOptions::default() }
    }

    /// Sets the duration of the load, at least that of the profile.
    #[must_use]
    pub fn lasts(mut self, time: Duration) -> Self {
        self.seconds = time.as_secs_f64();
        self
    }

    /// Sets the load to a multiple of the required rate, to make up for the fault.
    #[must_use]
    pub fn surplus(mut self, factor: f64) -> Self {
        self.surplus = factor;
        self
    }

    /// Changes the settings of the deployment.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut DeploymentOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// Starts the deployment and the load. Scenarios of one process wait for each other.
    pub async fn start(self) -> Chaos {
        let turn = TURN.lock().await;
        let profile = Profile::from_environment();
        let (total, wanted) = (Arc::new(AtomicU64::new(0)), profile.rate * self.surplus);
        let seconds = self.seconds.max(profile.seconds);
        let options = DeploymentOptions {
            seconds,
            rate: wanted * (1.0 - DEVICES_SHARE),
            devices: profile.devices,
            ..self.options
        };
        let mut deployment = Deployment::start(&profile, options, Arc::clone(&total)).await;
        let every = Duration::from_secs_f64(profile.devices as f64 / (wanted * DEVICES_SHARE));
        let mut fleet = Fleet::new(profile.devices, deployment.endpoints(), every, Arc::clone(&total));
        fleet.start(&deployment.certificate, deployment.options().processes).await;
        fleet.up_to_date().await;
        deployment.backends.iter_mut().for_each(Backend::go);
        fleet.send(true);
        let started = Instant::now();
        let ends = started + Duration::from_secs_f64(seconds);
        let acknowledged = Arc::clone(&total);
        let in_time = tokio::spawn(async move {
            sleep_until(ends).await;
            acknowledged.load(Ordering::Relaxed)
        });
        Chaos { name: self.name, profile, deployment, fleet, started, ends, in_time, total, _turn: turn }
    }
}

/// A running scenario.
#[derive(Debug)]
pub struct Chaos {
    name: &'static str,
    /// Its profile.
    pub profile: Profile,
    /// Its deployment.
    pub deployment: Deployment,
    /// Its devices.
    pub fleet: Fleet,
    started: Instant,
    ends: Instant,
    /// Number of accepted messages at the end of the load's duration.
    in_time: JoinHandle<u64>,
    total: Arc<AtomicU64>,
    _turn: MutexGuard<'static, ()>,
}

impl Chaos {
    /// Lets the load run for a time.
    pub async fn go_on(&self, time: Duration) {
        sleep(time).await;
    }

    /// Returns the remaining duration of the load.
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Returns the number of accepted messages so far.
    pub fn acknowledged(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Returns the maximum lag of the devices that `is_of_interest`.
    pub async fn lag(&self, is_of_interest: impl Fn(usize) -> bool) -> u64 {
        let ends = self.deployment.ends().await;
        let devices = self.fleet.devices.iter().filter(|device| is_of_interest(device.index()));
        devices.flat_map(|device| behind(device, &ends)).max().unwrap_or(0)
    }

    /// Returns the number of disconnects of devices so far.
    pub fn disconnects(&self) -> u64 {
        let is_it = |line: &DeviceLine| matches!(line, DeviceLine::Disconnected(_));
        self.fleet.devices.iter().map(|device| device.count(is_it)).sum()
    }

    /// Ends the load, waits until every device has everything, and checks all reports.
    ///
    /// # Panics
    /// Panics if there is a violation, or if the rate was not reached.
    pub async fn finish(self, allowed: Allowed) -> Outcome {
        self.end(allowed, true).await
    }

    /// Like [`Chaos::finish`], for a scenario during which nothing can be sent.
    ///
    /// # Panics
    /// Panics if there is a violation.
    pub async fn finish_at_any_rate(self, allowed: Allowed) -> Outcome {
        self.end(allowed, false).await
    }

    async fn end(mut self, allowed: Allowed, rated: bool) -> Outcome {
        self.load_is_over().await;
        self.settle().await;
        self.fleet.finish().await;
        let mut checker = Checker::new(allowed);
        self.fleet.devices.iter().for_each(|device| device.feed(self.profile.devices, &mut checker));
        self.deployment.feed(&mut checker).await;
        let seconds = (self.ends - self.started).as_secs_f64();
        let devices = &self.fleet.devices;
        let count =
            |is_it: fn(&DeviceLine) -> bool| devices.iter().map(|device| device.count(is_it)).sum::<u64>();
        let outcome = Outcome {
            name: self.name,
            seconds,
            devices: self.profile.devices,
            rate: (&mut self.in_time).await.expect("a number") as f64 / seconds,
            wanted: (rated && self.profile.full).then_some(self.profile.rate),
            verdict: checker.finish(),
            failed_sends: self
                .deployment
                .backends
                .iter()
                .chain(&self.deployment.dead)
                .map(Backend::failed)
                .sum(),
            failed_publishes: count(|line| matches!(line, DeviceLine::Failed(..))),
            slow_consumers: count(
                |line| matches!(line, DeviceLine::Disconnected(why) if why.contains("SlowConsumer")),
            ),
            repeated: repeated(devices),
            hints: self.deployment.hints(),
        };
        print(&outcome);
        self.show_what_failed(&outcome);
        let unfinished = devices.len() as u64 - count(|line| matches!(line, DeviceLine::Finished(_)));
        assert_eq!(unfinished, 0, "{}: devices whose publishes were never answered", self.name);
        outcome.check();
        outcome
    }

    async fn load_is_over(&mut self) {
        sleep_until(self.ends).await;
        self.fleet.send(false);
        let deadline = Instant::now() + LATE;
        while !self.deployment.backends.iter_mut().all(Backend::is_done) {
            assert!(Instant::now() < deadline, "{}: the load is not over after {LATE:?} more", self.name);
            sleep(POLL_INTERVAL).await;
        }
        for backend in &mut self.deployment.backends {
            assert_eq!(backend.output(), "", "{}: a back end ended", self.name);
        }
    }

    /// Waits until no message is in flight. The checker reports what is missing then.
    async fn settle(&self) {
        let deadline = Instant::now() + SETTLE;
        // Time without changes after which the deployment counts as settled.
        let quiet = self.profile.either(1.0, 0.3);
        let (mut last, mut since) = (HashMap::new(), Instant::now());
        while Instant::now() < deadline {
            let ends = self.deployment.ends().await;
            let is_complete = |device: &Arc<DeviceState>| {
                device.is_answered()
                    && device.logs().iter().all(|log| device.position(log) == ends[&device.stored(log)])
            };
            let complete = self.fleet.devices.iter().all(is_complete);
            // A log that was rolled back may have grown again to the position of a device that has not
            // noticed.
            let complete = complete && self.deployment.agrees_with(&self.fleet.devices, &ends).await;
            if !complete || ends != last {
                (last, since) = (ends, Instant::now());
            } else if since.elapsed() > quiet {
                return;
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    fn show_what_failed(&self, outcome: &Outcome) {
        for violation in outcome.verdict.violations.iter().take(SHOWN) {
            print(format_args!("  {violation}"));
        }
        for backend in self.deployment.backends.iter().chain(&self.deployment.dead) {
            let mut failures: Vec<_> = backend.failures().into_iter().collect();
            failures.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            for (error, count) in failures.into_iter().take(3) {
                print(format_args!("  {} x {count}: {error}", backend.setup.publisher));
            }
        }
    }
}

/// Returns the lag of a device in each of its logs.
fn behind(device: &DeviceState, ends: &HashMap<LogId, u64>) -> impl Iterator<Item = u64> {
    let behind = |log: Log| ends[&device.stored(&log)].saturating_sub(device.position(&log));
    device.logs().map(behind).into_iter()
}

fn repeated(devices: &[Arc<DeviceState>]) -> u64 {
    let sum = AtomicU64::new(0);
    for device in devices {
        device.count(|line| {
            if let DeviceLine::Finished(repeated) = line {
                sum.fetch_add(*repeated, Ordering::Relaxed);
            }
            false
        });
    }
    sum.into_inner()
}
