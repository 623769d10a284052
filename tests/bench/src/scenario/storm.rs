//! `storm`: the rate at which devices connect when all come at once.

use std::time::Duration;

use super::Devices;
use crate::{
    audience::Audience,
    fleet::Fleet,
    report::Report,
    target::{self, TargetKind, TargetOptions},
    usage,
};

/// See the module's description.
#[derive(Clone, Debug)]
pub(crate) struct Storm {
    /// Target.
    pub(crate) kind: TargetKind,
    /// Options of the target.
    pub(crate) options: TargetOptions,
    /// Devices.
    pub(crate) devices: Devices,
}

impl Storm {
    /// Runs the scenario. Calls `watch` with the share of the connections that are ready.
    ///
    /// # Errors
    /// Returns the step that failed.
    pub(crate) fn run(&self, watch: impl FnMut(f64)) -> Result<Report, String> {
        let Self { options, devices, .. } = self;
        let target = target::start(self.kind, options, devices.connections)?;
        let processes = target.processes();
        let plans = target::plans(target.as_ref(), devices.connections, Audience::One);
        let before = usage::of(&processes);
        let fleet = Fleet::connect(plans, &devices.fleet(target.as_ref(), options), watch)?;
        let after = usage::of(&processes);
        let client: Duration = fleet.counts().iter().map(|count| count.cpu).sum();
        let each = |cpu: Duration| Some(cpu.as_secs_f64() * 1e6 / f64::from(devices.connections.max(1)));
        let report = Report {
            scenario: "storm".to_owned(),
            version: target.version(),
            registration: Some(crate::name(options.registration)),
            seconds: fleet.connected_in.as_secs_f64(),
            failed: Some(fleet.progressed().closed),
            server_cpu_us_per_connect: each(after.cpu.saturating_sub(before.cpu)),
            client_cpu_us_per_connect: each(client),
            connects_per_s: Some(f64::from(devices.connections) / fleet.connected_in.as_secs_f64()),
            ..devices.report(self.kind, options)
        };
        fleet.finish()?;
        Ok(report)
    }
}
