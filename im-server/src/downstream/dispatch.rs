//! HOT PATH 2: hands the records that arrive on this server's subject to the connections that they name. It waits neither for them
//! nor for the bus.

use std::{
    convert::Infallible,
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use im_proto::{
    close::CloseCode,
    pb::{self, Priority, record::Effect},
};
use im_sdk::{
    cluster::{BusEvent, Subscription},
    id::{ChannelId, ConnectionId},
};
use prost::Message as _;
use tokio::time::{MissedTickBehavior, interval};

use super::{
    Downstream,
    channel_routes::{SubscriptionChange, SubscriptionChanges},
    coalesce::{self, coalesce},
    flush::FlushQueue,
    gap_detector::GapDetector,
};
use crate::{
    registry::{
        connection::Connection,
        outbox::{Close, PacedOutcome, PushOutcome},
    },
    upstream::backend_watch,
};

/// The interval at which silent publishers are looked for.
const TICK: Duration = Duration::from_secs(1);

impl Downstream {
    /// Handles events until the subscription ends, which is when the bus is closed for good.
    pub(crate) async fn run(self: Arc<Self>, mut subscription: Subscription) {
        let mut gaps = GapDetector::default();
        let mut flushes = FlushQueue::default();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                biased; // Deliveries come first.
                event = subscription.next() => event,
                // Before the task sleeps: no further event is ready whose frames could go out in the same write.
                never = poll_fn(|_| { flushes.flush(); Poll::<Infallible>::Pending }) => match never {},
                _ = ticks.tick() => {
                    if gaps.forget_silent(Instant::now()) {
                        self.sync_hints.request(false);
                    }
                    continue;
                }
            };
            match event {
                Some(BusEvent::Message(message)) => {
                    self.handle_payload(message.payload, &mut gaps, &mut flushes)
                }
                Some(BusEvent::Undelivered(_)) => self.handle_undelivered(),
                Some(BusEvent::Disrupted(reason)) => {
                    tracing::warn!(?reason, "envelopes may have been lost");
                    self.sync_hints.request(false);
                }
                Some(_) => {}
                None => return,
            }
        }
    }

    fn handle_payload(&self, payload: Bytes, gaps: &mut GapDetector, flushes: &mut FlushQueue) {
        match pb::Envelope::decode(payload) {
            Ok(envelope) if self.is_own_probe(&envelope) => self.isolation.heard(),
            Ok(envelope) => {
                if let Some(number) = backend_watch::marker(&self.id, &envelope) {
                    return self.upstream.handle_marker(number);
                }
                if gaps.observe(&envelope, Instant::now()) {
                    self.sync_hints.request(false);
                }
                self.dispatch(envelope, flushes);
            }
            Err(error) => tracing::warn!(%error, "envelope dropped: not valid"),
        }
    }

    fn handle_undelivered(&self) {
        self.upstream.handle_undelivered(&self.cluster.names().upstream_publish());
    }

    /// Applies an envelope's records. Sessions that have frames to write are added to `flushes`.
    pub(crate) fn dispatch(&self, envelope: pb::Envelope, flushes: &mut FlushQueue) {
        let mut reply = pb::Delivered { number: envelope.number, ..pb::Delivered::default() };
        let mut changes = Vec::new();
        let mut records = (0..).zip(envelope.records).peekable();
        let max_bytes = coalesce::max_bytes(self.outbox_bytes);
        while let Some((index, mut record)) = records.next() {
            if let Some(change) = SubscriptionChange::from_record(index, &record) {
                changes.push(change);
            } else if let Some(Effect::StoreReport(report)) = &record.effect {
                self.handle_store_report(report);
            } else if record.everyone {
                self.begin_broadcast(index, record, &mut reply);
            } else if record.paced {
                self.deliver_paced(index, record, &mut reply, flushes);
            } else {
                let last = coalesce(&mut record, index, &mut records, max_bytes);
                if !record.channel.is_empty() {
                    if let Some(reached) = self.deliver_to_channel(&record, flushes) {
                        reply.reached.extend((index..=last).map(|record| pb::Reached { record, ..reached }));
                    }
                    continue;
                }
                let missed = self.deliver(record, flushes);
                if !missed.is_empty() {
                    let missed = |record| pb::Missed { record, connections: missed.clone() };
                    reply.missed.extend((index..=last).map(missed));
                }
            }
        }
        self.finish(envelope.answer_to, reply, changes);
    }

    /// Replies once joins and leaves are carried out. Another task writes the routes, so that deliveries do not wait for them.
    fn finish(&self, reply_to: String, mut reply: pb::Delivered, changes: Vec<SubscriptionChange>) {
        if reply_to.is_empty() && changes.is_empty() {
            return;
        }
        reply.server = self.id.to_string();
        if changes.is_empty() {
            return self.reply(&reply_to, reply);
        }
        let changes = SubscriptionChanges { changes, reply, reply_to };
        if let Err(changes) = self.channel_routes.try_change(changes) {
            self.reject_changes(*changes);
        }
    }

    /// Returns the connections that the record did not reach.
    fn deliver(&self, record: pb::Record, flushes: &mut FlushQueue) -> Vec<u64> {
        let priority = record.priority();
        let Some(effect) = record.effect else {
            return Vec::new();
        };
        let mut connections = record.connections;
        match (effect, &*connections) {
            // The common case. The reference that arrived is the one that is written: all frames of an envelope share one reference
            // count, and changing it costs.
            (Effect::Frames(frames), &[only]) => {
                if self.push(ConnectionId(only), frames, priority, flushes) {
                    connections.clear();
                }
            }
            (effect, _) => {
                connections.retain(|number| !self.apply(ConnectionId(*number), &effect, priority, flushes));
            }
        }
        connections
    }

    /// Queues frames. Returns `true` if they are queued, or shed because of their priority, which counts as reached.
    fn push(&self, id: ConnectionId, frames: Bytes, priority: Priority, flushes: &mut FlushQueue) -> bool {
        let pushed = self.registry.with(id, |connection| push_to(connection, frames, priority, flushes));
        matches!(pushed, Some(PushOutcome::Queued | PushOutcome::Shed))
    }

    /// Delivers a part of a sync. It is queued whatever else is, and the reply states whether the sync should pause.
    fn deliver_paced(
        &self,
        index: u32,
        record: pb::Record,
        reply: &mut pb::Delivered,
        flushes: &mut FlushQueue,
    ) {
        let (Some(Effect::Frames(frames)), [id]) = (record.effect, &*record.connections) else {
            return tracing::warn!("record dropped: a part of a sync must be frames for one connection");
        };
        let bytes = frames.len();
        let outcome = self.registry.with(ConnectionId(*id), |connection| {
            let (outcome, session) = connection.outbox.try_push_paced(frames);
            flushes.add(connection, session, bytes);
            outcome
        });
        match outcome {
            Some(outcome @ (PacedOutcome::Queued | PacedOutcome::Enough)) => {
                let enough = outcome == PacedOutcome::Enough;
                reply.reached.push(pb::Reached { record: index, connections: 1, shed: 0, enough });
            }
            Some(PacedOutcome::Closed) | None => {
                reply.missed.push(pb::Missed { record: index, connections: record.connections });
            }
        }
    }

    /// Delivers to all connections that have joined the channel. A connection that has not joined yet gets missed entries when it
    /// joins.
    fn deliver_to_channel(&self, record: &pb::Record, flushes: &mut FlushQueue) -> Option<pb::Reached> {
        let channel = ChannelId::parse_internal(&record.channel);
        let channel = channel.inspect_err(|error| tracing::warn!(%error, "record dropped: no valid channel"));
        let (channel, mut reached) = (channel.ok()?, pb::Reached::default());
        match &record.effect {
            Some(Effect::Frames(frames)) => {
                let priority = record.priority();
                self.registry.for_each_in(&channel, |connection| {
                    match push_to(connection, frames.clone(), priority, flushes) {
                        PushOutcome::Queued => reached.connections += 1,
                        PushOutcome::Shed => reached.shed += 1,
                        PushOutcome::Full | PushOutcome::Closed => {}
                    }
                });
            }
            Some(Effect::Count(_)) => {
                let count = self.registry.subscriptions.count(&channel);
                reached.connections = u32::try_from(count).unwrap_or(u32::MAX);
            }
            _ => tracing::warn!("record dropped: only frames go to a channel"),
        }
        Some(reached)
    }

    /// Returns `true` if the effect reached the connection.
    fn apply(&self, id: ConnectionId, effect: &Effect, priority: Priority, flushes: &mut FlushQueue) -> bool {
        let (registry, upstream) = (&self.registry, &self.upstream);
        match effect {
            Effect::Frames(frames) => self.push(id, frames.clone(), priority, flushes),
            Effect::Answer(answer) => {
                let pb::PublishAnswer { number, frames } = answer;
                let is_here = registry.with(id, |_| ()).is_some();
                upstream.answer_publish(id, *number, frames.clone());
                is_here
            }
            Effect::Response(response) => {
                let pb::RequestAnswer { number, frames } = response;
                let is_here = registry.with(id, |_| ()).is_some();
                upstream.answer_request(id, *number, frames.clone());
                is_here
            }
            Effect::Kick(kick) => {
                let code = u16::try_from(kick.code).map_or(CloseCode::Kicked, CloseCode::from);
                let close = Close::new(code, kick.reason.clone());
                registry.with(id, |connection| connection.outbox.close(close)).is_some()
            }
            Effect::SyncEnded(ended) => {
                upstream.syncs.ended(id, ended.number, ended.rest.clone());
                true
            }
            // Handled by `dispatch`.
            Effect::Join(_) | Effect::Leave(_) | Effect::Count(_) | Effect::StoreReport(_) => false,
        }
    }
}

