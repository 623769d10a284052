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
/// tests/bench/README.md describes the scenarios, and how to tell that the load client is not the bottleneck.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sends messages to one connection each, all connections in turn.
    Unicast(Flow),
    /// Sends messages to channels; the connections are divided among them. With one channel, all are its
    /// members.
    Channel(ChannelFlow),
    /// Measures the cost of an idle connection: memory of the server's processes and of the kernel.
    Idle(Base),
    /// Measures how fast devices connect when all come at once.
    Storm(Base),
    /// Reconnects devices that were away, all at once; each receives the messages it missed.
    Resume(ResumeFlow),
    /// Measures the cost of a delivery as the number of connections or channels grows.
    Growth(GrowthFlow),
    /// Measures how fast the SDK sends, without devices, and how fast Redis and NATS take the same bytes.
    Send(SendPath),
    /// Runs the target and its peers in turn for several rounds, and prints medians and ratios.
    Compare(Compare),
    /// Makes Markdown tables from files with the output of --json.
    Tables {
        /// Files with one JSON object a line.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Runs the control server; started by `--target control`.
    #[command(hide = true)]
    ControlServer {
        #[arg(long, value_enum)]
        spoil: Option<Spoil>,
    },
    /// Runs a server with its cluster inside; started by `--registration none`.
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
    /// Number of channels among which the connections are divided.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    channels: u32,
}

#[derive(Args, Clone, Debug)]
struct ResumeFlow {
    #[command(flatten)]
    base: Base,
    /// Number of messages that each device has missed.
    #[arg(long, default_value_t = 20)]
    missed: u32,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 128)]
    payload: usize,
}

#[derive(Args, Clone, Debug)]
struct GrowthFlow {
    /// Dimension that grows.
    #[arg(value_enum)]
    dimension: Dimension,
    #[command(flatten)]
    flow: Flow,
    /// Sizes to measure at. Default: 1,000 to 50,000 connections, or 2 to 2,000 channels.
    #[arg(long, value_delimiter = ',')]
    sweep: Vec<u32>,
}

#[derive(Args, Clone, Debug)]
struct SendPath {
    /// live or logged.
    #[arg(long, value_enum, default_value = "live")]
    path: Path,
    /// Number of recipients, each with one device.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 128)]
    payload: usize,
    /// Total measuring time in seconds, after a warm-up of one second.
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
    /// Target to compare with; may be given several times.
    #[arg(long, value_enum, required = true)]
    peer: Vec<TargetKind>,
    /// Number of rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// Runs the command. Returns `false` if any delivery was wrong.
///
/// # Errors
/// Returns the step that failed.
pub(crate) fn run(arguments: Arguments) -> Result<bool, String> {
    // Raises the limit of descriptors to its maximum.
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
    // Allows about one outstanding message per connection everywhere. With more, messages are coalesced, which makes
    // them cheaper when connections or channels are few.
    let window = match dimension {
        Dimension::Connections => {
            // Uses the servers and threads of the largest point everywhere.
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
