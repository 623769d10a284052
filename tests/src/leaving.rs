//! Servers that have been told to leave.

use std::time::Duration;

use tokio::{task::JoinHandle, time::timeout};

use crate::{
    ImServer, Stack,
    stack::{PATIENCE, StackServer},
    wait_until,
};

/// A server that was told to leave, and has not left yet as far as is known.
#[derive(Debug)]
pub enum Leaving {
    /// In this process.
    Embedded(JoinHandle<()>),
    /// A process of its own.
    Process(ImServer),
}

impl Leaving {
    /// Has the first server of a stack leave, and waits until it says that it drains.
    ///
    /// # Panics
    /// When it does not.
    pub async fn first_of(stack: &mut Stack) -> Self {
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

    /// Whether it has left.
    pub fn has_left(&mut self) -> bool {
        match self {
            Self::Embedded(server) => server.is_finished(),
            Self::Process(server) => server.has_exited(),
        }
    }

    /// Waits until it has left, a process with 0.
    ///
    /// # Panics
    /// When it does not within that time.
    pub async fn left(self, within: Duration) {
        match self {
            Self::Embedded(server) => timeout(within, server).await.expect("in time").expect("no panic"),
            Self::Process(mut server) => server.exited(within).await,
        }
    }
}
