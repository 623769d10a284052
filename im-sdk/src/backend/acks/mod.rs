//! Waiting for devices' acknowledgements: the last rung of a receipt.
//!
//! Back ends store what devices acknowledge and tell each other. Whoever waits listens first, then reads what is stored,
//! and then hears the news, from whichever back end and by whichever server they come. The bus may drop them, so what is
//! stored is read again once a second.

mod awaited;
mod report;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::{Instant, timeout, timeout_at};

pub use self::report::{AckError, AckOutcome, AckReport, DeviceState};
pub(super) use self::watch::AckWatch;
use self::{
    awaited::Awaited,
    watch::{Waiting, Want},
};
use super::{
    im::{Im, Inner},
    receipt::{Receipt, UserDevice},
};
use crate::{
    cluster::{AckQuery, LogError, LogId},
    id::UserId,
};

/// The longest wait. Whoever wants to wait longer than for a year does not mind.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How often what is stored is read again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// How long a question may take though the time is over: the first and the last one of what is stored, and who is still
/// connected.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// How many users are asked for at once.
const PAGE: usize = 1024;

/// The `Im` that a receipt comes from. It does not keep it alive.
#[derive(Clone, Default)]
pub(super) struct Origin(Weak<Inner>);

impl Origin {
    pub(super) fn new(im: &Im) -> Self {
        Self(Arc::downgrade(&im.inner))
    }

    fn im(&self) -> Option<Im> {
        self.0.upgrade().map(|inner| Im { inner })
    }
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Origin")
    }
}

/// Two receipts that say the same are the same.
impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Origin {}

impl Receipt {
    /// Waits until the message has come to an end with every device: until all that were connected when it was sent have
    /// acknowledged it, or the time is over. With nobody connected it does not wait. With [`Duration::ZERO`] it tells what is
    /// known already. Users who [could not be located](Receipt::unlocated) are looked for again, and then waited for like the
    /// others.
    ///
    /// A device counts as having acknowledged the message wherever it got it: pushed, or by a sync over another
    /// connection to another server. A device that was not connected is not waited for; if it acknowledges the message
    /// while others are waited for, it counts as well. Acknowledgements are what the devices say.
    ///
    /// # Errors
    /// [`AckError`].
    pub async fn acked(&self, within: Duration) -> Result<AckReport, AckError> {
        let deadline = Instant::now() + within.min(LONGEST);
        let watch = Arc::clone(&self.origin.im().ok_or(AckError::Ended)?.inner.acks);
        if self.channel.is_some() {
            return Err(AckError::Channel);
        }
        let wants = self.wants();
        if wants.is_empty() {
            return Err(AckError::Live);
        }
        let stop = watch.stop().clone();
        let waiting = watch.clone().wait(wants).await.ok_or(AckError::TooMany)?;
        let mut awaited = Awaited::of(self);
        tokio::select! {
            biased; // Nothing is known after the end.
            () = stop.cancelled() => return Err(AckError::Ended),
            () = self.wait(&watch, &waiting, &mut awaited, deadline) => {}
        }
        drop(waiting);
        _ = timeout(LAST_LOOK, awaited.find_gone(&self.origin)).await;
        Ok(awaited.report(self))
    }

    /// Each recipient's entry.
    fn wants(&self) -> BTreeMap<UserId, Want> {
        let inbox =
            |(user, seq): &(UserId, u64)| (user.clone(), Want { log: LogId::Inbox(user.clone()), seq: *seq });
        self.logged.iter().map(inbox).collect()
    }

    /// Until every device has acknowledged its message, or the time is over.
    async fn wait(&self, watch: &AckWatch, waiting: &Waiting, awaited: &mut Awaited, deadline: Instant) {
        let everybody = waiting.wants().keys().cloned().collect();
        let first_look = deadline.max(Instant::now() + LAST_LOOK);
        read(watch, waiting, awaited, everybody, first_look).await;
        _ = timeout_at(first_look, awaited.locate(&self.origin)).await;
        while !awaited.is_over() && Instant::now() < deadline {
            let read_again = deadline.min(Instant::now() + READ_AGAIN);
            if !hear(waiting, awaited, read_again).await {
                _ = timeout_at(deadline, awaited.locate(&self.origin)).await;
                read(watch, waiting, awaited, awaited.open(), deadline).await;
            }
        }
        // News may have been lost until now, also of devices that nobody waits for.
        let acked = awaited.acked();
        let without = waiting.wants().keys().filter(|user| !acked.contains(user)).cloned();
        let unclear = without.chain(awaited.open()).collect();
        read(watch, waiting, awaited, unclear, Instant::now() + LAST_LOOK).await;
    }
}

/// Takes news in until all devices have acknowledged the message. False: not by then.
async fn hear(waiting: &Waiting, awaited: &mut Awaited, until: Instant) -> bool {
    loop {
        awaited.note(waiting.take());
        if awaited.is_over() {
            return true;
        }
        if timeout_at(until, waiting.changed()).await.is_err() {
            return false;
        }
    }
}

/// Reads what is stored of these users.
async fn read(
    watch: &AckWatch,
    waiting: &Waiting,
    awaited: &mut Awaited,
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
            Ok(Ok(acked)) => awaited.note(acked),
            Ok(Err(error)) => return tracing::warn!(%error, "cannot read what devices acknowledged"),
            Err(_) => return,
        }
    }
    awaited.note(waiting.take());
}

async fn read_page(watch: &AckWatch, questions: &[AckQuery]) -> Result<Vec<UserDevice>, LogError> {
    let store = watch.cluster().log();
    let found = store.acked(questions).await?;
    // A place beyond the log's end is of a branch that was lost: it says nothing of what is there now. The log is asked
    // after the places, so that what is true stays true.
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
