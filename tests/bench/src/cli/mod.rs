//! The command line.

mod options;
mod output;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use self::{
    options::{Base, Flow},
    output::{print, progress, show, show_all, to_json},
};
use crate::{
    audience::Audience,
    compare, pace, plot,
    report::Report,
    scenario::{Delivery, Dimension, Growth, Idle, Resume, Send, Storm, factor},
    tables,
    target::{self, Path, Spoil, TargetKind, Transport},
};

/// Measures im-server and its peers with the same load client, and verifies every delivery.
///
/// Build im-server first: cargo build --release -p im-server. Redis and NATS are started on free ports of this machine.
/// tests/bench/README.md says what is measured and how it is known that the client is not what is measured.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Messages to one connection each, all connections in turn.
    Unicast(Flow),
    /// Messages to channels that the connections are spread over; one channel has all of them.
    Channel(ChannelFlow),
    /// What a connection takes that does nothing: memory of the server's processes, and of the kernel.
    Idle(Base),
    /// How fast devices can connect that all come at once.
    Storm(Base),
    /// Devices that were away come back all at once, and each gets what it missed.
    Resume(ResumeFlow),
    /// What a delivery costs from few connections to many, or from few channels to many.
    Growth(GrowthFlow),
    /// How fast the SDK sends, without devices, and how fast Redis and NATS take the same bytes.
    Send(SendPath),
    /// Target and peers in turn, for some rounds: medians and ratios.
    Compare(Compare),
    /// Markdown tables of what --json has printed into files.
    Tables {
        /// Files with one JSON object a line.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// The control, as a process of its own: started by `--target control`.
    #[command(hide = true)]
    ControlServer {
        #[arg(long, value_enum)]
        spoil: Option<Spoil>,
    },
    /// A server with its cluster inside: started by `--registration none`.
    #[command(hide = true)]
    EmbeddedServer {
        #[arg(long, value_enum)]
        transport: Transport,
    },
}

#[derive(Args, Clone, Debug)]
struct ChannelFlow {
    #[command(flatten)]
    flow: Flow,
    /// How many channels the connections are spread over.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    channels: u32,
}

#[derive(Args, Clone, Debug)]
struct ResumeFlow {
    #[command(flatten)]
    base: Base,
    /// How many messages each device has missed.
    #[arg(long, default_value_t = 20)]
    missed: u32,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 128)]
    payload: usize,
}

#[derive(Args, Clone, Debug)]
struct GrowthFlow {
    /// What grows.
    #[arg(value_enum)]
    dimension: Dimension,
    #[command(flatten)]
    flow: Flow,
    /// Where it is measured. Default: 1,000 to 50,000 connections, or 2 to 2,000 channels.
    #[arg(long, value_delimiter = ',')]
    sweep: Vec<u32>,
}

