//! `im-server` as a process.

use std::{path::PathBuf, time::Duration};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{
    process::{Process, on_free_ports},
    stack::PATIENCE,
    wait_until,
};

/// Time limit for a drained server to exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(60);

/// An `im-server` process, killed when dropped.
#[derive(Debug)]
pub struct ImServer {
    process: Process,
    endpoints: Vec<String>,
    websocket: u16,
    environment: Vec<(String, String)>,
    directory: TempDir,
}

impl ImServer {
    /// Starts one on free ports. `variables` are added to those for Redis, NATS and the listeners.
    pub async fn start(name: &str, redis: &str, nats: &str, variables: &[(String, String)]) -> Self {
        on_free_ports(async |[websocket, quic]| {
            let directory = tempfile::tempdir().expect("a directory");
            let mut environment = variables.to_vec();
            let mut set = |name: &str, value: String| environment.push((name.to_owned(), value));
            set("IM_SERVER_NAME", name.to_owned());
            set("IM_CLUSTER_REDIS", redis.to_owned());
            set("IM_CLUSTER_NATS", nats.to_owned());
            set("IM_WEBSOCKET_LISTEN", format!("127.0.0.1:{websocket}"));
            set("IM_QUIC_LISTEN", format!("127.0.0.1:{quic}"));
            let mut process = start(&directory, &environment);
            if !is_ready(&mut process, websocket).await {
                return Err(process.output());
            }
            let tls = environment.iter().any(|(name, value)| name == "IM_WEBSOCKET_TLS" && value == "true");
            let scheme = if tls { "wss" } else { "ws" };
            let endpoints =
                vec![format!("quic://127.0.0.1:{quic}"), format!("{scheme}://127.0.0.1:{websocket}")];
            Ok(Self { process, endpoints, websocket, environment, directory })
        })
        .await
    }

    /// Returns its endpoints: QUIC, then WebSocket.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// Returns its process id.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Freezes it (`SIGSTOP`): its connections stay open and nothing answers.
    pub fn stop(&self) {
        self.process.stop();
    }

    /// Ends [`ImServer::stop`].
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Returns its log so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Kills it (`SIGKILL`).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same ports, after killing it if it still runs.
    ///
    /// # Panics
    /// Panics if it does not start.
    pub async fn restart(&mut self) {
        self.process.kill();
        self.process = start(&self.directory, &self.environment);
        let is_ready = is_ready(&mut self.process, self.websocket).await;
        assert!(is_ready, "im-server does not come back:\n{}", self.output());
    }

    /// Sends `SIGTERM` and waits until it has exited with 0.
    pub async fn terminate(mut self) {
        self.drain().await;
    }

    /// Sends `SIGTERM` and waits until it has exited with 0. It can be [restarted](ImServer::restart).
    ///
    /// # Panics
    /// Panics if it does not exit, or not with 0.
    pub async fn drain(&mut self) {
        self.ask_to_end();
        self.exited(EXIT_TIMEOUT).await;
    }

    /// Sends `SIGTERM` without waiting. A second signal is lost if the process has not handled the first one yet.
    pub fn ask_to_end(&self) {
        self.process.terminate();
    }

    /// Waits until its log contains `what`.
    ///
    /// # Panics
    /// Panics if it does not within [`PATIENCE`].
    pub async fn wait_for_log(&self, what: &str) {
        wait_until(&format!("im-server says {what:?}"), PATIENCE, async || self.output().contains(what))
            .await;
    }

    /// Returns whether it has exited.
    pub fn has_exited(&mut self) -> bool {
        self.process.exit_status().is_some()
    }

    /// Waits until it has exited with 0.
    ///
    /// # Panics
    /// Panics if it does not exit within that time, or not with 0.
    pub async fn exited(&mut self, within: Duration) {
        let mut status = None;
        wait_until("im-server exits after SIGTERM", within, async || {
            status = self.process.exit_status();
            status.is_some()
        })
        .await;
        let success = status.is_some_and(|status| status.success());
        assert!(success, "im-server exited with {status:?}:\n{}", self.output());
    }
}

fn start(directory: &TempDir, environment: &[(String, String)]) -> Process {
    Process::start_with(&binary("im-server"), &[], directory.path(), environment)
}

async fn is_ready(process: &mut Process, websocket: u16) -> bool {
    process.is_ready(async || TcpStream::connect(("127.0.0.1", websocket)).await.is_ok()).await
}

/// Returns the path of a program of this workspace, built beside this test.
///
/// # Panics
/// Panics if the program was not built.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    // target/<profile>/deps/<test>, or target/<profile>/<program>
    let binary = test.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|file| file.is_file());
    binary.unwrap_or_else(|| {
        panic!(
            "{name} is not built beside {}: run `cargo build --workspace --bins` (with the same profile) or ./tests/run.sh",
            test.display()
        )
    })
}
