//! Joins and leaves, and the routes of channels. A connection counts as joined when the route store says that this server
//! has members of the channel: only then does nothing that is sent to it pass by.
//!
//! One task does all of it, one batch after the other. So whatever comes while routes are being written shares the next
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
    pb::{self, Way, record::Effect},
};
use im_sdk::id::{ChannelId, ConnectionId};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{outbox::Close, shared::Shared};

/// Envelopes whose joins and leaves wait. Each holds at most some hundred KiB of names; a join that finds no place is
/// answered as missed, and the device asks again.
const QUEUE: usize = 1024;

/// How many envelopes share a request to the route store.
const BATCH: usize = 256;

/// How often routes are looked after.
const TICK: Duration = Duration::from_secs(2);

/// How long a channel keeps its route without a member here: devices that reconnect in a storm must not make it come and go.
const GRACE: Duration = Duration::from_secs(5);

/// How often a route is written again: a failover of the route store may have lost it.
const REFRESH: Duration = Duration::from_secs(60);

/// The most routes that are removed, and written again, at one tick: joins wait that long.
const TIDIED: usize = 4096;

/// When one request for many channels failed: how many go out at once on their own, and how long that may take in all.
const ALONE: usize = 64;
const ALONE_TIMEOUT: Duration = Duration::from_secs(2);

/// The way to the task that [`keep`]s the routes.
#[derive(Debug)]
pub(crate) struct Channels {
    queue: mpsc::Sender<Changes>,
    /// Routes that were written may not be there any more.
    doubted: AtomicBool,
}

/// What an envelope wants, and the answer that waits for it.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) changes: Vec<Change>,
    pub(crate) answer: pb::Delivered,
    pub(crate) answer_to: String,
}

/// One record's wish.
#[derive(Debug)]
pub(crate) struct Change {
    /// The record's position in the envelope.
    record: u32,
    connections: Vec<u64>,
    channels: Vec<ChannelId>,
    way: Way,
    /// The joins that it belongs to; 0: it stands alone.
    pass: u64,
    what: What,
}

/// What a record wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Join,
    /// And leave all others.
    JoinOnly,
    Leave,
    /// What was not joined in the pass.
    EndPass,
    /// Everybody leaves, not only the connections that are named.
    LeaveAll,
}

impl What {
    fn joins(self) -> bool {
        matches!(self, Self::Join | Self::JoinOnly)
    }
}

impl Change {
    /// `None`: the record is about something else.
    pub(crate) fn of(index: u32, record: &pb::Record) -> Option<Self> {
        let (wish, what) = match &record.effect {
            Some(Effect::Join(wish)) if wish.only => (wish, What::JoinOnly),
            Some(Effect::Join(wish)) => (wish, What::Join),
            Some(Effect::Leave(wish)) if wish.pass != 0 => (wish, What::EndPass),
            Some(Effect::Leave(wish)) if record.channel.is_empty() => (wish, What::Leave),
            Some(Effect::Leave(wish)) => (wish, What::LeaveAll),
            _ => return None,
        };
        let parse = |name: &String| {
            let parsed = ChannelId::parse_internal(name);
            parsed.inspect_err(|error| tracing::warn!(%error, "a channel was passed over")).ok()
        };
        let everybody = std::slice::from_ref(&record.channel);
        let names = if what == What::LeaveAll { everybody } else { &wish.channels };
        let channels = names.iter().filter_map(parse).collect();
        let connections = record.connections.clone();
        Some(Self { record: index, connections, channels, way: wish.way(), pass: wish.pass, what })
    }
}

impl Channels {
    /// The receiver is for [`keep`].
    pub(crate) fn new() -> (Self, mpsc::Receiver<Changes>) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (Self { queue, doubted: AtomicBool::new(false) }, receiver)
    }

    /// The route store may have forgotten routes: each is written again, by whoever joins next or within moments.
    pub(crate) fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
    }

    /// Queues joins and leaves. When there is no place, they come back.
    pub(crate) fn try_change(&self, changes: Changes) -> Result<(), Box<Changes>> {
        self.queue.try_send(changes).map_err(|full| Box::new(full.into_inner()))
    }
}

