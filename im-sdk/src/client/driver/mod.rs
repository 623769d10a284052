//! The one task of a client: it carries out what the core says.

mod command;
mod saver;
mod start;
mod tokens;
mod wait;

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use rand::{SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, Sleep, sleep_until},
};

pub(super) use self::{command::Command, start::run};
use self::{
    command::Ticket,
    saver::Saver,
    tokens::Tokens,
    wait::{Activity, Input},
};
use super::{
    ClientConfig, Endpoint, Event, State, Transport,
    acks::AckQueue,
    core::{Action, Core},
    store::Saved,
    transport::{Connector, Link, Won},
};

/// What the application wants. Not a list of commands: only the last wish counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    /// To be connected.
    pub(super) online: bool,
    /// How often it asked for one: each time while it waits for its next attempt makes it at once.
    pub(super) connects: u64,
    /// Where to connect to. `None`: as configured.
    pub(super) endpoints: Option<Arc<[Endpoint]>>,
    /// The token that it has set last. `None`: as its provider says.
    pub(super) token: Option<Arc<String>>,
    /// How often it asked for no connection, so that "off and on again" is seen too.
    pub(super) disconnects: u64,
    /// To be closed for good.
    pub(super) closing: bool,
}

/// What the application may look at without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) state: State,
    pub(super) transport: Option<Transport>,
    pub(super) skipped: u64,
    pub(super) repeated: u64,
}

impl Status {
    pub(super) const INITIAL: Self =
        Self { state: State::Disconnected, transport: None, skipped: 0, repeated: 0 };
}

/// The driver's ends of the channels between it and the application.
pub(super) struct Ends {
    pub(super) wishes: watch::Receiver<Wish>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) acks: Arc<AckQueue>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) status: watch::Sender<Status>,
}

struct Driver {
    core: Core<Ticket>,
    connector: Arc<Connector>,
    tokens: Tokens,
    saver: Saver,
    activity: Activity,
    /// Connections that say goodbye. They end with the driver.
    closing: JoinSet<()>,
    ends: Ends,
    /// Taken from the core, not taken by the application.
    undelivered: Option<Event>,
    connects: u64,
    disconnects: u64,
    /// It was said that nobody has asked for a connection.
    warned_of_missing_connect: bool,
    /// What the application has set last.
    endpoints: Option<Arc<[Endpoint]>>,
    token: Option<Arc<String>>,
}

impl Driver {
    fn new(config: &ClientConfig, saved: Saved, saver: Saver, connector: Connector, ends: Ends) -> Self {
        Self {
            core: Core::new(config, saved, StdRng::from_rng(&mut rand::rng())),
            connector: Arc::new(connector),
            tokens: Tokens::new(config.tokens.clone()),
            saver,
            activity: Activity::Nothing,
            closing: JoinSet::new(),
            ends,
            undelivered: None,
            connects: 0,
            disconnects: 0,
            warned_of_missing_connect: false,
            endpoints: None,
            token: None,
        }
    }

    /// Runs until the application closes the client or drops it.
    async fn run(mut self) {
        let mut timer = pin!(sleep_until(Instant::now()));
        // What was wished while the store was loaded.
        self.handle_wish(now());
        self.carry_out();
        while !self.core.is_closed() {
            self.set(timer.as_mut());
            let input = self.wait(timer.as_mut()).await;
            self.handle(input);
            self.carry_out();
        }
        self.finish().await;
    }

    fn set(&self, timer: Pin<&mut Sleep>) {
        let deadline = self.core.poll_timeout().map_or_else(|| Instant::now() + FAR, Instant::from_std);
        if timer.deadline() != deadline {
            timer.reset(deadline);
        }
    }

    fn handle(&mut self, input: Input) {
        let now = now();
        match input {
            Input::Wish => self.handle_wish(now),
            Input::Gone => self.core.handle_close(now, Duration::ZERO),
            Input::Time => self.core.handle_timeout(now),
            Input::Written(Ok(())) | Input::Room | Input::Acked => {}
            Input::Read(Ok(frame)) => self.core.handle_frame(now, frame),
            Input::Written(Err(ended)) | Input::Read(Err(ended)) => self.core.handle_ended(now, ended),
            Input::Raced(Ok(won)) => self.link(now, won),
            Input::Raced(Err(reason)) => self.unreachable(now, reason),
            Input::Token(given) => {
                self.core.handle_endpoints(&given.endpoints);
                self.core.handle_token(now, given.token);
            }
            Input::Saved(outcome) => self.core.handle_saved(now, outcome),
            Input::Command(command) => self.command(now, command),
        }
    }

