//! The task that sends requests and receives their replies.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use redis::{Cmd, RedisError};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, Sleep, interval, sleep},
};

use super::{
    Request, Shared,
    connection::{Connection, Did},
    in_flight::{Cause, InFlight},
    not_done,
    opener::Opener,
};
use crate::cluster::redis::{error_context::RequestError, resp::Commands};

/// The limits of a pipeline, in commands and bytes. Redis processes as much in a few milliseconds.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 1024 * 1024;

/// The maximum number of pipelines in flight: while Redis works on one, the next is on its way.
const UNDER_WAY: usize = 2;

/// The interval of pings on an idle connection. A connection that died silently would otherwise
/// leave stale values in the cache.
const PING_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Task {
    shared: Arc<Shared>,
    opener: Opener,
    connection: Option<Connection>,
    /// The time of the last read, or of the opening of the connection.
    heard_at: Instant,
    /// Whether the connection is being replaced: nothing more is sent on it, and it is closed when
    /// nothing is in flight.
    is_leaving: bool,
    /// The reason why there is no connection.
    lost: Option<RequestError>,
    /// Requests that were not sent yet: one batch.
    waiting: VecDeque<Request>,
    pipelines: InFlight,
    /// The timer of the next deadline: one for all requests, reset when it has fired.
    clock: Pin<Box<Sleep>>,
    clock_runs: bool,
}

