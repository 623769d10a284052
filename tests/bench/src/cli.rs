//! The command line.

use std::io::{IsTerminal as _, Write as _};

use clap::{Args, Parser, Subcommand};

use crate::{
    compare,
    pace::Rate,
    report::{Report, table},
    scenario::{Delivery, Idle, Send, Storm},
    target::{self, Audience, Path, TargetKind, TargetOptions, Transport},
};

/// Measures im-server and its peers with the same load client, and verifies every delivery.
///
/// Build im-server first: cargo build --release -p im-server. Redis and NATS are started on free ports of this machine.
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
    /// Messages to one channel that every connection is in.
    Channel(Flow),
    /// What a connection takes that does nothing.
    Idle(Base),
    /// How fast devices can connect that all come at once.
    Storm(Base),
    /// How fast the SDK sends, without devices, and how fast Redis and NATS take the same bytes.
    Send(SendPath),
    /// Target and peers in turn, for some rounds: medians and ratios.
    Compare(Compare),
    /// The control, as a process of its own: started by `--target control`.
    #[command(hide = true)]
    ControlServer,
}

#[derive(Args, Clone, Debug)]
struct Base {
    /// What to measure.
    #[arg(long, value_enum, default_value = "im")]
    target: TargetKind,
    /// How many devices.
    #[arg(long, default_value_t = 5000)]
    connections: u32,
    /// How devices connect.
    #[arg(long, value_enum, default_value = "ws")]
    transport: Transport,
    /// Threads of the load client.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// How many im-server processes.
    #[arg(long, default_value_t = 1)]
    servers: usize,
    /// Print one JSON object for each run.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Clone, Debug)]
struct Flow {
    #[command(flatten)]
    base: Base,
    /// Messages a second, or "max".
    #[arg(long, default_value = "max")]
    rate: Rate,
    /// With "max": how many deliveries may be outstanding.
    #[arg(long)]
    window: Option<u64>,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 128)]
    payload: usize,
    /// How long to measure, after a warm-up of two seconds.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Where messages enter.
    #[arg(long, value_enum, default_value = "edge")]
    path: Path,
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
        Command::Unicast(flow) => show(&flow.base, &[flow.delivery(Audience::One).run(progress("unicast"))?]),
        Command::Channel(flow) => show(&flow.base, &[flow.delivery(Audience::All).run(progress("channel"))?]),
        Command::Idle(base) => {
            let idle = Idle { kind: base.target, options: base.options(), connections: base.connections };
            show(&base, &[idle.run()?])
        }
        Command::Storm(base) => {
            let (options, threads) = (base.options(), base.threads);
            let storm = Storm { kind: base.target, options, connections: base.connections, threads };
            show(&base, &[storm.run()?])
        }
        Command::Send(SendPath { path, connections, payload, seconds, json }) => {
            let report = Send { path, connections, payload, seconds }.run()?;
            print(&if json { to_json(&report)? } else { report.to_string() })?;
            Ok(true)
        }
        Command::Compare(arguments) => compare(&arguments),
        Command::ControlServer => {
            target::serve_control().map_err(|error| format!("the control ended: {error}"))?;
            Ok(true)
        }
    }
}

fn compare(arguments: &Compare) -> Result<bool, String> {
    let audience = if arguments.scenario == "unicast" { Audience::One } else { Audience::All };
    let mut kinds = vec![arguments.flow.base.target];
    kinds.extend(&arguments.peer);
    let mut runs = Vec::new();
    for round in 1..=arguments.rounds {
        for kind in &kinds {
            let delivery = Delivery { kind: *kind, ..arguments.flow.delivery(audience) };
            let what = format!("round {round} of {}: {}", arguments.rounds, crate::name(*kind));
            runs.push(delivery.run(progress(&what))?);
        }
    }
    let (medians, ratios) = compare::summarize(&runs);
    let exact = show(&arguments.flow.base, &medians)?;
    for ratio in &ratios {
        if arguments.flow.base.json {
            print(&to_json(ratio)?)?;
        } else {
            print(&format!("{} {} to {}: {:.2}", ratio.target, ratio.ratio, ratio.to, ratio.value))?;
        }
    }
    Ok(exact && runs.iter().all(Report::is_exact))
}

fn show(base: &Base, reports: &[Report]) -> Result<bool, String> {
    if base.json {
        for report in reports {
            print(&to_json(report)?)?;
        }
    } else {
        print(table(reports).trim_end())?;
    }
    Ok(reports.iter().all(Report::is_exact))
}

fn to_json(value: &impl serde::Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|error| format!("cannot write JSON: {error}"))
}

fn print(text: &str) -> Result<(), String> {
    writeln!(std::io::stdout(), "{text}").map_err(|error| format!("cannot print: {error}"))
}

/// A line on the terminal that shows how far a run is.
fn progress(what: &str) -> impl FnMut(f64) {
    let what = what.to_owned();
    let terminal = std::io::stderr().is_terminal();
    move |share: f64| {
        if terminal {
            let filled = "#".repeat((share.clamp(0.0, 1.0) * 30.0) as usize);
            let end = if share >= 1.0 { "\r\x1b[K" } else { "" };
            // A terminal that is gone needs no progress.
            _ = write!(std::io::stderr(), "\r{what} [{filled:30}]{end}");
        }
    }
}

impl Base {
    fn options(&self) -> TargetOptions {
        TargetOptions {
            transport: self.transport,
            path: Path::Edge,
            payload: 0,
            servers: self.servers,
            audience: Audience::One,
        }
    }
}

impl Flow {
    fn delivery(&self, audience: Audience) -> Delivery {
        let options =
            TargetOptions { path: self.path, payload: self.payload, audience, ..self.base.options() };
        let rate = match self.rate {
            Rate::Max { .. } => Rate::Max { window: self.window },
            rate => rate,
        };
        Delivery {
            kind: self.base.target,
            options,
            connections: self.base.connections,
            rate,
            seconds: self.seconds,
            threads: self.base.threads,
        }
    }
}
