//! `cargo run --release -p quickstart`
//!
//! Everything in one process, with no service to install: a server, a back end, alice on QUIC and bob on WebSocket. The
//! back end sends to both, bob answers alice through the back end, and everybody prints what arrives.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::{error::Error, sync::Arc, time::Duration};

use im_sdk::{
    Content,
    backend::{Im, Incoming, Message, Refusal, SigningKey, TokenMinter, users},
    client::{Client, ClientConfig, Event, Trust},
    cluster::Cluster,
    id::UserId,
    token::{TokenVerifier, VerificationKey},
};
use im_server::{Server, ServerConfig};

const SECRET: &[u8] = b"thirty-two bytes or more, please!";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The server verifies the tokens that the back end mints.
    let minter = TokenMinter::new(SigningKey::hs256("k1", SECRET)?, "quickstart", "im");
    let verifier = TokenVerifier::new("quickstart", "im", [VerificationKey::hs256("k1", SECRET)?]);
    let mut config = ServerConfig::new("im1", verifier);
    config.websocket = Some("127.0.0.1:0".parse()?);
    config.quic = Some("127.0.0.1:0".parse()?);
    let cluster = Cluster::embedded();
    let server = Server::start(config, cluster.clone()).await?;

    // The back end decides what becomes of what devices publish.
    let im = Im::with_cluster(cluster).await?;
    let decide = async |incoming: Incoming| match incoming.content.as_text() {
        Some("spam") => Err(Refusal::new("no spam, please")),
        _ => Ok(incoming.accept()),
    };
    let _service = im.serve(decide).await?;

    // Two devices, one on each transport. The server's certificate is self-signed, so they pin it.
    let trust = Trust::CertificateSha256(server.certificate_sha256().ok_or("no certificate")?);
    let open = |name: &str, transport: &str| -> Result<Client, Box<dyn Error>> {
        let token = minter.mint(&UserId::parse(name)?, Duration::from_secs(3600))?;
        let endpoint = server.endpoints().iter().find(|endpoint| endpoint.starts_with(transport));
        let endpoint = endpoint.ok_or("no such endpoint")?.parse()?;
        let mut config = ClientConfig::new(vec![endpoint], "desktop/pc".parse()?, Arc::new(token));
        config.trust = trust.clone();
        let client = Client::open(config)?;
        client.connect();
        Ok(client)
    };
    let (alice, bob) = (open("alice", "quic")?, open("bob", "ws")?);
    while !matches!(alice.next_events(1).await[..], [Event::Connected { .. }]) {}
    while !matches!(bob.next_events(1).await[..], [Event::Connected { .. }]) {}

    // The back end to both, then bob to alice.
    im.send(Message::to(users(["alice", "bob"])).text("welcome")).await?;
    print_next("alice", &alice).await;
    print_next("bob", &bob).await;
    bob.publish(UserId::parse("alice")?, Content::text("lunch?")).await?;
    print_next("alice", &alice).await;
    let refused = bob.publish(UserId::parse("alice")?, Content::text("spam")).await;
    println!("bob was told: {}", refused.err().ok_or("it was not refused")?);

    tokio::join!(alice.close(), bob.close());
    server.shutdown().await;
    Ok(())
}

async fn print_next(name: &str, client: &Client) {
    while let Some(event) = client.next_events(1).await.pop() {
        if let Event::Message(message) = event {
            let from = message.from.as_ref().map_or("the back end", |user| user.as_str());
            let text = message.content.as_text().unwrap_or_default();
            return println!("{name} received {text:?} from {from} over {}", message.transport);
        }
    }
}