fn push_to(
    connection: &Arc<Connection>,
    frames: Bytes,
    priority: Priority,
    flushes: &mut FlushQueue,
) -> PushOutcome {
    let bytes = frames.len();
    let (outcome, session) = connection.outbox.try_push_without_waking(frames, priority);
    flushes.add(connection, session, bytes);
    outcome
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::{Context, Wake, Waker},
    };

    use super::*;
    use crate::{
        registry::{frame_batch::FrameBatch, outbox::Outbox},
        testing,
    };

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn what_may_be_left_out_closes_nobody() {
        let server = testing::server().await;
        let context = server.context();
        let registration = testing::register_with(&context.registry, "u", Outbox::new(100_000));
        let connection = &registration.connection;
        let deliver = |priority: Priority| {
            let effect = Some(Effect::Frames(Bytes::from(vec![7; 1000])));
            let connections = vec![connection.id.0];
            let record =
                pb::Record { connections, effect, priority: priority.into(), ..pb::Record::default() };
            context.downstream.deliver(record, &mut FlushQueue::default())
        };
        for _ in 0..1000 {
            assert!(deliver(Priority::Low).is_empty(), "the connection is there, whether it gets it or not");
        }
        let mut batch = FrameBatch::default();
        let mut take = || {
            let taken = connection.outbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut batch);
            (taken, batch.iter().count())
        };
        let (taken, frames) = take();
        assert_eq!(taken, Poll::Ready(None), "it is not closed");
        assert!((10..20).contains(&frames), "an eighth of the outbox: {frames}");
        while deliver(Priority::Must).is_empty() {}
        let (taken, _) = take();
        assert!(matches!(taken, Poll::Ready(Some(close)) if close.code == CloseCode::SlowConsumer));
    }

    #[tokio::test]
    async fn a_session_writes_while_more_comes_for_it() {
        let server = testing::server().await;
        let context = server.context();
        let registration = testing::register_with(&context.registry, "u", Outbox::new(1_000_000));
        let connection = &registration.connection;
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        // Like a session without frames to write.
        let taken = connection.outbox.poll_take(&mut Context::from_waker(&waker), &mut FrameBatch::default());
        assert_eq!(taken, Poll::Pending);
        let mut flushes = FlushQueue::default();
        let mut deliver = || {
            let effect = Effect::Frames(Bytes::from(vec![7; 1024]));
            let record = pb::Record {
                connections: vec![connection.id.0],
                effect: Some(effect),
                ..pb::Record::default()
            };
            let envelope = pb::Envelope { records: vec![record], ..pb::Envelope::default() };
            context.downstream.dispatch(envelope, &mut flushes);
            wakes.0.load(Ordering::Relaxed)
        };
        assert_eq!(deliver(), 0, "a little is written by who brought it, when it has all");
        let envelopes = (0..1000).take_while(|_| deliver() == 0).count();
        assert!(envelopes < 100, "a bus that brings more and more keeps nobody from writing: {envelopes}");
    }
}