#[derive(Args, Clone, Debug)]
struct SendPath {
    /// live or logged.
    #[arg(long, value_enum, default_value = "live")]
    path: Path,
    /// How many recipients, each with one device.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 128)]
    payload: usize,
    /// How long to measure in all, after a warm-up of a second.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Clone, Debug)]
struct Compare {
    /// unicast or channel.
    #[arg(value_parser = ["unicast", "channel"])]
    scenario: String,
    #[command(flatten)]
    flow: Flow,
    /// Whom to compare with; may be given several times.
    #[arg(long, value_enum, required = true)]
    peer: Vec<TargetKind>,
    /// How often each is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// Does what the command line says. False: not every delivery was right.
///
/// # Errors
/// What did not work.
pub(crate) fn run(arguments: Arguments) -> Result<bool, String> {
    // More descriptors than the default, as many as there may be.
    rlimit::increase_nofile_limit(u64::MAX)
        .map_err(|error| format!("cannot raise the descriptor limit: {error}"))?;
    match arguments.command {
        Command::Unicast(flow) => deliver(&flow, Audience::One, "unicast"),
        Command::Channel(ChannelFlow { flow, channels }) => {
            if channels > flow.base.connections {
                return Err(format!(
                    "--channels {channels} is more than there are connections to spread over them"
                ));
            }
            deliver(&flow, Audience::Channels(channels), "channel")
        }
        Command::Idle(base) => {
            let (options, devices) = (base.options()?, base.devices()?);
            let idle = Idle { kind: base.target, options, devices };
            show(&base, &idle.run(progress("idle: connecting"))?)
        }
        Command::Storm(base) => {
            let (options, devices) = (base.options()?, base.devices()?);
            let storm = Storm { kind: base.target, options, devices };
            show(&base, &storm.run(progress("storm: connecting"))?)
        }
        Command::Resume(flow) => resume(&flow),
        Command::Growth(flow) => grow(&flow),
        Command::Send(SendPath { path, connections, payload, seconds, json }) => {
            let report = Send { path, connections, payload, seconds }.run()?;
            print(&if json { to_json(&report)? } else { report.to_string() })?;
            Ok(true)
        }
        Command::Compare(arguments) => compare(&arguments),
        Command::Tables { files } => {
            print(&tables::markdown(&files)?)?;
            Ok(true)
        }
        Command::ControlServer { spoil } => {
            target::serve_control(spoil).map_err(|error| format!("the control ended: {error}"))?;
            Ok(true)
        }
        Command::EmbeddedServer { transport } => target::serve_embedded(transport).map(|()| true),
    }
}

fn deliver(flow: &Flow, audience: Audience, what: &str) -> Result<bool, String> {
    let report = flow.delivery(audience)?.run(progress(what))?;
    if let Some(file) = &flow.plot {
        plot::latencies(file, what, std::slice::from_ref(&report))?;
    }
    show(&flow.base, &report)
}

fn resume(flow: &ResumeFlow) -> Result<bool, String> {
    if flow.base.target != TargetKind::Im {
        return Err("resume is measured with --target im only: the others keep no logs here".to_owned());
    }
    let options = target::TargetOptions { payload: flow.payload, ..flow.base.options()? };
    let resume = Resume { options, devices: flow.base.devices()?, missed: flow.missed };
    show(&flow.base, &resume.run(progress("resume: connecting"))?)
}

fn grow(arguments: &GrowthFlow) -> Result<bool, String> {
    let GrowthFlow { dimension, flow, sweep } = arguments;
    let points = if sweep.is_empty() { dimension.default_points() } else { sweep.clone() };
    let mut flow = flow.clone();
    // Everywhere at most about one message outstanding for a connection: where there are more, they are merged, which is
    // cheaper the fewer connections or channels there are.
    let window = match dimension {
        Dimension::Connections => {
            // Servers and threads as for the largest: everywhere the same.
            flow.base.connections = points.iter().max().copied().unwrap_or_default();
            points.iter().min().copied().unwrap_or_default()
        }
        Dimension::Channels => flow.base.connections,
    };
    flow.window.get_or_insert(u64::from(window).min(pace::UNICAST_WINDOW));
    let growth = Growth { dimension: *dimension, points, delivery: flow.delivery(Audience::One)? };
    let reports = growth.run(|point| progress(&format!("{point} {}", crate::name(*dimension))))?;
    if let Some(file) = &flow.plot {
        plot::growth(file, *dimension, &reports)?;
    }
    let exact = show_all(&flow.base, &reports)?;
    if let Some(factor) = factor(&reports).filter(|_| !flow.base.json) {
        print(&format!("a delivery costs {factor:.2} times as much at the last point as at the first"))?;
    }
    Ok(exact)
}

fn compare(arguments: &Compare) -> Result<bool, String> {
    let Compare { scenario, flow, peer, rounds } = arguments;
    let audience = if scenario == "unicast" { Audience::One } else { Audience::Channels(1) };
    let mut kinds = vec![flow.base.target];
    kinds.extend(peer);
    let mut runs = Vec::new();
    for round in 1..=*rounds {
        for kind in &kinds {
            let delivery = Delivery { kind: *kind, ..flow.delivery(audience)? };
            let what = format!("round {round} of {rounds}: {}", crate::name(*kind));
            runs.push(delivery.run(progress(&what))?);
        }
    }
    let (medians, ratios) = compare::summarize(&runs);
    if let Some(file) = &flow.plot {
        plot::latencies(file, scenario, &medians)?;
    }
    let exact = show_all(&flow.base, &medians)?;
    for ratio in &ratios {
        if flow.base.json {
            print(&to_json(ratio)?)?;
        } else {
            print(&format!("{} {} to {}: {:.2}", ratio.target, ratio.ratio, ratio.to, ratio.value))?;
        }
    }
    Ok(exact && runs.iter().all(Report::is_exact))
}

impl Flow {
    fn delivery(&self, audience: Audience) -> Result<Delivery, String> {
        Ok(Delivery {
            kind: self.base.target,
            options: self.options(audience)?,
            devices: self.base.devices()?,
            rate: self.rate(),
            seconds: self.seconds,
            warm_up: self.warm_up,
        })
    }
}
