//! The scenarios.

mod delivery;
mod growth;
mod idle;
mod resume;
mod send;
mod storm;

pub(crate) use self::{
    delivery::Delivery,
    growth::{Dimension, Growth, factor},
    idle::Idle,
    resume::Resume,
    send::{Send, SendReport},
    storm::Storm,
};
use crate::{
    fleet::FleetOptions,
    report::Report,
    target::{Target, TargetKind, TargetOptions},
};

/// The receiving devices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Devices {
    /// Number of connections.
    pub(crate) connections: u32,
    /// Number of threads of the load client.
    pub(crate) threads: usize,
}

impl Devices {
    /// Returns the fleet options for a target.
    fn fleet(&self, target: &dyn Target, options: &TargetOptions) -> FleetOptions {
        FleetOptions {
            threads: self.threads,
            transport: options.transport,
            certificates: target.certificates(),
            ..FleetOptions::default()
        }
    }

    /// Returns a report with the fields that every scenario has.
    fn report(&self, kind: TargetKind, options: &TargetOptions) -> Report {
        Report {
            target: crate::name(kind),
            transport: Some(crate::name(options.transport)),
            connections: self.connections,
            servers: Some(options.servers),
            note: options.note.clone(),
            ..Report::default()
        }
    }
}
