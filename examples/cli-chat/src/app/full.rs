//! The chat on the full screen: turns keys into commands, and its state into a scene.

use std::{
    collections::HashMap,
    io,
    ops::ControlFlow,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::StreamExt as _;
use im_sdk::{
    Recipient,
    content::Body,
    id::{MessageId, UserId},
    timeline::ShownMessage,
};
use ratatui::crossterm::event::{Event as Key, KeyEventKind};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};

use super::{App, EVENTS, History, Link, jobs, showing::unread};
use crate::{
    book::ReadTo,
    commands::COMMANDS,
    fullscreen::{
        Fullscreen, clock,
        input::{Action, Input},
        scene::{Scene, Shown, State},
        utc_offset,
    },
    view::{clean, name, quoted, sender, summary},
};

impl App {
    /// Chats on the full screen until the user leaves. Returns `true` if there was a connection, and everything was sent.
    ///
    /// The prompt never waits: a line is carried out when it is entered, whatever is in progress. A line that fails comes
    /// back.
    pub(crate) async fn run_full(mut self, mut screen: Fullscreen) -> io::Result<bool> {
        self.client.connect();
        self.note_queued().await;
        let mut terminated = signal(SignalKind::terminate())?;
        let (mut input, mut scroll, mut most) = (Input::default(), 0, 0);
        let offset = utc_offset();
        let (mut drawn, mut is_stale) = (Instant::now(), true);
        loop {
            self.load_list();
            let overdue = self.overdue();
            let due = drawn + if is_stale { FRAME } else { TICK };
            tokio::select! {
                biased;
                () = sleep_until(due) => {
                    most = screen.draw(&self.scene(scroll, offset), &input)?;
                    (scroll, drawn, is_stale) = (scroll.min(most), Instant::now(), false);
                }
                key = screen.events.recv() => {
                    is_stale = true;
                    let action = match key {
                        Some(Key::Key(key)) if key.kind != KeyEventKind::Release => {
                            input.key(key, &self.completions())
                        }
                        Some(Key::Paste(text)) => {
                            input.insert(&text.replace(['\r', '\t'], " "));
                            Action::Typed
                        }
                        Some(_) => Action::None,
                        None => Action::Quit,
                    };
                    match action {
                        Action::None => {}
                        Action::Typed if input.text().starts_with('/') => {}
                        Action::Typed => self.tell_typing().await,
                        Action::Submit(line) => {
                            scroll = 0;
                            self.screen.dismiss();
                            match self.try_to_obey(&line).await {
                                Ok(ControlFlow::Break(())) => break,
                                Ok(ControlFlow::Continue(())) => {}
                                Err(error) => {
                                    self.fail(&error);
                                    input.restore(line);
                                }
                            }
                        }
                        Action::Switch { back } => {
                            scroll = 0;
                            self.switch(back);
                        }
                        Action::Scroll { up: true } if scroll >= most => self.scroll_beyond(),
                        Action::Scroll { up: true } => scroll = most.min(scroll + PAGE),
                        Action::Scroll { up: false } => scroll = scroll.saturating_sub(PAGE),
                        Action::Dismiss => self.screen.dismiss(),
                        Action::Quit => break,
                    }
                }
                events = self.client.next_events(EVENTS) => {
                    is_stale = true;
                    let mut ends = events.is_empty();
                    for event in events {
                        ends |= self.take(event).await.is_break();
                    }
                    if ends {
                        break;
                    }
                }
                Some(answer) = self.jobs.next() => {
                    is_stale = true;
                    self.take_answer(answer).await;
                }
                () = sleep_until(overdue.unwrap_or_else(Instant::now)), if overdue.is_some() => self.note_late(),
                _ = terminated.recv() => break,
            }
        }
        self.tell("leaving: what is on its way is waited for");
        screen.draw(&self.scene(0, offset), &input)?;
        drop(screen);
        self.screen.end_notes();
        // A line that failed has come back, and is no reason to exit with an error.
        self.has_failed = false;
        Ok(self.leave().await)
    }

    /// Opens the conversation after the open one in the list, or before it.
    fn switch(&mut self, back: bool) {
        let all = self.list.conversations();
        let all: Vec<&Recipient> = all.iter().map(|listed| &listed.state.conversation).collect();
        let at = all.iter().position(|conversation| self.is_open(conversation));
        let next = match at {
            Some(at) if back => (at + all.len() - 1) % all.len(),
            Some(at) => (at + 1) % all.len(),
            None => 0,
        };
        if let Some(conversation) = all.get(next).copied().cloned() {
            self.open(conversation);
        }
    }

    /// Requests older messages, unless a request is in progress.
    fn scroll_beyond(&mut self) {
        let Some(open) = &self.open else { return };
        if let History::Back(Some(before)) = open.history
            && self.is_connected()
            && self.jobs.is_empty()
            && !self.book.is_full(&open.conversation)
        {
            let conversation = open.conversation.clone();
            self.jobs.push(jobs::past(self.client.clone(), conversation, Some(before)));
        }
    }

    /// Returns the words that Tab completes: commands, and the names of conversations.
    fn completions(&self) -> Vec<String> {
        let names = self.list.conversations().into_iter().map(|listed| name(&listed.state.conversation));
        let names: Vec<String> = names.collect();
        let mentions: Vec<String> = names.iter().map(|name| format!("@{name}")).collect();
        COMMANDS.iter().map(|command| format!("/{command}")).chain(names).chain(mentions).collect()
    }

