//! A thread that writes to a file.

use std::{fmt, io, thread};

use tokio::sync::{mpsc, oneshot};

/// The maximum number of jobs in one commit, so that none waits long for the others.
const MAX_JOBS_PER_COMMIT: usize = 1_024;

/// The maximum number of jobs waiting for the thread: two full commits. Further ones wait for their turn.
const WAITING_JOBS: usize = 2 * MAX_JOBS_PER_COMMIT;

/// A thread that commits jobs in batches: those that queue during a commit share the next one, and its `fsync`.
///
/// Dropping it waits for pending jobs.
pub(super) struct WriterThread<J> {
    /// Taken when dropped, which ends the thread.
    jobs: Option<mpsc::Sender<J>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl<J: Send + 'static> WriterThread<J> {
    /// Starts a thread of this name, which passes each batch to `commit`.
    pub(super) fn start(name: &str, mut commit: impl FnMut(Vec<J>) + Send + 'static) -> io::Result<Self> {
        let (jobs, mut waiting) = mpsc::channel(WAITING_JOBS);
        let run = move || {
            while let Some(first) = waiting.blocking_recv() {
                let mut batch = vec![first];
                while batch.len() < MAX_JOBS_PER_COMMIT
                    && let Ok(next) = waiting.try_recv()
                {
                    batch.push(next);
                }
                commit(batch);
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Passes a job to the thread and waits for its result. Returns `None` if it was not accepted.
    pub(super) async fn submit<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<T>) -> J,
    ) -> Option<Result<T, oneshot::error::RecvError>> {
        let (done, result) = oneshot::channel();
        self.jobs.as_ref()?.send(job(done)).await.ok()?;
        Some(result.await)
    }
}

impl<J> fmt::Debug for WriterThread<J> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WriterThread").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl<J> Drop for WriterThread<J> {
    /// Waits for the thread, so that the file can be opened again at once.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc as std_mpsc};

    use super::*;

    type Job = (usize, oneshot::Sender<usize>);

    /// Starts a thread that notes the size of each batch, and continues with the next one when it receives from `go`.
    fn start(go: std_mpsc::Receiver<()>) -> (WriterThread<Job>, Arc<Mutex<Vec<usize>>>) {
        let batches = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&batches);
        let thread = WriterThread::start("test", move |batch: Vec<Job>| {
            noted.lock().unwrap().push(batch.len());
            let _ = go.recv();
            for (job, done) in batch {
                let _ = done.send(job);
            }
        });
        (thread.unwrap(), batches)
    }

    #[tokio::test]
    async fn jobs_that_queue_during_a_commit_share_the_next_one() {
        let (go, gone) = std_mpsc::channel();
        let (thread, batches) = start(gone);
        let mut submitted: Vec<_> = (0..MAX_JOBS_PER_COMMIT + 3)
            .map(|job| Box::pin(thread.submit(move |done| (job, done))))
            .collect();
        assert!(futures_util::poll!(&mut submitted[0]).is_pending());
        while batches.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        // Unconstrained: tokio lets a task send no more than 128 times before it yields.
        tokio::task::unconstrained(async {
            for job in &mut submitted[1..] {
                assert!(futures_util::poll!(job).is_pending());
            }
        })
        .await;
        drop(go);
        for (number, job) in submitted.into_iter().enumerate() {
            assert_eq!(job.await, Some(Ok(number)));
        }
        assert_eq!(*batches.lock().unwrap(), [1, MAX_JOBS_PER_COMMIT, 2]);
    }

    #[tokio::test]
    async fn dropping_waits_for_what_was_submitted() {
        let (go, gone) = std_mpsc::channel();
        let (thread, batches) = start(gone);
        let (done, result) = oneshot::channel();
        thread.jobs.as_ref().unwrap().send((7, done)).await.unwrap();
        drop(go);
        drop(thread);
        assert_eq!(result.await, Ok(7));
        assert_eq!(*batches.lock().unwrap(), [1]);
    }

    #[tokio::test]
    async fn a_job_without_a_result_is_told_from_one_that_was_not_accepted() {
        let thread = WriterThread::start("test", |batch: Vec<oneshot::Sender<()>>| {
            assert!(batch.is_empty(), "as a bug would end the thread");
        });
        let thread = thread.unwrap();
        assert!(matches!(thread.submit(|done| done).await, Some(Err(_))));
        // The channel closes a moment after the batch is dropped.
        while thread.submit(|done| done).await.is_some() {}
    }
}
