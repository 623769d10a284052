//! Message ids, issued under a leased node number.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{Cluster, RoutesError},
    id::{MessageId, NodeId},
};

/// The time by which ids may run ahead of the clock, because it was set back or more than a million
/// ids were issued in a second.
const MAX_AHEAD_MS: u64 = 1000;

/// The pause between two attempts to lease a node number, while there is none.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// No message id can be issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The lease of the node number ran out, because Redis could not be reached for that long.
    #[error(
        "no message id can be issued: the lease of this process's node number has run out, because Redis could not be \
         reached for so long; send again when it answers"
    )]
    NoLease,
    /// The cluster's clock was set back, and no other node number could be leased.
    #[error(
        "no message id can be issued: the cluster's clock is {behind_ms} ms behind ids that were issued already, and \
         no other node number could be leased yet; send again, and look at the clock of the Redis that keeps the routes"
    )]
    ClockBehind {
        /// The time by which the clock is behind.
        behind_ms: u64,
    },
    /// This machine's clock was set, or the machine was suspended, and Redis has not told the
    /// cluster's time since.
    #[error(
        "no message id can be issued: the cluster's time is not known, because Redis did not tell it since this \
         machine's clock was set; send again when it answers"
    )]
    NoTime,
}

/// Issues ids under the leased node number, with the times of the cluster's clock.
#[derive(Debug)]
pub(in crate::backend) struct Ids {
    cluster: Cluster,
    owner: String,
    ttl: Duration,
    state: Mutex<State>,
    /// Held while another number is leased, so that many senders lease one together.
    replacing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    node: NodeId,
    /// The time in the last id, and the number of ids with this time.
    last_ms: u64,
    issued: u16,
    /// By the process's own clock, which is never set.
    valid_until: Instant,
    /// The time on the cluster's clock that the store was told. The next owner of the number starts
    /// behind it, so no id is issued twice, however wrong this process is about the time.
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

