//! `unicast` and `channel`: messages flow for a while, and each of them is verified and timed.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    fleet::{Fleet, FleetOptions, Phase, Progressed},
    pace::{self, Rate, Sender},
    report::{Latency, Report},
    target::{self, Audience, TargetKind, TargetOptions},
    usage::{self, Usage},
};

/// See the module's description.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// What is measured.
    pub(crate) kind: TargetKind,
    /// How.
    pub(crate) options: TargetOptions,
    /// How many devices.
    pub(crate) connections: u32,
    /// How fast.
    pub(crate) rate: Rate,
    /// For how long.
    pub(crate) seconds: f64,
    /// Of the load client.
    pub(crate) threads: usize,
}

/// The state of things at one moment.
struct Moment {
    at: Instant,
    progressed: Progressed,
    server: Usage,
    client: Usage,
    segments: u64,
}

impl Delivery {
    /// Runs it. `watch` is called about ten times a second with the share of the time that is over.
    ///
    /// # Errors
    /// What did not work.
    pub(crate) fn run(&self, mut watch: impl FnMut(f64)) -> Result<Report, String> {
        let target = target::start(self.kind, &self.options)?;
        let processes = target.processes();
        let audience = self.options.audience;
        let fleet_options = FleetOptions { threads: self.threads, ..FleetOptions::default() };
        let plans = target::plans(target.as_ref(), self.connections, audience);
        let fleet = Fleet::connect(plans, &fleet_options)?;
        let plan = pace::Plan { rate: self.rate, audience, connections: self.connections };
        let sender = Sender::start(plan, target.publisher(&fleet.names)?, fleet.deliveries())?;
        sleep(WARM_UP);
        fleet.set_phase(Phase::Measure);
        let before = Moment::now(&fleet, &processes);
        while before.at.elapsed().as_secs_f64() < self.seconds && !sender.has_failed() {
            sleep(Duration::from_millis(100));
            watch(before.at.elapsed().as_secs_f64() / self.seconds);
        }
        let after = Moment::now(&fleet, &processes);
        fleet.set_phase(Phase::Verify);
        let sent = sender.finish()?;
        let each = if audience == Audience::One { 1 } else { u64::from(self.connections) };
        let expected = sent.messages * each;
        let progressed = wait_for(&fleet, expected.saturating_sub(sent.failed));
        let outcome = fleet.finish()?;
        let delivered = after.progressed.delivered - before.progressed.delivered;
        let seconds = (after.at - before.at).as_secs_f64();
        let per_delivery = |before: Usage, after: Usage| {
            (after.cpu.saturating_sub(before.cpu)).as_secs_f64() * 1e6 / delivered.max(1) as f64
        };
        let segments = after.segments.saturating_sub(before.segments);
        Ok(Report {
            scenario: if audience == Audience::One { "unicast" } else { "channel" },
            target: crate::name(self.kind),
            version: target.version(),
            transport: Some(crate::name(self.options.transport)),
            path: Some(crate::name(self.options.path)),
            connections: self.connections,
            payload_bytes: Some(self.options.payload.max(crate::stamp::LEN)),
            seconds,
            sent: Some(sent.messages),
            delivered: Some(progressed.delivered),
            delivered_per_s: Some(delivered as f64 / seconds),
            lost: Some(expected.saturating_sub(progressed.delivered + sent.failed * each)),
            duplicated: Some(outcome.faults.duplicated + outcome.faults.misdelivered),
            reordered: Some(outcome.faults.reordered),
            failed: Some(sent.failed + progressed.closed),
            latency_us: (outcome.latencies.len() > 0).then(|| Latency {
                p50: outcome.latencies.quantile_us(0.5),
                p99: outcome.latencies.quantile_us(0.99),
                p999: outcome.latencies.quantile_us(0.999),
            }),
            server_cpu_us_per_delivery: Some(per_delivery(before.server, after.server)),
            client_cpu_us_per_delivery: Some(per_delivery(before.client, after.client)),
            messages_per_write: (segments > 0).then(|| delivered as f64 / segments as f64),
            ..Report::default()
        })
    }
}

impl Moment {
    fn now(fleet: &Fleet, processes: &[u32]) -> Self {
        Self {
            at: Instant::now(),
            progressed: fleet.progressed(),
            server: usage::of(processes),
            client: usage::of(&[std::process::id()]),
            segments: fleet.segments(),
        }
    }
}

/// Waits until everything has come, or nothing comes any more.
fn wait_for(fleet: &Fleet, expected: u64) -> Progressed {
    let mut last = (fleet.progressed().delivered, Instant::now());
    loop {
        let progressed = fleet.progressed();
        if progressed.delivered >= expected || last.1.elapsed() > SILENCE {
            // What comes once too often comes now.
            sleep(Duration::from_millis(100));
            return fleet.progressed();
        }
        if progressed.delivered != last.0 {
            last = (progressed.delivered, Instant::now());
        }
        sleep(Duration::from_millis(20));
    }
}

const WARM_UP: Duration = Duration::from_secs(2);

/// After which what has not come is lost.
const SILENCE: Duration = Duration::from_secs(5);
