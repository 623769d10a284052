//! The task that sends.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use redis::{Cmd, RedisError};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, Sleep, interval, sleep},
};

use super::{
    Ask, RequestError, Shared,
    connection::{Connection, Did},
    not_done,
    opener::Opener,
    pipelines::{Cause, Pipelines},
};
use crate::cluster::redis::resp::Commands;

/// After so many commands, or about so many bytes, a pipeline is full. Redis is through with them in a few milliseconds.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 1024 * 1024;

/// How many pipelines are under way at once: while Redis works on one, the next is on its way.
const UNDER_WAY: usize = 2;

/// How often a connection is tried that nothing is asked on: one that is dead without a word would keep what was read.
const PING_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Task {
    shared: Arc<Shared>,
    opener: Opener,
    connection: Option<Connection>,
    /// When something was read last, or the connection opened.
    heard_at: Instant,
    /// Nothing more is sent on this connection: it is replaced when what is under way has been answered.
    is_leaving: bool,
    /// Why there is none.
    lost: Option<RequestError>,
    /// What was not sent yet: one batch.
    waiting: VecDeque<Ask>,
    pipelines: Pipelines,
    /// When to look what is late: one clock for all, which is set anew when it has rung.
    clock: Pin<Box<Sleep>>,
    clock_runs: bool,
}

impl Task {
    /// Opens the first connection: tries each address once.
    pub(super) async fn connect(mut opener: Opener, shared: Arc<Shared>) -> redis::RedisResult<Self> {
        let mut tries = opener.addresses();
        let connection = loop {
            opener.begin();
            match opener.opened().await {
                Ok(connection) => break connection,
                Err(error) if tries <= 1 => return Err(error),
                Err(_) => tries -= 1,
            }
        };
        Ok(Self {
            opener,
            connection: Some(connection),
            heard_at: Instant::now(),
            is_leaving: false,
            lost: None,
            waiting: VecDeque::new(),
            pipelines: Pipelines::new(shared.purpose.replicas),
            clock: Box::pin(sleep(Duration::ZERO)),
            clock_runs: false,
            shared,
        })
    }

