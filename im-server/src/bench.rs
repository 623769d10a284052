//! The parts of the server's inside that the micro-benchmarks and the echo server for the Autobahn test suite reach (feature `bench`).
//! Not part of the interface: it changes as the inside does.

use std::{error::Error, io, task::Context, time::Duration};

use bytes::Bytes;
use futures_util::task::noop_waker;
use im_proto::pb::{self, JoinKind};
use im_sdk::{
    cluster::Cluster,
    id::{ChannelId, ConnectionId, Device, DeviceId, Terminal, UserId},
    token::{TokenVerifier, VerificationKey},
};
use prost::Message as _;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    config::ServerConfig,
    downstream::flush::FlushQueue,
    registry::{Registration, frame_batch::FrameBatch, outbox::Outbox},
    server::Server,
    transport,
};

/// Echoes every WebSocket message, text too, over the server's own code. Dropping the future ends the connections.
///
/// # Errors
/// When the listener fails.
pub async fn echo(listener: TcpListener) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        connections.spawn(transport::echo(stream));
        while connections.try_join_next().is_some() {}
    }
}

/// A server with connections that have an outbox and nothing behind it.
#[derive(Debug)]
pub struct Inside {
    server: Server,
    registrations: Vec<Registration>,
}

impl Inside {
    /// Starts one, with its cluster in this process.
    ///
    /// # Errors
    /// Any error of the start.
    pub async fn start(connections: usize) -> Result<Self, Box<dyn Error>> {
        let key = VerificationKey::hs256("bench", &[7; 32])?;
        let mut config = ServerConfig::new("bench", TokenVerifier::new("bench", "bench", [key]));
        config.websocket = Some(([127, 0, 0, 1], 0).into());
        // These connections have no device that could send, and their routes are never looked up.
        config.heartbeat = LONG;
        config.route_audit = LONG;
        let server = Server::start(config, Cluster::embedded()).await?;
        let context = server.context();
        let register = |number: usize| {
            let device = Device::new(Terminal::Web, DeviceId::parse("bench")?);
            let user = UserId::parse(&format!("u{number}"))?;
            let registry = &context.registry;
            let registration = registry.register(user, device, u64::MAX, Outbox::new(OUTBOX_BYTES));
            registration.ok_or_else(|| "the server is full".into())
        };
        let registrations = (0..connections).map(register).collect::<Result<_, Box<dyn Error>>>()?;
        Ok(Self { server, registrations })
    }

    /// Returns the connections' numbers.
    pub fn connections(&self) -> Vec<u64> {
        self.registrations.iter().map(|registration| registration.connection.id.0).collect()
    }

    /// Joins all of them to a channel.
    ///
    /// # Errors
    /// When the name is not valid.
    pub fn join(&self, channel: &str) -> Result<(), Box<dyn Error>> {
        let channel = ChannelId::parse(channel)?;
        for registration in &self.registrations {
            self.server.context().registry.join(
                registration.connection.id,
                std::slice::from_ref(&channel),
                JoinKind::Member,
            );
        }
        Ok(())
    }

    /// Looks a connection up. Returns `false` if it is not there.
    pub fn find(&self, connection: u64) -> bool {
        self.server.context().registry.get(ConnectionId(connection)).is_some()
    }

    /// Dispatches an envelope as if it had arrived by the bus.
    ///
    /// # Errors
    /// When the bytes are no envelope.
    pub fn dispatch(&self, envelope: Bytes) -> Result<(), prost::DecodeError> {
        let envelope = pb::Envelope::decode(envelope)?;
        self.server.context().downstream.dispatch(envelope, &mut FlushQueue::default());
        Ok(())
    }

    /// Empties the outboxes of the first connections, as their sessions would. Returns how many frames there were.
    pub fn take(&self, connections: usize) -> usize {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let mut frames = 0;
        for registration in self.registrations.iter().take(connections) {
            let mut batch = FrameBatch::default();
            // Pending: it was empty.
            _ = registration.connection.outbox.poll_take(&mut cx, &mut batch);
            frames += batch.iter().count();
        }
        frames
    }
}

const LONG: Duration = Duration::from_secs(3600);

/// Far more than the benchmarks leave in an outbox before they empty it.
const OUTBOX_BYTES: usize = 1024 * 1024;
