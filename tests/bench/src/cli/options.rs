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
    /// Target to measure.
    #[arg(long, value_enum, default_value = "im")]
    pub(super) target: TargetKind,
    /// Number of devices.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..5_000_000))]
    pub(super) connections: u32,
    /// Transport of the devices.
    #[arg(long, value_enum, default_value = "ws")]
    transport: Transport,
    /// Threads of the load client. Default: as few as the limit of open files allows; the limit applies per thread.
    #[arg(long)]
    threads: Option<usize>,
    /// Number of im-server processes. Default: as few as the limit of open files allows.
    #[arg(long)]
    servers: Option<usize>,
    /// Registry of im-server's routes; "none": in its own process (idle and storm only).
    #[arg(long, value_enum, default_value = "redis")]
    registration: Registration,
    /// Print one JSON object for each run.
    #[arg(long)]
    pub(super) json: bool,
    /// Note for the report, for example that the machine was busy.
    #[arg(long)]
    note: Option<String>,
    /// Fault that the control injects.
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
    /// With "max": maximum number of outstanding deliveries.
    #[arg(long)]
    pub(super) window: Option<u64>,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 128)]
    payload: usize,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10.0)]
    pub(super) seconds: f64,
    /// Seconds of warm-up before that.
    #[arg(long, default_value_t = 2.0)]
    pub(super) warm_up: f64,
    /// Entry point of messages.
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
        // QUIC connections share sockets, so a thread needs few descriptors.
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

    /// Includes the connections that `idle` makes beforehand.
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
