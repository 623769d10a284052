//! Joins and leaves, and the routes of channels. A connection counts as joined only when the route store lists this server for the
//! channel; from then on no message to the channel misses it.
//!
//! One task does all of it, one batch after the other. Changes that arrive while routes are being written therefore share the next
//! request, and a channel's joins and leaves cannot overtake each other on the way to the route store.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use im_proto::{
    close::CloseCode,
    pb::{self, JoinKind, record::Effect},
};
use im_sdk::id::{ChannelId, ConnectionId};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};

use super::Downstream;
use crate::registry::outbox::Close;

/// The maximum number of queued envelopes with joins and leaves. Each holds at most some hundred KiB of names. A join that finds no
/// room is reported as missed, and the device asks again.
const QUEUE: usize = 1024;

/// The number of envelopes that share a request to the route store.
const MAX_BATCH: usize = 256;

/// The interval at which the routes are tidied.
const TIDY_INTERVAL: Duration = Duration::from_secs(2);

/// How long a channel keeps its route without a member here. Its route must not come and go when devices reconnect in a storm.
const EMPTY_GRACE: Duration = Duration::from_secs(5);

/// The interval at which a route is written again, in case a failover of the route store has lost it.
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);

/// The maximum number of routes removed, and of routes written again, at one tick. Joins wait meanwhile.
const MAX_TIDIED: usize = 4096;

/// The time limit of one request to the route store, whatever the store's own limits are. All joins wait meanwhile.
const WRITE_TIMEOUT: Duration = Duration::from_secs(3);

/// The fallback after one request for many channels has failed: the number of concurrent requests for one channel each, and the
/// time limit of all together.
const MAX_SINGLE_WRITES: usize = 64;
const SINGLE_WRITES_TIMEOUT: Duration = Duration::from_secs(2);

/// The queue of the task that [`run`]s the changes.
#[derive(Debug)]
pub(crate) struct ChannelRoutes {
    queue: mpsc::Sender<SubscriptionChanges>,
    /// Whether written routes may have been lost.
    invalidated: AtomicBool,
}

/// An envelope's joins and leaves, and the reply that waits for them.
#[derive(Debug)]
pub(super) struct SubscriptionChanges {
    pub(super) changes: Vec<SubscriptionChange>,
    pub(super) reply: pb::Delivered,
    pub(super) reply_to: String,
}

/// A record's joins or leaves.
#[derive(Debug)]
pub(super) struct SubscriptionChange {
    /// The index of the record in the envelope.
    record: u32,
    connections: Vec<u64>,
    channels: Vec<ChannelId>,
    kind: JoinKind,
    /// The pass that a join belongs to; 0 means none.
    pass: u64,
    op: JoinOp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JoinOp {
    Join,
    /// Joins, and leaves all other channels.
    JoinOnly,
    Leave,
    /// Leaves the channels that were not joined in the pass.
    EndPass,
    /// Removes all connections from the channels, not only the named ones.
    LeaveAll,
}

impl JoinOp {
    fn joins(self) -> bool {
        matches!(self, Self::Join | Self::JoinOnly)
    }
}

impl SubscriptionChange {
    /// Returns `None` if the record is neither a join nor a leave.
    pub(super) fn from_record(index: u32, record: &pb::Record) -> Option<Self> {
        let (wanted, op) = match &record.effect {
            Some(Effect::Join(wanted)) if wanted.only => (wanted, JoinOp::JoinOnly),
            Some(Effect::Join(wanted)) => (wanted, JoinOp::Join),
            Some(Effect::Leave(wanted)) if wanted.pass != 0 => (wanted, JoinOp::EndPass),
            Some(Effect::Leave(wanted)) if record.channel.is_empty() => (wanted, JoinOp::Leave),
            Some(Effect::Leave(wanted)) => (wanted, JoinOp::LeaveAll),
            _ => return None,
        };
        let parse = |name: &String| {
            let parsed = ChannelId::parse_internal(name);
            parsed.inspect_err(|error| tracing::warn!(%error, "channel skipped: no valid name")).ok()
        };
        let everybody = std::slice::from_ref(&record.channel);
        let names = if op == JoinOp::LeaveAll { everybody } else { &wanted.channels };
        let channels = names.iter().filter_map(parse).collect();
        let connections = record.connections.clone();
        Some(Self { record: index, connections, channels, kind: wanted.kind(), pass: wanted.pass, op })
    }
}

impl ChannelRoutes {
    pub(super) fn new() -> (Self, mpsc::Receiver<SubscriptionChanges>) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (Self { queue, invalidated: AtomicBool::new(false) }, receiver)
    }

    /// Has all routes written again, by the next join or within moments, because the route store may have forgotten them.
    pub(crate) fn invalidate(&self) {
        self.invalidated.store(true, Ordering::Relaxed);
    }

