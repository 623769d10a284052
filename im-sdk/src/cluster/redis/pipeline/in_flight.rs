//! Pipelines in flight on a connection: which request waits for which replies.

use std::{collections::VecDeque, sync::Arc};

use redis::{RedisError, RedisResult};
use tokio::{sync::oneshot, time::Instant};

use super::PipelineReply;
use crate::cluster::redis::{
    no_retry::SendError,
    resp::{Commands, Replies, Reply},
};

/// The cause shared by all requests of a failed pipeline.
pub(super) type Cause = Arc<dyn std::error::Error + Send + Sync>;

type Done = oneshot::Sender<Result<PipelineReply, SendError>>;

/// The pipelines that were sent and not yet fully answered.
pub(super) struct InFlight {
    sent: VecDeque<Pipeline>,
    /// The number of replicas to wait for. If it is not 0, the last reply of each pipeline is that
    /// to its `WAIT`.
    replicas: usize,
}

struct Pipeline {
    deadline: Instant,
    /// Whether the deadline has passed. No request waits any more, but the replies are yet to come.
    is_late: bool,
    waiting: VecDeque<Waiting>,
    /// Requests that have their replies and wait for the replicas.
    answered: Vec<Waiting>,
}

/// A request that waits for replies.
struct Waiting {
    missing: usize,
    answers: Replies,
    /// The receiver of the replies, if there is one.
    done: Option<Done>,
}

impl InFlight {
    pub(super) fn new(replicas: usize) -> Self {
        Self { sent: VecDeque::new(), replicas }
    }

    /// Starts a pipeline: what is expected from now on belongs to it.
    pub(super) fn begin(&mut self, deadline: Instant) {
        let (waiting, answered) = (VecDeque::new(), Vec::new());
        self.sent.push_back(Pipeline { deadline, is_late: false, waiting, answered });
    }

    /// Registers a request for the replies to its commands.
    pub(super) fn expect(&mut self, commands: Commands, done: Done) {
        let missing = commands.count();
        self.add(Waiting { missing, answers: Replies(commands.into_room()), done: Some(done) });
    }

    /// Registers replies that no request waits for.
    pub(super) fn expect_nothing_of(&mut self, answers: usize) {
        self.add(Waiting { missing: answers, answers: Replies::default(), done: None });
    }

    fn add(&mut self, waiting: Waiting) {
        // A request without commands would wait for ever.
        if let Some(pipeline) = self.sent.back_mut().filter(|_| waiting.missing > 0) {
            pipeline.waiting.push_back(waiting);
        }
    }

    /// Returns the number of pipelines that requests wait for.
    pub(super) fn under_way(&self) -> usize {
        self.sent.iter().filter(|pipeline| !pipeline.is_late).count()
    }

    pub(super) fn are_answered(&self) -> bool {
        self.under_way() == 0
    }

    /// Returns the first deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sent.iter().find(|pipeline| !pipeline.is_late).map(|pipeline| pipeline.deadline)
    }

    /// Assigns the next reply.
    pub(super) fn take(&mut self, answer: Reply<'_>) {
        let Some(pipeline) = self.sent.front_mut() else {
            return tracing::warn!("Redis sent a reply without a request");
        };
        let Some(waiting) = pipeline.waiting.front_mut() else {
            let acknowledged = acknowledged(answer);
            let answered = self.sent.pop_front().map(|pipeline| pipeline.answered);
            for waiting in answered.into_iter().flatten() {
                waiting.done(acknowledged.clone());
            }
            return;
        };
        if waiting.done.is_some() {
            waiting.answers.0.extend_from_slice(answer.0);
        }
        waiting.missing -= 1;
        if waiting.missing > 0 {
            return;
        }
        let waiting = pipeline.waiting.pop_front();
        if self.replicas > 0 {
            pipeline.answered.extend(waiting);
            return;
        }
        if pipeline.waiting.is_empty() {
            self.sent.pop_front();
        }
        if let Some(waiting) = waiting {
            waiting.done(Ok(0));
        }
    }

    /// Fails the requests whose deadline has passed. Returns whether there were any.
    pub(super) fn expire(&mut self, now: Instant, cause: &Cause) -> bool {
        let late = |pipeline: &&mut Pipeline| !pipeline.is_late && pipeline.deadline <= now;
        let mut any = false;
        for pipeline in self.sent.iter_mut().filter(late) {
            any = true;
            pipeline.is_late = true;
            pipeline.refuse(cause);
        }
        any
    }

    /// Fails all requests: no more replies will come.
    pub(super) fn give_up(&mut self, cause: &Cause) {
        for mut pipeline in self.sent.drain(..) {
            pipeline.refuse(cause);
        }
    }
}

impl Pipeline {
    fn refuse(&mut self, cause: &Cause) {
        for waiting in self.answered.iter_mut().chain(&mut self.waiting) {
            if let Some(done) = waiting.done.take() {
                let _ = done.send(Err(SendError::Unknown(Box::new(Refused(Arc::clone(cause))))));
            }
        }
    }
}

impl Waiting {
    fn done(self, replicas: RedisResult<usize>) {
        if let Some(done) = self.done {
            // The requester may have gone.
            let _ = done.send(Ok(PipelineReply { answers: self.answers, replicas }));
        }
    }
}

