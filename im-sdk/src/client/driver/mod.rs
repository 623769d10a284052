//! The one task of a client: carries out the actions of the core.

mod command;
mod handles;
mod lifecycle;
mod saver;
mod start;
mod tokens;
mod tracked_send;
mod wait;

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use rand::{SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, Sleep, sleep_until},
};

pub(super) use self::{
    command::Command,
    start::run,
    tracked_send::{OutcomeReceiver, TrackedSend},
};
use self::{
    command::{ReplyTo, TakenSend},
    handles::SendHandles,
    lifecycle::{BackgroundStatus, Lifecycle},
    saver::Saver,
    tokens::TokenCalls,
    wait::{Activity, Input},
};
use super::{
    ClientConfig, Event, LocalId, State,
    acks::AckQueue,
    core::{Action, Core, Taken, Unsettled},
    device_store::SavedState,
    transport::{Connector, Link, RaceWinner},
};
use crate::{Endpoint, Transport};

/// The state that the application wants. It is not a list of commands: only the last one counts.
#[derive(Clone, Debug, Default)]
pub(super) struct DesiredState {
    /// Set if the application wants a connection.
    pub(super) online: bool,
    /// The number of requests for a connection. One that comes while the client waits for its next attempt starts it at
    /// once.
    pub(super) connects: u64,
    /// The endpoints. `None` for those of the configuration.
    pub(super) endpoints: Option<Arc<[Endpoint]>>,
    /// The token that was set last. `None` to ask the provider.
    pub(super) token: Option<Arc<String>>,
    /// The number of requests to disconnect, so that a disconnect and connect in quick succession is noticed.
    pub(super) disconnects: u64,
    /// The number of changes of the device's network.
    pub(super) network_changes: u64,
    /// The number of warnings that the device is short of memory.
    pub(super) memory_warnings: u64,
    /// The number of times that the application went into the background.
    pub(super) backgrounds: u64,
    /// The time by which its work there should be done. `None` in the foreground.
    pub(super) background_until: Option<Instant>,
    /// The number of times that it came back.
    pub(super) foregrounds: u64,
    /// Set when the application closes the client.
    pub(super) closing: bool,
}

/// The state that the application can read without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) state: State,
    pub(super) transport: Option<Transport>,
    pub(super) skipped: u64,
    pub(super) repeated: u64,
    pub(super) background: BackgroundStatus,
}

impl Status {
    pub(super) const INITIAL: Self = Self {
        state: State::Disconnected,
        transport: None,
        skipped: 0,
        repeated: 0,
        background: BackgroundStatus { number: 0, complete: false },
    };
}

/// The driver's ends of the channels between it and the application.
pub(super) struct DriverChannels {
    pub(super) desired: watch::Receiver<DesiredState>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) acks: Arc<AckQueue>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) status: watch::Sender<Status>,
}

struct Driver {
    core: Core<ReplyTo>,
    connector: Arc<Connector>,
    tokens: TokenCalls,
    saver: Saver,
    handles: SendHandles,
    activity: Activity,
    /// Connections that are being closed. They end with the driver.
    closing: JoinSet<()>,
    lifecycle: Lifecycle,
    channels: DriverChannels,
    /// An event of the core for which the application's queue had no room.
    undelivered: Option<Event>,
    connects: u64,
    disconnects: u64,
    /// Set once the log has said that the application did not ask for a connection.
    warned_of_missing_connect: bool,
    /// The endpoints that the application has set last.
    endpoints: Option<Arc<[Endpoint]>>,
    token: Option<Arc<String>>,
}

impl Driver {
    fn new(
        config: &ClientConfig,
        saved: SavedState,
        saver: Saver,
        connector: Connector,
        channels: DriverChannels,
    ) -> Self {
        Self {
            core: Core::new(config, saved, StdRng::from_rng(&mut rand::rng())),
            connector: Arc::new(connector),
            tokens: TokenCalls::new(config.tokens.clone()),
            saver,
            handles: SendHandles::default(),
            activity: Activity::Nothing,
            closing: JoinSet::new(),
            lifecycle: Lifecycle::default(),
            channels,
            undelivered: None,
            connects: 0,
            disconnects: 0,
            warned_of_missing_connect: false,
            endpoints: None,
            token: None,
        }
    }

    /// Runs until the application shuts the client down or drops it.
    async fn run(mut self) {
        let mut timer = pin!(sleep_until(Instant::now()));
        // The application may have changed its wishes while the store was loaded.
        self.handle_desired(now());
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
        let deadlines = [self.core.poll_timeout().map(Instant::from_std), self.lifecycle.deadline()];
        let deadline = deadlines.into_iter().flatten().min().unwrap_or_else(|| Instant::now() + FAR);
        if timer.deadline() != deadline {
            timer.reset(deadline);
        }
    }

