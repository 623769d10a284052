//! `cargo run -p backend -- --redis redis://127.0.0.1:6379 --nats nats://127.0.0.1:4222`
//!
//! A minimal back end: it passes on what users write to each other, except spam, and sends what you type: `bob hello`.
//! Beside it, start Redis, NATS and a server: `cargo run -p im-server -- --config im-server/im-server.example.toml`. Both need
//! `IM_AUTH_HS256_SECRET` in their environment, the same text: `openssl rand -base64 32` makes one. To chat with it:
//! `CHAT_TOKEN=<a token that it prints> cargo run -p cli-chat -- alice --server ws://127.0.0.1:7800`, without groups and search.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::{error::Error, future::pending, io::IsTerminal, time::Duration};

use clap::Parser;
use im_sdk::{
    backend::{Im, Incoming, Message, Refusal, SigningKey, TokenMinter, user},
    cluster::ClusterConfig,
    id::UserId,
};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
struct Arguments {
    /// Redis: one server, or some nodes of a Redis Cluster.
    #[arg(long, default_value = "redis://127.0.0.1:6379", value_delimiter = ',')]
    redis: Vec<String>,
    /// NATS: some servers of one cluster.
    #[arg(long, default_value = "nats://127.0.0.1:4222", value_delimiter = ',')]
    nats: Vec<String>,
    /// The secret that the servers know as key `k1`; `openssl rand -base64 32` makes one.
    #[arg(long, env = "IM_AUTH_HS256_SECRET", hide_env_values = true)]
    secret: String,
}

/// The user that this back end is. What it sends has a conversation then, and counts as unread; without a sender it has not.
const SELF: &str = "back-end";

#[tokio::main]
async fn main() {
    let ended = run(Arguments::parse()).await;
    if let Err(error) = &ended {
        eprintln!("backend: {error}");
    }
    std::process::exit(ended.is_err().into()); // Not by returning: that would wait for the next line from a terminal.
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    // The SDK says by `tracing` what it cannot tell by an error: subscribe, or it is lost.
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
    let service = im.serve(|incoming: Incoming| async move {
        println!("{} -> {}: {:?}", incoming.from, incoming.to, incoming.content);
        match incoming.content.as_text() {
            // For this back end itself, which understands texts alone.
            None if incoming.to.as_user().is_some_and(|user| user.as_str() == SELF) => {
                Err(Refusal::new("this back end has no such command, and no groups"))
            }
            Some("spam") => Err(Refusal::new("no spam, please")),
            _ => Ok(incoming.accept()),
        }
    });
    let service = service.await?;
    println!("type a user and a text, such as: bob hello");
    tokio::select! {
        result = send_what_is_typed(&im) => result?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    service.shutdown().await; // What was on its way here is answered; others of the group get what follows.
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
    pending().await // Without a terminal it serves on, until a signal ends it.
}
