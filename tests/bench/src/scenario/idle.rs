//! `idle`: the cost of an idle connection.

use std::{thread::sleep, time::Duration};

use super::Devices;
use crate::{
    audience::Audience,
    fleet::{Fleet, FleetOptions},
    report::Report,
    target::{self, TargetKind, TargetOptions},
    usage,
};

/// See the module's description.
#[derive(Clone, Debug)]
pub(crate) struct Idle {
    /// Target.
    pub(crate) kind: TargetKind,
    /// Options of the target.
    pub(crate) options: TargetOptions,
    /// Devices.
    pub(crate) devices: Devices,
}

impl Idle {
    /// Runs the scenario. Calls `watch` with the share of the connections that are ready.
    ///
    /// # Errors
    /// Returns the step that failed.
    pub(crate) fn run(&self, watch: impl FnMut(f64)) -> Result<Report, String> {
        let Self { options, devices, .. } = self;
        // The first connections also pay one-time costs: stacks, arenas, tables.
        let first = devices.connections / 50 + 1;
        let target = target::start(self.kind, options, first + devices.connections)?;
        let processes = target.processes();
        let mut plans = target::plans(target.as_ref(), first + devices.connections, Audience::One);
        let rest = plans.split_off(first as usize);
        let fleet_options = devices.fleet(target.as_ref(), options);
        let few = Fleet::connect(plans, &fleet_options, |_| {})?;
        sleep(SETTLE);
        let (before, slab) = (usage::of(&processes), usage::slab_bytes());
        let fleet = Fleet::connect(rest, &FleetOptions { first, ..fleet_options }, watch)?;
        sleep(SETTLE);
        let (after, slab_after) = (usage::of(&processes), usage::slab_bytes());
        let each = |before: u64, after: u64| {
            Some(after.saturating_sub(before) as f64 / f64::from(devices.connections.max(1)))
        };
        let report = Report {
            scenario: "idle".to_owned(),
            version: target.version(),
            registration: Some(crate::name(options.registration)),
            failed: Some(few.progressed().closed + fleet.progressed().closed),
            server_rss_bytes_per_connection: each(before.anonymous_bytes, after.anonymous_bytes),
            kernel_bytes_per_connection: each(slab, slab_after),
            connects_per_s: Some(f64::from(devices.connections) / fleet.connected_in.as_secs_f64()),
            ..devices.report(self.kind, options)
        };
        few.finish()?;
        fleet.finish()?;
        Ok(report)
    }
}

/// Time for work that the last connections started to end.
const SETTLE: Duration = Duration::from_secs(2);
