//! Pings, and the detection of dead connections.

use std::time::{Duration, Instant};

/// Watches one connection's traffic.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    last_sent: Instant,
    last_received: Instant,
    last_ping: Instant,
    /// Set while a ping is due and not yet sent.
    due: bool,
    /// The number of pings.
    echo: u64,
    /// Set while the driver reads.
    reading: bool,
    /// The time at which the connection counts as dead, unless the server sends something first.
    probed_until: Option<Instant>,
}

impl Heartbeat {
    pub(super) fn new(interval: Duration, now: Instant, reading: bool) -> Self {
        let interval = interval.max(SHORTEST_INTERVAL);
        Self {
            interval,
            last_sent: now,
            last_received: now,
            last_ping: now,
            due: false,
            echo: 0,
            reading,
            probed_until: None,
        }
    }

    pub(super) fn handle_sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    pub(super) fn handle_received(&mut self, now: Instant) {
        self.last_received = now;
        self.probed_until = None;
    }

    /// Sends a ping at once. The connection is dead if the server sends nothing within this time.
    pub(super) fn probe(&mut self, now: Instant, within: Duration) {
        self.due = true;
        self.probed_until = Some(now + within);
    }

    /// Notes whether the driver reads. While it does not, silence says nothing about the server.
    pub(super) fn handle_reading(&mut self, now: Instant, reading: bool) {
        self.reading = reading;
        self.last_received = now;
        self.probed_until = None;
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.due |= self.ping_at() <= now;
    }

    /// Returns the `echo` of the ping to send now.
    pub(super) fn poll_ping(&mut self, now: Instant) -> Option<u64> {
        if !std::mem::take(&mut self.due) {
            return None;
        }
        self.last_ping = now;
        self.echo += 1;
        Some(self.echo)
    }

    /// Returns `true` if nothing has come for two intervals, although servers answer every ping.
    pub(super) fn is_dead(&self, now: Instant) -> bool {
        self.dead_at().is_some_and(|at| at <= now)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let ping = (!self.due).then(|| self.ping_at());
        [ping, self.dead_at()].into_iter().flatten().min()
    }

    /// Returns the time of the next ping: when nothing was sent for long, or when something was sent and nothing received. A slow
    /// publish must not look like a dead connection.
    fn ping_at(&self) -> Instant {
        let quiet_since = self.last_sent.min(self.last_received.max(self.last_ping));
        // Not the whole interval, since timers fire late and networks take time.
        quiet_since + self.interval * 9 / 10
    }

    fn dead_at(&self) -> Option<Instant> {
        let silent = self.last_received + self.interval * 2;
        self.reading.then(|| self.probed_until.map_or(silent, |probed| probed.min(silent)))
    }
}

/// The shortest accepted interval, whatever the server sends.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_idle_connection_pings_before_the_interval_is_over() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(SECOND * 10, start, true);
        assert_eq!(heartbeat.poll_timeout(), Some(start + SECOND * 9));
        heartbeat.handle_timeout(start + SECOND * 9);
        assert_eq!(heartbeat.poll_ping(start + SECOND * 9), Some(1));
        assert_eq!(heartbeat.poll_ping(start + SECOND * 9), None);
    }

    #[test]
    fn silence_for_two_intervals_is_death_unless_nothing_is_read() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(SECOND * 10, start, true);
        assert!(!heartbeat.is_dead(start + SECOND * 19));
        assert!(heartbeat.is_dead(start + SECOND * 20));
        heartbeat.handle_reading(start + SECOND * 19, false);
        assert!(!heartbeat.is_dead(start + SECOND * 99));
        heartbeat.handle_reading(start + SECOND * 100, true);
        assert!(!heartbeat.is_dead(start + SECOND * 119));
        assert!(heartbeat.is_dead(start + SECOND * 120));
    }

    #[test]
    fn sending_without_an_answer_pings_too() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(SECOND * 10, start, true);
        heartbeat.handle_sent(start + SECOND * 8);
        heartbeat.handle_timeout(start + SECOND * 9);
        assert_eq!(heartbeat.poll_ping(start + SECOND * 9), Some(1));
        assert!(heartbeat.poll_timeout() > Some(start + SECOND * 9));
    }

    #[test]
    fn a_probe_that_is_not_answered_is_death() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(SECOND * 10, start, true);
        heartbeat.probe(start + SECOND, SECOND * 3);
        assert_eq!(heartbeat.poll_ping(start + SECOND), Some(1));
        assert_eq!(heartbeat.poll_timeout(), Some(start + SECOND * 4));
        assert!(!heartbeat.is_dead(start + SECOND * 3));
        assert!(heartbeat.is_dead(start + SECOND * 4));
        heartbeat.handle_received(start + SECOND * 3);
        assert!(!heartbeat.is_dead(start + SECOND * 4));
    }
}
