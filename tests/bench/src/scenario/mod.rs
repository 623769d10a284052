//! What can be measured.

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

/// Who receives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Devices {
    /// How many.
    pub(crate) connections: u32,
    /// On how many threads of the load client.
    pub(crate) threads: usize,
}

impl Devices {
    /// How they connect to a target.
    fn fleet(&self, target: &dyn Target, options: &TargetOptions) -> FleetOptions {
        FleetOptions {
            threads: self.threads,
            transport: options.transport,
            certificates: target.certificates(),
            ..FleetOptions::default()
        }
    }

    /// What every report says.
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