fn acknowledged(answer: Reply<'_>) -> RedisResult<usize> {
    // An error, for example, when the server became a replica itself.
    redis::from_redis_value(answer.value()?.extract_error()?).map_err(RedisError::from)
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(Cause);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    type Receiver = oneshot::Receiver<Result<PipelineReply, SendError>>;

    fn late_cause() -> Cause {
        Arc::new(std::io::Error::from(std::io::ErrorKind::TimedOut))
    }

    fn expect(pipelines: &mut InFlight, commands: usize) -> Receiver {
        let (done, outcome) = oneshot::channel();
        let mut sent = Commands::default();
        (0..commands).for_each(|_| sent.add(&[b"PING"]));
        pipelines.expect(sent, done);
        outcome
    }

    fn answers(outcome: &mut Receiver) -> Option<(Vec<Vec<u8>>, RedisResult<usize>)> {
        let answered = outcome.now_or_never()?.unwrap().unwrap();
        Some((answered.answers.iter().map(|answer| answer.0.to_vec()).collect(), answered.replicas))
    }

    fn texts(answers: &[&str]) -> Vec<Vec<u8>> {
        answers.iter().map(|answer| answer.as_bytes().to_vec()).collect()
    }

    #[test]
    fn each_gets_the_answers_to_its_own_commands_as_soon_as_they_are_there() {
        let mut pipelines = InFlight::new(0);
        let later = Instant::now() + Duration::from_secs(1);
        pipelines.begin(later);
        let (mut one, mut two) = (expect(&mut pipelines, 1), expect(&mut pipelines, 2));
        pipelines.begin(later);
        let mut three = expect(&mut pipelines, 1);
        assert_eq!(pipelines.under_way(), 2);
        pipelines.take(Reply(b":1\r\n"));
        assert_eq!(answers(&mut one).unwrap().0, texts(&[":1\r\n"]));
        pipelines.take(Reply(b":2\r\n"));
        assert!(answers(&mut two).is_none());
        pipelines.take(Reply(b"-ERR 3\r\n"));
        assert_eq!(answers(&mut two).unwrap().0, texts(&[":2\r\n", "-ERR 3\r\n"]));
        assert_eq!((pipelines.under_way(), answers(&mut three).is_none()), (1, true));
        pipelines.take(Reply(b":4\r\n"));
        assert_eq!(answers(&mut three).unwrap().0, texts(&[":4\r\n"]));
        assert!(pipelines.are_answered() && pipelines.deadline().is_none());
        pipelines.take(Reply(b":5\r\n"));
    }

    #[test]
    fn who_wants_replicas_is_told_behind_the_last_answer() {
        for (last, acknowledged) in [(":2\r\n", Some(2)), ("-ERR a replica\r\n", None)] {
            let mut pipelines = InFlight::new(1);
            pipelines.begin(Instant::now());
            let (mut one, mut two) = (expect(&mut pipelines, 1), expect(&mut pipelines, 1));
            pipelines.take(Reply(b":1\r\n"));
            pipelines.take(Reply(b":1\r\n"));
            assert!(answers(&mut one).is_none());
            pipelines.take(Reply(last.as_bytes()));
            for outcome in [&mut one, &mut two] {
                let (answers, replicas) = answers(outcome).unwrap();
                assert_eq!((answers, replicas.ok()), (texts(&[":1\r\n"]), acknowledged));
            }
            assert!(pipelines.are_answered());
        }
    }

    #[test]
    fn late_answers_are_nobodys() {
        for replicas in [0, 1] {
            let now = Instant::now();
            let mut pipelines = InFlight::new(replicas);
            pipelines.begin(now);
            let mut late = expect(&mut pipelines, 1);
            pipelines.begin(now + Duration::from_secs(1));
            let mut patient = expect(&mut pipelines, 1);
            assert!(pipelines.expire(now, &late_cause()) && !pipelines.expire(now, &late_cause()));
            assert!(matches!((&mut late).now_or_never(), Some(Ok(Err(SendError::Unknown(_))))));
            assert_eq!(pipelines.under_way(), 1);
            pipelines.take(Reply(b"+late\r\n"));
            (0..replicas).for_each(|_| pipelines.take(Reply(b":0\r\n")));
            assert!(answers(&mut patient).is_none());
            pipelines.take(Reply(b"+patient\r\n"));
            (0..replicas).for_each(|_| pipelines.take(Reply(b":3\r\n")));
            assert_eq!(answers(&mut patient).unwrap().0, texts(&["+patient\r\n"]));
        }
    }

    #[test]
    fn a_lost_connection_leaves_nobody_waiting() {
        let mut pipelines = InFlight::new(0);
        pipelines.begin(Instant::now());
        let (mut one, mut two) = (expect(&mut pipelines, 2), expect(&mut pipelines, 1));
        pipelines.expect_nothing_of(1);
        pipelines.take(Reply(b":1\r\n"));
        pipelines.give_up(&late_cause());
        for outcome in [&mut one, &mut two] {
            assert!(matches!(outcome.now_or_never(), Some(Ok(Err(SendError::Unknown(_))))));
        }
        assert!(pipelines.are_answered());
        let (done, outcome) = oneshot::channel();
        pipelines.begin(Instant::now());
        pipelines.expect(Commands::default(), done);
        assert!(outcome.now_or_never().is_some(), "who waiting for nothing is not kept");
    }
}