    /// Returns the next free pair of time and sequence, never before the last one.
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
    /// Leases a node number. `owner` must be unique.
    pub(in crate::backend) async fn lease(
        cluster: &Cluster,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<Self>, RoutesError> {
        let Some(state) = lease(cluster, owner, ttl).await? else { return Ok(None) };
        let (cluster, owner, state) = (cluster.clone(), owner.to_owned(), Mutex::new(state));
        Ok(Some(Self { cluster, owner, ttl, state, replacing: tokio::sync::Mutex::default() }))
    }

    /// Returns the next id, nearly always without waiting.
    pub(in crate::backend) async fn next(&self) -> Result<MessageId, IdError> {
        match self.cluster.clock().now_ms().map(|now_ms| self.issue(now_ms)) {
            Some(Ok(id)) => Ok(id),
            Some(Err(IdError::NoLease)) => Err(IdError::NoLease),
            // Boxed: a rare future must not enlarge every send.
            _ => Box::pin(self.next_of_a_stepped_clock()).await,
        }
    }

    /// Issues an id after the wall clock or the cluster's clock was set.
    async fn next_of_a_stepped_clock(&self) -> Result<MessageId, IdError> {
        let clock = self.cluster.clock();
        let now_ms = clock.read().await.map_err(|_| IdError::NoTime)?;
        match self.issue(now_ms) {
            Err(IdError::ClockBehind { .. }) => {}
            issued => return issued,
        }
        let _replacing = self.replacing.lock().await;
        let now_ms = clock.now_ms().unwrap_or(now_ms);
        match self.issue(now_ms) {
            // No other task has replaced the number meanwhile.
            Err(IdError::ClockBehind { .. }) => {}
            issued => return issued,
        }
        self.replace("its last ids are ahead of the cluster's clock").await;
        self.issue(clock.now_ms().unwrap_or(now_ms))
    }

    fn issue(&self, now_ms: u64) -> Result<MessageId, IdError> {
        self.lock().next(Instant::now(), now_ms)
    }

    pub(in crate::backend) fn node(&self) -> NodeId {
        self.lock().node
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews the lease until `stop`, and leases another number when it is lost.
    pub(in crate::backend) async fn keep(&self, stop: CancellationToken) {
        let mut pause = self.ttl / 3;
        loop {
            tokio::select! {
                biased; // Nothing is renewed after the end.
                () = stop.cancelled() => break,
                () = sleep(pause) => {}
            }
            let renewed = self.renew().await;
            pause = if renewed { self.ttl / 3 } else { RETRY_INTERVAL.min(self.ttl / 3) };
        }
        let _ = self.cluster.routes().release_node(&self.owner, self.node()).await;
    }

    /// Returns `false` if the lease was not extended.
    async fn renew(&self) -> bool {
        let asked = Instant::now();
        let renewed = async {
            let floor = self.cluster.clock().sample().await? + millis(self.ttl);
            // No other task replaces the number meanwhile.
            let _replacing = self.replacing.lock().await;
            let node = self.node();
            let renewed = self.cluster.routes().renew_node(&self.owner, node, self.ttl, floor).await?;
            Ok::<_, RoutesError>(renewed.then_some(floor))
        };
        match renewed.await {
            Ok(Some(floor)) => {
                let mut state = self.lock();
                (state.valid_until, state.ceiling_ms) = (asked + self.ttl, floor);
                true
            }
            Ok(None) => {
                let _replacing = self.replacing.lock().await;
                self.replace("its lease was lost").await
            }
            Err(error) => {
                tracing::warn!(%error, "cannot renew the lease of the node number");
                false
            }
        }
    }

    /// Leases another number and gives the last one back. Returns `false` if there was none. The
    /// caller holds `replacing`.
    async fn replace(&self, reason: &'static str) -> bool {
        match lease(&self.cluster, &self.owner, self.ttl).await {
            Ok(Some(state)) => {
                let node = state.node.get();
                let last = std::mem::replace(&mut *self.lock(), state);
                tracing::warn!(
                    node,
                    last = last.node.get(),
                    reason,
                    "another node number is used from now on"
                );
                let _ = self.cluster.routes().release_node(&self.owner, last.node).await;
                true
            }
            Ok(None) => {
                tracing::error!("all node numbers are taken: no message ids can be issued");
                false
            }
            Err(error) => {
                tracing::warn!(%error, "cannot lease a node number");
                false
            }
        }
    }
}

async fn lease(cluster: &Cluster, owner: &str, ttl: Duration) -> Result<Option<State>, RoutesError> {
    let asked = Instant::now();
    let floor = cluster.clock().sample().await? + millis(ttl);
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

/// Returns the cluster's time in milliseconds since the Unix epoch, or this machine's if the cluster's
/// is unknown at the moment.
pub(in crate::backend) fn now_ms(cluster: &Cluster) -> u64 {
    cluster.clock().now_ms().unwrap_or_else(unix_ms)
}

pub(in crate::backend) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::{Clock, MemoryRoutes, SetClocks};

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

    const HOUR: i64 = 3_600_000;
    const TTL: Duration = Duration::from_secs(30);

    /// A store whose clock stands at `NOW`, clocks of a machine with this skew of the wall clock, and its
    /// ids.
    async fn ids(skew_ms: i64) -> (MemoryRoutes, Arc<SetClocks>, Ids) {
        let (routes, local) = (MemoryRoutes::new(), SetClocks::at(NOW));
        routes.set_time(NOW);
        local.set_by(skew_ms);
        let ids = ids_of(&routes, &local, "be-1").await;
        (routes, local, ids)
    }

    async fn ids_of(routes: &MemoryRoutes, local: &Arc<SetClocks>, owner: &str) -> Ids {
        let clock = Clock::with_local(Arc::new(routes.clone()), local.clone());
        let cluster = Cluster::embedded().with_routes(Arc::new(routes.clone()), clock);
        Ids::lease(&cluster, owner, TTL).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn two_back_ends_whose_clocks_are_apart_order_ids_as_they_were_issued() {
        let (routes, ahead) = (MemoryRoutes::new(), SetClocks::at(NOW));
        routes.set_time(NOW);
        ahead.set_by(3 * 60_000);
        let right = SetClocks::at(NOW);
        let (fast, slow) = (ids_of(&routes, &ahead, "be-1").await, ids_of(&routes, &right, "be-2").await);
        let question = fast.next().await.unwrap();
        ahead.pass(10);
        right.pass(10);
        let answer = slow.next().await.unwrap();
        assert!(question < answer, "{} {}", question.unix_ms(), answer.unix_ms());
        ahead.pass(10);
        assert!(answer < fast.next().await.unwrap());
    }

    #[tokio::test]
    async fn a_wall_clock_that_is_set_refuses_nothing() {
        for (skew, step) in [(HOUR, -HOUR), (0, -HOUR), (0, HOUR), (0, 31 * 24 * HOUR)] {
            let (routes, local, ids) = ids(skew).await;
            let first = ids.next().await.unwrap();
            assert_eq!(first.unix_ms(), NOW);
            local.pass(100);
            local.set_by(step);
            routes.set_time(NOW + 100);
            let second = ids.next().await.unwrap();
            assert_eq!((second.unix_ms(), second.node()), (NOW + 100, first.node()));
        }
    }

    #[tokio::test]
    async fn a_cluster_clock_that_is_set_back_costs_the_node_number_alone() {
        let (routes, _, ids) = ids(0).await;
        let before = ids.next().await.unwrap();
        routes.set_time(NOW - 3_600_000);
        ids.cluster.clock().sample().await.unwrap();
        let after = ids.next().await.unwrap();
        assert_eq!(after.unix_ms(), NOW - 3_600_000);
        assert_ne!(after.node(), before.node(), "its number has a floor in the future");
        assert!(ids.next().await.unwrap() > after);
    }

    #[tokio::test]
    async fn a_machine_that_was_suspended_issues_nothing_under_a_number_that_another_may_hold() {
        let (routes, local, ids) = ids(0).await;
        ids.next().await.unwrap();
        // The monotonic clock stands still while the machine is suspended.
        local.set_by(HOUR);
        routes.set_time(NOW + 3_600_000);
        assert_eq!(ids.next().await, Err(IdError::NoLease));
        // Nor if the store cannot tell the time.
        local.set_by(HOUR);
        routes.set_away(true);
        assert_eq!(ids.next().await, Err(IdError::NoTime));
    }
}
