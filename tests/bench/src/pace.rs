//! When to send how much: at a rate whatever happens, or as fast as deliveries come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    audience::Audience,
    stamp::{Stamp, now},
    target::Publisher,
};

/// How fast to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rate {
    /// As many messages a second, spread evenly. What is late is sent late, and its latency counts from when it was due.
    PerSecond(u64),
    /// As many as the target delivers, with a bounded number of deliveries outstanding.
    Max {
        /// The bound; `None`: one that suits the audience.
        window: Option<u64>,
    },
}

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "max" => Ok(Self::Max { window: None }),
            number => number
                .parse()
                .map(Self::PerSecond)
                .map_err(|_| format!("{number:?} is neither a number of messages a second nor \"max\"")),
        }
    }
}

/// A thread that sends.
#[derive(Debug)]
pub(crate) struct Sender {
    thread: JoinHandle<Result<Sent, String>>,
    stop: Arc<AtomicBool>,
}

/// What was sent.
pub(crate) struct Sent {
    /// Messages.
    pub(crate) messages: u64,
    /// Sends that the target refused.
    pub(crate) failed: u64,
    /// Keep it until everything has come: a connection that is closed while something on it is unread takes what is on its
    /// way with it.
    pub(crate) publisher: Box<dyn Publisher>,
}

/// To whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How fast.
    pub(crate) rate: Rate,
    /// Each of which gets one in its turn.
    pub(crate) audience: Audience,
    /// How many connections.
    pub(crate) connections: u32,
}

impl Sender {
    /// Sends from now on.
    ///
    /// # Errors
    /// When there is no thread.
    pub(crate) fn start(
        plan: Plan,
        publisher: Box<dyn Publisher>,
        deliveries: impl Fn() -> u64 + Send + 'static,
    ) -> Result<Self, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let sending = Sending {
            plan,
            publisher,
            deliveries,
            stop: Arc::clone(&stop),
            messages: 0,
            batch: Vec::with_capacity(BATCH),
        };
        let thread = thread::Builder::new().name("sender".to_owned()).spawn(move || sending.run());
        let thread = thread.map_err(|error| format!("no thread: {error}"))?;
        Ok(Self { thread, stop })
    }

    /// Whether it has ended by itself, which is an error.
    pub(crate) fn has_failed(&self) -> bool {
        self.thread.is_finished()
    }

    /// Sends nothing more.
    ///
    /// # Errors
    /// What went wrong while it sent.
    pub(crate) fn finish(self) -> Result<Sent, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the sender panicked".to_owned())?
    }
}

struct Sending<D> {
    plan: Plan,
    publisher: Box<dyn Publisher>,
    deliveries: D,
    stop: Arc<AtomicBool>,
    messages: u64,
    batch: Vec<Stamp>,
}

impl<D: Fn() -> u64> Sending<D> {
    fn run(mut self) -> Result<Sent, String> {
        let started = now();
        while !self.stop.load(Ordering::Relaxed) {
            match self.plan.rate {
                Rate::PerSecond(rate) => self.send_due(started, rate)?,
                Rate::Max { window } => self.send_window(window)?,
            }
        }
        Ok(Sent { messages: self.messages, failed: self.publisher.failed(), publisher: self.publisher })
    }

    fn send_due(&mut self, started: u64, rate: u64) -> Result<(), String> {
        let due_at = |message: u64| started + message.saturating_mul(SECOND) / rate.max(1);
        let time = now();
        while self.batch.len() < BATCH && due_at(self.messages) <= time {
            self.add(due_at(self.messages));
        }
        if self.batch.is_empty() {
            thread::sleep(
                Duration::from_nanos(due_at(self.messages).saturating_sub(time)).min(LONGEST_SLEEP),
            );
            return Ok(());
        }
        self.publish()
    }

