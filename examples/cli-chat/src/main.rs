//! A chat for the terminal, and the server for it. In three terminals:
//!
//! ```text
//! cargo run -p cli-chat -- serve
//! cargo run -p cli-chat -- alice
//! cargo run -p cli-chat -- bob
//! ```
//!
//! Then `/open bob` in Alice's, and write; `/help` shows the rest. It takes the whole terminal: conversations on the left, messages
//! on the right; Tab goes to the next conversation. `--plain` prints lines instead. With a pipe instead of a keyboard it carries
//! out each line, waits for what it has sent and exits: `printf '/open bob\nhello\n' | cli-chat alice`.
//!
//! With `--server` and `--token` (or the variable `CHAT_TOKEN`) it is a device of any other backend. Groups need the
//! backend of `serve`, and search needs one that archives; the chat tells you what is missing.
//!
//! | file | |
//! | --- | --- |
//! | `commands.rs` | parses typed lines |
//! | `view.rs` | formats lines |
//! | `fullscreen/` | the whole screen: line editing (`input.rs`), drawing (`scene.rs`) |
//! | `app/` | the chat itself, over `im_sdk::client` |
//! | `book.rs` | messages with their changes, and their numbers |
//! | `terminal.rs` | lines: keyboard and screen, or pipes |
//! | `serve.rs`, `groups.rs` | server and backend; requests about groups |
//! | `dev.rs` | how chats find the server |

mod app;
mod book;
mod commands;
mod dev;
mod fullscreen;
mod groups;
mod rooms;
mod serve;
mod terminal;
mod view;

use std::{
    io::IsTerminal as _, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration,
};

use clap::{Parser, Subcommand};
use im_sdk::{
    Endpoint,
    client::{
        Client, ClientConfig, TokenProvider, Trust,
        device_store::{SqliteStore, StoreError},
    },
    id::{Device, DeviceId, Terminal, UserId},
};

use crate::{
    app::{Advice, App},
    dev::Development,
    fullscreen::Fullscreen,
    terminal::Screen,
};

/// Chats in the terminal.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Arguments {
    #[command(subcommand)]
    serve: Option<Role>,

    #[command(flatten)]
    chat: Option<Chat>,
}

#[derive(Subcommand)]
enum Role {
    /// Runs the server and a backend for development. They keep their data in the directory `server` of --data.
    Serve {
        /// The address to listen on, for QUIC and WebSocket.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7800")]
        listen: SocketAddr,

        /// The directory for all data, and for the file by which chats find the server.
        #[arg(long, value_name = "DIR", default_value = DATA)]
        data: PathBuf,
    },
}

#[derive(clap::Args)]
struct Chat {
    /// Your user name.
    #[arg(value_name = "USER")]
    user: UserId,

    /// The directory of `cli-chat serve`, and for the chat's own data: messages that are not sent yet, and places in the logs.
    #[arg(long, value_name = "DIR", default_value = DATA)]
    data: PathBuf,

    /// The addresses of servers, best first: quic://host:port, wss://host, ws://host:port. Can be repeated. Unless given,
    /// that of `cli-chat serve`.
    #[arg(long = "server", value_name = "URL")]
    servers: Vec<Endpoint>,

    /// A token that the backend has given to the user, for --server. Unless given, the one in the variable CHAT_TOKEN. For the
    /// server of `cli-chat serve`, one is made.
    // Not read by clap, which would count the variable as an argument of `serve`, and of a chat without --server.
    #[arg(long, requires = "servers")]
    token: Option<String>,

    /// Trusts the server whose certificate has this SHA-256 fingerprint.
    #[arg(long, value_name = "HEX", value_parser = Trust::sha256_hex)]
    trust_sha256: Option<Trust>,

    /// The name of this device, where the user has several.
    #[arg(long, value_name = "NAME", default_value = "cli-chat")]
    device: DeviceId,

    /// The kind of device. By default servers let one of each kind stay connected, and a newer one displaces it; the server of
    /// `cli-chat serve` lets all stay.
    #[arg(long, value_name = "KIND", default_value_t = Terminal::Desktop)]
    terminal: Terminal,

