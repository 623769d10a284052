//! Servers that drain.

use std::time::Duration;

use tokio::{task::JoinHandle, time::timeout};

use crate::{
    ImServer, Stack,
    stack::{PATIENCE, StackServer},
    wait_until,
};

/// A server that was told to shut down and drains.
#[derive(Debug)]
pub enum DrainingServer {
    /// A server in this process.
    Embedded(JoinHandle<()>),
    /// A server in a process of its own.
    Process(ImServer),
}

impl DrainingServer {
    /// Shuts down the first server of a stack, and waits until its lease says that it drains.
    ///
    /// # Panics
    /// Panics if the server does not start to drain.
    pub async fn drain_first(stack: &mut Stack) -> Self {
        let server = stack.servers.remove(0);
        let id = stack.server_id(&server).await;
        let leaving = match server {
            StackServer::Embedded(server) => Self::Embedded(tokio::spawn(server.shutdown())),
            StackServer::Process(server) => {
                server.ask_to_end();
                Self::Process(server)
            }
        };
        wait_until("the server says that it drains", PATIENCE, async || {
            let live = stack.cluster().routes().live_servers().await.expect("the route store");
            live.iter().any(|server| server.id == id && server.info.draining)
        })
        .await;
        leaving
    }

    /// Returns whether it has exited.
    pub fn has_exited(&mut self) -> bool {
        match self {
            Self::Embedded(server) => server.is_finished(),
            Self::Process(server) => server.has_exited(),
        }
    }

    /// Waits until it has exited, a process with status 0.
    ///
    /// # Panics
    /// Panics if it does not exit within that time.
    pub async fn exited(self, within: Duration) {
        match self {
            Self::Embedded(server) => {
                timeout(within, server).await.expect("in time").expect("no thread panicked")
            }
            Self::Process(mut server) => server.exited(within).await,
        }
    }
}