    fn send_window(&mut self, window: Option<u64>) -> Result<(), String> {
        let Plan { audience, connections, .. } = self.plan;
        let each = audience.members(connections);
        let outstanding = audience.deliveries(connections, self.messages).saturating_sub((self.deliveries)());
        let window = window.unwrap_or(default_window(audience, connections)).max(each);
        let room = (window / each).saturating_sub(outstanding.div_ceil(each)).min(BATCH as u64);
        if room == 0 {
            thread::sleep(Duration::from_micros(50));
            return Ok(());
        }
        let time = now();
        (0..room).for_each(|_| self.add(time));
        self.publish()
    }

    fn add(&mut self, time: u64) {
        let audiences = u64::from(self.plan.audience.count(self.plan.connections));
        let (audience, sequence) = (self.messages % audiences, self.messages / audiences);
        self.batch.push(Stamp { time, audience: audience as u32, sequence: sequence as u32 });
        self.messages += 1;
    }

    fn publish(&mut self) -> Result<(), String> {
        self.publisher.publish(&self.batch)?;
        self.batch.clear();
        Ok(())
    }
}

/// How many deliveries may be outstanding.
fn default_window(audience: Audience, connections: u32) -> u64 {
    match audience {
        Audience::One => UNICAST_WINDOW,
        Audience::Channels(channels) => {
            let messages = (CHANNEL_WINDOW * u64::from(channels)).min(CHANNELS_WINDOW);
            messages * audience.members(connections)
        }
    }
}

/// With 5,000 connections in turn, a connection has at most one message outstanding: what is measured is single
/// deliveries.
pub(crate) const UNICAST_WINDOW: u64 = 4096;

/// Messages that a channel may have on their way: enough that a target that can merge them does.
const CHANNEL_WINDOW: u64 = 256;

/// Messages that all channels may have on their way: as many as nobody's buffer for one server is too small for.
const CHANNELS_WINDOW: u64 = 32_768;

/// How many messages are handed to a target at once, at most.
const BATCH: usize = 128;

const SECOND: u64 = 1_000_000_000;

/// The sender looks at least as often whether it should stop.
const LONGEST_SLEEP: Duration = Duration::from_millis(20);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Tap(Arc<Mutex<Vec<Stamp>>>);

    impl Publisher for Tap {
        fn publish(&mut self, batch: &[Stamp]) -> Result<(), String> {
            self.0.lock().unwrap().extend_from_slice(batch);
            Ok(())
        }
    }

    fn stamps(rate: Rate, audience: Audience, delivered: u64, until: usize) -> Vec<Stamp> {
        let stamps = Arc::new(Mutex::new(Vec::new()));
        let plan = Plan { rate, audience, connections: 3 };
        let sender = Sender::start(plan, Box::new(Tap(Arc::clone(&stamps))), move || delivered).unwrap();
        while stamps.lock().unwrap().len() < until {
            thread::yield_now();
        }
        assert!(sender.finish().unwrap().messages >= until as u64);
        let stamps = stamps.lock().unwrap();
        stamps.clone()
    }

    #[test]
    fn a_rate_is_kept_and_connections_take_turns() {
        let stamps = stamps(Rate::PerSecond(1_000_000), Audience::One, 0, 7);
        let order: Vec<_> = stamps.iter().take(7).map(|stamp| (stamp.audience, stamp.sequence)).collect();
        assert_eq!(order, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 2)]);
        assert_eq!(stamps[5].time - stamps[0].time, 5000);
    }

    #[test]
    fn a_window_bounds_deliveries() {
        assert_eq!(stamps(Rate::Max { window: Some(5) }, Audience::One, 0, 5).len(), 5);
        assert_eq!(stamps(Rate::Max { window: Some(5) }, Audience::One, 2, 7).len(), 7);
        let all = stamps(Rate::Max { window: Some(6) }, Audience::Channels(1), 0, 2);
        assert_eq!(
            all.iter().map(|stamp| (stamp.audience, stamp.sequence)).collect::<Vec<_>>(),
            [(0, 0), (0, 1)]
        );
    }
}
