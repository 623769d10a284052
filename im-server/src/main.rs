//! The `im-server` binary: configuration, logging, signals. Everything else is in the library.

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode};

use clap::Parser;
use im_sdk::{cluster::Cluster, id::UserId};
use im_server::{Server, ServerConfig, advice, dev, file, fit_descriptors};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::Level;
use tracing_subscriber::{
    EnvFilter, filter::filter_fn, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// glibc's allocator takes up to a fifth of the server's time where messages are made on one thread and let go on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Holds devices' connections and pushes what back ends send them.
///
/// What the configuration file sets can also be set by variables, such as IM_SERVER_NAME. RUST_LOG sets what is logged.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file; im-server.example.toml shows every key.
    #[arg(long, value_name = "FILE", conflicts_with = "dev")]
    config: Option<PathBuf>,

    /// Everything in this process, on localhost, with tokens that anybody can mint: to develop clients against.
    #[arg(long)]
    dev: bool,

    /// With --dev: listen on this WebSocket port (0: any free one).
    #[arg(long, value_name = "PORT", requires = "dev", default_value_t = dev::WEBSOCKET_PORT)]
    websocket_port: u16,

    /// With --dev: listen on this QUIC port (0: any free one).
    #[arg(long, value_name = "PORT", requires = "dev", default_value_t = dev::QUIC_PORT)]
    quic_port: u16,
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_logging(arguments.dev);
    raise_descriptor_limit();
    match start(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("im-server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn start(arguments: &Arguments) -> Result<(), Failure> {
    // First of all, so that a signal is an orderly end from here on.
    let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    if arguments.dev { run_dev(arguments, signals).await } else { run(arguments, signals).await }
}

/// SIGTERM and SIGINT.
type Signals = (Signal, Signal);

fn start_logging(dev: bool) {
    // What the NATS library says at `info`, the server says itself, with the address.
    let default = if dev { "im_server=debug,im_sdk=info" } else { "info,async_nats=warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // Colours are for people: files and collectors get text.
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let may_be_logged = filter_fn(|metadata| may_be_logged(metadata.target(), *metadata.level()));
    tracing_subscriber::registry().with(filter).with(may_be_logged).with(lines).init();
}

/// Whether lines of a target may be logged, whatever RUST_LOG says. The libraries below show what they send and receive where they
/// are told to say everything, and that is what people write to each other.
fn may_be_logged(target: &str, level: Level) -> bool {
    level <= Level::INFO || target.starts_with("im_server") || target.starts_with("im_sdk")
}

/// Every connection is a descriptor: take as many as the system lets us have.
fn raise_descriptor_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

async fn run(arguments: &Arguments, mut signals: Signals) -> Result<(), Failure> {
    let (mut config, cluster) = file::load(arguments.config.as_ref(), std::env::vars_os())?;
    for advice in advice(&config).into_iter().chain(fit_descriptors(&mut config)) {
        tracing::warn!("{advice}");
    }
    let cluster = tokio::select! {
        cluster = Cluster::connect_server(cluster) => cluster?,
        _ = signals.0.recv() => return Ok(()),
        _ = signals.1.recv() => return Ok(()),
    };
    serve(config, cluster, signals, |server| {
        tracing::info!(id = %server.id(), endpoints = ?server.endpoints(), "serving");
    })
    .await
}

async fn run_dev(arguments: &Arguments, signals: Signals) -> Result<(), Failure> {
    for variable in file::variable_names(std::env::vars_os()) {
        tracing::warn!(variable, "passed over: variables are for a server without --dev");
    }
    let mut config = dev::config()?;
    config.websocket = Some(([127, 0, 0, 1], arguments.websocket_port).into());
    config.quic = Some(([127, 0, 0, 1], arguments.quic_port).into());
    let cluster = Cluster::embedded();
    let _relay = dev::Relay::start(cluster.clone()).await?;
    let tokens = ["alice", "bob"].map(|user| UserId::parse(user).map(|user| (dev::token(&user), user)));
    serve(config, cluster, signals, |server| {
        for endpoint in server.endpoints() {
            say(format_args!("endpoint {endpoint}"));
        }
        if let Some(fingerprint) = server.certificate_sha256() {
            say(format_args!("certificate-sha256 {}", hex(&fingerprint)));
        }
        for (token, user) in tokens.into_iter().flatten() {
            say(format_args!("token {user} {}", token.unwrap_or_default()));
        }
        say(format_args!("ready"));
    })
    .await
}

/// What `--dev` tells people and scripts, a fact a line.
#[expect(clippy::print_stdout, reason = "this is the program's output, not its log")]
fn say(fact: std::fmt::Arguments<'_>) {
    println!("{fact}");
}

/// Runs until a signal, then drains.
async fn serve(
    config: ServerConfig,
    cluster: Cluster,
    (mut terminate, mut interrupt): Signals,
    announce: impl FnOnce(&Server),
) -> Result<(), Failure> {
    let server = Server::start(config, cluster).await?;
    announce(&server);
    tokio::select! {
        stopped = server.ended() => return Err(format!("the server has stopped: {stopped:?}").into()),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(connections = server.connections(), "draining");
    let enough = CancellationToken::new();
    let impatient = async {
        either(&mut terminate, &mut interrupt).await;
        tracing::warn!("a second signal: who is left is closed at once");
        enough.cancel();
        either(&mut terminate, &mut interrupt).await;
    };
    tokio::select! {
        () = server.shutdown_until(enough.cancelled()) => tracing::info!("stopped"),
        () = impatient => tracing::warn!("stopped at once by a third signal"),
    }
    Ok(())
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_say_nothing_of_what_they_carry() {
        for target in
            ["async_nats", "async_nats::connection", "redis", "quinn_proto", "rustls", "h2", "anything"]
        {
            assert!(may_be_logged(target, Level::INFO) && may_be_logged(target, Level::WARN), "{target}");
            assert!(!may_be_logged(target, Level::DEBUG) && !may_be_logged(target, Level::TRACE), "{target}");
        }
        assert!(may_be_logged("im_server::session", Level::TRACE) && may_be_logged("im_sdk", Level::DEBUG));
    }
}
