//! A fleet thread for QUIC: quinn on a runtime of its own, with a task for each connection.

use std::{
    cell::RefCell,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, RecvStream, SendStream, TokioRuntime,
    TransportConfig, VarInt, crypto::rustls::QuicClientConfig,
};
use socket2::{Domain, Socket, Type};
use tokio::{
    runtime::Builder,
    sync::Semaphore,
    task::{self, LocalSet},
    time::{sleep, timeout},
};

use super::{Findings, Phase, Plan, receiver::Receiver, shared::Member};
use crate::{login::Progress, stamp::Scanner, tally::Received};

pub(super) struct QuicWorker {
    plans: Vec<Plan>,
    at_once: usize,
    config: ClientConfig,
    member: Member,
}

/// State shared by the tasks of a thread.
struct Common {
    receiver: RefCell<Receiver>,
    member: RefCell<Member>,
    /// The ready connections.
    connections: RefCell<Vec<Connection>>,
}

/// Returns the QUIC client configuration of a fleet.
pub(super) fn config(tls: rustls::ClientConfig) -> Result<ClientConfig, String> {
    let tls =
        QuicClientConfig::try_from(tls).map_err(|error| format!("TLS cannot be used for QUIC: {error}"))?;
    let mut transport = TransportConfig::default();
    // The fleet sends nothing, and the idle timeout of the servers is longer than a run.
    transport.max_idle_timeout(None).datagram_receive_buffer_size(None);
    transport.max_concurrent_bidi_streams(VarInt::from_u32(0));
    transport.max_concurrent_uni_streams(VarInt::from_u32(0));
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

impl QuicWorker {
    pub(super) fn new(plans: Vec<Plan>, at_once: usize, config: ClientConfig, member: Member) -> Self {
        Self { plans, at_once, config, member }
    }

    pub(super) fn run(self) -> Findings {
        let Self { plans, at_once, config, member } = self;
        let common = Rc::new(Common {
            receiver: RefCell::default(),
            member: RefCell::new(member),
            connections: RefCell::default(),
        });
        let runtime = Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => {
                let tasks = LocalSet::new();
                let served = tasks.block_on(&runtime, serve(plans, at_once, &config, &common));
                if let Err(error) = served {
                    common.member.borrow().report(Err(error));
                }
            }
            Err(error) => common.member.borrow().report(Err(format!("no runtime: {error}"))),
        }
        std::mem::take(&mut common.receiver.borrow_mut().findings)
    }
}

async fn serve(
    plans: Vec<Plan>,
    at_once: usize,
    config: &ClientConfig,
    common: &Rc<Common>,
) -> Result<(), String> {
    let endpoints = plans.len().div_ceil(CONNECTIONS_PER_SOCKET);
    let endpoints = (0..endpoints).map(|_| endpoint(config)).collect::<Result<Vec<_>, _>>()?;
    let room = Arc::new(Semaphore::new(at_once));
    for (number, plan) in plans.into_iter().enumerate() {
        let (endpoint, room) = (endpoints[number % endpoints.len()].clone(), Arc::clone(&room));
        let common = Rc::clone(common);
        task::spawn_local(async move {
            // The semaphore is never closed.
            let Ok(room) = room.acquire_owned().await else { return };
            let (index, server) = (plan.index, plan.server);
            let opened = Box::pin(Device::open(plan, &endpoint, &common)).await;
            drop(room);
            match opened {
                Ok(device) => device.receive(&common).await,
                Err(error) => {
                    let error = format!("connection {index} to {server}: {error}");
                    common.member.borrow().report(Err(error));
                }
            }
        });
    }
    watch(common).await;
    endpoints.iter().for_each(|endpoint| endpoint.close(VarInt::from_u32(0), b""));
    // Leaves time for the close frames to be sent.
    sleep(TICK).await;
    Ok(())
}

