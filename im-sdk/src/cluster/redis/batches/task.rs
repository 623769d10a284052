//! The task that sends.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use redis::{Cmd, Pipeline, RedisError, RedisResult, Value, aio::ConnectionLike as _};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at},
};

use super::{Answered, Ask, RequestError, SendError, Shared, connection::Connection, not_done};
use crate::cluster::config::ClusterConfig;

/// After so many commands a pipeline is full. Redis is through with them in a few milliseconds.
const BATCH: usize = 512;

/// How many pipelines are under way at once: while Redis works on one, the next is on its way.
const UNDER_WAY: usize = 2;

/// How often a connection is tried that nothing is asked on: one that is dead without a word would keep what was read.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// Between two attempts to connect.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// Somebody who waits for the answers to so many commands.
type Waiting = (usize, oneshot::Sender<Result<Answered, SendError>>);

/// What became of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    /// Not answered in time: what Redis says of changes may be as late.
    Late,
    /// The connection is of no use any more.
    Broken,
}

pub(super) struct Task {
    config: ClusterConfig,
    address: String,
    shared: Arc<Shared>,
    connection: Option<Connection>,
    /// What was not sent yet: one batch.
    waiting: VecDeque<Ask>,
    under_way: FuturesUnordered<BoxFuture<'static, Outcome>>,
}

impl Task {
    pub(super) fn new(
        config: ClusterConfig,
        address: String,
        shared: Arc<Shared>,
        connection: Connection,
    ) -> Self {
        let (waiting, under_way) = (VecDeque::new(), FuturesUnordered::new());
        Self { config, address, shared, connection: Some(connection), waiting, under_way }
    }

    pub(super) async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased; // Answers make room.
                Some(outcome) = self.under_way.next() => self.ended(outcome),
                ask = asked.recv(), if self.has_room() => {
                    let Some(ask) = ask else { break };
                    self.waiting.push_back(ask);
                    // The first request wakes this task before those that are ready to follow have run: they go first. When
                    // nothing else runs this takes no time.
                    tokio::task::yield_now().await;
                }
                _ = pings.tick(), if self.under_way.is_empty() => self.ping(),
            }
            while self.take(&mut asked) {
                if self.is_connected() {
                    self.send_batch();
                } else {
                    self.connect().await;
                }
            }
        }
        while self.under_way.next().await.is_some() {}
    }

    fn has_room(&self) -> bool {
        // What was sent behind a `WAIT` would wait for it too.
        self.under_way.len() < if self.shared.replicas > 0 { 1 } else { UNDER_WAY }
    }

    fn is_connected(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| !connection.is_lost())
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
        // Who has waited for too long is told that nothing happened, rather than sent with too little time left to hear of it.
        let limit = if self.shared.replicas > 0 { self.shared.limit / 2 } else { self.shared.limit };
        let now = Instant::now();
        while let Some(late) = self.waiting.pop_front_if(|ask| now >= ask.since + limit) {
            let _ = late.answer.send(Err(not_done("no connection was free in time")));
        }
        !self.waiting.is_empty()
    }

    /// Tries once, for as long as the first of those who wait may wait.
    async fn connect(&mut self) {
        // Nothing of the last connection may come later than what comes on the next one.
        self.connection = None;
        while self.under_way.next().await.is_some() {}
        self.shared.all_changed();
        let Some(first) = self.waiting.front() else { return };
        let deadline = first.since + self.shared.limit;
        let opening = Connection::open(&self.config, &self.address, &self.shared);
        let error: RequestError = match timeout_at(deadline, opening).await {
            Ok(Ok(connection)) => return self.connection = Some(connection),
            Ok(Err(error)) => error.into(),
            Err(elapsed) => elapsed.into(),
        };
        tracing::debug!(%error, "cannot connect to Redis");
        sleep_until(deadline.min(Instant::now() + RETRY_DELAY)).await;
    }

    /// Sends as many of those who wait as go together.
    fn send_batch(&mut self) {
        let Some(first) = self.waiting.front() else { return };
        let deadline = first.since + self.shared.limit;
        let mut pipeline = Pipeline::with_capacity(self.waiting.len() * 2);
        let mut waiting = Vec::with_capacity(self.waiting.len());
        while pipeline.len() < BATCH
            && let Some(ask) = self.waiting.pop_front()
        {
            waiting.push((ask.commands.len(), ask.answer));
            for command in ask.commands {
                pipeline.add_command(command);
            }
        }
        self.send(pipeline, waiting, deadline);
    }

    /// Where it matters that the connection lives.
    fn ping(&mut self) {
        if !self.shared.keeps() {
            return;
        }
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.cmd("PING");
        self.send(pipeline, Vec::new(), Instant::now() + self.shared.limit);
    }

    fn send(&mut self, mut pipeline: Pipeline, waiting: Vec<Waiting>, deadline: Instant) {
        let Some(connection) = &self.connection else { return };
        let (mut link, replicas) = (connection.link.clone(), self.shared.replicas);
        if replicas > 0 {
            pipeline.add_command(wait(replicas, deadline));
        }
        let sending = async move {
            let asking = link.req_packed_commands(&pipeline, 0, pipeline.len());
            match timeout_at(deadline, asking).await {
                Ok(Ok(answers)) => divide(answers, waiting, replicas),
                Ok(Err(error)) => fail(error, waiting),
                Err(elapsed) => {
                    refuse(waiting, &(Arc::new(elapsed) as Cause));
                    Outcome::Late
                }
            }
        };
        self.under_way.push(sending.boxed());
    }

    fn ended(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Answered => {}
            Outcome::Late => self.shared.all_changed(),
            Outcome::Broken => self.connection = None,
        }
    }
}

/// `WAIT` for half of the time that is left, so that there is time to hear of it. 0 would be for ever.
fn wait(replicas: usize, deadline: Instant) -> Cmd {
    let half = deadline.saturating_duration_since(Instant::now()) / 2;
    let mut command = redis::cmd("WAIT");
    command.arg(replicas).arg(u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1));
    command
}

fn divide(mut answers: Vec<Value>, waiting: Vec<Waiting>, replicas: usize) -> Outcome {
    let acknowledged = if replicas > 0 { Some(answers.pop().unwrap_or_default()) } else { None };
    let mut answers = answers.into_iter();
    for (count, answer) in waiting {
        let acknowledged: RedisResult<usize> = acknowledged.clone().map_or(Ok(0), |number| {
            // Such as an error when the server became a replica itself.
            redis::from_redis_value(number).map_err(RedisError::from)
        });
        let answered = Answered { answers: answers.by_ref().take(count).collect(), replicas: acknowledged };
        // Whoever asked may have gone.
        let _ = answer.send(Ok(answered));
    }
    Outcome::Answered
}

fn fail(error: RedisError, waiting: Vec<Waiting>) -> Outcome {
    let outcome = if error.is_unrecoverable_error() { Outcome::Broken } else { Outcome::Late };
    refuse(waiting, &(Arc::new(error) as Cause));
    outcome
}

/// Why all of a pipeline failed.
type Cause = Arc<dyn std::error::Error + Send + Sync>;

fn refuse(waiting: Vec<Waiting>, cause: &Cause) {
    for (_, answer) in waiting {
        let _ = answer.send(Err(SendError::Unknown(Box::new(Refused(Arc::clone(cause))))));
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(Cause);
