//! Message ids, issued while a leased node number is held.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{Cluster, RoutesError},
    id::{MessageId, NodeId},
};

/// How far ids may run ahead of the clock: a clock that stepped back, or more than a million ids in a second.
const MAX_AHEAD_MS: u64 = 1000;

/// No id can be issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The lease of the node number ran out, because Redis could not be reached for that long.
    #[error("no message id can be issued: the lease of this process's node number has run out")]
    NoLease,
    /// The clock stepped back, so ids could repeat.
    #[error("no message id can be issued: the clock is {behind_ms} ms behind ids that were issued already")]
    ClockBehind {
        /// By how much.
        behind_ms: u64,
    },
}

/// Issues ids under the node number that is held.
#[derive(Debug)]
pub(super) struct Ids {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    node: NodeId,
    /// The time in the last id, and how many were issued with it.
    last_ms: u64,
    issued: u16,
    /// By the process's own clock, which does not step.
    valid_until: Instant,
    /// By the wall clock: what the store was told. Whoever gets the number next starts behind it.
    ceiling_ms: u64,
}

impl State {
    fn next(&mut self, now: Instant, now_ms: u64) -> Result<MessageId, IdError> {
        if now >= self.valid_until {
            return Err(IdError::NoLease);
        }
        let (time, sequence) = self.following(now_ms);
        if time > now_ms + MAX_AHEAD_MS {
            return Err(IdError::ClockBehind { behind_ms: time - now_ms });
        }
        if time > self.ceiling_ms {
            return Err(IdError::NoLease);
        }
        (self.last_ms, self.issued) = (time, sequence + 1);
        Ok(MessageId::from_parts(time, self.node, sequence))
    }

    /// The next free pair of time and sequence: never before the last one.
    fn following(&self, now_ms: u64) -> (u64, u16) {
        if now_ms > self.last_ms {
            (now_ms, 0)
        } else if self.issued < MessageId::PER_MS {
            (self.last_ms, self.issued)
        } else {
            (self.last_ms + 1, 0)
        }
    }
}

impl Ids {
    /// Leases a node number.
    pub(super) async fn lease(
        cluster: &Cluster,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<Self>, RoutesError> {
        let state = lease(cluster, owner, ttl).await?;
        Ok(state.map(|state| Self { state: Mutex::new(state) }))
    }

    /// The next id.
    pub(super) fn next(&self) -> Result<MessageId, IdError> {
        self.lock().next(Instant::now(), unix_ms())
    }

    pub(super) fn node(&self) -> NodeId {
        self.lock().node
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews the lease until `stop`, and takes another number when it was lost.
    pub(super) async fn keep(&self, cluster: &Cluster, owner: &str, ttl: Duration, stop: CancellationToken) {
        let mut ticks = interval(ttl / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                biased; // Nothing is renewed after the end.
                () = stop.cancelled() => break,
                _ = ticks.tick() => self.renew(cluster, owner, ttl).await,
            }
        }
        let _ = cluster.routes().release_node(owner, self.node()).await;
    }

    async fn renew(&self, cluster: &Cluster, owner: &str, ttl: Duration) {
        let (asked, floor) = (Instant::now(), unix_ms() + millis(ttl));
        match cluster.routes().renew_node(owner, self.node(), ttl, floor).await {
            Ok(true) => {
                let mut state = self.lock();
                (state.valid_until, state.ceiling_ms) = (asked + ttl, floor);
            }
            Ok(false) => self.replace(cluster, owner, ttl).await,
            Err(error) => tracing::warn!(%error, "cannot renew the lease of the node number"),
        }
    }

    async fn replace(&self, cluster: &Cluster, owner: &str, ttl: Duration) {
        match lease(cluster, owner, ttl).await {
            Ok(Some(state)) => {
                tracing::warn!(node = state.node.get(), "the node number was lost; another one is used now");
                *self.lock() = state;
            }
            Ok(None) => tracing::error!("all node numbers are taken: no message ids can be issued"),
            Err(error) => tracing::warn!(%error, "cannot lease a node number"),
        }
    }
}

async fn lease(cluster: &Cluster, owner: &str, ttl: Duration) -> Result<Option<State>, RoutesError> {
    let (asked, floor) = (Instant::now(), unix_ms() + millis(ttl));
    let lease = cluster.routes().lease_node(owner, ttl, floor).await?;
    Ok(lease.map(|lease| State {
        node: lease.node,
        last_ms: lease.after_ms,
        issued: MessageId::PER_MS,
        valid_until: asked + ttl,
        ceiling_ms: floor,
    }))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The wall clock, in milliseconds since the Unix epoch.
pub(super) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn state() -> State {
        State {
            node: NodeId::new(7).unwrap(),
            last_ms: NOW - 10_000,
            issued: MessageId::PER_MS,
            valid_until: Instant::now() + Duration::from_secs(30),
            ceiling_ms: NOW + 30_000,
        }
    }

    #[test]
    fn ids_rise_within_and_over_milliseconds() {
        let mut state = state();
        let mut last = None;
        for step in 0..5000 {
            let id = state.next(Instant::now(), NOW + step / 100).unwrap();
            assert!(last < Some(id));
            last = Some(id);
        }
    }

    #[test]
    fn a_full_millisecond_borrows_from_the_next() {
        let mut state = state();
        let ids: Vec<_> = (0..1500).map(|_| state.next(Instant::now(), NOW).unwrap()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert_eq!(ids[1499].unix_ms(), NOW + 1);
    }

    #[test]
    fn a_small_step_back_is_bridged_and_a_large_one_stops() {
        let mut state = state();
        let first = state.next(Instant::now(), NOW).unwrap();
        assert!(state.next(Instant::now(), NOW - 500).unwrap() > first);
        assert_eq!(state.next(Instant::now(), NOW - 5000), Err(IdError::ClockBehind { behind_ms: 5000 }));
        assert!(state.next(Instant::now(), NOW).is_ok(), "it goes on once the clock has caught up");
    }

    #[test]
    fn nothing_is_issued_at_or_below_what_the_last_holder_may_have_used() {
        let mut state = State { last_ms: NOW + 200, ..state() };
        assert_eq!(state.next(Instant::now(), NOW).unwrap().unix_ms(), NOW + 201);
        let mut state = State { last_ms: NOW + 20_000, ..state };
        assert!(matches!(state.next(Instant::now(), NOW), Err(IdError::ClockBehind { .. })));
    }

    #[test]
    fn nothing_is_issued_after_the_lease() {
        let mut state = state();
        let end = state.valid_until;
        assert_eq!(state.next(end, NOW), Err(IdError::NoLease));
        assert_eq!(state.next(Instant::now(), NOW + 30_001), Err(IdError::NoLease));
    }
}