/// Runs until the fleet stops.
async fn watch(common: &Common) {
    loop {
        let phase = common.member.borrow().shared.phase.load(Ordering::Relaxed);
        if phase == Phase::Stop as u8 {
            return;
        }
        common.receiver.borrow_mut().set_phase(phase);
        common.answer();
        sleep(TICK).await;
    }
}

impl Common {
    /// Answers a pending request for the counters.
    fn answer(&self) {
        let connections = self.connections.borrow();
        let datagrams = || connections.iter().map(|connection| connection.stats().udp_rx.datagrams).sum();
        self.member.borrow_mut().answer(datagrams);
    }
}

fn endpoint(config: &ClientConfig) -> Result<Endpoint, String> {
    let open = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        socket.set_recv_buffer_size(SOCKET_BUFFER)?;
        socket.set_send_buffer_size(SOCKET_BUFFER)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let socket = UdpSocket::from(socket);
        Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))
    };
    let mut endpoint = open().map_err(|error: std::io::Error| format!("no UDP socket: {error}"))?;
    endpoint.set_default_client_config(config.clone());
    Ok(endpoint)
}

/// Returns the close code with which the server ended the stream; it follows the stream's end.
async fn refusal(connection: &Connection) -> String {
    match timeout(REASON_TIMEOUT, connection.closed()).await {
        Ok(reason) => format!("the server closed it before it was ready: {reason}"),
        Err(_) => "the server ended the stream before it was ready".to_owned(),
    }
}

/// A ready connection.
struct Device {
    receive: RecvStream,
    /// Closes the stream on drop.
    _send: SendStream,
    audience: u32,
    received: Received,
    scanner: Scanner,
}

impl Device {
    async fn open(mut plan: Plan, endpoint: &Endpoint, common: &Common) -> Result<Self, String> {
        let connecting = endpoint.connect(plan.server, "localhost").map_err(|error| error.to_string())?;
        let connection = connecting.await.map_err(|error| error.to_string())?;
        let (mut send, mut receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
        let cannot_send = |error| format!("cannot send: {error}");
        send.write_all(&plan.login.start()).await.map_err(cannot_send)?;
        let mut bytes = Vec::new();
        let name = loop {
            match plan.login.received(&mut bytes)? {
                Progress::Ready(name) => break name,
                Progress::Send(next) => send.write_all(&next).await.map_err(cannot_send)?,
                Progress::Wait => match receive.read_chunk(CHUNK, true).await {
                    Ok(Some(chunk)) => bytes.extend_from_slice(&chunk.bytes),
                    Ok(None) => return Err(refusal(&connection).await),
                    Err(error) => return Err(format!("cannot receive: {error}")),
                },
            }
        };
        common.member.borrow().report(Ok((plan.index, name)));
        common.connections.borrow_mut().push(connection);
        let received = Received::from(plan.first_sequence);
        let mut device =
            Self { receive, _send: send, audience: plan.audience, received, scanner: Scanner::default() };
        // Bytes after the answer are deliveries.
        device.take(&bytes, common);
        Ok(device)
    }

    async fn receive(mut self, common: &Common) {
        while let Ok(Some(chunk)) = self.receive.read_chunk(CHUNK, true).await {
            self.take(&chunk.bytes, common);
        }
        common.member.borrow().shared.closed.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&mut self, bytes: &[u8], common: &Common) {
        let mut receiver = common.receiver.borrow_mut();
        let delivered = receiver.take(&mut self.scanner, &mut self.received, self.audience, bytes);
        common.member.borrow().shared.delivered.fetch_add(delivered, Ordering::Relaxed);
    }
}

/// Time limit for a server's close. It first lets the device take the remaining messages.
const REASON_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum size of a read.
const CHUNK: usize = 256 * 1024;

/// Many connections share a socket, as on the server. With more, a burst would overflow the socket's buffer.
const CONNECTIONS_PER_SOCKET: usize = 1000;

/// Requested socket buffer. Linux allows less by default, and then its limit applies.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// Interval at which a thread checks whether to stop.
const TICK: Duration = Duration::from_millis(20);
