//! The rooms that this device has joined, the users that it watches, and its signals. A server forgets rooms and watched users
//! with the connection, so the core requests them again over the next one.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message as _;
use rand::rngs::StdRng;

use super::{
    Core, Phase, Reply, backoff::random_within, conversations::Requester, inbound::search_place, requests,
};
use crate::{
    Conversation, HistoryQuery, Recipient, Search, Signal, UserPresence,
    client::{
        Event, FoundPage, HistoryPage, JoinedRoom, ReceivedMessage, ReceivedSignal, RequestError,
        RoomLeftCause,
    },
    id::{ChannelId, Device, UserId},
    proto::{frame, limits::MAX_SIGNAL_BYTES, pb, pb::request::Question},
};

/// The most rooms that a device may join. Servers allow more.
pub const MAX_ROOMS: usize = 64;

/// The most signals that wait to be sent. A longer queue would only hold outdated ones.
const MAX_QUEUED_SIGNALS: usize = 64;

/// The number of remembered messages of a room's log: more than come with a join.
const REMEMBERED: usize = 256;

/// Rooms, watched users and signals of this device.
#[derive(Debug)]
pub(super) struct Rooms {
    rooms: BTreeMap<ChannelId, Room>,
    /// The users that the application watches.
    watched: Vec<UserId>,
    /// The time to request them again: a change may have been lost.
    watch_at: Option<Instant>,
    watch_every: Duration,
    signals: VecDeque<Bytes>,
}

#[derive(Debug, Default)]
struct Room {
    /// The application's data for the join.
    data: Bytes,
    /// Set once the device was let in.
    joined: bool,
    known: SeenIds,
}

/// The ids of the last messages of a room's log.
#[derive(Debug, Default)]
struct SeenIds {
    ids: HashSet<u64>,
    order: VecDeque<u64>,
}

impl SeenIds {
    /// Returns `false` if the message came before.
    fn note(&mut self, id: u64) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

impl Rooms {
    pub(super) fn new(watch_every: Duration) -> Self {
        let (rooms, signals) = (BTreeMap::new(), VecDeque::new());
        Self { rooms, watched: Vec::new(), watch_at: None, watch_every, signals }
    }

    /// Returns the questions for a new connection.
    pub(super) fn questions(&self) -> Vec<Question> {
        let join = |(channel, room): (&ChannelId, &Room)| {
            Question::JoinRoom(pb::JoinRoom { channel: channel.to_string(), data: room.data.clone() })
        };
        self.rooms.iter().map(join).chain(self.watch_question()).collect()
    }

    fn watch_question(&self) -> Option<Question> {
        let users = self.watched.iter().map(ToString::to_string).collect();
        (!self.watched.is_empty()).then_some(Question::Watch(pb::Watch { users }))
    }

    /// Notes a message of a channel's log. Returns `None` if the device is not in that room, and `Some(false)` if the message
    /// came before.
    pub(super) fn note(&mut self, channel: &ChannelId, id: u64) -> Option<bool> {
        self.rooms.get_mut(channel).map(|room| room.known.note(id))
    }

    /// Handles a failed join. Returns the room if the device was in it before.
    fn handle_not_joined(&mut self, channel: &str) -> Option<ChannelId> {
        let channel = ChannelId::parse(channel).ok()?;
        self.rooms.remove(&channel).filter(|room| room.joined).map(|_| channel)
    }

    pub(super) fn handle_connection_lost(&mut self) {
        self.watch_at = None;
        self.signals.clear();
    }

    /// Handles a hint: a change of presence may have been lost.
    pub(super) fn handle_hint(&mut self, now: Instant, rng: &mut StdRng, within: Duration) {
        if self.watch_at.is_some() {
            let at = now + random_within(rng, within);
            self.watch_at = self.watch_at.map(|watch_at| watch_at.min(at));
        }
    }

    fn handle_watched(&mut self, now: Instant, rng: &mut StdRng, users: Vec<UserId>) {
        let early = random_within(rng, self.watch_every / 2);
        self.watch_at = (!users.is_empty()).then(|| now + self.watch_every - early);
        self.watched = users;
    }

    /// Returns the question that is due now.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Question> {
        self.watch_at.filter(|at| *at <= now)?;
        self.watch_at = Some(now + self.watch_every);
        self.watch_question()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.watch_at
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Bytes> {
        self.signals.pop_front()
    }
}

impl<T> Core<T> {
    /// Requests a page of history. [`Core::poll_answered`] returns the answer.
    pub(in crate::client) fn handle_history(
        &mut self,
        now: Instant,
        ticket: T,
        conversation: Conversation,
        query: HistoryQuery,
        limit: u32,
        messages: bool,
    ) {
        self.ask(now, ticket, requests::history(conversation, query, limit, messages));
    }

    /// Searches. [`Core::poll_answered`] returns the answer.
    pub(in crate::client) fn handle_search(&mut self, now: Instant, ticket: T, search: Search, limit: u32) {
        self.ask(now, ticket, requests::search(search, limit));
    }

