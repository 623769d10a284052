//! `cargo run --release -p quickstart`
//!
//! Everything in one process: a server, a backend, and two devices, alice's on QUIC and bob's on WebSocket, which
//! print the messages that arrive.
#![allow(clippy::print_stdout, reason = "the example prints")]

use std::{error::Error, sync::Arc, time::Duration};

use im_sdk::{
    backend::{Im, Incoming, Message, Refusal, users},
    client::{Client, ClientConfig, Event, Trust},
    cluster::Cluster,
    content::Content,
    id::UserId,
    token::{SigningKey, TokenMinter, TokenVerifier, VerificationKey, random_secret},
};
use im_server::{Server, ServerConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = random_secret(); // ends with this process
    let minter = TokenMinter::new(SigningKey::hs256("k1", &secret)?, "quickstart", "im");
    let verifier = TokenVerifier::new("quickstart", "im", [VerificationKey::hs256("k1", &secret)?]);
    let mut config = ServerConfig::new("im1", verifier);
    config.websocket = Some("127.0.0.1:0".parse()?);
    config.quic = Some("127.0.0.1:0".parse()?);
    let cluster = Cluster::embedded();
    let server = Server::start(config, cluster.clone()).await?;

    // The backend. This closure decides about each publish of a device.
    let im = Im::with_cluster(cluster).await?;
    let decide = async |incoming: Incoming| match incoming.content.texts().contains(&"spam") {
        true => Err(Refusal::new("no spam, please")),
        false => Ok(incoming.accept()),
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
        Ok(Client::open(config).inspect(Client::connect)?)
    };
    let (alice, bob) = (open("alice", "quic")?, open("bob", "ws")?);
    tokio::try_join!(next("alice", &alice), next("bob", &bob))?;

    // The backend to both, then bob to alice.
    im.send(Message::to(users(["alice", "bob"])).text("welcome")).await?;
    next("alice", &alice).await?;
    next("bob", &bob).await?;
    bob.send(UserId::parse("alice")?, Content::text("lunch?")).outcome().await?;
    next("alice", &alice).await?;
    let refused = bob.send(UserId::parse("alice")?, Content::text("spam")).outcome().await;
    println!("bob was told: {}", refused.err().ok_or("it was not refused")?);

    tokio::join!(alice.shutdown(), bob.shutdown());
    server.shutdown().await;
    Ok(())
}

/// Waits for a connection, or for a message, which it prints. Fails if the connection is lost, which should not happen here.
async fn next(name: &str, client: &Client) -> Result<(), Box<dyn Error>> {
    loop {
        let reason = match client.next_events(1).await.pop().ok_or("the client is closed")? {
            Event::Connected { .. } => return Ok(()),
            Event::Message(message) => {
                let from = message.from.as_ref().map_or("the back end", |user| user.as_str());
                let text = message.content.as_text().unwrap_or_default();
                println!("{name} received {text:?} from {from} over {}", message.transport);
                return Ok(());
            }
            Event::Disconnected { reason, .. } | Event::Stopped { reason, .. } => reason,
            _ => continue,
        };
        return Err(format!("{name} is not connected: {reason}").into());
    }
}
