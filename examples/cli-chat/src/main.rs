//! A chat client for the terminal. In three terminals:
//!
//! ```text
//! cargo run -p im-server -- --dev
//! cargo run -p cli-chat -- --dev-user alice
//! cargo run -p cli-chat -- --dev-user bob
//! ```
//!
//! Then `@bob hello` in Alice's; `#team hello` goes to a group that a back end has put her into. With a pipe instead of a keyboard it sends each line, waits for the results and
//! exits.

mod terminal;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use im_sdk::{
    Content, Recipient,
    client::{
        Client, ClientConfig, Endpoint, Event, PublishError, Published, ResetReason, SqliteStore,
        TokenProvider, Trust,
    },
    id::{ChannelId, Device, DeviceId, Terminal, UserId},
    token::{SigningKey, TokenMinter},
};

use crate::terminal::Screen;

/// Chats in the terminal.
#[derive(Parser)]
struct Arguments {
    /// Where a server listens, best first: quic://host:port, wss://host, ws://host:port. Can be repeated.
    #[arg(long = "endpoint", value_name = "URL", default_value = "ws://127.0.0.1:7800")]
    endpoints: Vec<Endpoint>,

    /// A token that the back end has given to the user.
    #[arg(long, env = "IM_TOKEN", hide_env_values = true, required_unless_present = "dev_user")]
    token: Option<String>,

    /// Instead of a token: be this user on a development server.
    #[arg(long, value_name = "USER", conflicts_with = "token")]
    dev_user: Option<UserId>,

    /// Believe the server with this certificate, by its SHA-256 fingerprint.
    #[arg(long, value_name = "HEX", value_parser = Trust::sha256_hex)]
    trust_sha256: Option<Trust>,

    /// Where to remember what was read and what is not sent yet, for the next time. One file for each user.
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,

    /// This device's name.
    #[arg(long, value_name = "NAME", default_value = "cli-chat")]
    device: DeviceId,
}

type Failure = Box<dyn std::error::Error>;
type Sending<'a> = BoxFuture<'a, (Recipient, Result<Published, PublishError>)>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cli-chat: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all was sent.
async fn run(arguments: Arguments) -> Result<bool, Failure> {
    let client = Client::open(config(arguments)?)?;
    let (mut screen, mut lines) = terminal::open()?;
    client.connect();
    let (mut peer, mut sending) = (None, FuturesUnordered::new());
    let (mut typing, mut all_sent) = (true, true);
    while typing || !sending.is_empty() {
        tokio::select! {
            biased;
            // What others say.
            events = client.next_events(100) => for event in events {
                show(&mut screen, &event);
                settle(&client, &event).await;
            },
            // What became of earlier lines.
            Some((to, outcome)) = sending.next() => all_sent &= report(&mut screen, &to, outcome),
            // What is to be said; `None` at the end of the input.
            line = lines.recv(), if typing => match line {
                Some(line) => sending.extend(say(&client, &mut screen, &mut peer, line.trim())),
                None => typing = false,
            },
        }
    }
    client.close().await;
    Ok(all_sent)
}

fn config(arguments: Arguments) -> Result<ClientConfig, Failure> {
    let tokens: Arc<dyn TokenProvider> = match (arguments.token, arguments.dev_user) {
        (_, Some(user)) => Arc::new(development_token(&user)?),
        (token, None) => Arc::new(token.unwrap_or_default()),
    };
    let device = Device::new(Terminal::Desktop, arguments.device);
    let mut config = ClientConfig::new(arguments.endpoints, device, tokens);
    config.trust = arguments.trust_sha256.unwrap_or_default();
    if let Some(path) = arguments.store {
        config.store = Arc::new(SqliteStore::open(path)?);
    }
    config.client_name = concat!("cli-chat/", env!("CARGO_PKG_VERSION")).to_owned();
    Ok(config)
}

/// What a back end does when a user has logged in. The key is that of `im-server --dev`, and no secret at all.
fn development_token(user: &UserId) -> Result<String, Failure> {
    let key = SigningKey::hs256("dev", b"im-dev-secret-do-not-use-in-production")?;
    Ok(TokenMinter::new(key, "im-dev", "im").mint(user, Duration::from_secs(24 * 3600))?)
}

/// Carries out one line; what is to be sent comes back.
fn say<'a>(
    client: &'a Client,
    screen: &mut Screen,
    peer: &mut Option<Recipient>,
    line: &str,
) -> Option<Sending<'a>> {
    let text = if line.starts_with(['@', '#']) {
        let (name, text) = line.split_once(' ').unwrap_or((line, ""));
        let to = match name.split_at(1) {
            ("#", channel) => ChannelId::parse(channel).map(Recipient::from),
            (_, user) => UserId::parse(user).map(Recipient::from),
        };
        *peer = to.map_err(|error| screen.print(&format!("* {error}"))).ok();
        text.trim()
    } else {
        line
    };
    match (text, &*peer) {
        ("", _) => None,
        ("/help", _) => help(screen),
        (_, None) => help(screen),
        (text, Some(to)) => {
            let (to, content) = (to.clone(), Content::text(text));
            Some(Box::pin(async move { (to.clone(), client.publish(to, content).await) }))
        }
    }
}

fn help<T>(screen: &mut Screen) -> Option<T> {
    screen.print(
        "* @bob hello: send to bob; #team hello: to a group; hello: to the same one again; /quit: leave",
    );
    None
}

fn report(screen: &mut Screen, to: &Recipient, outcome: Result<Published, PublishError>) -> bool {
    match &outcome {
        Ok(_) => screen.confirm(&format!("* sent to {to}")),
        Err(error) => screen.print(&format!("* not sent to {to}: {error}")),
    }
    outcome.is_ok()
}

/// What was shown needs not come again.
async fn settle(client: &Client, event: &Event) {
    match event {
        Event::Message(message) => message.position.iter().for_each(|position| client.ack(position)),
        Event::Reset { position, .. } => client.ack(position),
        Event::PublishFailed { local_id, .. } => _ = client.discard(*local_id).await,
        _ => {}
    }
}

fn show(screen: &mut Screen, event: &Event) {
    screen.print(&match event {
        Event::Connected { user, endpoint, .. } => format!("* connected as {user} to {endpoint}"),
        Event::Disconnected { reason, retry_in: Some(delay), .. } => {
            format!("* not connected: {reason}; next attempt in {:.1} s", delay.as_secs_f32())
        }
        Event::Disconnected { reason, .. } => format!("* not connected: {reason}"),
        Event::Stopped { reason, .. } => format!("* stopped: {reason}"),
        Event::Message(message) => {
            let from = message.from.as_ref().map_or("(back end)", |user| user.as_str());
            let channel = message.channel.as_ref().map(|channel| format!("#{channel} ")).unwrap_or_default();
            format!(
                "{channel}{from}: {}",
                message.content.as_text().unwrap_or("(something that is not text)")
            )
        }
        // Nothing is missing that was here before.
        Event::Reset { reason: ResetReason::New, .. } => return,
        Event::Reset { position, reason: ResetReason::Left } => format!("* you have left {}", position.log),
        Event::Reset { position, reason } => {
            format!("* {} goes on after message {} ({})", position.log, position.seq, reason.as_str())
        }
        // Left behind by an earlier run: this one waits for the outcome of what it sends.
        Event::Published { local_id, .. } => format!("* sent what was left behind ({local_id})"),
        Event::PublishFailed { local_id, error, .. } => format!("* not sent ({local_id}): {error}"),
        _ => return,
    });
}