    /// Queues joins and leaves. Returns them if the queue is full.
    pub(super) fn try_change(&self, changes: SubscriptionChanges) -> Result<(), Box<SubscriptionChanges>> {
        self.queue.try_send(changes).map_err(|full| Box::new(full.into_inner()))
    }
}

impl Downstream {
    /// Replies to changes that found no room. Nobody has joined. A connection that should have left is closed, since no more
    /// messages of the channel may reach it.
    pub(super) fn reject_changes(&self, rejected: SubscriptionChanges) {
        let SubscriptionChanges { changes, mut reply, reply_to } = rejected;
        if let Some(count) = self.throttles.changes_rejected.note() {
            tracing::warn!(count, "joins and leaves rejected: queue full");
        }
        let registry = &self.registry;
        for change in changes {
            if change.op == JoinOp::LeaveAll {
                change
                    .channels
                    .iter()
                    .for_each(|channel| registry.subscriptions.leave_all(channel, change.kind));
            } else if !change.op.joins() {
                let connections = change.connections.iter().filter_map(|id| registry.get(ConnectionId(*id)));
                for connection in connections {
                    connection.outbox.close(Close::new(CloseCode::Overloaded, "too many channels change"));
                }
            }
            reply.missed.push(pb::Missed { record: change.record, connections: change.connections });
        }
        self.reply(&reply_to, reply);
    }
}

/// Carries out joins and leaves, and keeps the routes up to date, until the server ends. Then it removes the server's routes.
pub(super) async fn run(downstream: Arc<Downstream>, mut queue: mpsc::Receiver<SubscriptionChanges>) {
    let mut routes = RouteTable::default();
    let mut ticks = interval(TIDY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let first = tokio::select! {
            biased; // The end comes first. Ticks are rare, and must not starve while joins arrive.
            () = downstream.lifecycle.leaving_channels.cancelled() => break,
            _ = ticks.tick() => {
                routes.invalidate_if_asked(&downstream);
                routes.tidy(&downstream, Instant::now()).await;
                continue;
            }
            first = queue.recv() => first,
        };
        routes.invalidate_if_asked(&downstream);
        let Some(first) = first else { return };
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH
            && let Ok(next) = queue.try_recv()
        {
            batch.push(next);
        }
        routes.write(&downstream, wanted(&batch)).await;
        for changes in batch {
            let reply = routes.apply(&downstream, changes.changes, changes.reply);
            downstream.reply(&changes.reply_to, reply);
        }
    }
    queue.close();
    routes.remove_all(&downstream).await;
}

/// Returns the channels that connections want to join.
fn wanted(batch: &[SubscriptionChanges]) -> HashSet<ChannelId> {
    let changes = batch.iter().flat_map(|changes| &changes.changes);
    changes.filter(|change| change.op.joins()).flat_map(|change| change.channels.iter().cloned()).collect()
}

/// This server's routes in the route store.
#[derive(Debug, Default)]
struct RouteTable {
    routes: HashMap<ChannelId, ChannelRoute>,
}

#[derive(Debug)]
struct ChannelRoute {
    /// The time of the last write; `None` if the route may be missing.
    written: Option<Instant>,
    /// The time at which a tick first found the channel without members here.
    empty_since: Option<Instant>,
}

impl RouteTable {
    fn invalidate_if_asked(&mut self, downstream: &Downstream) {
        if downstream.channel_routes.invalidated.swap(false, Ordering::Relaxed) {
            self.routes.values_mut().for_each(|route| route.written = None);
        }
    }

    /// Writes the missing routes.
    async fn write(&mut self, downstream: &Downstream, mut wanted: HashSet<ChannelId>) {
        wanted.retain(|channel| !self.is_written(channel));
        // Without its lease, this server writes no routes: backends count it as dead.
        if wanted.is_empty() || !downstream.lifecycle.holds_lease() {
            return;
        }
        let wanted: Vec<ChannelId> = wanted.into_iter().collect();
        for channel in &wanted {
            self.routes.insert(channel.clone(), ChannelRoute { written: None, empty_since: None });
        }
        let asked = Instant::now();
        if write_all(downstream, &wanted).await {
            self.note_written(&wanted, asked);
        } else if wanted.len() > 1 {
            self.write_singly(downstream, wanted, asked).await;
        }
    }

    /// Writes the routes one by one: on a Redis Cluster, one unavailable node must not fail all joins.
    async fn write_singly(&mut self, downstream: &Downstream, wanted: Vec<ChannelId>, asked: Instant) {
        let routes = downstream.cluster.routes();
        let writes = stream::iter(wanted).map(async |channel| {
            let written = routes.join_channels(&downstream.id, std::slice::from_ref(&channel)).await;
            written.ok().map(|()| channel)
        });
        let noting = writes.buffer_unordered(MAX_SINGLE_WRITES).for_each(|written| {
            self.note_written(written.as_slice(), asked);
            std::future::ready(())
        });
        // Joins of channels without a route by then are reported as missed.
        let _ = timeout(SINGLE_WRITES_TIMEOUT, noting).await;
    }