/// Answers for what found no place: nobody has joined, and who should have left is closed, since nothing of the channel
/// may reach it any more.
pub(crate) fn give_up(shared: &Shared, Changes { changes, mut answer, .. }: Changes) -> pb::Delivered {
    if let Some(times) = shared.throttles.crowded.note() {
        tracing::warn!(times, "too many joins and leaves wait");
    }
    for change in changes {
        if change.what == What::LeaveAll {
            change.channels.iter().for_each(|channel| shared.registry.joined.leave_all(channel, change.way));
        } else if !change.what.joins() {
            for connection in
                change.connections.iter().filter_map(|id| shared.registry.get(ConnectionId(*id)))
            {
                connection.outbox.close(Close::new(CloseCode::Overloaded, "too many channels change"));
            }
        }
        answer.missed.push(pb::Missed { record: change.record, connections: change.connections });
    }
    answer
}

/// Carries out joins and leaves, and keeps the routes true, until the server ends; then it removes its routes.
pub(crate) async fn keep(shared: Arc<Shared>, mut queue: mpsc::Receiver<Changes>) {
    let mut routes = ChannelRoutes::default();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let first = tokio::select! {
            biased; // The end first. Ticks are rare, and must not starve while joins come.
            () = shared.leaving_channels.cancelled() => break,
            _ = ticks.tick() => {
                routes.doubt_if_asked(&shared);
                routes.tidy(&shared, Instant::now()).await;
                continue;
            }
            first = queue.recv() => first,
        };
        routes.doubt_if_asked(&shared);
        let Some(first) = first else { return };
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = queue.try_recv()
        {
            batch.push(next);
        }
        routes.write(&shared, wanted(&batch)).await;
        for changes in batch {
            let answer = routes.apply(&shared, changes.changes, changes.answer);
            shared.answer(&changes.answer_to, answer);
        }
    }
    queue.close();
    routes.remove_all(&shared).await;
}

/// The channels that somebody wants to join.
fn wanted(batch: &[Changes]) -> HashSet<ChannelId> {
    let changes = batch.iter().flat_map(|changes| &changes.changes);
    changes.filter(|change| change.what.joins()).flat_map(|change| change.channels.iter().cloned()).collect()
}

/// This server's routes in the route store.
#[derive(Debug, Default)]
struct ChannelRoutes {
    routes: HashMap<ChannelId, ChannelRoute>,
}

#[derive(Debug)]
struct ChannelRoute {
    /// When it was written last. `None`: it is not known whether it is there.
    written: Option<Instant>,
    /// Since when it is known that nobody here has joined.
    empty_since: Option<Instant>,
}

impl ChannelRoutes {
    fn doubt_if_asked(&mut self, shared: &Shared) {
        if shared.channels.doubted.swap(false, Ordering::Relaxed) {
            self.routes.values_mut().for_each(|route| route.written = None);
        }
    }

    /// Writes the routes that are not there yet.
    async fn write(&mut self, shared: &Shared, mut wanted: HashSet<ChannelId>) {
        wanted.retain(|channel| !self.is_written(channel));
        // Without its lease this server writes nothing: back ends count it as dead.
        if wanted.is_empty() || !shared.holds_lease() {
            return;
        }
        let wanted: Vec<ChannelId> = wanted.into_iter().collect();
        for channel in &wanted {
            self.routes.insert(channel.clone(), ChannelRoute { written: None, empty_since: None });
        }
        let asked = Instant::now();
        match shared.cluster.routes().join_channels(&shared.id, &wanted).await {
            Ok(()) => self.note_written(&wanted, asked),
            Err(error) => {
                tracing::warn!(channels = wanted.len(), %error, "cannot write the routes of channels");
                self.write_alone(shared, wanted, asked).await;
            }
        }
    }

