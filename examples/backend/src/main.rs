//! `cargo run -p backend -- --redis redis://127.0.0.1:6379 --nats nats://127.0.0.1:4222`
//!
//! A minimal back end: it passes on what users write to each other, except spam, and sends what you type: `bob hello`.
//! Beside it, start Redis, NATS and a server: `cargo run -p im-server -- --config im-server/im-server.example.toml`. Both need
//! `IM_AUTH_HS256_SECRET` in their environment, the same text: `openssl rand -base64 32` makes one.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::{error::Error, time::Duration};

use clap::Parser;
use im_sdk::{
    backend::{Im, Incoming, Message, Refusal, SigningKey, TokenMinter, user},
    cluster::ClusterConfig,
    id::UserId,
};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

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

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let im = Im::connect(ClusterConfig::new(arguments.redis, arguments.nats)).await?;
    let key = SigningKey::hs256("k1", arguments.secret.as_bytes())?;
    let minter = TokenMinter::new(key, "my-backend", "im");

    for endpoint in im.endpoints() {
        println!(
            "server {} with {} connections: {:?}",
            endpoint.server, endpoint.connections, endpoint.addresses
        );
    }
    for name in ["alice", "bob"] {
        println!("token for {name}: {}", minter.mint(&UserId::parse(name)?, Duration::from_secs(24 * 3600))?);
    }

    let service = im
        .serve(|incoming: Incoming| async move {
            println!("{} -> {}: {:?}", incoming.from, incoming.to, incoming.content);
            match incoming.content.as_text() {
                Some("spam") => Err(Refusal::new("no spam, please")),
                _ => Ok(incoming.accept()),
            }
        })
        .await?;

    println!("type a user and a text, such as: bob hello");
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let Some((to, text)) = line.split_once(' ') else { continue };
        match im.send(Message::to(user(to)).text(text)).await {
            Ok(receipt) => {
                println!("pushed to {} devices, offline: {:?}", receipt.pushed.len(), receipt.offline)
            }
            Err(error) => println!("not sent: {error}"),
        }
    }
    service.shutdown().await;
    im.shutdown().await;
    Ok(())
}
