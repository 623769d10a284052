//! NATS servers with JetStream.

use std::{fs, net::Ipv4Addr, path::PathBuf};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
};

use crate::{
    permissions::{self, Role},
    process::{Process, on_free_ports},
    programs::nats_server,
};

/// A NATS server.
#[derive(Debug)]
pub struct NatsServer {
    process: Process,
    port: u16,
    directory: TempDir,
}

impl NatsServer {
    /// Starts one with the users of servers and back ends. Connections without a user may do everything.
    pub async fn start() -> Self {
        Self::start_with_config(&permissions::nats_config()).await
    }

    /// Starts one with this configuration, which must not set the address and the port.
    pub async fn start_with_config(text: &str) -> Self {
        on_free_ports(async |[port]| {
            let directory = tempfile::tempdir().expect("a directory");
            fs::write(directory.path().join(CONFIG_FILE), text).expect("a configuration file");
            let mut process = start(port, &directory);
            if process.is_ready(async || answers(port, &directory).await).await {
                Ok(Self { process, port, directory })
            } else {
                Err(process.output())
            }
        })
        .await
    }

    /// Returns its address, without a user.
    pub fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Returns its address with the user of servers or back ends, as [`NatsServer::start`] creates them.
    pub fn address_as(&self, role: Role) -> String {
        role.at("nats", self.port)
    }

    /// Returns its address with a user and a password.
    pub fn address_for(&self, user: &str, password: &str) -> String {
        format!("nats://{user}:{password}@127.0.0.1:{}", self.port)
    }

    /// Returns its process id.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Returns its output so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Kills it (`SIGKILL`).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Freezes it (`SIGSTOP`): its connections stay open and nothing answers.
    pub fn stop(&self) {
        self.process.stop();
    }

    /// Ends [`NatsServer::stop`] (`SIGCONT`).
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Starts it again on the same port, after killing it if it still runs.
    ///
    /// # Panics
    /// Panics if it does not start.
    pub async fn restart(&mut self) {
        self.process.kill();
        self.process = start(self.port, &self.directory);
        let is_ready = self.process.is_ready(async || answers(self.port, &self.directory).await).await;
        assert!(is_ready, "NATS does not come back:\n{}", self.process.output());
    }
}

const CONFIG_FILE: &str = "nats.conf";
const STORE: &str = "jetstream";

fn start(port: u16, directory: &TempDir) -> Process {
    let port = port.to_string();
    // JetStream finds its files again after a restart.
    let arguments =
        ["-a", "127.0.0.1", "-p", &port, "-n", &name(directory), "-c", CONFIG_FILE, "-js", "-sd", STORE];
    Process::start(&nats_server(), &arguments.map(Into::into), directory.path())
}

/// Returns whether this server answers on the port, rather than one of another test that took the port first.
async fn answers(port: u16, directory: &TempDir) -> bool {
    let Ok(connection) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        return false;
    };
    let mut greeting = String::new();
    let read = BufReader::new(connection).read_line(&mut greeting).await;
    read.is_ok() && greeting.starts_with("INFO ") && greeting.contains(&name(directory))
}

/// Returns the server's name, that of its directory, which is unique.
fn name(directory: &TempDir) -> String {
    let name: PathBuf = directory.path().file_name().expect("a directory's name").into();
    name.display().to_string()
}