    /// Joins a room.
    pub(in crate::client) fn handle_join_room(
        &mut self,
        now: Instant,
        ticket: T,
        channel: ChannelId,
        data: Bytes,
    ) {
        if self.rooms.rooms.len() >= MAX_ROOMS && !self.rooms.rooms.contains_key(&channel) {
            let ticket = Some(Requester::ByApplication(ticket));
            return self.requests.answer(ticket, Err(RequestError::TooManyRooms));
        }
        let join = pb::JoinRoom { channel: channel.to_string(), data: data.clone() };
        if self.ask(now, ticket, Question::JoinRoom(join)) {
            // Noted before the answer, since messages may come earlier.
            self.rooms.rooms.entry(channel).or_default().data = data;
        }
    }

    /// Leaves a room.
    pub(in crate::client) fn handle_leave_room(&mut self, now: Instant, ticket: T, channel: &ChannelId) {
        let leave = pb::LeaveRoom { channel: channel.to_string() };
        if self.ask(now, ticket, Question::LeaveRoom(leave)) {
            self.rooms.rooms.remove(channel);
        }
    }

    /// Watches these users, and no others.
    pub(in crate::client) fn handle_watch(&mut self, now: Instant, ticket: T, users: Vec<UserId>) {
        let users = users.iter().map(ToString::to_string).collect();
        self.ask(now, ticket, Question::Watch(pb::Watch { users }));
    }

    /// Asks a question. Returns `false` if it is answered already.
    pub(super) fn ask(&mut self, now: Instant, ticket: T, question: Question) -> bool {
        let ticket = Requester::ByApplication(ticket);
        let error = match &self.phase {
            _ if self.closing.is_some() => RequestError::Closed,
            Phase::Stopped(reason) => RequestError::Stopped { reason: reason.clone() },
            // The request would wait in vain for its whole time.
            Phase::Disconnected => RequestError::NotConnected,
            // The server would close the connection for good.
            _ => match requests::fit(question, self.limits.max_frame_bytes) {
                Ok(question) => return self.requests.ask(now, ticket, question),
                Err(error) => error,
            },
        };
        self.requests.answer(Some(ticket), Err(error));
        false
    }

    /// Queues a signal of the application. Returns `false` if it is not sent: there is no connection, too many wait, or it is larger
    /// than [`MAX_SIGNAL_BYTES`].
    pub(in crate::client) fn handle_signal(
        &mut self,
        to: &Recipient,
        device: Option<&Device>,
        signal: Signal,
    ) -> bool {
        let text = |name: Option<&str>| name.unwrap_or_default().to_owned();
        let signal = pb::Signal {
            to: text(to.as_user().map(UserId::as_str)),
            channel: text(to.as_channel().map(ChannelId::as_str)),
            device: device.map(Into::into),
            body: signal.into(),
        };
        let bytes = signal.encoded_len();
        let frame = frame::encode(pb::frame::Body::Signal(signal));
        let goes = matches!(self.phase, Phase::Connected(_))
            && self.rooms.signals.len() < MAX_QUEUED_SIGNALS
            && bytes <= MAX_SIGNAL_BYTES
            && frame.len() <= self.limits.max_frame_bytes;
        if goes {
            self.rooms.signals.push_back(frame);
        }
        goes
    }

    /// Asks again over a new connection.
    pub(super) fn ask_for_rooms(&mut self, now: Instant) {
        for question in self.rooms.questions() {
            self.requests.ask_again(now, question);
        }
    }

    pub(super) fn handle_rooms_timeout(&mut self, now: Instant) {
        if let Some(question) = self.rooms.handle_timeout(now) {
            self.requests.ask_again(now, question);
        }
    }

    /// Handles questions that were given up.
    pub(super) fn handle_unanswered(&mut self, questions: Vec<Question>) {
        for question in questions {
            let Question::JoinRoom(join) = question else { continue };
            // A room that the device was in stays, and is joined again over the next connection.
            let channel = ChannelId::parse(&join.channel).ok();
            if let Some(channel) =
                channel.filter(|name| self.rooms.rooms.get(name).is_some_and(|room| !room.joined))
            {
                self.rooms.rooms.remove(&channel);
            }
        }
    }

    pub(super) fn handle_response(&mut self, now: Instant, response: pb::Response) {
        match response.outcome {
            Some(pb::response::Outcome::Refused(refused)) => {
                let number = response.number;
                if let Some(((ticket, question), error)) =
                    self.requests.handle_refused(now, &mut self.rng, number, refused)
                {
                    self.handle_question_refused(ticket.is_none(), question, &error);
                    self.requests.answer(ticket, Err(error));
                }
            }
            Some(outcome) => {
                if let Some((ticket, question)) = self.requests.take_answered(response.number, &outcome) {
                    let reply = self.reply(now, ticket.is_none(), question, outcome);
                    self.requests.answer(ticket, Ok(reply));
                }
            }
            // The answer to a question that this version cannot ask.
            None => {}
        }
        self.sort_answers(now);
    }

