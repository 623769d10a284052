//! Options that scenarios share.

use std::path::PathBuf;

use clap::Args;

use crate::{
    audience::Audience,
    capacity,
    pace::Rate,
    scenario::Devices,
    target::{Path, Registration, Spoil, TargetKind, TargetOptions, Transport},
};

#[derive(Args, Clone, Debug)]
pub(super) struct Base {
    /// What to measure.
    #[arg(long, value_enum, default_value = "im")]
    pub(super) target: TargetKind,
    /// How many devices.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..5_000_000))]
    pub(super) connections: u32,
    /// How devices connect.
    #[arg(long, value_enum, default_value = "ws")]
    transport: Transport,
    /// Threads of the load client. Default: as few as the limit of open files allows, which counts for each thread.
    #[arg(long)]
    threads: Option<usize>,
    /// How many im-server processes. Default: as few as the limit of open files allows.
    #[arg(long)]
    servers: Option<usize>,
    /// Where im-server registers routes; "none": in its own process (idle and storm only).
    #[arg(long, value_enum, default_value = "redis")]
    registration: Registration,
    /// Print one JSON object for each run.
    #[arg(long)]
    pub(super) json: bool,
    /// What the report is to say beside, for example that the machine was busy.
    #[arg(long)]
    note: Option<String>,
    /// Have the control make this fault.
    #[arg(long, value_enum, hide = true)]
    spoil: Option<Spoil>,
}

#[derive(Args, Clone, Debug)]
pub(super) struct Flow {
    #[command(flatten)]
    pub(super) base: Base,
    /// Messages a second, or "max".
    #[arg(long, default_value = "max")]
    rate: Rate,
    /// With "max": how many deliveries may be outstanding.
    #[arg(long)]
    pub(super) window: Option<u64>,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 128)]
    payload: usize,
    /// How long to measure.
    #[arg(long, default_value_t = 10.0)]
    pub(super) seconds: f64,
    /// How long to send before that.
    #[arg(long, default_value_t = 2.0)]
    pub(super) warm_up: f64,
    /// Where messages enter.
    #[arg(long, value_enum, default_value = "edge")]
    path: Path,
    /// Write a plot into this file (SVG): latencies, or for `growth` the cost.
    #[arg(long)]
    pub(super) plot: Option<PathBuf>,
}

impl Base {
    pub(super) fn options(&self) -> Result<TargetOptions, String> {
        let needed = capacity::tables(self.all_connections(), capacity::per_server()?);
        if let Some(servers) =
            self.servers.filter(|servers| self.target == TargetKind::Im && *servers < needed)
        {
            return Err(format!(
                "{} connections need at least {needed} servers, not {servers}",
                self.connections
            ));
        }
        Ok(TargetOptions {
            transport: self.transport,
            path: Path::Edge,
            payload: 0,
            servers: if self.target == TargetKind::Im { self.servers.unwrap_or(needed) } else { 1 },
            audience: Audience::One,
            registration: self.registration,
            spoil: self.spoil,
            note: self.note.clone(),
        })
    }

    pub(super) fn devices(&self) -> Result<Devices, String> {
        // Over QUIC, a thread needs few descriptors.
        let needed = match self.transport {
            Transport::Ws | Transport::Wss => capacity::tables(self.connections, capacity::per_table()?),
            Transport::Quic => 1,
        };
        match self.threads {
            Some(threads) if threads < needed => {
                Err(format!("{} connections need at least {needed} threads, not {threads}", self.connections))
            }
            threads => Ok(Devices { connections: self.connections, threads: threads.unwrap_or(needed) }),
        }
    }

    /// With those that `idle` makes beforehand.
    fn all_connections(&self) -> u32 {
        self.connections + self.connections / 50 + 1
    }
}

impl Flow {
    pub(super) fn options(&self, audience: Audience) -> Result<TargetOptions, String> {
        Ok(TargetOptions { path: self.path, payload: self.payload, audience, ..self.base.options()? })
    }

    pub(super) fn rate(&self) -> Rate {
        match self.rate {
            Rate::Max { .. } => Rate::Max { window: self.window },
            rate => rate,
        }
    }
}