    pub(super) async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ended = false;
        while !(ended && self.pipelines.are_answered() && self.waiting.is_empty()) {
            let (takes, is_idle) = (!ended && self.takes(), self.pipelines.are_answered());
            tokio::select! {
                biased; // Answers make room.
                did = advance(&mut self.connection) => self.advanced(did),
                opened = self.opener.opened() => self.opened(opened),
                () = &mut self.clock, if self.clock_runs => self.ring(),
                ask = asked.recv(), if takes => match ask {
                    Some(ask) => {
                        self.waiting.push_back(ask);
                        // The first request wakes this task before those that are ready to follow have run: they go
                        // first. When nothing else runs this takes no time.
                        tokio::task::yield_now().await;
                    }
                    None => ended = true,
                },
                _ = pings.tick(), if is_idle => self.ping(),
            }
            self.leave_if_moved();
            while self.take(&mut asked) {
                if self.connection.is_some() {
                    self.send_batch();
                } else {
                    // They wait for it, and no longer than they may.
                    self.opener.begin();
                    self.set_clock();
                    break;
                }
            }
        }
    }

    /// Whether another request may be taken in: while there is no connection, one batch waits here.
    fn takes(&self) -> bool {
        if self.connection.is_some() { self.has_room() } else { self.waiting.len() < BATCH }
    }

    /// Whether another pipeline may go out. Not before all of the last one is written: a Redis that takes nothing would have
    /// everything queue here.
    fn has_room(&self) -> bool {
        // What was sent behind a `WAIT` would wait for it too.
        let most = if self.shared.purpose.replicas > 0 { 1 } else { UNDER_WAY };
        !self.is_leaving
            && self.pipelines.under_way() < most
            && self.connection.as_ref().is_none_or(|connection| connection.unwritten() == 0)
    }

    /// Takes what is queued, and tells whether something can be sent, or waits for a connection.
    fn take(&mut self, asked: &mut mpsc::Receiver<Ask>) -> bool {
        if self.connection.is_some() && !self.has_room() {
            return false;
        }
        // Who has waited for too long is told that nothing happened, rather than sent with too little time left to hear of it.
        let now = Instant::now();
        loop {
            while self.waiting.len() < BATCH
                && let Ok(ask) = asked.try_recv()
            {
                self.waiting.push_back(ask);
            }
            let before = self.waiting.len();
            while let Some(late) = self.waiting.pop_front_if(|ask| now >= ask.since + self.shared.patience())
            {
                let _ = late.answer.send(Err(not_done(self.why_not())));
            }
            // Behind them others may be as late.
            if self.waiting.len() == before || !self.waiting.is_empty() {
                return !self.waiting.is_empty();
            }
        }
    }

    /// Why nothing could be sent for so long.
    fn why_not(&self) -> RequestError {
        let place = &self.shared.place;
        match (&self.connection, &self.lost) {
            (Some(_), _) => place.busy().into(),
            (None, Some(lost)) => lost.to_string().into(),
            (None, None) => place.silent().into(),
        }
    }

    fn opened(&mut self, opened: redis::RedisResult<Connection>) {
        self.shared.all_changed();
        match opened {
            Ok(connection) => {
                (self.connection, self.lost, self.heard_at) = (Some(connection), None, Instant::now());
            }
            Err(error) => {
                let error = self.shared.place.failed(error);
                tracing::debug!(%error, "cannot connect to Redis");
                self.lost = Some(error.into());
            }
        }
    }

    /// Sends as many of those who wait as go together.
    fn send_batch(&mut self) {
        let (Some(first), Some(connection)) = (self.waiting.front(), &mut self.connection) else { return };
        let deadline = first.since + self.shared.limit;
        self.pipelines.begin(deadline);
        let mut count = 0;
        while count < BATCH
            && connection.unwritten() < BATCH_BYTES
            && let Some(Ask { commands, answer, .. }) = self.waiting.pop_front()
        {
            count += commands.count();
            connection.write(&commands);
            self.pipelines.expect(commands, answer);
        }
        self.sent(deadline);
    }

    /// Where it matters that the connection lives.
    fn ping(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        if !self.shared.keeps() {
            return;
        }
        let deadline = Instant::now() + self.shared.limit;
        let mut ping = Commands::default();
        ping.add(&[b"PING"]);
        connection.write(&ping);
        self.pipelines.begin(deadline);
        self.pipelines.expect_nothing_of(ping.count());
        self.sent(deadline);
    }

    fn sent(&mut self, deadline: Instant) {
        let replicas = self.shared.purpose.replicas;
        if let (Some(connection), 1..) = (&mut self.connection, replicas) {
            let mut commands = Commands::default();
            commands.add_command(&wait(replicas, deadline));
            connection.write(&commands);
        }
        if !self.clock_runs {
            self.clock_runs = true;
            self.clock.as_mut().reset(deadline);
        }
    }

    /// To the first moment at which something is late.
    fn set_clock(&mut self) {
        let waiting = self.waiting.front().filter(|_| self.connection.is_none());
        let next = [self.pipelines.deadline(), waiting.map(|ask| ask.since + self.shared.patience())];
        let next = next.into_iter().flatten().min();
        self.clock_runs = next.is_some();
        if let Some(next) = next {
            self.clock.as_mut().reset(next);
        }
    }

    fn advanced(&mut self, did: std::io::Result<Did>) {
        let Some(connection) = &mut self.connection else { return };
        let pipelines = &mut self.pipelines;
        let mut is_wrong_node = false;
        let done = match did {
            Ok(Did::Write) => Ok(()),
            Ok(Did::Read) => {
                self.heard_at = Instant::now();
                connection.answers(|answer| {
                    is_wrong_node |= answer.says_wrong_node();
                    pipelines.take(answer);
                })
            }
            Err(error) => Err(RedisError::from(error)),
        };
        if let Err(error) = done {
            self.lose(&(Arc::new(self.shared.place.failed(error)) as Cause));
        } else if is_wrong_node {
            self.is_leaving |= self.opener.note_wrong_node();
        }
    }

    /// Leaves a node that turned out to be the wrong one, as soon as nothing is under way there.
    fn leave_if_moved(&mut self) {
        let Some(_) = &self.connection else { return };
        self.is_leaving |= self.opener.has_moved();
        if self.is_leaving && self.pipelines.are_answered() {
            self.lose(&(Arc::new(self.shared.place.silent()) as Cause));
        }
    }

    /// Nothing of this connection may come later than what comes on the next one.
    fn lose(&mut self, cause: &Cause) {
        (self.connection, self.is_leaving) = (None, false);
        self.pipelines.give_up(cause);
        self.shared.all_changed();
    }

    /// Whoever waits for a late pipeline is told that its outcome is unknown; what Redis says of changes may be as late.
    fn ring(&mut self) {
        let (late, now) = (Arc::new(self.shared.place.silent()) as Cause, Instant::now());
        if self.pipelines.expire(now, &late) {
            self.shared.all_changed();
            let is_stuck = self.connection.as_ref().is_some_and(|connection| connection.unwritten() > 0);
            // Redis does not even take what it is asked, or the connection leads nowhere any more. On another one nobody
            // waits behind that.
            if is_stuck || now >= self.heard_at + self.shared.limit {
                self.opener.turn_to_the_next();
                self.lose(&late);
            }
        }
        self.set_clock();
    }
}

async fn advance(connection: &mut Option<Connection>) -> std::io::Result<Did> {
    match connection {
        Some(connection) => connection.advance().await,
        None => std::future::pending().await,
    }
}

/// `WAIT` for half of the time that is left, so that there is time to hear of it. 0 would be for ever.
fn wait(replicas: usize, deadline: Instant) -> Cmd {
    let half = deadline.saturating_duration_since(Instant::now()) / 2;
    let mut command = redis::cmd("WAIT");
    command.arg(replicas).arg(u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1));
    command
}