    fn handle(&mut self, input: Input) {
        let now = now();
        match input {
            Input::Desired => self.handle_desired(now),
            Input::Gone => self.core.handle_close(now, Duration::ZERO),
            Input::Time => self.core.handle_timeout(now),
            Input::Written(Ok(())) | Input::Room | Input::Acked | Input::Released | Input::Parted => {}
            Input::Read(Ok(frame)) => self.core.handle_frame(now, frame),
            Input::Written(Err(ended)) | Input::Read(Err(ended)) => self.core.handle_ended(now, ended),
            Input::Raced(Ok(winner)) => self.link(now, winner),
            Input::Raced(Err(reason)) => self.unreachable(now, reason),
            Input::Token(reply) => {
                self.core.handle_endpoints(&reply.endpoints);
                self.core.handle_token(now, reply.token);
            }
            Input::Saved(outcome) => {
                self.handle_store_used();
                self.core.handle_saved(now, outcome);
            }
            Input::Command(command) => self.command(now, command),
        }
    }

    fn handle_desired(&mut self, now: std::time::Instant) {
        let desired = self.channels.desired.borrow_and_update().clone();
        if desired.closing {
            // Earlier sends and acknowledgements go first.
            self.take_commands();
            self.take_acks();
            return self.core.handle_close(now, CLOSE_GRACE);
        }
        self.handle_desired_network(now, desired);
    }

    /// Handles the state that the application wanted before it gave a command, so that the command does not find the
    /// client disconnected although a connection was requested.
    fn handle_desired_before(&mut self, now: std::time::Instant) {
        if !self.channels.desired.has_changed().unwrap_or(false) {
            return;
        }
        let desired = self.channels.desired.borrow_and_update().clone();
        if desired.closing {
            // Earlier commands go first.
            return self.channels.desired.mark_changed();
        }
        self.handle_desired_network(now, desired);
    }

    fn handle_desired_network(&mut self, now: std::time::Instant, desired: DesiredState) {
        if let Some(endpoints) = desired.endpoints.clone().filter(|new| self.endpoints.as_ref() != Some(new))
        {
            self.core.handle_endpoints(&endpoints);
            self.endpoints = Some(endpoints);
        }
        if let Some(token) =
            desired.token.clone().filter(|new| !self.token.as_ref().is_some_and(|old| Arc::ptr_eq(old, new)))
        {
            self.tokens.replace(Arc::new(String::clone(&token)));
            self.core.handle_new_token();
            self.token = Some(token);
        }
        if std::mem::replace(&mut self.disconnects, desired.disconnects) != desired.disconnects {
            self.core.handle_disconnect();
        }
        if std::mem::replace(&mut self.connects, desired.connects) != desired.connects && desired.online {
            self.core.handle_connect(now);
        }
        self.handle_lifecycle(now, &desired);
    }

    fn link(&mut self, now: std::time::Instant, winner: Box<RaceWinner>) {
        self.activity = Activity::Linked(winner.link);
        self.core.handle_established(now, winner.via, winner.overtaken);
    }

    fn unreachable(&mut self, now: std::time::Instant, reason: String) {
        self.activity = Activity::Nothing;
        self.core.handle_unreachable(now, reason);
    }

    /// Warns once that a message waits for a connection that the application has not asked for.
    fn warn_of_missing_connect(&mut self) {
        if self.connects == 0 && !std::mem::replace(&mut self.warned_of_missing_connect, true) {
            tracing::warn!("a message waits to be sent: call Client::connect");
        }
    }

