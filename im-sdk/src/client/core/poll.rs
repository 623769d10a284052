//! The outputs of the state machine.

use std::time::Instant;

use bytes::Bytes;

use super::{Action, Answer, Core, Outcome, Phase, Taken, Unsettled};
use crate::{
    Transport,
    client::{Event, LocalId, State},
    proto::frame,
};

impl<T> Core<T> {
    pub(in crate::client) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Returns the next frame to send. It counts as sent.
    pub(in crate::client) fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        let frame = self.next_frame(now);
        if frame.is_none() && (self.closing.is_some() || self.leave_at().is_some()) {
            // The last acknowledgement is on its way.
            self.close_if_done(now);
        }
        frame
    }

    pub(in crate::client) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front().or_else(|| self.outbox.poll_event())
    }

    pub(in crate::client) fn poll_resolved(&mut self) -> Option<(T, Outcome)> {
        self.outbox.poll_resolved()
    }

    pub(in crate::client) fn poll_answered(&mut self, now: Instant) -> Option<(T, Answer)> {
        self.sort_answers(now);
        self.answers.pop_front()
    }

    /// Returns the outcome of a send that came from [`Core::poll_taken`], or that an earlier process has left.
    pub(in crate::client) fn poll_settled(&mut self) -> Option<(LocalId, Outcome)> {
        self.outbox.poll_settled()
    }

    pub(in crate::client) fn poll_taken(&mut self) -> Option<(T, Taken)> {
        self.outbox.poll_taken()
    }

    /// Returns the time to call [`Core::handle_timeout`].
    pub(in crate::client) fn poll_timeout(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Waiting { until } => self.reading.then_some(*until),
            Phase::Greeting(greeting) => Some(greeting.deadline),
            Phase::Connected(session) => session.poll_timeout(),
            _ => None,
        };
        let closing = self.closing.filter(|_| !self.is_closed());
        let parts = [
            self.outbox.poll_timeout(),
            self.requests.poll_timeout(),
            self.conversations_at(),
            self.rooms.poll_timeout(),
            self.logs.poll_timeout(),
            self.save_at(),
            self.leave_at(),
        ];
        [phase, closing].into_iter().chain(parts).flatten().min()
    }

    pub(in crate::client) fn state(&self) -> State {
        match self.phase {
            Phase::Disconnected => State::Disconnected,
            Phase::Waiting { .. } => State::Waiting,
            Phase::Asking | Phase::Racing { .. } | Phase::Greeting(_) => State::Connecting,
            Phase::Connected(_) => State::Connected,
            Phase::Stopped(_) => State::Stopped,
            Phase::Closed => State::Closed,
        }
    }

    /// Returns the unsettled sends, in order.
    pub(in crate::client) fn unsettled(&self) -> Vec<Unsettled> {
        self.outbox.list()
    }

    /// Returns the transport of the connection, while there is one.
    pub(in crate::client) fn transport(&self) -> Option<Transport> {
        match &self.phase {
            Phase::Connected(session) => Some(session.via.transport),
            _ => None,
        }
    }

    /// Returns the number of received messages that were not valid.
    pub(in crate::client) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Returns the number of entries of logs that were known already.
    pub(in crate::client) fn repeated(&self) -> u64 {
        self.logs.repeated()
    }

    pub(in crate::client) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    fn next_frame(&mut self, now: Instant) -> Option<Bytes> {
        self.ask_for_conversations(now);
        let session = match &mut self.phase {
            Phase::Greeting(greeting) => return greeting.poll_transmit(),
            Phase::Connected(session) => session,
            _ => return None,
        };
        let open = !session.is_leaving();
        let frame = session
            .poll_transmit(now)
            .or_else(|| {
                let room = self.limits.max_frame_bytes;
                self.logs.poll_transmit(now, &mut self.rng, room).map(frame::encode)
            })
            .or_else(|| self.rooms.poll_transmit())
            .or_else(|| if open { self.outbox.poll_transmit(now, self.limits) } else { None })
            .or_else(|| if open { self.requests.poll_transmit(now) } else { None })?;
        session.heartbeat.handle_sent(now);
        Some(frame)
    }
}