    fn handle_question_refused(&mut self, by_itself: bool, question: Question, error: &RequestError) {
        let Question::JoinRoom(join) = question else { return };
        if let Some(channel) = self.rooms.handle_not_joined(&join.channel)
            && by_itself
        {
            let (cause, reason) = (RoomLeftCause::Refused, error.to_string());
            let code = if let RequestError::Refused { code, .. } = error { *code } else { 0 };
            self.events.push_back(Event::RoomLeft { channel, cause, reason, code });
        }
    }

    /// Answers the application. Answers to the core's own questions become events.
    fn reply(
        &mut self,
        now: Instant,
        by_itself: bool,
        question: Question,
        outcome: pb::response::Outcome,
    ) -> Reply {
        use pb::response::Outcome;
        match (question, outcome) {
            (Question::History(asked), Outcome::History(history)) => {
                let next = requests::next(&asked, &history);
                let mut messages = self.messages(history.entries);
                let mut changes = self.messages(history.changes);
                if asked.messages {
                    // An older backend sends all entries.
                    let is_change = |message: &mut ReceivedMessage| message.content.as_change().is_some();
                    changes.splice(..0, messages.extract_if(.., is_change));
                }
                Reply::History(HistoryPage { messages, changes, next })
            }
            (_, Outcome::Found(found)) => {
                let next = found.next.and_then(search_place);
                Reply::Found(FoundPage { messages: self.messages(found.entries), next })
            }
            (Question::JoinRoom(join), Outcome::JoinedRoom(joined)) => {
                self.joined(by_itself, &join.channel, joined)
            }
            (Question::Watch(watch), Outcome::Presences(presences)) => {
                let users = watch.users.iter().filter_map(|user| UserId::parse(user).ok()).collect();
                self.rooms.handle_watched(now, &mut self.rng, users);
                self.presences(by_itself, presences)
            }
            (_, Outcome::Conversations(list)) => Reply::Conversations(Box::new(self.conversation_page(list))),
            (_, Outcome::Readers(readers)) => Reply::Readers(readers.into()),
            (_, Outcome::Marked(marked)) => Reply::Marked(self.states(marked.states)),
            // Only an answer of the right kind comes here.
            _ => Reply::Done,
        }
    }

    fn joined(&mut self, by_itself: bool, channel: &str, joined: pb::JoinedRoom) -> Reply {
        let mut recent = self.messages(joined.recent);
        let room = ChannelId::parse(channel).ok().and_then(|channel| self.rooms.rooms.get_mut(&channel));
        if let Some(room) = room {
            room.joined = true;
            recent.retain(|message| room.known.note(message.id.as_u64()));
        } else if by_itself {
            // The device was kicked meanwhile.
            recent.clear();
        }
        // A room's messages have no position to acknowledge: the device does not follow the room's log.
        recent.iter_mut().for_each(|message| message.position = None);
        if by_itself {
            self.events.extend(std::mem::take(&mut recent).into_iter().map(Event::Message));
        }
        Reply::JoinedRoom(JoinedRoom { online: joined.online, answer: joined.answer, recent })
    }

    fn presences(&mut self, by_itself: bool, presences: pb::Presences) -> Reply {
        let mut known = Vec::with_capacity(presences.presences.len());
        for presence in presences.presences {
            match UserPresence::try_from(presence) {
                Ok(presence) => known.push(presence),
                Err(error) => self.skip(&error.to_string()),
            }
        }
        if by_itself {
            self.events.extend(std::mem::take(&mut known).into_iter().map(Event::Presence));
        }
        Reply::Presences(known)
    }

    pub(super) fn handle_presence(&mut self, presence: pb::Presence) {
        match UserPresence::try_from(presence) {
            Ok(presence) => self.events.push_back(Event::Presence(presence)),
            Err(error) => self.skip(&error.to_string()),
        }
    }

    pub(super) fn handle_room_left(&mut self, left: pb::RoomLeft) {
        let cause = left.cause().into();
        match ChannelId::parse(&left.channel) {
            // The server also tells a device that left by itself, or that follows the channel as a member.
            Ok(channel) if self.rooms.rooms.remove(&channel).is_none() => {}
            Ok(channel) => {
                self.events.push_back(Event::RoomLeft { channel, cause, reason: left.reason, code: 0 })
            }
            Err(error) => self.skip(&error.to_string()),
        }
    }

    /// Handles a signal. Drops a device's own signal that comes back by way of a channel.
    pub(super) fn handle_signalled(&mut self, signalled: pb::Signalled) {
        let device = signalled.device.map(Device::try_from).transpose();
        let channel =
            (!signalled.channel.is_empty()).then(|| ChannelId::parse(&signalled.channel)).transpose();
        let (Ok(from), Ok(Some(device)), Ok(channel)) = (UserId::parse(&signalled.from), device, channel)
        else {
            return self.skip("a signal from nobody");
        };
        let own = from.as_str() == self.saving.user && device == self.device;
        let signal = Signal::from(signalled.body);
        if !own && signal != Signal::Unknown {
            self.events.push_back(Event::Signal(ReceivedSignal { from, device, channel, signal }));
        }
    }
}
