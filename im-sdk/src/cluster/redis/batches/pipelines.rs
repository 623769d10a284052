//! What was sent on a connection, and who waits for which of its answers.

use std::{collections::VecDeque, sync::Arc};

use redis::{RedisError, RedisResult};
use tokio::{sync::oneshot, time::Instant};

use super::{Answered, SendError};
use crate::cluster::redis::resp::{Answer, Answers, Commands};

/// Why all of a pipeline failed.
pub(super) type Cause = Arc<dyn std::error::Error + Send + Sync>;

type Done = oneshot::Sender<Result<Answered, SendError>>;

/// See the module's description.
pub(super) struct Pipelines {
    sent: VecDeque<Pipeline>,
    /// With replicas, the last answer of each pipeline is that to its `WAIT`.
    replicas: usize,
}

struct Pipeline {
    deadline: Instant,
    /// Nobody waits for it any more. Its answers are yet to come.
    is_late: bool,
    asks: VecDeque<Waiting>,
    /// Who waits for the replicas.
    answered: Vec<Waiting>,
}

/// Somebody who waits for so many answers.
struct Waiting {
    missing: usize,
    answers: Answers,
    /// `None`: nobody does.
    done: Option<Done>,
}

impl Pipelines {
    pub(super) fn new(replicas: usize) -> Self {
        Self { sent: VecDeque::new(), replicas }
    }

    /// What is expected from now on is of another pipeline.
    pub(super) fn begin(&mut self, deadline: Instant) {
        let (asks, answered) = (VecDeque::new(), Vec::new());
        self.sent.push_back(Pipeline { deadline, is_late: false, asks, answered });
    }

    /// Somebody waits for the answers to these.
    pub(super) fn expect(&mut self, commands: Commands, done: Done) {
        let missing = commands.count();
        self.add(Waiting { missing, answers: Answers(commands.into_room()), done: Some(done) });
    }

    /// Nobody waits for so many answers.
    pub(super) fn expect_nothing_of(&mut self, answers: usize) {
        self.add(Waiting { missing: answers, answers: Answers::default(), done: None });
    }

    fn add(&mut self, waiting: Waiting) {
        // Whoever asks for nothing waits for ever.
        if let Some(pipeline) = self.sent.back_mut().filter(|_| waiting.missing > 0) {
            pipeline.asks.push_back(waiting);
        }
    }

    /// How many pipelines somebody waits for.
    pub(super) fn under_way(&self) -> usize {
        self.sent.iter().filter(|pipeline| !pipeline.is_late).count()
    }

    pub(super) fn are_answered(&self) -> bool {
        self.under_way() == 0
    }

    /// When the first of them will be late.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sent.iter().find(|pipeline| !pipeline.is_late).map(|pipeline| pipeline.deadline)
    }

    /// Hands out the next answer.
    pub(super) fn take(&mut self, answer: Answer<'_>) {
        let Some(pipeline) = self.sent.front_mut() else {
            return tracing::warn!("Redis answered what was not asked");
        };
        let Some(waiting) = pipeline.asks.front_mut() else {
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
        let waiting = pipeline.asks.pop_front();
        if self.replicas > 0 {
            pipeline.answered.extend(waiting);
            return;
        }
        if pipeline.asks.is_empty() {
            self.sent.pop_front();
        }
        if let Some(waiting) = waiting {
            waiting.done(Ok(0));
        }
    }

    /// Tells those who have waited for too long, and whether there were any.
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

    /// There will be no answers any more.
    pub(super) fn give_up(&mut self, cause: &Cause) {
        for mut pipeline in self.sent.drain(..) {
            pipeline.refuse(cause);
        }
    }
}

impl Pipeline {
    fn refuse(&mut self, cause: &Cause) {
        for waiting in self.answered.iter_mut().chain(&mut self.asks) {
            if let Some(done) = waiting.done.take() {
                let _ = done.send(Err(SendError::Unknown(Box::new(Refused(Arc::clone(cause))))));
            }
        }
    }
}

impl Waiting {
    fn done(self, replicas: RedisResult<usize>) {
        if let Some(done) = self.done {
            // Whoever asked may have gone.
            let _ = done.send(Ok(Answered { answers: self.answers, replicas }));
        }
    }
}

