//! A server in this process that can crash: it has a runtime of its own, which ends at once with all that runs on it.

use std::{future::pending, thread, time::Duration};

use im_sdk::cluster::Cluster;
use im_server::{Server, ServerConfig};
use tokio::runtime::Runtime;

/// How long what a runtime is at work on may take to its next wait.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// A server in this process. It crashes when dropped, as a process does that is killed: it closes no connection, releases no
/// route and says nothing to anybody.
#[derive(Debug)]
pub struct EmbeddedServer {
    server: Option<Box<Server>>,
    runtime: Option<Runtime>,
}

impl EmbeddedServer {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(config: ServerConfig, cluster: Cluster) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        // What it logs belongs to the test that starts it.
        let log = tracing::dispatcher::get_default(Clone::clone);
        let begin = move || std::mem::forget(tracing::dispatcher::set_default(&log));
        let runtime =
            builder.worker_threads(2).enable_all().on_thread_start(begin).build().expect("a runtime");
        let starting = runtime.spawn(Server::start(config, cluster)).await;
        let server = starting.expect("the start runs to its end").expect("the server starts");
        Self { server: Some(Box::new(server)), runtime: Some(runtime) }
    }

    /// The addresses that devices are told: QUIC, then WebSocket.
    pub fn endpoints(&self) -> Vec<String> {
        self.server.as_deref().map(Server::endpoints).unwrap_or_default().to_vec()
    }

    /// Drains it.
    pub async fn shutdown(self) {
        self.shutdown_until(pending()).await;
    }

    /// Drains it, in a hurry when `enough` is ready.
    pub async fn shutdown_until(mut self, enough: impl Future<Output = ()> + Send) {
        if let Some(server) = self.server.take() {
            server.shutdown_until(enough).await;
        }
    }

    /// Drops the [`Server`], as an application may without having shut it down. What it has begun goes on.
    pub fn drop_server(&mut self) {
        self.server = None;
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        let runtime = self.runtime.take().expect("it is taken here alone");
        // Waits, which a thread that runs the test's tasks is not allowed to.
        let ending = thread::spawn(move || runtime.shutdown_timeout(END_TIMEOUT));
        // The server goes when nothing is left that could say goodbye.
        assert!(ending.join().is_ok() || thread::panicking(), "the runtime ends");
    }
}
