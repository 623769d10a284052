//! Waiting for devices' acknowledgements.
//!
//! Backends store acknowledgements and tell each other. A waiting task subscribes first, then reads
//! the stored acknowledgements, and then receives the news, from whichever backend and server they
//! come. The bus may lose some, so the store is read again once a second.

mod ack_progress;
mod report;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, timeout, timeout_at};

pub use self::report::{AckError, AckOutcome, AckReport, DeviceState};
pub(in crate::backend) use self::watch::AckWatch;
use self::{
    ack_progress::AckProgress,
    watch::{Waiting, Want},
};
use super::{device::UserDevice, dispatch::Dispatcher, receipt::Receipt};
use crate::{
    cluster::{AckQuery, LogError, LogId},
    id::UserId,
};

/// The longest wait. Nobody waits longer than a year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The interval in which the store is read again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// The time that is allowed beyond the deadline for the first and the last read of the store, and
/// for locating devices.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// The number of users in one read.
const PAGE: usize = 1024;

/// Waits for devices to acknowledge messages.
#[derive(Debug)]
pub(in crate::backend) struct AckTracker {
    pub(super) watch: Arc<AckWatch>,
    dispatcher: Arc<Dispatcher>,
}

impl AckTracker {
    pub(in crate::backend) fn new(watch: AckWatch, dispatcher: Arc<Dispatcher>) -> Self {
        Self { watch: Arc::new(watch), dispatcher }
    }

    /// Waits for acknowledgements. See [`Im::wait_acked`](crate::backend::Im::wait_acked).
    pub(in crate::backend) async fn wait_acked(
        &self,
        receipt: &Receipt,
        within: Duration,
    ) -> Result<AckReport, AckError> {
        let deadline = Instant::now() + within.min(LONGEST);
        let watch = Arc::clone(&self.watch);
        if receipt.channel.is_some() {
            return Err(AckError::Channel);
        }
        let wants = wants(receipt);
        if wants.is_empty() {
            return Err(AckError::Transient);
        }
        let stop = watch.stop().clone();
        let waiting = watch.clone().wait(wants).await.ok_or(AckError::TooMany)?;
        let mut progress = AckProgress::of(receipt);
        tokio::select! {
            biased; // Nothing is known after the end.
            () = stop.cancelled() => return Err(AckError::Ended),
            () = self.wait(&watch, &waiting, &mut progress, deadline) => {}
        }
        drop(waiting);
        _ = timeout(LAST_LOOK, progress.find_gone(&self.dispatcher)).await;
        Ok(progress.report(receipt))
    }

    /// Waits until every device has acknowledged its message, or the time is over.
    async fn wait(&self, watch: &AckWatch, waiting: &Waiting, progress: &mut AckProgress, deadline: Instant) {
        let everybody = waiting.wants().keys().cloned().collect();
        let first_look = deadline.max(Instant::now() + LAST_LOOK);
        read(watch, waiting, progress, everybody, first_look).await;
        _ = timeout_at(first_look, progress.locate(&self.dispatcher)).await;
        while !progress.is_over() && Instant::now() < deadline {
            let read_again = deadline.min(Instant::now() + READ_AGAIN);
            if !hear(waiting, progress, read_again).await {
                _ = timeout_at(deadline, progress.locate(&self.dispatcher)).await;
                read(watch, waiting, progress, progress.open(), deadline).await;
            }
        }
        // News may have been lost until now, also of devices that are not waited for.
        let acked = progress.acked();
        let without = waiting.wants().keys().filter(|user| !acked.contains(user)).cloned();
        let unclear = without.chain(progress.open()).collect();
        read(watch, waiting, progress, unclear, Instant::now() + LAST_LOOK).await;
    }
}

/// Returns the entry in each recipient's inbox.
fn wants(receipt: &Receipt) -> BTreeMap<UserId, Want> {
    let inbox =
        |(user, seq): &(UserId, u64)| (user.clone(), Want { log: LogId::Inbox(user.clone()), seq: *seq });
    receipt.logged.iter().map(inbox).collect()
}

/// Receives news until all devices have acknowledged the message. Returns `false` if they have not
/// by `until`.
async fn hear(waiting: &Waiting, progress: &mut AckProgress, until: Instant) -> bool {
    loop {
        progress.note(waiting.take());
        if progress.is_over() {
            return true;
        }
        if timeout_at(until, waiting.changed()).await.is_err() {
            return false;
        }
    }
}

/// Reads the stored acknowledgements of these users.
async fn read(
    watch: &AckWatch,
    waiting: &Waiting,
    progress: &mut AckProgress,
    users: BTreeSet<UserId>,
    until: Instant,
) {
    let question = |user: UserId| {
        let Want { log, seq } = waiting.wants().get(&user)?.clone();
        Some(AckQuery { user, log, seq })
    };
    let questions: Vec<AckQuery> = users.into_iter().filter_map(question).collect();
    for page in questions.chunks(PAGE) {
        match timeout_at(until, read_page(watch, page)).await {
            Ok(Ok(acked)) => progress.note(acked),
            Ok(Err(error)) => return tracing::warn!(%error, "cannot read acknowledgements"),
            Err(_) => return,
        }
    }
    progress.note(waiting.take());
}

async fn read_page(watch: &AckWatch, questions: &[AckQuery]) -> Result<Vec<UserDevice>, LogError> {
    let store = watch.cluster().log();
    let found = store.acked(questions).await?;
    // A seq beyond the log's end is of a branch that was lost, and does not count for the present
    // one. The ends are read after the acknowledgements, so that true ones stay true.
    let beyond = questions.iter().zip(&found);
    let beyond = beyond.filter(|(question, found)| found.iter().any(|(_, seq)| *seq > question.seq));
    let logs: BTreeSet<&LogId> = beyond.map(|(question, _)| &question.log).collect();
    let logs: Vec<LogId> = logs.into_iter().cloned().collect();
    let ends = if logs.is_empty() { Vec::new() } else { store.ends(&logs).await? };
    let lasts: BTreeMap<&LogId, u64> = logs.iter().zip(ends.iter().map(|ends| ends.last)).collect();
    let devices = questions.iter().zip(found).flat_map(|(question, found)| {
        let last = lasts.get(&question.log).copied().unwrap_or(question.seq);
        let real = found.into_iter().filter(move |(_, seq)| *seq <= last);
        real.map(|(device, _)| UserDevice::new(&question.user, device))
    });
    Ok(devices.collect())
}

#[cfg(test)]
mod tests;