impl Task {
    /// Opens the first connection. Tries each address once.
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
            pipelines: InFlight::new(shared.options.replicas),
            clock: Box::pin(sleep(Duration::ZERO)),
            clock_runs: false,
            shared,
        })
    }

    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ended = false;
        while !(ended && self.pipelines.are_answered() && self.waiting.is_empty()) {
            let (takes, is_idle) = (!ended && self.takes(), self.pipelines.are_answered());
            tokio::select! {
                biased; // Replies make room.
                did = advance(&mut self.connection) => self.advanced(did),
                opened = self.opener.opened() => self.opened(opened),
                () = &mut self.clock, if self.clock_runs => self.ring(),
                request = requests.recv(), if takes => match request {
                    Some(request) => {
                        self.waiting.push_back(request);
                        // The first request wakes this task before others that are ready have run.
                        // Let them run first, so that they join the pipeline. If nothing else is
                        // ready, this takes no time.
                        tokio::task::yield_now().await;
                    }
                    None => ended = true,
                },
                _ = pings.tick(), if is_idle => self.ping(),
            }
            self.leave_if_moved();
            while self.take(&mut requests) {
                if self.connection.is_some() {
                    self.send_batch();
                } else {
                    // The requests wait for the connection, up to their time limit.
                    self.opener.begin();
                    self.set_clock();
                    break;
                }
            }
        }
    }

    /// Returns whether another request may be taken from the queue. Without a connection, one batch
    /// waits here.
    fn takes(&self) -> bool {
        if self.connection.is_some() { self.has_room() } else { self.waiting.len() < BATCH }
    }

    /// Returns whether another pipeline may be sent. The last one must be written completely: a
    /// Redis that reads nothing would otherwise have everything queue here.
    fn has_room(&self) -> bool {
        // A request sent behind a `WAIT` would wait for it too.
        let most = if self.shared.options.replicas > 0 { 1 } else { UNDER_WAY };
        !self.is_leaving
            && self.pipelines.under_way() < most
            && self.connection.as_ref().is_none_or(|connection| connection.unwritten() == 0)
    }

    /// Takes queued requests. Returns whether some can be sent, or wait for a connection.
    fn take(&mut self, requests: &mut mpsc::Receiver<Request>) -> bool {
        if self.connection.is_some() && !self.has_room() {
            return false;
        }
        // A request that has waited too long fails as not sent, rather than being sent with too
        // little time left for its reply.
        let now = Instant::now();
        loop {
            while self.waiting.len() < BATCH
                && let Ok(request) = requests.try_recv()
            {
                self.waiting.push_back(request);
            }
            let before = self.waiting.len();
            while let Some(late) =
                self.waiting.pop_front_if(|request| now >= request.since + self.shared.patience())
            {
                let _ = late.answer.send(Err(not_done(self.why_not())));
            }
            // The requests behind them may be as late.
            if self.waiting.len() == before || !self.waiting.is_empty() {
                return !self.waiting.is_empty();
            }
        }
    }

    /// Returns the reason why requests could not be sent in time.
    fn why_not(&self) -> RequestError {
        let address = &self.shared.address;
        match (&self.connection, &self.lost) {
            (Some(_), _) => address.busy().into(),
            (None, Some(lost)) => lost.to_string().into(),
            (None, None) => address.silent().into(),
        }
    }

    fn opened(&mut self, opened: redis::RedisResult<Connection>) {
        self.shared.invalidate_all();
        match opened {
            Ok(connection) => {
                (self.connection, self.lost, self.heard_at) = (Some(connection), None, Instant::now());
            }
            Err(error) => {
                let error = self.shared.address.failed(error);
                tracing::debug!(%error, "cannot connect to Redis");
                self.lost = Some(error.into());
            }
        }
    }

    /// Sends one pipeline of waiting requests.
    fn send_batch(&mut self) {
        let (Some(first), Some(connection)) = (self.waiting.front(), &mut self.connection) else { return };
        let deadline = first.since + self.shared.limit;
        self.pipelines.begin(deadline);
        let mut count = 0;
        while count < BATCH
            && connection.unwritten() < BATCH_BYTES
            && let Some(Request { commands, answer, .. }) = self.waiting.pop_front()
        {
            count += commands.count();
            connection.write(&commands);
            self.pipelines.expect(commands, answer);
        }
        self.sent(deadline);
    }

    /// Pings an idle connection if a cache depends on it.
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
        let replicas = self.shared.options.replicas;
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

    /// Sets the timer to the first deadline.
    fn set_clock(&mut self) {
        let waiting = self.waiting.front().filter(|_| self.connection.is_none());
        let next = [self.pipelines.deadline(), waiting.map(|request| request.since + self.shared.patience())];
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
            self.lose(&(Arc::new(self.shared.address.failed(error)) as Cause));
        } else if is_wrong_node {
            self.is_leaving |= self.opener.note_wrong_node();
        }
    }

    /// Closes the connection to a wrong node as soon as nothing is in flight on it.
    fn leave_if_moved(&mut self) {
        let Some(_) = &self.connection else { return };
        self.is_leaving |= self.opener.has_moved();
        if self.is_leaving && self.pipelines.are_answered() {
            self.lose(&(Arc::new(self.shared.address.silent()) as Cause));
        }
    }

    /// Closes the connection. Nothing from it may arrive after something from the next one.
    fn lose(&mut self, cause: &Cause) {
        (self.connection, self.is_leaving) = (None, false);
        self.pipelines.give_up(cause);
        self.shared.invalidate_all();
    }

    /// Fails late requests as unknown. Invalidations may be as late, so the cache is emptied.
    fn ring(&mut self) {
        let (late, now) = (Arc::new(self.shared.address.silent()) as Cause, Instant::now());
        if self.pipelines.expire(now, &late) {
            self.shared.invalidate_all();
            let is_stuck = self.connection.as_ref().is_some_and(|connection| connection.unwritten() > 0);
            // Redis does not even read, or the connection leads nowhere. Requests on a new
            // connection do not wait behind that.
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

/// Builds a `WAIT` for half of the remaining time, so that there is time to hear of it. 0 would
/// wait for ever.
fn wait(replicas: usize, deadline: Instant) -> Cmd {
    let half = deadline.saturating_duration_since(Instant::now()) / 2;
    let mut command = redis::cmd("WAIT");
    command.arg(replicas).arg(u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1));
    command
}