    fn handle_wish(&mut self, now: std::time::Instant) {
        let wish = self.ends.wishes.borrow_and_update().clone();
        if wish.closing {
            // What was published and acknowledged before the close counts as such.
            self.take_commands();
            self.take_acks();
            return self.core.handle_close(now, CLOSE_GRACE);
        }
        self.handle_network_wish(now, wish);
    }

    /// What the application wished before it asked for something, which must not find the client without a connection
    /// that was wished for.
    fn handle_earlier_wish(&mut self, now: std::time::Instant) {
        if !self.ends.wishes.has_changed().unwrap_or(false) {
            return;
        }
        let wish = self.ends.wishes.borrow_and_update().clone();
        if wish.closing {
            // All that was asked before goes before it.
            return self.ends.wishes.mark_changed();
        }
        self.handle_network_wish(now, wish);
    }

    fn handle_network_wish(&mut self, now: std::time::Instant, wish: Wish) {
        if let Some(endpoints) = wish.endpoints.filter(|new| self.endpoints.as_ref() != Some(new)) {
            self.core.handle_endpoints(&endpoints);
            self.endpoints = Some(endpoints);
        }
        if let Some(token) =
            wish.token.filter(|new| !self.token.as_ref().is_some_and(|old| Arc::ptr_eq(old, new)))
        {
            self.tokens.replace(Arc::new(String::clone(&token)));
            self.core.handle_new_token();
            self.token = Some(token);
        }
        if std::mem::replace(&mut self.disconnects, wish.disconnects) != wish.disconnects {
            self.core.handle_disconnect();
        }
        if std::mem::replace(&mut self.connects, wish.connects) != wish.connects && wish.online {
            self.core.handle_connect(now);
        }
    }

    fn link(&mut self, now: std::time::Instant, won: Box<Won>) {
        self.activity = Activity::Linked(won.link);
        self.core.handle_established(now, won.via, won.overtaken);
    }

    fn unreachable(&mut self, now: std::time::Instant, reason: String) {
        self.activity = Activity::Nothing;
        self.core.handle_unreachable(now, reason);
    }

    /// Says once that what is sent waits for a connection that nobody has asked for.
    fn warn_of_missing_connect(&mut self) {
        if self.connects == 0 && !std::mem::replace(&mut self.warned_of_missing_connect, true) {
            tracing::warn!(
                "something is to be sent, and nobody has called Client::connect: it waits for that"
            );
        }
    }

    fn command(&mut self, now: std::time::Instant, command: Command) {
        self.handle_earlier_wish(now);
        if matches!(command, Command::Publish { .. } | Command::Send { .. }) {
            self.warn_of_missing_connect();
        }
        match command {
            Command::Publish { to, content, outcome } => {
                self.core.handle_publish(now, Ticket::Outcome(outcome), to, content);
            }
            Command::Send { to, content, taken } => {
                self.core.handle_send(now, Ticket::Taken(taken), to, content);
            }
            Command::History { conversation, query, limit, messages, answer } => {
                self.core.handle_history(now, Ticket::Answer(answer), conversation, query, limit, messages);
            }
            Command::Search { search, limit, answer } => {
                self.core.handle_search(now, Ticket::Answer(answer), search, limit);
            }
            Command::JoinRoom { channel, data, answer } => {
                self.core.handle_join_room(now, Ticket::Answer(answer), channel, data);
            }
            Command::LeaveRoom { channel, answer } => {
                self.core.handle_leave_room(now, Ticket::Answer(answer), &channel);
            }
            Command::Watch { users, answer } => self.core.handle_watch(now, Ticket::Answer(answer), users),
            Command::Signal { to, device, signal, goes } => {
                _ = goes.send(self.core.handle_signal(&to, device.as_ref(), signal));
            }
            Command::Ask { question, answer } => self.core.handle_ask(now, Ticket::Answer(answer), question),
            Command::Mark { conversation, change, taken } => {
                _ = taken.send(self.core.handle_mark(now, conversation, change));
            }
            Command::Queued(list) => _ = list.send(self.core.queued()),
            Command::Discard(local_id, done) => _ = done.send(self.core.handle_discard(local_id)),
        }
    }

