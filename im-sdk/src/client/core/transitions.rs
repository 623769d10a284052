//! Transitions between phases.

use std::time::{Duration, Instant};

use prost::Message as _;

use super::{
    Action, Core, Phase,
    session::{Greeting, Session},
};
use crate::{
    client::{Event, PublishError, RequestError, StopCause, TokenRequest, config::STABLE_AFTER},
    proto::{
        self,
        close::{CloseCode, ReconnectPolicy},
        limits, pb,
    },
};

impl<T> Core<T> {
    /// Begins an attempt. Waits with it until the application has taken the last events.
    pub(super) fn start(&mut self, now: Instant) {
        if self.closing.is_some() {
            return;
        }
        if !self.reading {
            self.phase = Phase::Waiting { until: now };
            return;
        }
        self.phase = Phase::Asking;
        if self.endpoints.take_all_failed() {
            self.actions.push_back(Action::AskEndpoints);
        }
        self.actions.push_back(Action::AskToken(self.request.clone()));
    }

    pub(super) fn race(&mut self, token: String) {
        if self.hello(&token).encoded_len() > limits::MAX_HELLO_BYTES {
            self.stop(StopCause::Token, "the token is longer than servers allow".to_owned());
            return;
        }
        self.request = TokenRequest::Reconnect;
        self.phase = Phase::Racing { token };
        self.actions.push_back(Action::Connect(self.endpoints.rounds()));
    }

    /// Returns a `Hello` without cursors.
    pub(super) fn hello(&self, token: &str) -> pb::Hello {
        pb::Hello {
            min_version: *proto::PROTOCOL_VERSIONS.start(),
            max_version: *proto::PROTOCOL_VERSIONS.end(),
            token: token.to_owned(),
            device: Some((&self.device).into()),
            client: self.client_name.clone(),
            cursors: Vec::new(),
            resumes: self.resumes,
        }
    }

    pub(super) fn check_session(&mut self, now: Instant) {
        let Phase::Connected(session) = &self.phase else { return };
        let unanswered = self.outbox.is_unanswered();
        let leaves = session.leave.is_some_and(|leave| leave.begun && (!unanswered || leave.by <= now));
        if session.heartbeat.is_dead(now) {
            self.fail(now, CloseCode::IdleTimeout, "the server has sent nothing for too long".to_owned());
        } else if leaves {
            self.leave(now);
        }
    }

    /// Moves to another server, without a further delay: the time was drawn at random.
    pub(super) fn leave(&mut self, now: Instant) {
        let reason = "the server is about to stop".to_owned();
        self.demote();
        self.drop_connection(CloseCode::ClientClosed, "going elsewhere");
        self.backoff.reset();
        self.wait(now, Duration::ZERO, Some(CloseCode::GoingAway), reason);
    }

    /// Ends the connection because of a fault that this side found, and reconnects.
    pub(super) fn fail(&mut self, now: Instant, code: CloseCode, reason: String) {
        self.demote();
        self.retry(now, Some(code), reason);
    }

    /// Handles the end of the connection. The close code, if any, decides what follows.
    pub(super) fn lose(&mut self, now: Instant, code: Option<CloseCode>, reason: String) {
        let policy = code.map_or(ReconnectPolicy::Backoff, CloseCode::policy);
        if is_servers_fault(code) {
            self.demote();
        }
        match (policy, code) {
            (ReconnectPolicy::Never, Some(code)) => return self.stop(StopCause::Server(code), reason),
            (ReconnectPolicy::FreshToken, Some(code)) => {
                self.request = TokenRequest::Rejected { code, reason: reason.clone() };
            }
            _ => {}
        }
        self.retry(now, code, reason);
    }

    pub(super) fn retry(&mut self, now: Instant, code: Option<CloseCode>, reason: String) {
        if matches!(&self.phase, Phase::Connected(session) if session.since + STABLE_AFTER <= now) {
            self.backoff.reset();
        }
        self.drop_connection(code.unwrap_or(CloseCode::ClientClosed), &reason);
        let delay = self.backoff.next(&mut self.rng);
        self.wait(now, delay, code, reason);
    }

    pub(super) fn wait(&mut self, now: Instant, delay: Duration, code: Option<CloseCode>, reason: String) {
        self.phase = Phase::Waiting { until: now + delay };
        self.events.push_back(Event::Disconnected { code, reason, retry_in: Some(delay) });
    }

    pub(super) fn stop(&mut self, cause: StopCause, reason: String) {
        let code = cause.server_code();
        if code == Some(CloseCode::Replaced) {
            // A later connect of the application is the user's decision, so it is a new login.
            self.resumes = false;
            self.request = TokenRequest::First;
        }
        self.drop_connection(code.unwrap_or(CloseCode::ClientClosed), &reason);
        self.outbox.fail_waiting(&PublishError::Stopped { reason: reason.clone() });
        let unanswered = self.requests.fail_all(&RequestError::Stopped { reason: reason.clone() });
        self.handle_unanswered(unanswered);
        self.backoff.reset();
        self.phase = Phase::Stopped(reason.clone());
        self.events.push_back(Event::Stopped { code, cause, reason });
    }

    pub(super) fn drop_connection(&mut self, code: CloseCode, reason: &str) {
        self.outbox.handle_connection_lost();
        self.requests.handle_connection_lost();
        self.conversations.handle_connection_lost();
        self.rooms.handle_connection_lost();
        self.logs.handle_connection_lost();
        self.actions.push_back(Action::Close(code, reason.to_owned()));
    }

    /// Moves the server of the connection to the end of the list.
    pub(super) fn demote(&mut self) {
        match &self.phase {
            Phase::Greeting(Greeting { via, .. }) | Phase::Connected(Session { via, .. }) => {
                self.endpoints.move_to_end(&via.endpoint);
            }
            _ => {}
        }
    }

    pub(super) fn close_if_done(&mut self, now: Instant) {
        self.leave_if_done(now);
        let Some(by) = self.closing.filter(|_| !self.is_closed()) else { return };
        let connected = matches!(self.phase, Phase::Connected(_));
        if connected && self.has_unfinished() && now < by {
            return;
        }
        self.close_now();
    }

    /// Returns `true` if unfinished work needs the connection, and outlives it.
    pub(super) fn has_unfinished(&self) -> bool {
        !self.outbox.is_empty() || self.logs.has_unsent_acks() || self.conversations.has_marks()
    }

    pub(super) fn close_now(&mut self) {
        self.drop_connection(CloseCode::ClientClosed, "");
        self.outbox.fail_waiting(&PublishError::Closed);
        drop(self.requests.fail_all(&RequestError::Closed));
        self.phase = Phase::Closed;
    }
}

/// Returns `true` if another server may work better.
fn is_servers_fault(code: Option<CloseCode>) -> bool {
    !matches!(code, Some(code) if code.policy() != ReconnectPolicy::Backoff
        || matches!(code, CloseCode::SlowConsumer | CloseCode::IdleTimeout))
}
