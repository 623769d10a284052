//! `idle`: what a connection takes that does nothing.

use std::{thread::sleep, time::Duration};

use crate::{
    fleet::{Fleet, FleetOptions},
    report::Report,
    target::{self, Audience, TargetKind, TargetOptions},
    usage,
};

/// See the module's description.
#[derive(Clone, Debug)]
pub(crate) struct Idle {
    /// What is measured.
    pub(crate) kind: TargetKind,
    /// How.
    pub(crate) options: TargetOptions,
    /// How many devices.
    pub(crate) connections: u32,
}

impl Idle {
    /// Runs it.
    ///
    /// # Errors
    /// What did not work.
    pub(crate) fn run(&self) -> Result<Report, String> {
        let target = target::start(self.kind, &self.options)?;
        let processes = target.processes();
        // The first connections also pay for what is there once: stacks, arenas, tables.
        let first = self.connections / 50 + 1;
        let mut plans = target::plans(target.as_ref(), first + self.connections, Audience::One);
        let rest = plans.split_off(first as usize);
        let few = Fleet::connect(plans, &FleetOptions::default())?;
        sleep(SETTLE);
        let (before, slab) = (usage::of(&processes), usage::slab_bytes());
        let fleet = Fleet::connect(rest, &FleetOptions { first, ..FleetOptions::default() })?;
        sleep(SETTLE);
        let (after, slab_after) = (usage::of(&processes), usage::slab_bytes());
        let each = |before: u64, after: u64| {
            Some(after.saturating_sub(before) as f64 / f64::from(self.connections.max(1)))
        };
        let report = Report {
            scenario: "idle",
            target: crate::name(self.kind),
            version: target.version(),
            transport: Some(crate::name(self.options.transport)),
            connections: self.connections,
            failed: Some(few.progressed().closed + fleet.progressed().closed),
            server_rss_bytes_per_connection: each(before.anonymous_bytes, after.anonymous_bytes),
            kernel_bytes_per_connection: each(slab, slab_after),
            connects_per_s: Some(f64::from(self.connections) / fleet.connected_in.as_secs_f64()),
            ..Report::default()
        };
        few.finish()?;
        fleet.finish()?;
        Ok(report)
    }
}

/// Until what was begun with the last connections is over.
const SETTLE: Duration = Duration::from_secs(2);
