//! A chat in browsers: this file is the server and the backend, `page.html` is the rest.
//!
//! ```sh
//! npm --prefix bindings/web ci && npm --prefix bindings/web run build    # the TypeScript client
//! cargo run -p web-chat                                                   # http://127.0.0.1:8080, in two browsers
//! ```
//!
//! Everybody is who they say they are: a product would ask for a password before it mints a token.
#![allow(clippy::print_stdout, reason = "prints its address")]

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{Html, IntoResponse},
    routing::{get, post},
};
use clap::Parser;
use im_sdk::{
    backend::{
        Acceptance, Handler, Im, Incoming, Reach, ReachRights, Refusal, message_store::SqlMessageStore,
    },
    cluster::Cluster,
    id::{ChannelId, UserId},
    token::{SigningKey, TokenMinter, TokenVerifier, VerificationKey, random_secret},
};
use im_server::{Server, ServerConfig};
use serde_json::{Value, json};

#[derive(Parser)]
struct Arguments {
    /// The address of the page.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The address to which browsers connect for messages.
    #[arg(long, default_value = "127.0.0.1:7800")]
    devices: SocketAddr,
    /// The directory for messages.
    #[arg(long, default_value = "web-chat-data")]
    data: PathBuf,
    /// The directory of the built TypeScript client.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bindings/web/dist"))]
    client: PathBuf,
}

struct Chat {
    im: Im,
    minter: TokenMinter,
    lobby: ChannelId,
    client: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let Arguments { listen, devices, data, client } = Arguments::parse();
    if !client.join("index.js").exists() {
        let built = "npm --prefix bindings/web ci && npm --prefix bindings/web run build";
        return Err(format!("no TypeScript client in {}: build it with `{built}`", client.display()).into());
    }
    std::fs::create_dir_all(&data)?;

    // The server for browsers. It verifies the tokens that this program mints, with a secret that ends with the
    // process.
    let secret = random_secret();
    let verifier = TokenVerifier::new("web-chat", "im", [VerificationKey::hs256("k1", &secret)?]);
    let minter = TokenMinter::new(SigningKey::hs256("k1", &secret)?, "web-chat", "im");
    let cluster = Cluster::embedded_at(data.join("logs.redb"))?;
    let mut config = ServerConfig::new("web-chat", verifier);
    config.websocket = Some(devices);
    let server = Server::start(config, cluster.clone()).await?;

    // The backend: it keeps all messages, and everybody may write to everybody.
    let store = format!("sqlite:{}", data.join("messages.db").display());
    let im =
        Im::builder().archive_to(Arc::new(SqlMessageStore::connect(&store).await?)).start(cluster).await?;
    let service = im.serve(Open).await?;

    let chat = Chat { im: im.clone(), minter, lobby: "lobby".parse()?, client };
    let routes = Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/login/{user}", post(log_in))
        .route("/client/{*file}", get(client_file))
        .with_state(Arc::new(chat));
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("open http://{} in two browsers", listener.local_addr()?);
    let interrupted = async { _ = tokio::signal::ctrl_c().await };
    axum::serve(listener, routes).with_graceful_shutdown(interrupted).await?;

    server.shutdown().await;
    service.shutdown().await;
    im.shutdown().await;
    Ok(())
}

/// Answers a page's client with a token and the endpoints. From then on the user is in the lobby.
async fn log_in(
    State(chat): State<Arc<Chat>>,
    Path(user): Path<UserId>,
) -> Result<Json<Value>, (StatusCode, String)> {
    let failed = |error: &dyn std::error::Error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let lobby = chat.im.channel(&chat.lobby);
    lobby.add_members([&user]).await.map_err(|error| failed(&error))?;
    let token = chat.minter.mint(&user, Duration::from_secs(3600)).map_err(|error| failed(&error))?;
    let endpoints: Vec<_> = chat.im.endpoints().into_iter().flat_map(|server| server.addresses).collect();
    Ok(Json(json!({ "token": token, "endpoints": endpoints })))
}

/// Serves a module of the TypeScript client.
async fn client_file(State(chat): State<Arc<Chat>>, Path(file): Path<String>) -> impl IntoResponse {
    let is_module = file.ends_with(".js") && file.split('/').all(|part| !part.starts_with('.'));
    match std::fs::read_to_string(chat.client.join(&file)) {
        Ok(module) if is_module => Ok(([(CONTENT_TYPE, "text/javascript")], module)),
        _ => Err((StatusCode::NOT_FOUND, format!("there is no module {file}"))),
    }
}

/// The rules: everybody may write to everybody.
struct Open;

impl Handler for Open {
    async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
        Ok(incoming.accept())
    }

    async fn may_reach(&self, _reach: &Reach) -> Result<ReachRights, Refusal> {
        Ok(ReachRights::Granted)
    }
}
