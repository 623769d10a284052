//! The command line.

use std::{error::Error, net::SocketAddr, path::PathBuf};

use clap::Parser;
use im_sdk::token::random_secret;

use crate::app::Options;

/// A chat application in one process.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// The address of the page and the API.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// The address to which browsers connect for messages.
    #[arg(long, default_value = "127.0.0.1:7800")]
    pub(crate) devices: SocketAddr,
    /// The directory for everything that is kept.
    #[arg(long, default_value = "chat-data")]
    pub(crate) data: PathBuf,
    /// Fills a workspace with people and conversations, and lets everybody sign in as one of them.
    #[arg(long)]
    pub(crate) demo: bool,
    /// Lets so many people chat on real connections, in a group and in the live room. Needs `--demo`.
    #[arg(long, requires = "demo", value_name = "PEOPLE")]
    pub(crate) simulate: Option<usize>,
    /// A Redis server, such as `redis://host:6379`, where servers run as processes of their own. Can be repeated, for a cluster.
    #[arg(long, requires_all = ["nats", "database", "secret_file", "endpoints"])]
    pub(crate) redis: Vec<String>,
    /// A NATS server, such as `nats://host:4222`. Can be repeated.
    #[arg(long, requires = "redis")]
    pub(crate) nats: Vec<String>,
    /// `postgres://user:password@host/database`, in place of SQLite files in the directory.
    #[arg(long)]
    database: Option<String>,
    /// `s3://bucket` with credentials in the environment, or a directory, in place of one in the directory.
    #[arg(long)]
    files: Option<String>,
    /// A file with the secret for tokens and links: at least 32 bytes, the same for all backends and servers. By default one is
    /// made in the directory.
    #[arg(long)]
    secret_file: Option<PathBuf>,
    /// Where browsers connect for messages, such as `wss://im.example.com`. Can be repeated. By default where the servers say.
    #[arg(long = "endpoint")]
    endpoints: Vec<String>,
    /// The page is served over TLS: cookies are sent over TLS alone.
    #[arg(long)]
    secure: bool,
    /// For how many seconds a refresh token that was just replaced still counts: for several tabs, and a browser that was closed at
    /// the wrong moment.
    #[arg(long, default_value = "15")]
    refresh_grace_seconds: u32,
    /// A directory with the built page, in place of the one in this program.
    #[arg(long)]
    assets: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn options(&self) -> Options {
        Options {
            demo: self.demo,
            secure: self.secure,
            refresh_grace_ms: i64::from(self.refresh_grace_seconds) * 1000,
            endpoints: self.endpoints.clone(),
            assets: self.assets.clone(),
        }
    }

    /// Returns where the application's tables are.
    pub(crate) fn database_url(&self) -> String {
        self.database
            .clone()
            .unwrap_or_else(|| format!("sqlite:{}?mode=rwc", self.data.join("chat.db").display()))
    }

    /// Returns where messages are archived: in PostgreSQL beside the tables, in SQLite in a file of its own.
    pub(crate) fn messages_url(&self) -> String {
        self.database.clone().unwrap_or_else(|| format!("sqlite:{}", self.data.join("messages.db").display()))
    }

    pub(crate) fn files_location(&self) -> String {
        self.files.clone().unwrap_or_else(|| self.data.join("files").display().to_string())
    }

    /// Reads the secret. Where none is named, one is made and kept, so that sessions and links outlive a restart.
    pub(crate) fn secret(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        let path = self.secret_file.clone().unwrap_or_else(|| self.data.join("secret"));
        let read = |error: std::io::Error| format!("the secret {} cannot be read: {error}", path.display());
        let secret = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.secret_file.is_none() => {
                let secret = random_secret();
                write_private(&path, &secret).map_err(read)?;
                secret.to_vec()
            }
            secret => secret.map_err(read)?,
        };
        match secret.len() {
            0..32 => Err(format!("the secret {} has fewer than 32 bytes", path.display()).into()),
            _ => Ok(secret),
        }
    }
}

/// Writes a file that nobody else can read.
fn write_private(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    std::io::Write::write_all(&mut options.open(path)?, bytes)
}
