//! What is measured: im-server, its peers, and a floor that does nothing but deliver.

mod centrifugo;
mod control;
mod im;
mod nats;
mod records;
mod uws;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use rustls::pki_types::CertificateDer;

pub(crate) use self::{
    control::{Spoil, serve as serve_control},
    im::{ImTarget, logged_message, serve_embedded},
};
use crate::{audience::Audience, capacity, fleet::Plan, login::Login, stamp::Stamp};

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "kebab-case")]
pub(crate) enum TargetKind {
    /// im-server.
    Im,
    /// The floor: one thread, one epoll, one send for each delivery (a room: one for each member and read).
    Control,
    /// The WebSocket listener of nats-server.
    NatsWs,
    /// Centrifugo. Needs its program: `go install github.com/centrifugal/centrifugo/v5@latest`.
    Centrifugo,
    /// uWebSockets inside Bun. Needs its program: `npm install bun @oven/bun-linux-x64`.
    Uws,
}

/// How devices connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// QUIC.
    Quic,
}

/// Where messages enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Path {
    /// As close to the server as its protocol allows; for im-server on its NATS subject.
    Edge,
    /// By the SDK, not logged: Redis for the routes, NATS.
    Live,
    /// By the SDK, in the recipient's and the sender's log.
    Logged,
}

/// Where routes are registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Registration {
    /// In Redis, as in a deployment.
    Redis,
    /// In the server's own process: no Redis, no NATS, and no way in for messages.
    None,
}

/// What a target has to know beforehand.
#[derive(Clone, Debug)]
pub(crate) struct TargetOptions {
    /// How devices connect.
    pub(crate) transport: Transport,
    /// Where messages enter.
    pub(crate) path: Path,
    /// The size of a payload.
    pub(crate) payload: usize,
    /// How many server processes.
    pub(crate) servers: usize,
    /// Who gets a message.
    pub(crate) audience: Audience,
    /// Where routes are registered.
    pub(crate) registration: Registration,
    /// What the control does wrong, for tests of the verification.
    pub(crate) spoil: Option<Spoil>,
    /// What the report is to say beside.
    pub(crate) note: Option<String>,
}

/// A running target. Dropping it ends its processes.
pub(crate) trait Target {
    /// Its name and version, for the report.
    fn version(&self) -> String;

    /// The processes whose work is the delivery.
    fn processes(&self) -> Vec<u32>;

    /// What proves that it is this target, where connections are encrypted.
    fn certificates(&self) -> Vec<CertificateDer<'static>> {
        Vec::new()
    }

    /// How a connection of this index introduces itself, and where.
    fn plan(&self, index: u32) -> (SocketAddr, Box<dyn Login>);

    /// Publishes to connections, given what their servers call them.
    ///
    /// # Errors
    /// Why that cannot be.
    fn publisher(&self, names: &[u64]) -> Result<Box<dyn Publisher>, String>;
}

/// Sends messages into a target.
pub(crate) trait Publisher: Send {
    /// Sends them, in this order for each audience. Returns when there is room for more.
    ///
    /// # Errors
    /// What went wrong; the run ends with it.
    fn publish(&mut self, batch: &[Stamp]) -> Result<(), String>;

    /// How many sends have failed.
    fn failed(&self) -> u64 {
        0
    }
}

/// Starts a target.
///
/// # Errors
/// What is missing, and how to get it.
pub(crate) fn start(
    kind: TargetKind,
    options: &TargetOptions,
    connections: u32,
) -> Result<Box<dyn Target>, String> {
    if kind != TargetKind::Im {
        let name = crate::name(kind);
        if (options.transport, options.path, options.registration)
            != (Transport::Ws, Path::Edge, Registration::Redis)
        {
            return Err(format!("{name} is measured with --transport ws, --path edge and nothing else only"));
        }
        capacity::one_process_holds(connections).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(match kind {
        TargetKind::Im => Box::new(ImTarget::start(options)?),
        TargetKind::Control => Box::new(control::ControlTarget::start(options)?),
        TargetKind::NatsWs => Box::new(nats::NatsTarget::start(options)?),
        TargetKind::Centrifugo => Box::new(centrifugo::CentrifugoTarget::start(options)?),
        TargetKind::Uws => Box::new(uws::UwsTarget::start(options)?),
    })
}

/// The plans of a fleet.
pub(crate) fn plans(target: &dyn Target, connections: u32, audience: Audience) -> Vec<Plan> {
    let plan = |index| {
        let (server, login) = target.plan(index);
        Plan { index, audience: audience.of(index), first_sequence: 0, server, login }
    };
    (0..connections).map(plan).collect()
}

/// What a channel is called where names are free.
fn topic(audience: Audience, number: u32) -> String {
    match audience {
        Audience::One => format!("c{number}"),
        Audience::Channels(_) => format!("room{number}"),
    }
}

/// A port that nobody has now.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}

/// Waits until a server takes connections.
fn wait_for(address: SocketAddr, timeout: Duration) -> Result<(), String> {
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        if started.elapsed() > timeout {
            return Err(format!("nothing answers at {address} within {timeout:?}"));
        }
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Where a peer's program is: what the variable says, or what the path has.
fn program(variable: &str, name: &str, install: &str) -> Result<String, String> {
    if let Ok(program) = std::env::var(variable) {
        return Ok(program);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder: PathBuf| folder.join(name)).find(|file| file.is_file());
    found.map(|file| file.display().to_string()).ok_or_else(|| {
        format!(
            "{name} is not installed: run `{install}`, then put it into PATH or set {variable} to its path"
        )
    })
}

/// The first line of what a program says of its version.
fn program_version(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let output =
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    output.lines().next().unwrap_or("version unknown").to_owned()
}