fn acknowledged(answer: Answer<'_>) -> RedisResult<usize> {
    // Such as an error when the server became a replica itself.
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

    type Receiver = oneshot::Receiver<Result<Answered, SendError>>;

    fn late_cause() -> Cause {
        Arc::new(std::io::Error::from(std::io::ErrorKind::TimedOut))
    }

    fn expect(pipelines: &mut Pipelines, commands: usize) -> Receiver {
        let (done, outcome) = oneshot::channel();
        let mut asked = Commands::default();
        (0..commands).for_each(|_| asked.add(&[b"PING"]));
        pipelines.expect(asked, done);
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
        let mut pipelines = Pipelines::new(0);
        let later = Instant::now() + Duration::from_secs(1);
        pipelines.begin(later);
        let (mut one, mut two) = (expect(&mut pipelines, 1), expect(&mut pipelines, 2));
        pipelines.begin(later);
        let mut three = expect(&mut pipelines, 1);
        assert_eq!(pipelines.under_way(), 2);
        pipelines.take(Answer(b":1\r\n"));
        assert_eq!(answers(&mut one).unwrap().0, texts(&[":1\r\n"]));
        pipelines.take(Answer(b":2\r\n"));
        assert!(answers(&mut two).is_none());
        pipelines.take(Answer(b"-ERR 3\r\n"));
        assert_eq!(answers(&mut two).unwrap().0, texts(&[":2\r\n", "-ERR 3\r\n"]));
        assert_eq!((pipelines.under_way(), answers(&mut three).is_none()), (1, true));
        pipelines.take(Answer(b":4\r\n"));
        assert_eq!(answers(&mut three).unwrap().0, texts(&[":4\r\n"]));
        assert!(pipelines.are_answered() && pipelines.deadline().is_none());
        pipelines.take(Answer(b":5\r\n"));
    }

    #[test]
    fn who_wants_replicas_is_told_behind_the_last_answer() {
        for (last, acknowledged) in [(":2\r\n", Some(2)), ("-ERR a replica\r\n", None)] {
            let mut pipelines = Pipelines::new(1);
            pipelines.begin(Instant::now());
            let (mut one, mut two) = (expect(&mut pipelines, 1), expect(&mut pipelines, 1));
            pipelines.take(Answer(b":1\r\n"));
            pipelines.take(Answer(b":1\r\n"));
            assert!(answers(&mut one).is_none());
            pipelines.take(Answer(last.as_bytes()));
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
            let mut pipelines = Pipelines::new(replicas);
            pipelines.begin(now);
            let mut late = expect(&mut pipelines, 1);
            pipelines.begin(now + Duration::from_secs(1));
            let mut patient = expect(&mut pipelines, 1);
            assert!(pipelines.expire(now, &late_cause()) && !pipelines.expire(now, &late_cause()));
            assert!(matches!((&mut late).now_or_never(), Some(Ok(Err(SendError::Unknown(_))))));
            assert_eq!(pipelines.under_way(), 1);
            pipelines.take(Answer(b"+late\r\n"));
            (0..replicas).for_each(|_| pipelines.take(Answer(b":0\r\n")));
            assert!(answers(&mut patient).is_none());
            pipelines.take(Answer(b"+patient\r\n"));
            (0..replicas).for_each(|_| pipelines.take(Answer(b":3\r\n")));
            assert_eq!(answers(&mut patient).unwrap().0, texts(&["+patient\r\n"]));
        }
    }

    #[test]
    fn a_lost_connection_leaves_nobody_waiting() {
        let mut pipelines = Pipelines::new(0);
        pipelines.begin(Instant::now());
        let (mut one, mut two) = (expect(&mut pipelines, 2), expect(&mut pipelines, 1));
        pipelines.expect_nothing_of(1);
        pipelines.take(Answer(b":1\r\n"));
        pipelines.give_up(&late_cause());
        for outcome in [&mut one, &mut two] {
            assert!(matches!(outcome.now_or_never(), Some(Ok(Err(SendError::Unknown(_))))));
        }
        assert!(pipelines.are_answered());
        let (done, outcome) = oneshot::channel();
        pipelines.begin(Instant::now());
        pipelines.expect(Commands::default(), done);
        assert!(outcome.now_or_never().is_some(), "who asks for nothing is not kept");
    }
}
