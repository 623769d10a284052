//! The task that sends.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use redis::{Cmd, RedisError};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, Sleep, interval, sleep, sleep_until, timeout_at},
};

use super::{
    Ask, RequestError, Shared,
    connection::{Connection, Did},
    not_done,
    pipelines::{Cause, Pipelines},
};
use crate::cluster::{config::ClusterConfig, redis::resp::Commands};

/// After so many commands, or about so many bytes, a pipeline is full. Redis is through with them in a few milliseconds.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 1024 * 1024;

/// How many pipelines are under way at once: while Redis works on one, the next is on its way.
const UNDER_WAY: usize = 2;

/// How often a connection is tried that nothing is asked on: one that is dead without a word would keep what was read.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// Between two attempts to connect.
const RETRY_DELAY: Duration = Duration::from_millis(50);

pub(super) struct Task {
    config: ClusterConfig,
    address: String,
    shared: Arc<Shared>,
    connection: Option<Connection>,
    /// Why there is none.
    lost: Option<RequestError>,
    /// What was not sent yet: one batch.
    waiting: VecDeque<Ask>,
    pipelines: Pipelines,
    /// When to look which pipelines are late: one clock for all, which is set anew when it has rung.
    clock: Pin<Box<Sleep>>,
    clock_runs: bool,
}

impl Task {
    pub(super) fn new(
        config: ClusterConfig,
        address: String,
        shared: Arc<Shared>,
        connection: Connection,
    ) -> Self {
        let (waiting, pipelines) = (VecDeque::new(), Pipelines::new(shared.replicas));
        let (clock, clock_runs) = (Box::pin(sleep(Duration::ZERO)), false);
        let connection = Some(connection);
        Self { config, address, shared, connection, lost: None, waiting, pipelines, clock, clock_runs }
    }

    pub(super) async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ended = false;
        while !(ended && self.pipelines.are_answered()) {
            let (has_room, is_idle) = (!ended && self.has_room(), self.pipelines.are_answered());
            tokio::select! {
                biased; // Answers make room.
                did = advance(&mut self.connection) => self.advanced(did),
                () = &mut self.clock, if self.clock_runs => self.ring(),
                ask = asked.recv(), if has_room => match ask {
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
            while self.take(&mut asked) {
                if self.connection.is_some() {
                    self.send_batch();
                } else {
                    self.connect().await;
                }
            }
        }
    }

    /// Whether another pipeline may go out. Not before all of the last one is written: a Redis that takes nothing would have
    /// everything queue here.
    fn has_room(&self) -> bool {
        // What was sent behind a `WAIT` would wait for it too.
        let most = if self.shared.replicas > 0 { 1 } else { UNDER_WAY };
        self.pipelines.under_way() < most
            && self.connection.as_ref().is_none_or(|connection| connection.unwritten() == 0)
    }

    /// Takes what is queued, and tells whether something can be sent now.
    fn take(&mut self, asked: &mut mpsc::Receiver<Ask>) -> bool {
        if !self.has_room() {
            return false;
        }
        while self.waiting.len() < BATCH
            && let Ok(ask) = asked.try_recv()
        {
            self.waiting.push_back(ask);
        }
        if self.waiting.is_empty() {
            return false;
        }
        // Who has waited for too long is told that nothing happened, rather than sent with too little time left to hear of it.
        let limit = if self.shared.replicas > 0 { self.shared.limit / 2 } else { self.shared.limit };
        let now = Instant::now();
        while let Some(late) = self.waiting.pop_front_if(|ask| now >= ask.since + limit) {
            let _ = late.answer.send(Err(not_done(self.why_not())));
        }
        !self.waiting.is_empty()
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

    /// Tries once, for as long as the first of those who wait may wait.
    async fn connect(&mut self) {
        self.shared.all_changed();
        let Some(first) = self.waiting.front() else { return };
        let deadline = first.since + self.shared.limit;
        let opening = Connection::open(&self.config, &self.address, &self.shared);
        let error: RequestError = match timeout_at(deadline, opening).await {
            Ok(Ok(connection)) => {
                self.lost = None;
                return self.connection = Some(connection);
            }
            Ok(Err(error)) => error.into(),
            Err(elapsed) => elapsed.into(),
        };
        let error = self.shared.place.named(error);
        tracing::debug!(%error, "cannot connect to Redis");
        self.lost = Some(error);
        sleep_until(deadline.min(Instant::now() + RETRY_DELAY)).await;
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
        if let (Some(connection), 1..) = (&mut self.connection, self.shared.replicas) {
            let mut commands = Commands::default();
            commands.add_command(&wait(self.shared.replicas, deadline));
            connection.write(&commands);
        }
        if !self.clock_runs {
            self.clock_runs = true;
            self.clock.as_mut().reset(deadline);
        }
    }

    fn advanced(&mut self, did: std::io::Result<Did>) {
        let Some(connection) = &mut self.connection else { return };
        let pipelines = &mut self.pipelines;
        let done = match did {
            Ok(Did::Write) => Ok(()),
            Ok(Did::Read) => connection.answers(|answer| pipelines.take(answer)),
            Err(error) => Err(RedisError::from(error)),
        };
        if let Err(error) = done {
            self.lose(&(Arc::new(self.shared.place.failed(error)) as Cause));
        }
    }

    /// Nothing of this connection may come later than what comes on the next one.
    fn lose(&mut self, cause: &Cause) {
        self.connection = None;
        self.pipelines.give_up(cause);
        self.shared.all_changed();
    }

    /// Whoever waits for a late pipeline is told that its outcome is unknown; what Redis says of changes may be as late.
    fn ring(&mut self) {
        let late = Arc::new(self.shared.place.silent()) as Cause;
        if self.pipelines.expire(Instant::now(), &late) {
            self.shared.all_changed();
            if self.connection.as_ref().is_some_and(|connection| connection.unwritten() > 0) {
                // Redis does not even take what it is asked. On another connection nobody waits behind that.
                self.lose(&late);
            }
        }
        let next = self.pipelines.deadline();
        self.clock_runs = next.is_some();
        if let Some(next) = next {
            self.clock.as_mut().reset(next);
        }
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
