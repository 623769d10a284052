//! `storm`: how fast devices can connect that all come at once.

use crate::{
    fleet::{Fleet, FleetOptions},
    report::Report,
    target::{self, Audience, TargetKind, TargetOptions},
    usage,
};

/// See the module's description.
#[derive(Clone, Debug)]
pub(crate) struct Storm {
    /// What is measured.
    pub(crate) kind: TargetKind,
    /// How.
    pub(crate) options: TargetOptions,
    /// How many devices.
    pub(crate) connections: u32,
    /// Of the load client.
    pub(crate) threads: usize,
}

impl Storm {
    /// Runs it.
    ///
    /// # Errors
    /// What did not work.
    pub(crate) fn run(&self) -> Result<Report, String> {
        let target = target::start(self.kind, &self.options)?;
        let processes = target.processes();
        let plans = target::plans(target.as_ref(), self.connections, Audience::One);
        let options = FleetOptions { threads: self.threads, ..FleetOptions::default() };
        let (before, own) = (usage::of(&processes), usage::of(&[std::process::id()]));
        let fleet = Fleet::connect(plans, &options)?;
        let (after, own_after) = (usage::of(&processes), usage::of(&[std::process::id()]));
        let each = |before: usage::Usage, after: usage::Usage| {
            let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
            Some(cpu * 1e6 / f64::from(self.connections.max(1)))
        };
        let report = Report {
            scenario: "storm",
            target: crate::name(self.kind),
            version: target.version(),
            transport: Some(crate::name(self.options.transport)),
            connections: self.connections,
            seconds: fleet.connected_in.as_secs_f64(),
            failed: Some(fleet.progressed().closed),
            server_cpu_us_per_connect: each(before, after),
            client_cpu_us_per_connect: each(own, own_after),
            connects_per_s: Some(f64::from(self.connections) / fleet.connected_in.as_secs_f64()),
            ..Report::default()
        };
        fleet.finish()?;
        Ok(report)
    }
}
