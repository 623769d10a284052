//! A thread of the fleet.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read},
    sync::{Arc, atomic::Ordering, mpsc::Sender},
    time::Duration,
};

use mio::{Events, Interest, Poll, Token};

use super::{
    FleetOptions, Outcome, Phase, Plan, Shared,
    connection::{Connection, LoggedIn},
};
use crate::stamp::{Finder, now};

/// What a connection came to: index and the server's name for it, or why it failed.
type Report = Result<(u32, u64), String>;

pub(super) struct Worker {
    plans: VecDeque<Plan>,
    options: FleetOptions,
    shared: Arc<Shared>,
    report: Sender<Report>,
    connections: Vec<Option<Connection>>,
    connecting: usize,
    answered: u64,
    finder: Finder,
    outcome: Outcome,
    buffer: Box<[u8]>,
}

impl Worker {
    pub(super) fn new(
        plans: Vec<Plan>,
        options: FleetOptions,
        shared: Arc<Shared>,
        report: Sender<Report>,
    ) -> Self {
        Self {
            plans: plans.into(),
            options,
            shared,
            report,
            connections: Vec::new(),
            connecting: 0,
            answered: 0,
            finder: Finder::default(),
            outcome: Outcome::default(),
            buffer: vec![0; BUFFER].into(),
        }
    }

    pub(super) fn run(mut self) -> Outcome {
        if let Err(error) = self.serve() {
            // Whoever waits for connections learns of it; nobody else does any more.
            _ = self.report.send(Err(error));
        }
        self.outcome
    }

    fn serve(&mut self) -> Result<(), String> {
        let mut poll = Poll::new().map_err(|error| format!("no epoll: {error}"))?;
        let mut events = Events::with_capacity(EVENTS);
        loop {
            self.connect_more(&poll)?;
            match poll.poll(&mut events, Some(TICK)) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("epoll failed: {error}")),
            }
            let phase = self.shared.phase.load(Ordering::Relaxed);
            if phase == Phase::Stop as u8 {
                return Ok(());
            }
            self.answer();
            let mut delivered = 0;
            for event in &events {
                delivered += self.handle(event.token().0, phase == Phase::Measure as u8)?;
            }
            self.shared.delivered.fetch_add(delivered, Ordering::Relaxed);
        }
    }

    /// Counts the segments that have come, when somebody has asked.
    fn answer(&mut self) {
        let asked = self.shared.asked.load(Ordering::Acquire);
        if asked == self.answered {
            return;
        }
        self.answered = asked;
        let segments: u64 = self.connections.iter().flatten().map(Connection::segments).sum();
        self.shared.segments.fetch_add(segments, Ordering::Relaxed);
        self.shared.answered.fetch_add(1, Ordering::Release);
    }

    fn connect_more(&mut self, poll: &Poll) -> Result<(), String> {
        while self.connecting < self.options.connecting {
            let Some(plan) = self.plans.pop_front() else { break };
            let (index, server) = (plan.index, plan.server);
            let failed = |error| format!("connection {index} to {server}: {error}");
            let mut connection = Connection::start(plan).map_err(failed)?;
            let token = Token(self.connections.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut connection.stream, token, interest).map_err(failed)?;
            self.connections.push(Some(connection));
            self.connecting += 1;
        }
        Ok(())
    }

    /// Reads what there is. How many messages were new.
    fn handle(&mut self, number: usize, measure: bool) -> Result<u64, String> {
        let Some(Some(connection)) = self.connections.get_mut(number) else { return Ok(0) };
        if !connection.is_ready() {
            let mut rest = Vec::new();
            let progress = connection.log_in(&mut rest);
            let progress = progress.map_err(|error| format!("connection {}: {error}", connection.index))?;
            let LoggedIn::Ready(name) = progress else { return Ok(0) };
            self.connecting -= 1;
            // The receiver has gone away after another connection's failure.
            _ = self.report.send(Ok((connection.index, name)));
            let delivered = take(connection, &self.finder, &mut self.outcome, &rest, measure);
            return Ok(delivered + self.read(number, measure));
        }
        Ok(self.read(number, measure))
    }

    fn read(&mut self, number: usize, measure: bool) -> u64 {
        let Some(Some(connection)) = self.connections.get_mut(number) else { return 0 };
        let mut delivered = 0;
        loop {
            match connection.stream.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => {
                    let bytes = &self.buffer[..count];
                    delivered += take(connection, &self.finder, &mut self.outcome, bytes, measure);
                    // A short read has emptied the socket (epoll(7)); the next bytes make an event of their own.
                    if count < self.buffer.len() {
                        return delivered;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return delivered,
                Err(_) => break,
            }
        }
        self.connections[number] = None;
        self.shared.closed.fetch_add(1, Ordering::Relaxed);
        delivered
    }
}

fn take(
    connection: &mut Connection,
    finder: &Finder,
    outcome: &mut Outcome,
    bytes: &[u8],
    measure: bool,
) -> u64 {
    let (received, expected) = (&mut connection.received, connection.audience);
    let mut delivered = 0;
    connection.scanner.feed(finder, bytes, |stamp| {
        if received.take(expected, stamp, &mut outcome.faults) {
            delivered += 1;
            if measure {
                outcome.latencies.record(now().saturating_sub(stamp.time));
            }
        }
    });
    delivered
}

/// What is read at once.
const BUFFER: usize = 256 * 1024;

/// How many connections one wait reports.
const EVENTS: usize = 1024;

/// How often a thread looks whether it should stop.
const TICK: Duration = Duration::from_millis(20);