    /// Brings everything that the core has to say where it belongs.
    fn carry_out(&mut self) {
        self.take_commands();
        self.take_acks();
        // Before the actions: what was said before a goodbye is said before it.
        self.transmit();
        while let Some(action) = self.core.poll_action() {
            self.act(action);
        }
        if let Some(batch) = self.core.poll_save(now()) {
            self.saver.save(batch);
        }
        self.answer();
        // Before the events, so that whoever sees one finds the state that belongs to it, or a later one.
        self.tell_status();
        self.deliver();
    }

    fn take_commands(&mut self) {
        for _ in 0..COMMAND_CHANNEL {
            let Ok(command) = self.ends.commands.try_recv() else { return };
            self.command(now(), command);
        }
    }

    fn take_acks(&mut self) {
        let now = now();
        self.ends.acks.take().into_iter().for_each(|position| self.core.handle_ack(now, position));
    }

    fn answer(&mut self) {
        while let Some((ticket, outcome)) = self.core.poll_resolved() {
            ticket.resolve(outcome);
        }
        while let Some((ticket, answer)) = self.core.poll_answered(now()) {
            ticket.answer(answer);
        }
        while let Some((ticket, taken)) = self.core.poll_taken() {
            ticket.take(taken);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::AskToken(why) => self.tokens.ask(why),
            Action::AskEndpoints => self.tokens.ask_endpoints(),
            Action::Connect(rounds) => {
                self.activity = Activity::Racing(Box::pin(self.connector.clone().race(rounds)));
            }
            Action::Close(code, reason) => {
                self.tokens.forget();
                while self.closing.try_join_next().is_some() {}
                if let Activity::Linked(link) = std::mem::replace(&mut self.activity, Activity::Nothing) {
                    self.closing.spawn(link.close(code, reason));
                }
            }
        }
    }

    fn transmit(&mut self) {
        let Activity::Linked(Link { writer, .. }) = &mut self.activity else { return };
        let now = now();
        while writer.has_room() {
            let Some(frame) = self.core.poll_transmit(now) else { return };
            writer.queue(&frame);
        }
    }

    fn deliver(&mut self) {
        while let Some(event) = self.undelivered.take().or_else(|| self.core.poll_event()) {
            match self.ends.events.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.undelivered = Some(event);
                    break;
                }
                // The client is gone, and with it whoever would have read it.
                Err(mpsc::error::TrySendError::Closed(_)) => {}
            }
        }
        self.core.handle_reading(now(), self.undelivered.is_none());
    }

    fn tell_status(&self) {
        let status = Status {
            state: self.core.state(),
            transport: self.core.transport(),
            skipped: self.core.skipped(),
            repeated: self.core.repeated(),
        };
        // `Closed` is told when it is true: after the goodbyes.
        if status.state != State::Closed {
            self.ends.status.send_if_modified(|last| std::mem::replace(last, status) != status);
        }
    }

    /// The core is closed. What it has not saved is saved, and connections may say goodbye.
    async fn finish(mut self) {
        // A store that hangs must not hang the application.
        _ = tokio::time::timeout(CLOSE_GRACE, self.flush()).await;
        self.answer();
        while self.closing.join_next().await.is_some() {}
        // `Closed` promises that nothing of the application's is called or held any more: a foreign token provider must
        // not be released after its language's runtime is gone, and a store can be opened again.
        let Self { tokens, saver, ends, .. } = self;
        drop((tokens, saver));
        ends.close().await;
    }

    async fn flush(&mut self) {
        loop {
            if self.saver.is_busy() {
                let outcome = self.saver.outcome().await;
                self.core.handle_saved(now(), outcome);
            }
            let Some(batch) = self.core.poll_save(now()) else { return };
            self.saver.save(batch);
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// How many publishes and questions wait for the driver's attention. The core has a queue of its own; this one only
/// bridges a moment.
pub(super) const COMMAND_CHANNEL: usize = 64;

/// How long a closing client waits for the answers to what was published before, and for its store.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// When there is nothing to wait for.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);
