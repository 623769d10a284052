//! A fleet thread for TCP, which waits for all of its sockets with one epoll.

use std::{
    collections::VecDeque,
    io::ErrorKind,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use mio::{Events, Interest, Poll, Token};
use rustls::ClientConfig;

use super::{
    Findings, Phase, Plan,
    connection::{Connection, Handled},
    receiver::Receiver,
    shared::Member,
    socket,
};

pub(super) struct Worker {
    plans: VecDeque<Plan>,
    /// Maximum number of connections that are being made at once.
    at_once: usize,
    tls: Option<Arc<ClientConfig>>,
    member: Member,
    connections: Vec<Option<Connection>>,
    connecting: usize,
    receiver: Receiver,
    buffer: Box<[u8]>,
}

impl Worker {
    pub(super) fn new(
        plans: Vec<Plan>,
        at_once: usize,
        tls: Option<Arc<ClientConfig>>,
        member: Member,
    ) -> Self {
        Self {
            plans: plans.into(),
            at_once,
            tls,
            member,
            connections: Vec::new(),
            connecting: 0,
            receiver: Receiver::default(),
            buffer: vec![0; BUFFER].into(),
        }
    }

    pub(super) fn run(mut self) -> Findings {
        if let Err(error) = self.serve() {
            self.member.report(Err(error));
        }
        self.receiver.findings
    }

    fn serve(&mut self) -> Result<(), String> {
        socket::own_descriptors().map_err(|error| format!("no descriptor table for a thread: {error}"))?;
        let mut poll = Poll::new().map_err(|error| format!("no epoll: {error}"))?;
        let mut events = Events::with_capacity(EVENTS);
        loop {
            self.connect_more(&poll)?;
            match poll.poll(&mut events, Some(TICK)) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("epoll failed: {error}")),
            }
            let phase = self.member.shared.phase.load(Ordering::Relaxed);
            if phase == Phase::Stop as u8 {
                return Ok(());
            }
            self.receiver.set_phase(phase);
            let connections = &self.connections;
            self.member.answer(|| connections.iter().flatten().map(Connection::segments).sum());
            let mut delivered = 0;
            for event in &events {
                delivered += self.handle(event.token().0)?;
            }
            self.member.shared.delivered.fetch_add(delivered, Ordering::Relaxed);
        }
    }

    fn connect_more(&mut self, poll: &Poll) -> Result<(), String> {
        while self.connecting < self.at_once {
            let Some(plan) = self.plans.pop_front() else { break };
            let (index, server) = (plan.index, plan.server);
            let failed = |error: String| format!("connection {index} to {server}: {error}");
            let mut connection = Connection::start(plan, self.tls.as_ref()).map_err(failed)?;
            let token = Token(self.connections.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registered = poll.registry().register(&mut connection.wire.stream, token, interest);
            registered.map_err(|error| failed(error.to_string()))?;
            self.connections.push(Some(connection));
            self.connecting += 1;
        }
        Ok(())
    }

    /// Handles an event and returns the number of new messages.
    fn handle(&mut self, number: usize) -> Result<u64, String> {
        let Some(Some(connection)) = self.connections.get_mut(number) else { return Ok(0) };
        let index = connection.index;
        let handled = connection.handle(&mut self.buffer, &mut self.receiver);
        let Handled { delivered, ready, closed } =
            handled.map_err(|error| format!("connection {index}: {error}"))?;
        if let Some(name) = ready {
            self.connecting -= 1;
            self.member.report(Ok((index, name)));
        }
        if closed {
            self.connections[number] = None;
            self.member.shared.closed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(delivered)
    }
}

/// Maximum size of a read.
const BUFFER: usize = 256 * 1024;

/// Maximum number of events of one wait.
const EVENTS: usize = 1024;

/// Interval at which a thread checks whether to stop.
const TICK: Duration = Duration::from_millis(20);
