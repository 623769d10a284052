//! A server in this process that can crash: dropping it aborts its runtime.

use std::{future::pending, thread, time::Duration};

use im_sdk::cluster::Cluster;
use im_server::{Server, ServerConfig};
use tokio::runtime::Runtime;

/// Time limit for the tasks of a dropped runtime to reach their next await.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// A server in this process. Dropping it has the effect of a killed process: it closes no connection, releases no
/// route and notifies nobody.
#[derive(Debug)]
pub struct EmbeddedServer {
    server: Option<Box<Server>>,
    runtime: Option<Runtime>,
}

impl EmbeddedServer {
    /// Starts a server.
    ///
    /// # Panics
    /// Panics if the server does not start.
    pub async fn start(config: ServerConfig, cluster: Cluster) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        // Logs of its threads go to the test that starts it.
        let log = tracing::dispatcher::get_default(Clone::clone);
        let begin = move || std::mem::forget(tracing::dispatcher::set_default(&log));
        let runtime =
            builder.worker_threads(2).enable_all().on_thread_start(begin).build().expect("a runtime");
        let starting = runtime.spawn(Server::start(config, cluster)).await;
        let server = starting.expect("the start runs to its end").expect("the server starts");
        Self { server: Some(Box::new(server)), runtime: Some(runtime) }
    }

    /// Returns the endpoints that devices are given: QUIC, then WebSocket.
    pub fn endpoints(&self) -> Vec<String> {
        self.server.as_deref().map(Server::endpoints).unwrap_or_default().to_vec()
    }

    /// Drains the server and shuts it down.
    pub async fn shutdown(self) {
        self.shutdown_until(pending()).await;
    }

    /// Drains the server and shuts it down; skips the rest of the drain when `enough` resolves.
    pub async fn shutdown_until(mut self, enough: impl Future<Output = ()> + Send) {
        if let Some(server) = self.server.take() {
            server.shutdown_until(enough).await;
        }
    }

    /// Drops the [`Server`] without a shutdown, as an application may. Its tasks go on.
    pub fn drop_server(&mut self) {
        self.server = None;
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        let runtime = self.runtime.take().expect("it is taken here alone");
        // `shutdown_timeout` blocks, which is not allowed on a thread of the test's runtime.
        let ending = thread::spawn(move || runtime.shutdown_timeout(END_TIMEOUT));
        // The server is dropped last, when none of its tasks can notify anybody.
        assert!(ending.join().is_ok() || thread::panicking(), "the runtime ends");
    }
}
