//! State shared by the fleet's threads and the controlling thread.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
        mpsc::Sender,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// Result of making a connection: its index and the server's name for it, or the error.
pub(super) type Report = Result<(u32, u64), String>;

/// The shared state.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) phase: AtomicU8,
    /// Messages that arrived for the first time.
    pub(super) delivered: AtomicU64,
    /// Connections that the server closed.
    pub(super) closed: AtomicU64,
    /// Number of requests for the threads' counters.
    asked: AtomicU64,
    /// The last answer of each thread.
    answers: Mutex<Vec<Answer>>,
}

/// The counters of one thread.
#[derive(Clone, Copy, Debug, Default)]
struct Answer {
    /// The last request that it answers.
    asked: u64,
    count: Count,
}

/// Counters of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Data segments (QUIC: datagrams) received by its sockets.
    pub(crate) segments: u64,
    /// Its processor time.
    pub(crate) cpu: Duration,
}

impl Shared {
    pub(super) fn new(threads: usize) -> Self {
        Self { answers: Mutex::new(vec![Answer::default(); threads]), ..Self::default() }
    }

    /// Requests the counters of all threads, and waits for the answers.
    pub(super) fn ask(&self) -> Vec<Count> {
        let asked = self.asked.fetch_add(1, Ordering::Release) + 1;
        let started = Instant::now();
        loop {
            let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if answers.iter().all(|answer| answer.asked >= asked) || started.elapsed() > ANSWER_TIMEOUT {
                return answers.iter().map(|answer| answer.count).collect();
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A thread's handle on the shared state.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) shared: Arc<Shared>,
    reports: Sender<Report>,
    number: usize,
    answered: u64,
}

impl Member {
    pub(super) fn new(shared: &Arc<Shared>, reports: &Sender<Report>, number: usize) -> Self {
        Self { shared: Arc::clone(shared), reports: reports.clone(), number, answered: 0 }
    }

    /// Reports the result of making a connection.
    pub(super) fn report(&self, report: Report) {
        // The receiver is gone after another connection has failed.
        _ = self.reports.send(report);
    }

    /// Answers a pending request for the counters.
    pub(super) fn answer(&mut self, segments: impl FnOnce() -> u64) {
        let asked = self.shared.asked.load(Ordering::Acquire);
        if asked == self.answered {
            return;
        }
        self.answered = asked;
        let count = Count { segments: segments(), cpu: thread_cpu() };
        let mut answers = self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers[self.number] = Answer { asked, count };
    }
}

/// Returns the processor time of the calling thread.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Time limit for the answers. Threads answer between two reads.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
