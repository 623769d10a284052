//! What the fleet's threads and the one that steers them have in common.

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

/// What a connection came to: index and the server's name for it, or why it failed.
pub(super) type Report = Result<(u32, u64), String>;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) phase: AtomicU8,
    /// Messages that came for the first time.
    pub(super) delivered: AtomicU64,
    /// Connections that the server closed.
    pub(super) closed: AtomicU64,
    /// How often somebody has asked what the threads count.
    asked: AtomicU64,
    /// What each thread has answered last.
    answers: Mutex<Vec<Answer>>,
}

/// What one thread counts for itself.
#[derive(Clone, Copy, Debug, Default)]
struct Answer {
    /// The last question that it has answered.
    asked: u64,
    count: Count,
}

/// What a thread has seen and taken so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Data segments (QUIC: datagrams) that its sockets have received.
    pub(crate) segments: u64,
    /// Its processor time.
    pub(crate) cpu: Duration,
}

impl Shared {
    pub(super) fn new(threads: usize) -> Self {
        Self { answers: Mutex::new(vec![Answer::default(); threads]), ..Self::default() }
    }

    /// Asks all threads, and waits for their answers.
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

/// One thread's place among the others.
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

    /// Tells what a connection came to.
    pub(super) fn report(&self, report: Report) {
        // Who listened has gone away after another connection's failure.
        _ = self.reports.send(report);
    }

    /// Answers when somebody has asked.
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

/// What the calling thread has taken so far.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// A thread answers between two reads.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
