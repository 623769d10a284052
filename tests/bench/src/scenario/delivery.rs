//! `unicast` and `channel`: messages flow for a while, and each one is verified and timed.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use super::Devices;
use crate::{
    audience::Audience,
    fleet::{Count, Fleet, Phase, Progressed},
    pace::{self, Rate, Sender},
    report::{Latency, Report},
    target::{self, TargetKind, TargetOptions},
    usage::{self, Usage},
};

/// See the module's description.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// Target.
    pub(crate) kind: TargetKind,
    /// Options of the target.
    pub(crate) options: TargetOptions,
    /// Receiving devices.
    pub(crate) devices: Devices,
    /// Rate of sending.
    pub(crate) rate: Rate,
    /// Seconds to measure.
    pub(crate) seconds: f64,
    /// Seconds of warm-up before that.
    pub(crate) warm_up: f64,
}

/// A snapshot of all counters.
struct Moment {
    at: Instant,
    progressed: Progressed,
    server: Usage,
    own: Duration,
    counts: Vec<Count>,
}

impl Delivery {
    /// Runs the scenario. Calls `watch` about ten times a second with the elapsed share of the time.
    ///
    /// # Errors
    /// Returns the step that failed.
    pub(crate) fn run(&self, mut watch: impl FnMut(f64)) -> Result<Report, String> {
        let Self { options, devices, .. } = self;
        let target = target::start(self.kind, options, devices.connections)?;
        let (processes, audience) = (target.processes(), options.audience);
        let plans = target::plans(target.as_ref(), devices.connections, audience);
        let fleet = Fleet::connect(plans, &devices.fleet(target.as_ref(), options), |_| {})?;
        let plan = pace::Plan { rate: self.rate, audience, connections: devices.connections };
        let sender = Sender::start(plan, target.publisher(&fleet.names)?, fleet.deliveries())?;
        sleep(Duration::from_secs_f64(self.warm_up));
        fleet.set_phase(Phase::Measure);
        let before = Moment::now(&fleet, &processes);
        while before.at.elapsed().as_secs_f64() < self.seconds && !sender.has_failed() {
            sleep(Duration::from_millis(100).min(Duration::from_secs_f64(self.seconds)));
            watch(before.at.elapsed().as_secs_f64() / self.seconds);
        }
        let after = Moment::now(&fleet, &processes);
        fleet.set_phase(Phase::Verify);
        let pace::Sent { messages, failed: refused, publisher } = sender.finish()?;
        let failed = refused * audience.members(devices.connections);
        let expected = audience.deliveries(devices.connections, messages).saturating_sub(failed);
        let progressed = wait_for(&fleet, expected);
        drop(publisher);
        let findings = fleet.finish()?;
        let faults = findings.faults;
        Ok(Report {
            scenario: if audience == Audience::One { "unicast" } else { "channel" }.to_owned(),
            version: target.version(),
            path: Some(crate::name(options.path)),
            channels: match audience {
                Audience::One => None,
                Audience::Channels(channels) => Some(channels),
            },
            payload_bytes: Some(options.payload.max(crate::stamp::LEN)),
            sent: Some(messages),
            delivered: Some(progressed.delivered),
            lost: Some(expected.saturating_sub(progressed.delivered)),
            duplicated: Some(faults.duplicated + faults.misdelivered),
            reordered: Some(faults.reordered),
            failed: Some(refused + progressed.closed),
            latency_us: (findings.latencies.len() > 0).then(|| Latency {
                p50: findings.latencies.quantile_us(0.5),
                p99: findings.latencies.quantile_us(0.99),
                p999: findings.latencies.quantile_us(0.999),
            }),
            curve: findings.latencies.curve(),
            ..self.measured(&before, &after)
        })
    }

    /// Returns the report of the time between two snapshots.
    fn measured(&self, before: &Moment, after: &Moment) -> Report {
        let delivered = after.progressed.delivered - before.progressed.delivered;
        let seconds = (after.at - before.at).as_secs_f64();
        let each = |cpu: Duration| Some(cpu.as_secs_f64() * 1e6 / delivered.max(1) as f64);
        let pairs = before.counts.iter().zip(&after.counts);
        let cpu: Vec<Duration> = pairs.map(|(before, after)| after.cpu.saturating_sub(before.cpu)).collect();
        let client: Duration = cpu.iter().sum();
        let busiest = cpu.iter().max().copied().unwrap_or_default();
        let segments = after.segments().saturating_sub(before.segments());
        Report {
            seconds,
            delivered_per_s: Some(delivered as f64 / seconds),
            server_cpu_us_per_delivery: each(after.server.cpu.saturating_sub(before.server.cpu)),
            client_cpu_us_per_delivery: each(client),
            sender_cpu_us_per_delivery: each((after.own - before.own).saturating_sub(client)),
            client_busy: Some(busiest.as_secs_f64() / seconds),
            messages_per_write: (segments > 0).then(|| delivered as f64 / segments as f64),
            ..self.devices.report(self.kind, &self.options)
        }
    }
}

impl Moment {
    fn now(fleet: &Fleet, processes: &[u32]) -> Self {
        let counts = fleet.counts();
        Self {
            at: Instant::now(),
            progressed: fleet.progressed(),
            server: usage::of(processes),
            own: usage::own_cpu(),
            counts,
        }
    }

    fn segments(&self) -> u64 {
        self.counts.iter().map(|count| count.segments).sum()
    }
}

/// Waits until everything has arrived, or nothing arrives any more.
pub(super) fn wait_for(fleet: &Fleet, expected: u64) -> Progressed {
    let mut last = (fleet.progressed().delivered, Instant::now());
    loop {
        let progressed = fleet.progressed();
        if progressed.delivered >= expected || last.1.elapsed() > SILENCE {
            // Leaves time for duplicates to arrive.
            sleep(Duration::from_millis(100));
            return fleet.progressed();
        }
        if progressed.delivered != last.0 {
            last = (progressed.delivered, Instant::now());
        }
        sleep(Duration::from_millis(5));
    }
}

/// Time without deliveries after which outstanding messages count as lost.
const SILENCE: Duration = Duration::from_secs(5);