    /// One after the other: on a Redis Cluster one node that is gone must not keep everybody out.
    async fn write_alone(&mut self, shared: &Shared, wanted: Vec<ChannelId>, asked: Instant) {
        if wanted.len() == 1 {
            return;
        }
        let routes = shared.cluster.routes();
        let writes = stream::iter(wanted).map(async |channel| {
            let written = routes.join_channels(&shared.id, std::slice::from_ref(&channel)).await;
            written.ok().map(|()| channel)
        });
        let noting = writes.buffer_unordered(ALONE).for_each(|written| {
            self.note_written(written.as_slice(), asked);
            std::future::ready(())
        });
        // Who is not through by then is told that nobody has joined.
        let _ = timeout(ALONE_TIMEOUT, noting).await;
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

    fn apply(&self, shared: &Shared, changes: Vec<Change>, mut answer: pb::Delivered) -> pb::Delivered {
        for Change { record, mut connections, channels, way, pass, what } in changes {
            let registry = &shared.registry;
            if what == What::LeaveAll {
                channels.iter().for_each(|channel| registry.joined.leave_all(channel, way));
            } else if what == What::EndPass {
                connections.retain(|id| {
                    registry.joined.end_pass(ConnectionId(*id), pass);
                    registry.get(ConnectionId(*id)).is_none()
                });
            } else if what == What::Leave {
                connections.retain(|id| !registry.leave(ConnectionId(*id), &channels, way));
            } else if channels.iter().all(|channel| self.is_written(channel)) {
                connections.retain(|id| {
                    let joined = registry.join_in_pass(ConnectionId(*id), &channels, way, pass);
                    if joined && what == What::JoinOnly {
                        registry.joined.leave_others(ConnectionId(*id), &channels, way);
                    }
                    !joined
                });
            }
            if !connections.is_empty() {
                answer.missed.push(pb::Missed { record, connections });
            }
        }
        answer
    }

    /// Removes the routes of channels that nobody here has joined for a while, and writes old ones again.
    async fn tidy(&mut self, shared: &Shared, now: Instant) {
        if !shared.holds_lease() {
            return;
        }
        let (mut left, mut old) = (HashSet::new(), Vec::new());
        for (channel, route) in &mut self.routes {
            if shared.registry.has_joined(channel) {
                route.empty_since = None;
                if route.written.is_none_or(|written| now.duration_since(written) >= REFRESH)
                    && old.len() < TIDIED
                {
                    old.push(channel.clone());
                }
            } else if now.duration_since(*route.empty_since.get_or_insert(now)) >= GRACE
                && left.len() < TIDIED
            {
                // Whatever becomes of the request, who joins from here on has it written again.
                route.written = None;
                left.insert(channel.clone());
            }
        }
        if !left.is_empty() {
            let channels: Vec<ChannelId> = left.iter().cloned().collect();
            match shared.cluster.routes().leave_channels(&shared.id, &channels).await {
                Ok(()) => self.routes.retain(|channel, _| !left.contains(channel)),
                Err(error) => {
                    tracing::warn!(%error, "cannot remove the routes of channels, tried again later")
                }
            }
        }
        if !old.is_empty() {
            match shared.cluster.routes().join_channels(&shared.id, &old).await {
                Ok(()) => self.note_written(&old, now),
                Err(error) => {
                    tracing::warn!(%error, "cannot write routes of channels again, tried again later")
                }
            }
        }
    }

    async fn remove_all(self, shared: &Shared) {
        let all: Vec<ChannelId> = self.routes.into_keys().collect();
        if all.is_empty() || !shared.holds_lease() {
            return;
        }
        if let Err(error) = shared.cluster.routes().leave_channels(&shared.id, &all).await {
            // Back ends remove them when they meet them.
            tracing::warn!(%error, "cannot remove the routes of channels");
        }
    }
}

#[cfg(test)]
mod tests;
