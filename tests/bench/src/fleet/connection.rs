//! One connection of the fleet over TCP.

use std::sync::Arc;

use rustls::ClientConfig;

use super::{
    Plan,
    receiver::Receiver,
    socket,
    wire::{Outcome, Wire},
};
use crate::{
    login::{Login, Progress},
    stamp::Scanner,
    tally::Received,
};

/// A connection of the fleet.
pub(super) struct Connection {
    pub(super) wire: Wire,
    pub(super) index: u32,
    audience: u32,
    received: Received,
    scanner: Scanner,
    /// The login in progress; `None` once the connection is ready.
    login: Option<Box<LoggingIn>>,
}

struct LoggingIn {
    login: Box<dyn Login>,
    bytes: Vec<u8>,
    started: bool,
}

/// The effects of an event.
#[derive(Debug, Default)]
pub(super) struct Handled {
    /// Messages that arrived for the first time.
    pub(super) delivered: u64,
    /// Set when the connection has become ready: the server's name for it.
    pub(super) ready: Option<u64>,
    /// Set if the server has closed the connection.
    pub(super) closed: bool,
}

impl Connection {
    /// Starts to connect.
    pub(super) fn start(plan: Plan, tls: Option<&Arc<ClientConfig>>) -> Result<Self, String> {
        let login = LoggingIn { login: plan.login, bytes: Vec::new(), started: false };
        Ok(Self {
            wire: Wire::connect(plan.index, plan.server, tls)?,
            index: plan.index,
            audience: plan.audience,
            received: Received::from(plan.first_sequence),
            scanner: Scanner::default(),
            login: Some(Box::new(login)),
        })
    }

    /// Returns the number of received data segments.
    pub(super) fn segments(&self) -> u64 {
        socket::segments(&self.wire.stream)
    }

    /// Makes progress after an event.
    ///
    /// # Errors
    /// Fails if the connection breaks before it is ready.
    pub(super) fn handle(&mut self, buffer: &mut [u8], receiver: &mut Receiver) -> Result<Handled, String> {
        let mut handled = Handled::default();
        if !self.wire.is_connected()? {
            return Ok(handled);
        }
        let logging_in = self.login.is_some();
        match self.go_on(buffer, receiver, &mut handled) {
            Ok(()) => Ok(handled),
            Err(error) if logging_in => Err(error),
            // A ready connection that fails counts as closed.
            Err(_) => {
                handled.closed = true;
                Ok(handled)
            }
        }
    }

    fn go_on(
        &mut self,
        buffer: &mut [u8],
        receiver: &mut Receiver,
        handled: &mut Handled,
    ) -> Result<(), String> {
        if let Some(state) = self.login.as_mut().filter(|state| !state.started) {
            state.started = true;
            let first = state.login.start();
            self.wire.send(&first)?;
        }
        self.wire.flush()?;
        loop {
            let Self { wire, login, scanner, received, audience, .. } = self;
            let outcome = wire.read(buffer, |bytes| match login {
                Some(state) => state.bytes.extend_from_slice(bytes),
                None => handled.delivered += receiver.take(scanner, received, *audience, bytes),
            })?;
            if self.login.is_some() {
                self.log_in(receiver, handled)?;
            }
            match outcome {
                None if self.login.is_some() => {
                    return Err("the server closed the connection before it was ready".to_owned());
                }
                None => {
                    handled.closed = true;
                    return Ok(());
                }
                Some(Outcome::Drained) => return Ok(()),
                Some(Outcome::More) => {}
            }
        }
    }

    /// Continues the login. Bytes after its end are deliveries.
    fn log_in(&mut self, receiver: &mut Receiver, handled: &mut Handled) -> Result<(), String> {
        while let Some(state) = &mut self.login {
            match state.login.received(&mut state.bytes)? {
                Progress::Send(bytes) => self.wire.send(&bytes)?,
                Progress::Wait => return Ok(()),
                Progress::Ready(name) => {
                    let rest = std::mem::take(&mut state.bytes);
                    self.login = None;
                    handled.ready = Some(name);
                    handled.delivered +=
                        receiver.take(&mut self.scanner, &mut self.received, self.audience, &rest);
                }
            }
        }
        Ok(())
    }
}