    /// Prints lines instead of taking the whole terminal.
    #[arg(long)]
    plain: bool,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse() {
        Arguments { serve: Some(Role::Serve { listen, data }), .. } => {
            tracing_subscriber::fmt()
                .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal())
                .init();
            serve::run(&data, listen).await.map(|()| true)
        }
        Arguments { chat: Some(chat), .. } => run(chat).await,
        Arguments { .. } => Err("a user is needed, or `serve`: --help tells more".into()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cli-chat: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the chat. Returns `true` if everything was sent.
async fn run(chat: Chat) -> Result<bool, Failure> {
    let user = chat.user.clone();
    let advice = if !chat.servers.is_empty() {
        Advice { unreachable: "is --server right?", no_token: "start again with a fresh --token" }
    } else {
        Advice { unreachable: "does `cli-chat serve` run?", no_token: "/connect tries again" }
    };
    let has_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let is_full = has_terminal && !chat.plain && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    // Opens a file, which may take a while.
    let config = tokio::task::spawn_blocking(move || config(chat)).await??;
    let client = Client::open(config)?;
    if is_full {
        let app = App::new(client, user, Screen::of_notes(), advice)?;
        return Ok(app.run_full(Fullscreen::open()?).await?);
    }
    let (screen, keyboard) = terminal::open()?;
    Ok(App::new(client, user, screen, advice)?.run(keyboard).await)
}

fn config(chat: Chat) -> Result<ClientConfig, Failure> {
    let Chat { user, data, device, terminal, .. } = chat;
    std::fs::create_dir_all(&data)?;
    let store = data.join(format!("{}.{}.db", file_name(user.as_str()), file_name(device.as_str())));
    let store = SqliteStore::open(&store).map_err(|error| {
        let advice =
            if error == StoreError::InUse { in_use(&user, !chat.servers.is_empty()) } else { String::new() };
        format!("{}: {error}{advice}", store.display())
    })?;
    let (endpoints, trust, tokens): (_, _, Arc<dyn TokenProvider>) = if chat.servers.is_empty() {
        let found = Development::read(&data)?.ok_or_else(|| no_server(&data))?;
        let endpoints: Vec<Endpoint> =
            found.endpoints.iter().map(|url| url.parse()).collect::<Result<_, _>>()?;
        let trust = found.certificate_sha256.as_deref().map(Trust::sha256_hex).transpose()?;
        (endpoints, trust.unwrap_or_default(), Arc::new(dev::tokens(data, user)))
    } else {
        let token = chat.token.or_else(|| std::env::var("CHAT_TOKEN").ok()).filter(|token| !token.is_empty());
        let token = token.ok_or("--server needs a token of the user: give --token or set CHAT_TOKEN")?;
        (chat.servers, chat.trust_sha256.unwrap_or_default(), Arc::new(token))
    };
    let mut config = ClientConfig::new(endpoints, Device::new(terminal, device), tokens);
    config.trust = trust;
    config.store = Arc::new(store);
    config.connect_timeout = CONNECT;
    config.request_timeout = PATIENCE;
    config.publish_timeout = PATIENCE;
    config.client_name = concat!("cli-chat/", env!("CARGO_PKG_VERSION")).to_owned();
    Ok(config)
}

fn in_use(user: &UserId, is_elsewhere: bool) -> String {
    let policy = if is_elsewhere {
        ", and another --terminal unless login_policy of the servers is unlimited: else it displaces the first one"
    } else {
        ""
    };
    format!(". To be {user} in two terminals, give one of them another --device{policy}")
}

fn no_server(data: &std::path::Path) -> String {
    format!(
        "there is no {}: start `cli-chat serve` first, with the same --data, or give --server and --token",
        dev::path(data).display()
    )
}

/// Encodes a name as a file name that is valid on any file system, without collisions.
fn file_name(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let encode = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") };
    name.bytes().map(encode).collect()
}

/// The default of --data.
const DATA: &str = "cli-chat-data";

/// The time limit of an attempt to connect. In line mode nothing can be typed before the first one has
/// failed.
const CONNECT: Duration = Duration::from_secs(3);

/// The time limit of a wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
