//! Handles frames of the server.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    ConnectionEnd, Core, Phase,
    backoff::random_within,
    logs::{Change, Entry, Mark},
    session::{Greeting, Leave, Limits, Session},
};
use crate::{
    SearchPlace, Transport,
    client::{Event, Log, Position, ReceivedMessage, StopCause},
    id::{InvalidId, MessageId, UserId},
    proto::{self, frame, pb},
};

impl<T> Core<T> {
    /// Handles a frame, which comes without its length.
    pub(in crate::client) fn handle_frame(&mut self, now: Instant, frame: Bytes) {
        if let Err(ended) = self.receive(now, frame) {
            self.handle_ended(now, ended);
        }
        self.check_session(now);
        self.close_if_done(now);
    }

    fn receive(&mut self, now: Instant, frame: Bytes) -> Result<(), ConnectionEnd> {
        self.check_size(frame.len())?;
        let body = frame::decode(frame).map_err(|error| ConnectionEnd::Protocol(error.to_string()))?;
        if let Phase::Connected(session) = &mut self.phase {
            session.heartbeat.handle_received(now);
        }
        match (body, &mut self.phase) {
            (Some(pb::frame::Body::Welcome(welcome)), Phase::Greeting(_)) => self.welcome(now, welcome),
            (Some(pb::frame::Body::Ping(ping)), _) => self.handle_ping(ping.echo),
            (Some(body), Phase::Connected(_)) => self.handle_body(now, body),
            (Some(_), Phase::Greeting(_)) => {
                Err(ConnectionEnd::Protocol("the server sent another frame before the welcome".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn check_size(&self, bytes: usize) -> Result<(), ConnectionEnd> {
        let limit = self.limits.max_frame_bytes;
        if bytes <= limit {
            return Ok(());
        }
        Err(ConnectionEnd::Protocol(frame::FrameError::TooLarge { bytes: bytes as u64, limit }.to_string()))
    }

    fn welcome(&mut self, now: Instant, welcome: pb::Welcome) -> Result<(), ConnectionEnd> {
        let Phase::Greeting(Greeting { via, .. }) = &self.phase else { return Ok(()) };
        let via = via.clone();
        if !proto::PROTOCOL_VERSIONS.contains(&welcome.version) {
            return Err(ConnectionEnd::Protocol(format!(
                "the server speaks protocol version {}",
                welcome.version
            )));
        }
        let user =
            UserId::parse(&welcome.user).map_err(|error| ConnectionEnd::Protocol(error.to_string()))?;
        if !self.owns_store(&user) {
            // Messages of one user must not be sent as another.
            let reason = format!("the store belongs to {}, and the token to {user}", self.saving.user);
            self.stop(StopCause::OtherUser, reason);
            return Ok(());
        }
        self.limits = Limits::from(welcome.limits);
        // From here on the login continues over any number of connections.
        self.resumes = true;
        self.events.push_back(Event::Connected {
            user,
            transport: via.transport,
            endpoint: via.endpoint.clone(),
        });
        self.endpoints.handle_welcome();
        self.phase = Phase::Connected(Session::new(now, via, welcome.heartbeat_ms, self.reading));
        self.logs.handle_connected(now, &mut self.rng);
        self.conversations.handle_connected(now);
        self.ask_for_rooms(now);
        Ok(())
    }

    fn owns_store(&mut self, user: &UserId) -> bool {
        if self.saving.user.is_empty() {
            self.saving.user = user.to_string();
            self.saving.user_unsaved = true;
        }
        self.saving.user == user.as_str()
    }

    fn handle_ping(&mut self, echo: u64) -> Result<(), ConnectionEnd> {
        match &mut self.phase {
            Phase::Greeting(greeting) => greeting.pong = Some(echo),
            Phase::Connected(session) => session.pong = Some(echo),
            _ => {}
        }
        Ok(())
    }

    fn handle_body(&mut self, now: Instant, body: pb::frame::Body) -> Result<(), ConnectionEnd> {
        match body {
            pb::frame::Body::Push(push) => self.handle_push(now, push),
            pb::frame::Body::PublishResult(result) => {
                self.outbox.handle_result(now, &mut self.rng, result);
            }
            pb::frame::Body::Response(response) => self.handle_response(now, response),
            pb::frame::Body::GoAway(go_away) => self.handle_go_away(now, go_away),
            pb::frame::Body::SyncDone(done) => self.handle_sync_done(now, done),
            pb::frame::Body::Reset(reset) => self.handle_reset(now, reset),
            pb::frame::Body::ConversationsChanged(changed) => self.handle_changed(now, changed),
            pb::frame::Body::SyncHint(hint) => {
                self.conversations.handle_hint(hint.rolled_back);
                let within = Duration::from_millis(hint.within_ms.into());
                self.logs.handle_hint(now, &mut self.rng, within, hint.rolled_back);
                self.rooms.handle_hint(now, &mut self.rng, within);
            }
            pb::frame::Body::Signalled(signalled) => self.handle_signalled(signalled),
            pb::frame::Body::Presence(presence) => self.handle_presence(presence),
            pb::frame::Body::RoomLeft(left) => self.handle_room_left(left),
            // A pong only has to arrive; the others have no meaning from a server.
            _ => {}
        }
        Ok(())
    }

    /// Handles a push. An invalid message does not end the connection: it would come again over every next
    /// one.
    fn handle_push(&mut self, now: Instant, push: pb::Push) {
        let mark = |message: &pb::Message| Mark { seq: push.seq, id: message.id };
        match (push.message, Log::parse(&push.channel)) {
            (None, _) => self.skip("a push without a message"),
            (Some(message), Ok(log)) if push.seq == 0 => self.deliver(message, &log, None),
            (Some(message), Ok(log)) if let Some(new) = self.note_in_room(&log, message.id) => {
                if new {
                    self.deliver(message, &log, None);
                }
            }
            (Some(message), Ok(log)) => {
                let entry = Entry { mark: mark(&message), message };
                let changes = self.logs.handle_entry(now, &log, entry);
                self.tell(changes);
            }
            (Some(_), Err(error)) => self.skip(&error.to_string()),
        }
    }

    /// Notes an entry in the log of a room that this device has joined. Returns `None` if it is in no such room, or follows the
    /// log as a member, and `Some(false)` if the entry came before.
    fn note_in_room(&mut self, log: &Log, id: u64) -> Option<bool> {
        let room = log.channel().filter(|_| !self.logs.follows(log))?;
        self.rooms.note(room, id)
    }

    /// Parses an entry of a log, or returns `None` if it has no message.
    pub(super) fn entry(&self, push: pb::Push) -> Result<Option<ReceivedMessage>, InvalidId> {
        let Some(message) = push.message else { return Ok(None) };
        let log = Log::parse(&push.channel)?;
        let position = Mark { seq: push.seq, id: message.id }.position(log.clone());
        self.received(message, &log, Some(position)).map(Some)
    }

    fn received(
        &self,
        message: pb::Message,
        log: &Log,
        position: Option<Position>,
    ) -> Result<ReceivedMessage, InvalidId> {
        let is_own = !message.from.is_empty() && message.from == self.saving.user;
        Ok(ReceivedMessage {
            id: match MessageId::from_u64(message.id) {
                Some(id) => id,
                None => message.id.to_string().parse()?,
            },
            from: optional_user(&message.from)?,
            to: optional_user(&message.to)?,
            channel: log.channel().cloned(),
            content: message.content.into(),
            local_id: if is_own { self.outbox.sent_with(message.origin) } else { None },
            transport: self.transport().unwrap_or(Transport::WebSocket),
            position,
        })
    }

    pub(super) fn messages(&mut self, entries: Vec<pb::Push>) -> Vec<ReceivedMessage> {
        let mut messages = Vec::with_capacity(entries.len());
        for push in entries {
            match self.entry(push) {
                Ok(message) => messages.extend(message),
                Err(error) => self.skip(&error.to_string()),
            }
        }
        messages
    }

    fn handle_reset(&mut self, now: Instant, reset: pb::Reset) {
        let reason = reset.reason().into();
        match reset.cursor.map(place) {
            Some(Ok((log, mark))) => {
                let changes = self.logs.handle_reset(now, &log, mark, reason);
                self.tell(changes);
            }
            Some(Err(error)) => self.skip(&error.to_string()),
            None => self.skip("a reset without a cursor"),
        }
    }

    fn handle_sync_done(&mut self, now: Instant, done: pb::SyncDone) {
        if !done.more {
            self.conversations.handle_synced(now);
        }
        let ends = done.ends.into_iter().filter_map(|end| place(end).ok()).collect();
        if self.logs.handle_sync_done(now, &mut self.rng, ends, done.more) {
            self.events.push_back(Event::UpToDate);
        }
    }

    fn tell(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Entry(log, entry) => {
                    self.deliver(entry.message, &log.clone(), Some(entry.mark.position(log)));
                }
                Change::Reset(log, mark, reason) => {
                    self.events.push_back(Event::Reset { position: mark.position(log), reason });
                }
            }
        }
    }

    fn deliver(&mut self, message: pb::Message, log: &Log, position: Option<Position>) {
        if self.transport().is_none() {
            return;
        }
        match self.received(message, log, position) {
            Ok(message) => self.events.push_back(Event::Message(message)),
            Err(error) => self.skip(&error.to_string()),
        }
    }

    pub(super) fn skip(&mut self, reason: &str) {
        self.skipped += 1;
        tracing::warn!(reason, "skipped a received message");
    }

    fn handle_go_away(&mut self, now: Instant, go_away: pb::GoAway) {
        let within = Duration::from_millis(go_away.reconnect_within_ms.into());
        let delay = random_within(&mut self.rng, within);
        if let Phase::Connected(session) = &mut self.phase {
            // The first draw counts: a new one for each frame would favour early times.
            session.leave.get_or_insert(Leave {
                from: now + delay,
                by: now + within,
                begun: delay.is_zero(),
            });
        }
    }
}

fn place(cursor: pb::Cursor) -> Result<(Log, Mark), InvalidId> {
    Ok((Log::parse(&cursor.channel)?, Mark { seq: cursor.seq, id: cursor.id }))
}

/// Parses the place at which a search continues. An invalid one ends the search, which would begin anew
/// otherwise.
pub(super) fn search_place(cursor: pb::Cursor) -> Option<SearchPlace> {
    let channel = Log::parse(&cursor.channel).ok()?.channel().cloned();
    Some(SearchPlace { channel, message_id: MessageId::from_u64(cursor.id)? })
}

fn optional_user(text: &str) -> Result<Option<UserId>, InvalidId> {
    if text.is_empty() { Ok(None) } else { UserId::parse(text).map(Some) }
}
