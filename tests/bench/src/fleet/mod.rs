//! The load client: thousands of connections that receive, verify and time messages, on few threads.
//!
//! It must not be the bottleneck. So over TCP a connection is a socket and about 200 bytes (plus the keys with TLS). A
//! thread waits for all of its connections with one epoll, reads each ready one once into a buffer of its own, and
//! searches the bytes for stamps; nothing is allocated or parsed on the way. Over QUIC a connection is a quinn task. Each
//! thread has a descriptor table of its own, so the limit of open files applies per thread. Reports show the processor
//! time of the fleet beside that of the server, and how busy the busiest thread was.

mod connection;
mod quic;
mod receiver;
mod shared;
mod socket;
mod tls;
mod wire;
mod worker;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustls::pki_types::CertificateDer;

pub(crate) use self::shared::Count;
use self::{
    quic::QuicWorker,
    shared::{Member, Shared},
    worker::Worker,
};
use crate::{
    login::Login,
    tally::{Faults, Latencies},
    target::Transport,
};

/// A connection to be made.
pub(crate) struct Plan {
    /// Its number in the fleet, by which stamps name it in unicast.
    pub(crate) index: u32,
    /// The audience whose messages it must get.
    pub(crate) audience: u32,
    /// The sequence number of the first of these messages.
    pub(crate) first_sequence: u32,
    /// Address of the server.
    pub(crate) server: SocketAddr,
    /// Its login.
    pub(crate) login: Box<dyn Login>,
}

/// Options of a fleet.
#[derive(Clone, Debug)]
pub(crate) struct FleetOptions {
    /// Number of threads.
    pub(crate) threads: usize,
    /// Transport of the connections.
    pub(crate) transport: Transport,
    /// Certificates of the servers, if any.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    /// Maximum number of connections per thread that are being made at once.
    pub(crate) connecting: usize,
    /// Time limit for making all connections.
    pub(crate) timeout: Duration,
    /// Index of the first connection.
    pub(crate) first: u32,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            threads: 1,
            transport: Transport::Ws,
            certificates: Vec::new(),
            connecting: 256,
            timeout: Duration::from_secs(300),
            first: 0,
        }
    }
}

/// The connected fleet.
#[derive(Debug)]
pub(crate) struct Fleet {
    workers: Vec<JoinHandle<Findings>>,
    shared: Arc<Shared>,
    /// Each server's name for its connection, by index.
    pub(crate) names: Vec<u64>,
    /// Time until all connections were ready.
    pub(crate) connected_in: Duration,
}

/// Treatment of received messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Verifies them.
    Verify = 0,
    /// Verifies and times them.
    Measure = 1,
    /// Disconnects the fleet.
    Stop = 2,
}

/// Observations of a fleet over its whole life.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// The faults.
    pub(crate) faults: Faults,
    /// Latencies of the messages received while measuring.
    pub(crate) latencies: Latencies,
}

/// Progress of the sockets so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progressed {
    /// Messages that arrived for the first time.
    pub(crate) delivered: u64,
    /// Connections that the server closed.
    pub(crate) closed: u64,
}

impl Fleet {
    /// Makes all connections. Calls `watch` with the share that is ready.
    ///
    /// # Errors
    /// Returns the first connection that failed, and the cause.
    pub(crate) fn connect(
        plans: Vec<Plan>,
        options: &FleetOptions,
        mut watch: impl FnMut(f64),
    ) -> Result<Self, String> {
        let threads = options.threads.max(1);
        let (shared, (report, reports)) = (Arc::new(Shared::new(threads)), mpsc::channel());
        let client = Client::new(options)?;
        let (started, total) = (Instant::now(), plans.len());
        let mut parts: Vec<Vec<Plan>> = (0..threads).map(|_| Vec::new()).collect();
        for (number, plan) in plans.into_iter().enumerate() {
            parts[number % threads].push(plan);
        }
        let spawn = |(number, part)| {
            let work = client.worker(part, options.connecting, Member::new(&shared, &report, number));
            thread::Builder::new().name("fleet".to_owned()).spawn(work)
        };
        let workers = parts.into_iter().enumerate().map(spawn).collect::<Result<Vec<_>, _>>();
        let workers = workers.map_err(|error| format!("no thread: {error}"))?;
        drop(report);
        let mut fleet = Self { workers, shared, names: vec![0; total], connected_in: Duration::ZERO };
        for number in 0..total {
            let wait = options.timeout.saturating_sub(started.elapsed());
            match reports.recv_timeout(wait) {
                Ok(Ok((index, name))) => fleet.names[(index - options.first) as usize] = name,
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    return Err(format!("{number} of {total} have connected within {:?}", options.timeout));
                }
            }
            if number % 1024 == 0 {
                watch(number as f64 / total as f64);
            }
        }
        fleet.connected_in = started.elapsed();
        watch(1.0);
        Ok(fleet)
    }

    /// Starts a phase.
    pub(crate) fn set_phase(&self, phase: Phase) {
        self.shared.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Returns the progress.
    pub(crate) fn progressed(&self) -> Progressed {
        Progressed {
            delivered: self.shared.delivered.load(Ordering::Relaxed),
            closed: self.shared.closed.load(Ordering::Relaxed),
        }
    }

    /// Returns the counters of each thread.
    pub(crate) fn counts(&self) -> Vec<Count> {
        self.shared.ask()
    }

    /// Returns a function that reads the number of deliveries.
    pub(crate) fn deliveries(&self) -> impl Fn() -> u64 + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.delivered.load(Ordering::Relaxed)
    }

    /// Disconnects, and returns the observations.
    ///
    /// # Errors
    /// Fails if a thread has panicked.
    pub(crate) fn finish(mut self) -> Result<Findings, String> {
        self.set_phase(Phase::Stop);
        let mut all = Findings::default();
        for worker in self.workers.drain(..) {
            let findings = worker.join().map_err(|_| "a thread of the load client panicked".to_owned())?;
            all.faults += findings.faults;
            all.latencies.add(&findings.latencies);
        }
        Ok(all)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.set_phase(Phase::Stop);
    }
}

/// The protocol of a thread's connections, with its configuration.
enum Client {
    Tcp(Option<Arc<rustls::ClientConfig>>),
    Quic(quinn::ClientConfig),
}

impl Client {
    fn new(options: &FleetOptions) -> Result<Self, String> {
        let certificates = options.certificates.clone();
        match options.transport {
            Transport::Ws => Ok(Self::Tcp(None)),
            Transport::Wss => Ok(Self::Tcp(Some(Arc::new(tls::config(certificates, b"http/1.1")?)))),
            Transport::Quic => Ok(Self::Quic(quic::config(tls::config(certificates, im_proto::ALPN)?)?)),
        }
    }

    fn worker(
        &self,
        plans: Vec<Plan>,
        at_once: usize,
        member: Member,
    ) -> Box<dyn FnOnce() -> Findings + Send> {
        match self {
            Self::Tcp(tls) => {
                let worker = Worker::new(plans, at_once, tls.clone(), member);
                Box::new(move || worker.run())
            }
            Self::Quic(config) => {
                let worker = QuicWorker::new(plans, at_once, config.clone(), member);
                Box::new(move || worker.run())
            }
        }
    }
}
