//! Targets: im-server, its peers, and a floor that only delivers.

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

/// The target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "kebab-case")]
pub(crate) enum TargetKind {
    /// im-server.
    Im,
    /// The floor: one thread, one epoll, one send for each delivery (for a channel: for each member and
    /// read).
    Control,
    /// The WebSocket listener of nats-server.
    NatsWs,
    /// Centrifugo. Requires its program: `go install github.com/centrifugal/centrifugo/v5@latest`.
    Centrifugo,
    /// uWebSockets inside Bun. Requires its program: `npm install bun @oven/bun-linux-x64`.
    Uws,
}

/// The transport of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// QUIC.
    Quic,
}

/// The entry point of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Path {
    /// As close to the server as its protocol allows; for im-server on its NATS subject.
    Edge,
    /// Through the SDK, not logged: Redis for the routes, NATS.
    Live,
    /// Through the SDK, into the logs of the recipient and the sender.
    Logged,
}

/// The registry of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Registration {
    /// In Redis, as in a deployment.
    Redis,
    /// The server's own process: no Redis, no NATS, and no entry point for messages.
    None,
}

/// Options of a target.
#[derive(Clone, Debug)]
pub(crate) struct TargetOptions {
    /// Transport of the devices.
    pub(crate) transport: Transport,
    /// Entry point of messages.
    pub(crate) path: Path,
    /// Size of a payload.
    pub(crate) payload: usize,
    /// Number of server processes.
    pub(crate) servers: usize,
    /// Receivers of a message.
    pub(crate) audience: Audience,
    /// Registry of routes.
    pub(crate) registration: Registration,
    /// Fault of the control, to test the verification.
    pub(crate) spoil: Option<Spoil>,
    /// Note for the report.
    pub(crate) note: Option<String>,
}

/// A running target. Its processes end on drop.
pub(crate) trait Target {
    /// Returns its name and version, for the report.
    fn version(&self) -> String;

    /// Returns the processes that deliver.
    fn processes(&self) -> Vec<u32>;

    /// Returns the certificates of the servers, if connections are encrypted.
    fn certificates(&self) -> Vec<CertificateDer<'static>> {
        Vec::new()
    }

    /// Returns the server of the connection with an index, and its login.
    fn plan(&self, index: u32) -> (SocketAddr, Box<dyn Login>);

    /// Returns a publisher to the connections, given the servers' names for them.
    ///
    /// # Errors
    /// Returns the reason that there is none.
    fn publisher(&self, names: &[u64]) -> Result<Box<dyn Publisher>, String>;
}

/// Sends messages into a target.
pub(crate) trait Publisher: Send {
    /// Sends messages, in this order for each audience. Returns when there is room for more.
    ///
    /// # Errors
    /// Returns the error that ends the run.
    fn publish(&mut self, batch: &[Stamp]) -> Result<(), String>;

    /// Returns the number of failed sends.
    fn failed(&self) -> u64 {
        0
    }
}

/// Starts a target.
///
/// # Errors
/// Returns what is missing, and how to install it.
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

/// Returns the plans of a fleet.
pub(crate) fn plans(target: &dyn Target, connections: u32, audience: Audience) -> Vec<Plan> {
    let plan = |index| {
        let (server, login) = target.plan(index);
        Plan { index, audience: audience.of(index), first_sequence: 0, server, login }
    };
    (0..connections).map(plan).collect()
}

/// Returns the name of a channel on targets with free names.
fn topic(audience: Audience, number: u32) -> String {
    match audience {
        Audience::One => format!("c{number}"),
        Audience::Channels(_) => format!("room{number}"),
    }
}

/// Returns a port that is not in use.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}

/// Waits until a server accepts connections.
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

/// Returns the path of a peer's program, from the environment variable or else from `PATH`.
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

/// Returns the first line of a program's version output.
fn program_version(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let output =
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    output.lines().next().unwrap_or("version unknown").to_owned()
}
