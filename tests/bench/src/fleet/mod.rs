//! The load client: thousands of connections that receive, verify and time what comes, on few threads.
//!
//! It must not be what is measured. So a connection is a socket and about 150 bytes, a thread waits for all of them with
//! one epoll, reads each that is ready once into a buffer of its own, and searches the bytes for stamps; nothing is
//! allocated or parsed on the way. Reports say how much processor time the fleet took beside the server.

mod connection;
mod worker;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use self::worker::Worker;
use crate::{
    login::Login,
    tally::{Faults, Latencies},
};

/// One connection that is to be made.
pub(crate) struct Plan {
    /// Its number in the fleet: what stamps call it in unicast.
    pub(crate) index: u32,
    /// The audience whose messages it must get.
    pub(crate) audience: u32,
    /// Where to.
    pub(crate) server: SocketAddr,
    /// What it says first.
    pub(crate) login: Box<dyn Login>,
}

/// How to connect.
#[derive(Clone, Debug)]
pub(crate) struct FleetOptions {
    /// How many threads.
    pub(crate) threads: usize,
    /// How many connections of a thread may be on their way at once.
    pub(crate) connecting: usize,
    /// How long all of them may take together.
    pub(crate) timeout: Duration,
    /// The index of the first one.
    pub(crate) first: u32,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self { threads: 1, connecting: 256, timeout: Duration::from_secs(120), first: 0 }
    }
}

/// Connections that are made.
#[derive(Debug)]
pub(crate) struct Fleet {
    workers: Vec<JoinHandle<Outcome>>,
    shared: Arc<Shared>,
    /// What each connection's server calls it, by index.
    pub(crate) names: Vec<u64>,
    /// How long it took until all were there.
    pub(crate) connected_in: Duration,
}

/// What the threads and the one that steers them have in common.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    phase: AtomicU8,
    /// Messages that came for the first time.
    delivered: AtomicU64,
    /// Connections that the server closed.
    closed: AtomicU64,
    /// Data segments that the sockets have received, as of the last time that somebody asked.
    segments: AtomicU64,
    /// How often somebody has asked.
    asked: AtomicU64,
    /// How many threads have answered, all questions together.
    answered: AtomicU64,
}

/// What is done with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// It is verified.
    Verify = 0,
    /// It is timed, too.
    Measure = 1,
    /// The fleet disconnects.
    Stop = 2,
}

/// What a fleet has seen from its beginning to its end.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What was wrong.
    pub(crate) faults: Faults,
    /// Of what came while it was measured.
    pub(crate) latencies: Latencies,
}

/// What the sockets have seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progressed {
    /// Messages that came for the first time.
    pub(crate) delivered: u64,
    /// Connections that the server closed.
    pub(crate) closed: u64,
}

impl Fleet {
    /// Connects all of them.
    ///
    /// # Errors
    /// The first connection that failed, and why.
    pub(crate) fn connect(plans: Vec<Plan>, options: &FleetOptions) -> Result<Self, String> {
        let shared = Arc::new(Shared::default());
        let (report, reports) = mpsc::channel();
        let started = Instant::now();
        let total = plans.len();
        let mut parts: Vec<Vec<Plan>> = (0..options.threads.max(1)).map(|_| Vec::new()).collect();
        let count = parts.len();
        for (number, plan) in plans.into_iter().enumerate() {
            parts[number % count].push(plan);
        }
        let spawn = |part| {
            let worker = Worker::new(part, options.clone(), Arc::clone(&shared), report.clone());
            thread::Builder::new().name("fleet".to_owned()).spawn(move || worker.run())
        };
        let workers = parts.into_iter().map(spawn).collect::<Result<Vec<_>, _>>();
        let workers = workers.map_err(|error| format!("no thread: {error}"))?;
        drop(report);
        let mut fleet = Self { workers, shared, names: vec![0; total], connected_in: Duration::ZERO };
        for _ in 0..total {
            let wait = options.timeout.saturating_sub(started.elapsed());
            match reports.recv_timeout(wait) {
                Ok(Ok((index, name))) => fleet.names[(index - options.first) as usize] = name,
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(format!("not all of {total} connected within {:?}", options.timeout)),
            }
        }
        fleet.connected_in = started.elapsed();
        Ok(fleet)
    }

    /// Begins a phase.
    pub(crate) fn set_phase(&self, phase: Phase) {
        self.shared.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// How far it is.
    pub(crate) fn progressed(&self) -> Progressed {
        Progressed {
            delivered: self.shared.delivered.load(Ordering::Relaxed),
            closed: self.shared.closed.load(Ordering::Relaxed),
        }
    }

    /// How many data segments the sockets have received so far: the server's writes, as long as each is a small one.
    pub(crate) fn segments(&self) -> u64 {
        let shared = &self.shared;
        shared.segments.store(0, Ordering::Relaxed);
        let asked = shared.asked.fetch_add(1, Ordering::Release) + 1;
        let answers = asked * self.workers.len() as u64;
        let started = Instant::now();
        while shared.answered.load(Ordering::Acquire) < answers && started.elapsed() < ANSWER_TIMEOUT {
            thread::sleep(Duration::from_millis(1));
        }
        shared.segments.load(Ordering::Relaxed)
    }

    /// A handle that reads the number of deliveries.
    pub(crate) fn deliveries(&self) -> impl Fn() -> u64 + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.delivered.load(Ordering::Relaxed)
    }

    /// Disconnects, and tells what it saw.
    ///
    /// # Errors
    /// When a thread has panicked.
    pub(crate) fn finish(mut self) -> Result<Outcome, String> {
        self.set_phase(Phase::Stop);
        let mut all = Outcome::default();
        for worker in self.workers.drain(..) {
            let outcome = worker.join().map_err(|_| "a thread of the load client panicked".to_owned())?;
            all.faults += outcome.faults;
            all.latencies.add(&outcome.latencies);
        }
        Ok(all)
    }
}

/// A thread answers between two reads.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

impl Drop for Fleet {
    fn drop(&mut self) {
        self.set_phase(Phase::Stop);
    }
}
