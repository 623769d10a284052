//! The `im-server` binary: configuration, logging, signals. Everything else is in the library.

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode};

use clap::Parser;
use im_sdk::cluster::Cluster;
use im_server::{Server, ServerConfig, config_warnings, file, fit_fd_limit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::Level;
use tracing_subscriber::{
    EnvFilter, filter::filter_fn, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// glibc's allocator takes up to a fifth of the server's time when one thread allocates messages and another frees them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Holds devices' connections and pushes what backends send them.
///
/// Variables, such as IM_SERVER_NAME, can set everything that the configuration file sets. RUST_LOG sets what is logged.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file; im-server.example.toml shows every key.
    #[arg(long, value_name = "FILE")]
    #[cfg_attr(feature = "dev", arg(conflicts_with = "dev"))]
    config: Option<PathBuf>,

    #[cfg(feature = "dev")]
    #[command(flatten)]
    dev: dev::DevArguments,
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_logging(&arguments);
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
    // First of all, so that a signal leads to an orderly end from here on.
    let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    #[cfg(feature = "dev")]
    if arguments.dev.dev {
        return dev::run(&arguments.dev, signals).await;
    }
    run(arguments, signals).await
}

/// SIGTERM and SIGINT.
type Signals = (Signal, Signal);

fn start_logging(arguments: &Arguments) {
    #[cfg(feature = "dev")]
    let is_dev = arguments.dev.dev;
    #[cfg(not(feature = "dev"))]
    let is_dev = {
        _ = arguments;
        false
    };
    // The server itself logs the events of the NATS library at `info`, with the address.
    let default = if is_dev { "im_server=debug,im_sdk=info" } else { "info,async_nats=warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // Colours are for terminals; files and collectors get plain text.
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let may_be_logged = filter_fn(|metadata| may_be_logged(metadata.target(), *metadata.level()));
    tracing_subscriber::registry().with(filter).with(may_be_logged).with(lines).init();
}

/// Returns whether messages of a target may be logged, whatever RUST_LOG says. At their lowest levels, libraries log the bytes that
/// they send and receive, which are users' messages.
fn may_be_logged(target: &str, level: Level) -> bool {
    level <= Level::INFO || target.starts_with("im_server") || target.starts_with("im_sdk")
}

/// Raises the limit of open files as far as the operating system allows: every connection is a descriptor.
fn raise_descriptor_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

async fn run(arguments: &Arguments, mut signals: Signals) -> Result<(), Failure> {
    let (mut config, cluster) = file::load(arguments.config.as_ref(), std::env::vars_os())?;
    for warning in config_warnings(&config).into_iter().chain(fit_fd_limit(&mut config)) {
        tracing::warn!("{warning}");
    }
    // Configuration errors are reported even while Redis or NATS is unavailable.
    Server::check(&config)?;
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

/// Serves until a signal, then drains. A second signal expedites the drain, a third one ends the process.
async fn serve(
    config: ServerConfig,
    cluster: Cluster,
    (mut terminate, mut interrupt): Signals,
    announce: impl FnOnce(&Server),
) -> Result<(), Failure> {
    let server = Server::start(config, cluster).await?;
    announce(&server);
    tokio::select! {
        reason = server.stopped() => return Err(format!("the server has stopped: {reason:?}").into()),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(connections = server.connections(), "draining");
    let expedite = CancellationToken::new();
    let more_signals = async {
        either(&mut terminate, &mut interrupt).await;
        tracing::warn!("second signal: the remaining devices are closed at once");
        expedite.cancel();
        either(&mut terminate, &mut interrupt).await;
    };
    tokio::select! {
        () = server.shutdown_until(expedite.cancelled()) => tracing::info!("stopped"),
        () = more_signals => tracing::warn!("third signal: stopped at once"),
    }
    Ok(())
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

#[cfg(feature = "dev")]
mod dev {
    //! `im-server --dev`.

    use clap::Args;
    use data_encoding::HEXLOWER;
    use im_sdk::{cluster::Cluster, id::UserId};
    use im_server::{dev, file};

    use super::{Failure, Signals, serve};

    #[derive(Args)]
    pub(super) struct DevArguments {
        /// Everything in this process, on localhost, with tokens that anybody can mint: to develop clients against.
        #[arg(long)]
        pub(super) dev: bool,

        /// With --dev: listen on this WebSocket port (0: any free one).
        #[arg(long, value_name = "PORT", requires = "dev", default_value_t = dev::WEBSOCKET_PORT)]
        websocket_port: u16,

        /// With --dev: listen on this QUIC port (0: any free one).
        #[arg(long, value_name = "PORT", requires = "dev", default_value_t = dev::QUIC_PORT)]
        quic_port: u16,
    }

    pub(super) async fn run(arguments: &DevArguments, signals: Signals) -> Result<(), Failure> {
        for variable in file::variable_names(std::env::vars_os()) {
            tracing::warn!(variable, "variable ignored: variables are for a server without --dev");
        }
        let mut config = dev::config()?;
        config.websocket = Some(([127, 0, 0, 1], arguments.websocket_port).into());
        config.quic = Some(([127, 0, 0, 1], arguments.quic_port).into());
        let cluster = Cluster::embedded();
        let _relay = dev::Relay::start(cluster.clone()).await?;
        let tokens = ["alice", "bob"].map(|user| UserId::parse(user).map(|user| (dev::token(&user), user)));
        serve(config, cluster, signals, |server| {
            for endpoint in server.endpoints() {
                print(format_args!("endpoint {endpoint}"));
            }
            if let Some(fingerprint) = server.certificate_sha256() {
                print(format_args!("certificate-sha256 {}", HEXLOWER.encode(&fingerprint)));
            }
            for (token, user) in tokens.into_iter().flatten() {
                print(format_args!("token {user} {}", token.unwrap_or_default()));
            }
            print(format_args!("ready"));
        })
        .await
    }

    /// Prints a fact for people and scripts, one a line.
    #[expect(clippy::print_stdout, reason = "this is the program's output, not its log")]
    fn print(fact: std::fmt::Arguments<'_>) {
        println!("{fact}");
    }
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
