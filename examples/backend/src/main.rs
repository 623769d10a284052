//! `cargo run -p backend -- --redis redis://127.0.0.1:6379 --nats nats://127.0.0.1:4222`
//!
//! A minimal backend on Redis and NATS. It passes messages on, except spam, and sends each line that you type: `bob hello`.
//! Start a server beside it, with the same `IM_AUTH_HS256_SECRET` (`openssl rand -base64 32` makes one) in its environment:
//! `cargo run -p im-server -- --config im-server/im-server.example.toml`. To chat through both:
//! `CHAT_TOKEN=<a token that it prints> cargo run -p cli-chat -- alice --server ws://127.0.0.1:7800`, without groups and search.
#![allow(clippy::print_stdout, reason = "the example prints")]

use std::{error::Error, future::pending, io::IsTerminal, time::Duration};

use clap::Parser;
use im_sdk::{
    backend::{Im, Incoming, Message, Refusal, user},
    cluster::ClusterConfig,
    id::UserId,
    token::{SigningKey, TokenMinter},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    signal::unix::{SignalKind, signal},
};

#[derive(Parser)]
struct Arguments {
    /// Redis: a server, or nodes of a Redis Cluster.
    #[arg(long, default_value = "redis://127.0.0.1:6379", value_delimiter = ',')]
    redis: Vec<String>,
    /// NATS: servers of one cluster.
    #[arg(long, default_value = "nats://127.0.0.1:4222", value_delimiter = ',')]
    nats: Vec<String>,
    /// The secret that the servers know as key `k1`.
    #[arg(long, env = "IM_AUTH_HS256_SECRET", hide_env_values = true)]
    secret: String,
}

/// The sender of the backend's own messages, so that they belong to a conversation and count as unread.
const SELF: &str = "back-end";

#[tokio::main]
async fn main() {
    let ended = run(Arguments::parse()).await;
    if let Err(error) = &ended {
        eprintln!("backend: {error}");
    }
    std::process::exit(ended.is_err().into()); // returning would wait for the next line from a terminal
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    // Through `tracing` the SDK logs events that no error can report.
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).init();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let im = Im::connect(ClusterConfig::new(arguments.redis, arguments.nats)).await?;
    let minter = TokenMinter::new(SigningKey::hs256("k1", arguments.secret.as_bytes())?, "my-backend", "im");
    for at in im.endpoints() {
        println!("server {} with {} connections: {:?}", at.server, at.connections, at.addresses);
    }
    for name in ["alice", "bob"] {
        println!("token for {name}: {}", minter.mint(&UserId::parse(name)?, Duration::from_secs(24 * 3600))?);
    }
    let decide = async |incoming: Incoming| {
        println!("{} -> {}: {:?}", incoming.from, incoming.to, incoming.content);
        let is_command = incoming.content.as_text().is_none();
        match incoming.to.as_user().map(UserId::as_str) {
            Some(SELF) if is_command => Err(Refusal::new("this back end has no such command, and no groups")),
            _ if incoming.content.texts().contains(&"spam") => Err(Refusal::new("no spam, please")),
            _ => Ok(incoming.accept()),
        }
    };
    let service = im.serve(decide).await?;
    println!("type a user and a text, such as: bob hello");
    tokio::select! {
        result = send_what_is_typed(&im) => result?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    service.shutdown().await; // publishes that are here are answered; other backends get later ones
    im.shutdown().await;
    Ok(())
}

async fn send_what_is_typed(im: &Im) -> std::io::Result<()> {
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let Some((to, text)) = line.split_once(' ') else { continue };
        match im.send(Message::to(user(to)).from(SELF).text(text)).await {
            Ok(receipt) => {
                println!("pushed to {} devices, offline: {:?}", receipt.pushed.len(), receipt.offline)
            }
            Err(error) => println!("not sent: {error}"),
        }
    }
    pending().await // without input, it serves until a signal ends it
}
