//! PostgreSQL servers.

use std::{
    fs,
    os::unix::fs::chown,
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::getuid;
use std::os::unix::process::CommandExt as _;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{
    process::{Process, on_free_ports},
    programs::postgres,
    stack::PATIENCE,
    wait_until,
};

/// Owner of the database.
const OWNER: &str = "im";

/// A PostgreSQL server. It starts empty.
#[derive(Debug)]
pub struct PostgresServer {
    process: Process,
    port: u16,
    directory: TempDir,
}

impl PostgresServer {
    /// Starts one.
    pub async fn start() -> Self {
        on_free_ports(async |[port]| {
            let directory = tempfile::tempdir().expect("a directory");
            if let Some((user, group)) = unprivileged() {
                chown(directory.path(), Some(user), Some(group)).expect("another owner of the directory");
            }
            initialize(directory.path());
            let mut process = start(port, directory.path());
            let id = process.id();
            if process.is_ready(async || answers(port, directory.path(), id).await).await {
                Ok(Self { process, port, directory })
            } else {
                Err(process.output())
            }
        })
        .await
    }

    /// Returns the URL of its only database.
    pub fn url(&self) -> String {
        format!("postgres://{OWNER}@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    /// Kills it (`SIGKILL`).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port, after killing it if it still runs.
    ///
    /// # Panics
    /// Panics if it does not start.
    pub async fn restart(&mut self) {
        self.process.kill();
        // It refuses to start while child processes of the killed server are still running.
        wait_until("PostgreSQL comes back", PATIENCE, async || {
            self.process = start(self.port, self.directory.path());
            let id = self.process.id();
            self.process.is_ready(async || answers(self.port, self.directory.path(), id).await).await
        })
        .await;
    }
}

impl Drop for PostgresServer {
    /// Shuts it down. A killed one would leave shared memory behind.
    fn drop(&mut self) {
        self.process.quit();
    }
}

fn initialize(directory: &Path) {
    let mut command = Command::new(postgres("initdb"));
    command.args(["-D", "data", "-U", OWNER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
    if let Some((user, group)) = unprivileged() {
        command.uid(user).gid(group);
    }
    let output = command.current_dir(directory).stdin(Stdio::null()).output().expect("initdb starts");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
}

fn start(port: u16, directory: &Path) -> Process {
    let port = port.to_string();
    let settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"];
    let mut arguments = vec!["-D", "data", "-p", &port];
    settings.iter().for_each(|setting| arguments.extend(["-c", setting]));
    let arguments: Vec<String> = arguments.into_iter().map(Into::into).collect();
    Process::start_as(&postgres("postgres"), &arguments, directory, unprivileged())
}

/// Returns whether this process answers on the port and accepts connections, which it writes into its pid file.
async fn answers(port: u16, directory: &Path, id: u32) -> bool {
    let written = fs::read_to_string(directory.join("data/postmaster.pid")).unwrap_or_default();
    let own = written.lines().next() == Some(&id.to_string());
    own && written.contains("ready") && TcpStream::connect(("127.0.0.1", port)).await.is_ok()
}

/// Returns the user to run as: PostgreSQL refuses to run as root and then runs as `postgres` or `nobody`.
fn unprivileged() -> Option<(u32, u32)> {
    if !getuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("the list of users");
    let find = |name: &str| {
        let mut fields =
            users.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.split(':');
        Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(find("postgres").or_else(|| find("nobody")).expect("a user that is not root"))
}