    /// Builds the scene.
    pub(super) fn scene(&mut self, scroll: usize, offset: i64) -> Scene {
        let list = self.list.conversations().iter().map(|listed| self.listed(listed)).collect();
        let open = self.open.as_ref().map(|open| open.conversation.clone());
        let messages = open.as_ref().map(|open| self.shown(open, offset)).unwrap_or_default();
        let title = open.map(|open| (name(&open), self.beside(&open)));
        let total = self.list.unread();
        let unread = if total.count > 0 { format!(" · {} unread", unread(total)) } else { String::new() };
        let link = match self.link {
            Link::Unknown => "connecting",
            Link::CatchingUp => "catching up",
            Link::Up => "connected",
            Link::Down => "not connected: what you write is sent later",
        };
        let waiting = self.sends.len();
        let waiting = if waiting > 0 { format!(" · {waiting} not sent yet") } else { String::new() };
        Scene {
            list,
            title,
            messages,
            scroll,
            notes: self.screen.notes(),
            status: format!(
                "{} · {link}{unread}{waiting} · Tab: next · PgUp: back · /help · Ctrl-C: leave",
                self.me
            ),
            is_connected: self.is_connected(),
        }
    }

    /// Returns the text beside the open conversation's name.
    fn beside(&self, conversation: &Recipient) -> String {
        let mut beside = self.header(conversation);
        let Some(open) = self.open.as_ref() else { return String::new() };
        if open.history == History::Coming {
            beside.push("loading".to_owned());
        }
        let typing = open.typing.iter().filter(|(_, since)| since.elapsed() < TYPING);
        let typing: Vec<&str> = typing.map(|(user, _)| user.as_str()).collect();
        match typing[..] {
            [] => {}
            [one] => beside.push(format!("{one} is typing…")),
            _ => beside.push(format!("{} are typing…", typing.join(", "))),
        }
        beside.iter().map(|text| format!(" · {text}")).collect()
    }

    /// Returns the messages of a conversation, and after them those that are not sent yet.
    fn shown(&mut self, conversation: &Recipient, offset: i64) -> Vec<Shown> {
        let ids: Vec<MessageId> = self.book.messages(conversation).map(ShownMessage::id).collect();
        let numbers: HashMap<MessageId, u32> =
            ids.into_iter().filter_map(|id| Some((id, self.book.number(conversation, id)?))).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let read = self.newest_read(conversation);
        let is_read =
            read.and_then(|read| self.book.messages(conversation).position(|message| message.id() == read));
        let of = |(index, message): (usize, &ShownMessage)| {
            let is_own = message.from() == Some(&self.me);
            let state = match is_own {
                false => State::None,
                true if is_read.is_some_and(|read| index <= read) => State::Read,
                true => State::Sent,
            };
            let number = numbers.get(&message.id()).map(u32::to_string).unwrap_or_default();
            let time = clock(message.id().unix_ms(), now, offset);
            Shown { number, time, is_own, state, ..shown(message, &self.me) }
        };
        let mut all: Vec<Shown> = self.book.messages(conversation).enumerate().map(of).collect();
        let mine = || Shown { from: self.me.to_string(), is_own: true, ..Shown::default() };
        let waiting = self.sends.values().filter(|send| send.to == *conversation && send.taken.is_none());
        all.extend(waiting.map(|send| Shown { text: clean(&send.text), state: State::Waiting, ..mine() }));
        let failed = self.failed.iter().filter(|failed| failed.to == *conversation);
        all.extend(failed.map(|failed| {
            let state = State::Failed(clean(&failed.why));
            Shown { text: clean(&failed.text), state, ..mine() }
        }));
        all
    }

    /// Returns the user's newest own message that anybody else has read.
    fn newest_read(&self, conversation: &Recipient) -> Option<MessageId> {
        let peer = self.list.get(conversation).and_then(|listed| listed.state.peer_read);
        let peer = peer.and_then(|read| self.book.newest_read(conversation, ReadTo::Message(read)));
        let open = self.open.as_ref().filter(|open| open.conversation == *conversation);
        let others = open.into_iter().flat_map(|open| open.read.values().copied());
        let place = |id: &MessageId| self.book.messages(conversation).position(|message| message.id() == *id);
        others.chain(peer).max_by_key(place)
    }
}

/// Formats the parts of a message that do not depend on the chat around it.
fn shown(message: &ShownMessage, me: &UserId) -> Shown {
    let mut shown = Shown { from: sender(message.from()).to_owned(), ..Shown::default() };
    if let Some(recalled) = message.recalled() {
        shown.text = format!("(recalled by {})", sender(recalled.by.as_ref()));
        return shown;
    }
    let Some(content) = message.content() else { return shown };
    if matches!(content.body, Body::Notice(_)) {
        shown.from.clear();
    }
    shown.text = summary(content);
    shown.quote = content.quote.as_ref().map(|quote| quoted(quote)).unwrap_or_default();
    shown.calls = content.mentions.call(me) && message.from() != Some(me);
    if message.is_edited() {
        shown.beside.push_str(" (edited)");
    }
    if message.is_pinned() {
        shown.beside.push_str(" (pinned)");
    }
    for reaction in message.reactions() {
        let users: Vec<&str> = reaction.users.iter().map(|user| sender(*user)).collect();
        shown.beside.push_str(&format!(" {}{}", clean(reaction.emoji), users.join(",")));
    }
    shown
}

/// The shortest time between two frames, whatever happens.
const FRAME: Duration = Duration::from_millis(33);

/// The time between two frames when nothing happens, for notes and typing notices that end.
const TICK: Duration = Duration::from_secs(1);

/// The time for which a typing notice is shown.
const TYPING: Duration = Duration::from_secs(6);

/// Lines by which Page Up and Page Down scroll.
const PAGE: usize = 10;
