//! A chat application in one process: a page, a backend with its own tables, and an embedded server.
//!
//! ```sh
//! cargo run --release -p chat -- --demo
//! ```
//!
//! Users, friends, groups, departments, roles and files are the application's; messages are the SDK's. With `--redis`, `--nats`
//! and `--database` the same program is one of many backends beside servers of their own.
#![allow(clippy::print_stdout, reason = "prints its address, and codes in place of sending them")]

mod api;
mod app;
mod assets;
mod database;
mod demo;
mod departments;
mod docs;
mod files;
mod groups;
mod identity;
mod member_tables;
mod options;
mod outbox;
mod people;
mod refusal;
mod rules;
mod simulate;

use std::{error::Error, sync::Arc, time::Duration};

use axum::{Router, http::Uri};
use clap::Parser;
use im_sdk::{
    backend::{Im, message_store::SqlMessageStore},
    cluster::{ArchiveConfig, Cluster, ClusterConfig, LoginPolicy},
    token::{SigningKey, TokenMinter, TokenVerifier, VerificationKey},
};
use im_server::{Server, ServerConfig};

use self::{
    app::{App, SYSTEM_USER, SharedApp},
    database::Database,
    files::FileStore,
    options::Arguments,
    outbox::Outbox,
    rules::Rules,
};

const ISSUER: &str = "chat";
const AUDIENCE: &str = "im";
const KEY_ID: &str = "k1";
/// How often what is over is deleted.
const SWEEP: Duration = Duration::from_secs(600);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    // For S3; the SDK brings its own.
    _ = rustls::crypto::ring::default_provider().install_default();
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.data)?;
    let secret = arguments.secret()?;
    let database = Database::connect(&arguments.database_url()).await?;
    let tables = Arc::new(database.clone());

    // The SDK's cluster, and a server for devices unless there are servers of their own.
    let (cluster, server) = match arguments.redis.is_empty() {
        true => {
            let cluster = Cluster::embedded_at(arguments.data.join("logs.redb"))?.with_member_tables(tables);
            let verifier = TokenVerifier::new(ISSUER, AUDIENCE, [VerificationKey::hs256(KEY_ID, &secret)?]);
            let mut config = ServerConfig::new("chat", verifier);
            config.websocket = Some(arguments.devices);
            // Everybody may have several browsers.
            config.login_policy = LoginPolicy::Unlimited;
            let server = Server::start(config, cluster.clone()).await?;
            (cluster, Some(server))
        }
        false => {
            let mut config = ClusterConfig::new(arguments.redis.clone(), arguments.nats.clone());
            config.archive = Some(ArchiveConfig::default());
            (Cluster::connect(config).await?.with_member_tables(tables), None)
        }
    };
    let store = Arc::new(SqlMessageStore::connect(&arguments.messages_url()).await?);
    let im = Im::builder().archive_to(store).system_user(SYSTEM_USER).start(cluster).await?;

    let app = Arc::new(App {
        files: FileStore::open(&arguments.files_location(), &secret)?,
        im: im.clone(),
        minter: TokenMinter::new(SigningKey::hs256(KEY_ID, &secret)?, ISSUER, AUDIENCE),
        outbox: Outbox::new(),
        options: arguments.options(),
        database,
    });
    let service = im.serve(Rules(app.clone())).await?;
    let relay = tokio::spawn(outbox::run(app.clone()));
    let sweeper = tokio::spawn(sweep(app.clone()));
    if arguments.demo {
        demo::fill(&app).await.map_err(|failure| format!("the demonstration was not filled: {failure:?}"))?;
    }

    let simulated = arguments.simulate.map(|count| tokio::spawn(simulate::run(app.clone(), count)));

    let listener = tokio::net::TcpListener::bind(arguments.listen).await?;
    println!("open http://{}", listener.local_addr()?);
    axum::serve(listener, routes(app)).with_graceful_shutdown(interrupted()).await?;

    // The devices leave first, then the parts that serve them.
    if let Some(simulated) = simulated {
        simulated.abort();
    }
    if let Some(server) = server {
        server.shutdown().await;
    }
    service.shutdown().await;
    relay.abort();
    sweeper.abort();
    im.shutdown().await;
    Ok(())
}

fn routes(app: SharedApp) -> Router {
    let (api, document) = api::router().split_for_parts();
    let assets = app.options.assets.clone();
    let page = move |uri: Uri| {
        let assets = assets.clone();
        async move { assets::serve(uri, assets.as_deref()).await }
    };
    api.merge(docs::router(document)).fallback(page).with_state(app)
}

/// Deletes what is over, until the task is dropped.
async fn sweep(app: SharedApp) {
    loop {
        for swept in [
            identity::session::sweep(&app).await,
            identity::attempts::sweep(&app.database).await,
            files::upload::sweep(&app).await,
        ] {
            if let Err(failure) = swept {
                tracing::warn!(refusal = ?failure.refusal, "what is over was not deleted, trying again later");
            }
        }
        tokio::time::sleep(SWEEP).await;
    }
}

/// Waits for Ctrl+C, or for the signal by which a service is ended.
async fn interrupted() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    _ = interrupt.await;
}