    fn note_written(&mut self, channels: &[ChannelId], asked: Instant) {
        for channel in channels {
            if let Some(route) = self.routes.get_mut(channel) {
                route.written = Some(asked);
            }
        }
    }

    fn is_written(&self, channel: &ChannelId) -> bool {
        self.routes.get(channel).is_some_and(|route| route.written.is_some())
    }

    fn apply(
        &self,
        downstream: &Downstream,
        changes: Vec<SubscriptionChange>,
        mut reply: pb::Delivered,
    ) -> pb::Delivered {
        let registry = &downstream.registry;
        for SubscriptionChange { record, mut connections, channels, kind, pass, op } in changes {
            match op {
                JoinOp::LeaveAll => {
                    channels.iter().for_each(|channel| registry.subscriptions.leave_all(channel, kind));
                }
                JoinOp::EndPass => connections.retain(|id| {
                    registry.subscriptions.end_pass(ConnectionId(*id), pass);
                    registry.get(ConnectionId(*id)).is_none()
                }),
                JoinOp::Leave => {
                    connections.retain(|id| !registry.leave(ConnectionId(*id), &channels, kind));
                }
                JoinOp::Join | JoinOp::JoinOnly => {
                    if channels.iter().all(|channel| self.is_written(channel)) {
                        connections.retain(|id| {
                            let joined = registry.join_in_pass(ConnectionId(*id), &channels, kind, pass);
                            if joined && op == JoinOp::JoinOnly {
                                registry.subscriptions.leave_others(ConnectionId(*id), &channels, kind);
                            }
                            !joined
                        });
                    }
                }
            }
            if !connections.is_empty() {
                reply.missed.push(pb::Missed { record, connections });
            }
        }
        reply
    }

    /// Removes the routes of channels that have had no member here for a while, and writes old ones again.
    async fn tidy(&mut self, downstream: &Downstream, now: Instant) {
        if !downstream.lifecycle.holds_lease() {
            return;
        }
        let (left, old) = self.find_untidy(downstream, now);
        if !left.is_empty() {
            let channels: Vec<ChannelId> = left.iter().cloned().collect();
            if remove(downstream, &channels).await {
                self.routes.retain(|channel, _| !left.contains(channel));
            }
        }
        if !old.is_empty() && write_all(downstream, &old).await {
            self.note_written(&old, now);
        }
    }

    /// Returns the channels whose routes are to be removed, and those whose routes are to be written again.
    fn find_untidy(&mut self, downstream: &Downstream, now: Instant) -> (HashSet<ChannelId>, Vec<ChannelId>) {
        let (mut left, mut old) = (HashSet::new(), Vec::new());
        for (channel, route) in &mut self.routes {
            if downstream.registry.has_joined(channel) {
                route.empty_since = None;
                let is_old =
                    route.written.is_none_or(|written| now.duration_since(written) >= REFRESH_INTERVAL);
                if is_old && old.len() < MAX_TIDIED {
                    old.push(channel.clone());
                }
            } else if now.duration_since(*route.empty_since.get_or_insert(now)) >= EMPTY_GRACE
                && left.len() < MAX_TIDIED
            {
                // Whatever the outcome of the request, a later join has the route written again.
                route.written = None;
                left.insert(channel.clone());
            }
        }
        (left, old)
    }

    async fn remove_all(self, downstream: &Downstream) {
        let all: Vec<ChannelId> = self.routes.into_keys().collect();
        if !all.is_empty() && downstream.lifecycle.holds_lease() {
            // Backends remove the remaining routes when they come across them.
            remove(downstream, &all).await;
        }
    }
}

/// Writes routes with one request. Returns whether they were written.
async fn write_all(downstream: &Downstream, channels: &[ChannelId]) -> bool {
    let write = downstream.cluster.routes().join_channels(&downstream.id, channels);
    match timeout(WRITE_TIMEOUT, write).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => {
            tracing::warn!(channels = channels.len(), %error, "cannot write the routes of channels");
        }
        Err(_) => {
            tracing::warn!(channels = channels.len(), timeout = ?WRITE_TIMEOUT, "writing the routes of channels timed out");
        }
    }
    false
}

/// Removes routes. Returns whether they were removed; if not, the next tick tries again.
async fn remove(downstream: &Downstream, channels: &[ChannelId]) -> bool {
    let removal = downstream.cluster.routes().leave_channels(&downstream.id, channels);
    match timeout(WRITE_TIMEOUT, removal).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => {
            tracing::warn!(channels = channels.len(), %error, "cannot remove the routes of channels");
        }
        Err(_) => {
            tracing::warn!(channels = channels.len(), timeout = ?WRITE_TIMEOUT, "removing the routes of channels timed out");
        }
    }
    false
}

#[cfg(test)]
mod tests;
