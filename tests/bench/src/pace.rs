//! Pacing of messages: at a fixed rate, or as fast as deliveries come back.

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

/// The rate of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rate {
    /// A number of messages per second, evenly spaced. A late message is sent late, and its latency counts from the time
    /// it was due.
    PerSecond(u64),
    /// As fast as the target delivers, with a bounded number of outstanding deliveries.
    Max {
        /// The bound; `None` for one that suits the audience.
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

/// The sending thread.
#[derive(Debug)]
pub(crate) struct Sender {
    thread: JoinHandle<Result<Sent, String>>,
    stop: Arc<AtomicBool>,
}

/// The result of sending.
pub(crate) struct Sent {
    /// Messages.
    pub(crate) messages: u64,
    /// Sends that the target refused.
    pub(crate) failed: u64,
    /// The publisher. Keep it until everything has arrived: closing a connection with unread data discards the data in
    /// flight.
    pub(crate) publisher: Box<dyn Publisher>,
}

/// The load: its rate and its receivers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// The rate.
    pub(crate) rate: Rate,
    /// The audiences; each gets a message in its turn.
    pub(crate) audience: Audience,
    /// Number of connections.
    pub(crate) connections: u32,
}

impl Sender {
    /// Starts to send.
    ///
    /// # Errors
    /// Fails if the thread cannot be started.
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

    /// Returns whether the thread has ended by itself, which is an error.
    pub(crate) fn has_failed(&self) -> bool {
        self.thread.is_finished()
    }

    /// Stops sending.
    ///
    /// # Errors
    /// Returns the error that sending has met.
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

/// Returns the default limit of outstanding deliveries.
fn default_window(audience: Audience, connections: u32) -> u64 {
    match audience {
        Audience::One => UNICAST_WINDOW,
        Audience::Channels(channels) => {
            let messages = (CHANNEL_WINDOW * u64::from(channels)).min(CHANNELS_WINDOW);
            messages * audience.members(connections)
        }
    }
}

/// Outstanding deliveries of unicast. With 5,000 connections in turn, each has at most one outstanding message,
/// so single deliveries are measured.
pub(crate) const UNICAST_WINDOW: u64 = 4096;

/// Outstanding messages per channel: enough for a target that coalesces them.
const CHANNEL_WINDOW: u64 = 256;

/// Outstanding messages of all channels: few enough for every target's buffer for one server.
const CHANNELS_WINDOW: u64 = 32_768;

/// Maximum number of messages handed to a target at once.
const BATCH: usize = 128;

const SECOND: u64 = 1_000_000_000;

/// Maximum interval at which the sender checks whether to stop.
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