    fn command(&mut self, now: std::time::Instant, command: Command) {
        self.handle_desired_before(now);
        if matches!(command, Command::Publish { .. } | Command::Send { .. } | Command::Retry(..)) {
            self.warn_of_missing_connect();
        }
        match command {
            Command::Publish { to, content, within, outcome } => {
                self.core.handle_publish(now, ReplyTo::Outcome(outcome), to, content, within);
            }
            Command::Send { to, content, within, taken } => {
                self.core.handle_send(now, ReplyTo::Taken(taken), to, content, within);
            }
            Command::Retry(local_id, accepted) => _ = accepted.send(self.retry(local_id)),
            Command::History { conversation, query, limit, messages, answer } => {
                self.core.handle_history(now, ReplyTo::Answer(answer), conversation, query, limit, messages);
            }
            Command::Search { search, limit, answer } => {
                self.core.handle_search(now, ReplyTo::Answer(answer), search, limit);
            }
            Command::JoinRoom { channel, data, answer } => {
                self.core.handle_join_room(now, ReplyTo::Answer(answer), channel, data);
            }
            Command::LeaveRoom { channel, answer } => {
                self.core.handle_leave_room(now, ReplyTo::Answer(answer), &channel);
            }
            Command::Watch { users, answer } => self.core.handle_watch(now, ReplyTo::Answer(answer), users),
            Command::Signal { to, device, signal, goes } => {
                _ = goes.send(self.core.handle_signal(&to, device.as_ref(), signal));
            }
            Command::Ask { question, answer } => self.core.handle_ask(now, ReplyTo::Answer(answer), question),
            Command::Mark { conversation, change, taken } => {
                _ = taken.send(self.core.handle_mark(now, conversation, change));
            }
            Command::ListSends(list) => _ = list.send(self.list_sends()),
            Command::Discard(local_id, done) => _ = done.send(self.core.handle_discard(local_id)),
        }
    }

    /// Retries a failed send. Returns `None` if it has not failed.
    fn retry(&mut self, local_id: LocalId) -> Option<oneshot::Receiver<TakenSend>> {
        let (taken, answer) = oneshot::channel();
        self.core.handle_retry(ReplyTo::Taken(taken), local_id).ok().map(|()| answer)
    }

    fn list_sends(&mut self) -> Vec<(Unsettled, TrackedSend)> {
        let track = |send: Unsettled| {
            let tracked = self.handles.track_listed(&send);
            (send, tracked)
        };
        self.core.unsettled().into_iter().map(track).collect()
    }

    /// Carries out everything that the core has to do, to send and to report.
    fn carry_out(&mut self) {
        self.take_commands();
        self.take_acks();
        // Before the actions, which may close the connection.
        self.transmit();
        while let Some(action) = self.core.poll_action() {
            self.act(action);
        }
        if let Some(batch) = self.core.poll_save(now()) {
            self.saver.save(batch);
        }
        self.answer();
        self.release_store();
        // Before the events, so that the state belongs to an event that the application sees, or to a later one.
        self.tell_status();
        self.deliver();
    }

    fn take_commands(&mut self) {
        for _ in 0..COMMAND_CHANNEL {
            let Ok(command) = self.channels.commands.try_recv() else { return };
            self.command(now(), command);
        }
    }

    fn take_acks(&mut self) {
        let now = now();
        self.channels.acks.take().into_iter().for_each(|position| self.core.handle_ack(now, position));
    }

    fn answer(&mut self) {
        while let Some((reply_to, outcome)) = self.core.poll_resolved() {
            reply_to.resolve(outcome);
        }
        while let Some((reply_to, answer)) = self.core.poll_answered(now()) {
            reply_to.answer(answer);
        }
        while let Some((reply_to, taken)) = self.core.poll_taken() {
            self.take(reply_to, taken);
        }
        // After the sends were taken, so that their handles exist.
        while let Some((local_id, outcome)) = self.core.poll_settled() {
            self.handles.settle(local_id, outcome);
        }
    }

    fn take(&mut self, reply_to: ReplyTo, taken: Taken) {
        match taken {
            Ok(local_id) => {
                let tracked = self.handles.track(local_id);
                if !reply_to.take(Ok(tracked)) {
                    self.handles.forget(local_id);
                }
            }
            Err(error) => _ = reply_to.take(Err(error)),
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
            match self.channels.events.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.undelivered = Some(event);
                    break;
                }
                // The client and all streams are gone, so nobody would read the event.
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
            background: self.channels.status.borrow().background,
        };
        // `Closed` is reported once it is true, after the goodbyes.
        if status.state != State::Closed {
            self.channels.status.send_if_modified(|last| std::mem::replace(last, status) != status);
        }
    }

    /// Saves what the closed core has not saved, and closes connections in order.
    async fn finish(mut self) {
        // A store that hangs must not hang the application.
        _ = tokio::time::timeout(CLOSE_GRACE, self.flush()).await;
        self.answer();
        while self.closing.join_next().await.is_some() {}
        // `Closed` promises that nothing of the application's is called or held any more: a foreign token provider must
        // not be released after its language's runtime is gone, and the store can be opened again.
        let Self { tokens, saver, channels, .. } = self;
        drop((tokens, saver));
        channels.close().await;
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

/// The most commands that wait for the driver. The core has its own queues; this one only bridges a moment.
pub(super) const COMMAND_CHANNEL: usize = 64;

/// The time that a closing client waits for the answers to earlier sends, and for its store.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// The timer's delay when there is nothing to wait for.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);
