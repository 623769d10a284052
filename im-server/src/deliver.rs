//! HOT PATH 2: what arrives on this server's subject goes to the connections that it names. It waits neither
//! for them nor for the bus.

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

use crate::{
    back_ends, broadcast,
    channels::{self, Change, Changes},
    holes::Holes,
    isolation, merge,
    outbox::{Close, Paced, Pushed},
    registry::Connection,
    shared::Shared,
    woken::Woken,
};

/// How often silent publishers are looked for.
const TICK: Duration = Duration::from_secs(1);

/// Handles events until the subscription ends, which is when the bus is closed for good.
pub(crate) async fn run(shared: Arc<Shared>, mut subscription: Subscription) {
    let mut holes = Holes::default();
    let mut woken = Woken::default();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            biased; // Deliveries come first.
            event = subscription.next() => event,
            // Before it sleeps: nothing more is there that could be written along.
            never = poll_fn(|_| { woken.flush(); Poll::<Infallible>::Pending }) => match never {},
            _ = ticks.tick() => {
                if holes.forget_silent(Instant::now()) {
                    shared.hints.want(false);
                }
                continue;
            }
        };
        match event {
            Some(BusEvent::Message(message)) => match pb::Envelope::decode(message.payload) {
                Ok(envelope) if isolation::is_own(&shared, &envelope) => shared.isolation.heard(),
                Ok(envelope) if back_ends::is_answer(&shared, &envelope) => shared.back_ends.answered(),
                Ok(envelope) => {
                    if holes.heard(&envelope, Instant::now()) {
                        shared.hints.want(false);
                    }
                    handle(&shared, envelope, &mut woken);
                }
                Err(error) => tracing::warn!(%error, "an envelope is not valid and was dropped"),
            },
            Some(BusEvent::Undelivered(_)) => {
                if shared.back_ends.undelivered(&shared.cluster.names().upstream_publish()) {
                    shared.upstream.unavailable();
                    shared.requests.unavailable();
                }
            }
            Some(BusEvent::Disrupted(why)) => {
                tracing::warn!(?why, "envelopes may have been lost");
                shared.hints.want(false);
            }
            Some(_) => {}
            None => return,
        }
    }
}

/// Applies an envelope's records. Who has something to write then is in `woken`.
pub(crate) fn handle(shared: &Shared, envelope: pb::Envelope, woken: &mut Woken) {
    let mut answer = pb::Delivered { number: envelope.number, ..pb::Delivered::default() };
    let mut changes = Vec::new();
    let mut records = (0..).zip(envelope.records).peekable();
    let limit = merge::limit(shared.config.limits.outbox_bytes);
    while let Some((index, mut record)) = records.next() {
        if let Some(change) = Change::of(index, &record) {
            changes.push(change);
            continue;
        }
        if let Some(Effect::StoreReport(report)) = &record.effect {
            isolation::heard_report(shared, report);
            continue;
        }
        if record.everyone {
            broadcast::begin(shared, index, record, &mut answer);
            continue;
        }
        if record.paced {
            apply_paced(shared, index, record, &mut answer, woken);
            continue;
        }
        let last = merge::take_following(&mut record, index, &mut records, limit);
        if !record.channel.is_empty() {
            if let Some(reached) = apply_to_channel(shared, &record, woken) {
                answer.reached.extend((index..=last).map(|record| pb::Reached { record, ..reached }));
            }
            continue;
        }
        let connections = apply(shared, record, woken);
        if !connections.is_empty() {
            let miss = |record| pb::Missed { record, connections: connections.clone() };
            answer.missed.extend((index..=last).map(miss));
        }
    }
    let answer_to = envelope.answer_to;
    if answer_to.is_empty() && changes.is_empty() {
        return;
    }
    answer.server = shared.id.to_string();
    if changes.is_empty() {
        return shared.answer(&answer_to, answer);
    }
    // Routes are written elsewhere: deliveries do not wait for them.
    let changes = Changes { changes, answer, answer_to: answer_to.clone() };
    if let Err(changes) = shared.channels.try_change(changes) {
        shared.answer(&answer_to, channels::give_up(shared, *changes));
    }
}

/// Returns the connections that the record did not reach.
fn apply(shared: &Shared, record: pb::Record, woken: &mut Woken) -> Vec<u64> {
    let priority = record.priority();
    let Some(effect) = record.effect else {
        return Vec::new();
    };
    let mut connections = record.connections;
    match (effect, &*connections) {
        // Most records. The reference that came is the one that is written: counting more of them costs, as all of an
        // envelope's frames share one count.
        (Effect::Frames(frames), &[only]) => {
            if push(shared, ConnectionId(only), frames, priority, woken) {
                connections.clear();
            }
        }
        (effect, _) => {
            connections.retain(|number| !apply_to(shared, ConnectionId(*number), &effect, priority, woken));
        }
    }
    connections
}

/// Returns `true` if the frames are queued, or left out because of their priority: the connection is there.
fn push(shared: &Shared, id: ConnectionId, frames: Bytes, priority: Priority, woken: &mut Woken) -> bool {
    let pushed = shared.registry.with(id, |connection| push_to(connection, frames, priority, woken));
    matches!(pushed, Some(Pushed::Queued | Pushed::Shed))
}

fn push_to(connection: &Arc<Connection>, frames: Bytes, priority: Priority, woken: &mut Woken) -> Pushed {
    let bytes = frames.len();
    let (pushed, session) = connection.outbox.try_push_without_waking(frames, priority);
    woken.add(connection, session, bytes);
    pushed
}

/// A part of a sync: queued whatever else waits, and answered with whether the sync should pause.
fn apply_paced(
    shared: &Shared,
    index: u32,
    record: pb::Record,
    answer: &mut pb::Delivered,
    woken: &mut Woken,
) {
    let (Some(Effect::Frames(frames)), [id]) = (record.effect, &*record.connections) else {
        return tracing::warn!("a part of a sync that is no delivery to one connection was dropped");
    };
    let bytes = frames.len();
    let paced = shared.registry.with(ConnectionId(*id), |connection| {
        let (paced, session) = connection.outbox.try_push_paced(frames);
        woken.add(connection, session, bytes);
        paced
    });
    match paced {
        Some(paced @ (Paced::Queued | Paced::Enough)) => {
            let enough = paced == Paced::Enough;
            answer.reached.push(pb::Reached { record: index, connections: 1, shed: 0, enough });
        }
        Some(Paced::Closed) | None => {
            answer.missed.push(pb::Missed { record: index, connections: record.connections });
        }
    }
}

/// For all who have joined. Who has not, gets what was missed when it does.
fn apply_to_channel(shared: &Shared, record: &pb::Record, woken: &mut Woken) -> Option<pb::Reached> {
    let channel = ChannelId::parse_internal(&record.channel);
    let channel = channel.inspect_err(|error| tracing::warn!(%error, "a record for a channel was dropped"));
    let (channel, mut reached) = (channel.ok()?, pb::Reached::default());
    match &record.effect {
        Some(Effect::Frames(frames)) => {
            let priority = record.priority();
            shared.registry.for_each_in(&channel, |connection| {
                match push_to(connection, frames.clone(), priority, woken) {
                    Pushed::Queued => reached.connections += 1,
                    Pushed::Shed => reached.shed += 1,
                    Pushed::Full | Pushed::Closed => {}
                }
            });
        }
        Some(Effect::Count(_)) => {
            reached.connections = u32::try_from(shared.registry.joined.count(&channel)).unwrap_or(u32::MAX);
        }
        _ => tracing::warn!("a record for a channel that is no delivery was dropped"),
    }
    Some(reached)
}

/// True when it reached the connection.
fn apply_to(
    shared: &Shared,
    id: ConnectionId,
    effect: &Effect,
    priority: Priority,
    woken: &mut Woken,
) -> bool {
    let registry = &shared.registry;
    match effect {
        Effect::Frames(frames) => push(shared, id, frames.clone(), priority, woken),
        Effect::Answer(answer) => {
            registry.with(id, |_| shared.upstream.answered(id, answer.clone())).is_some()
        }
        Effect::Response(response) => {
            registry.with(id, |_| shared.requests.answered(id, response.clone())).is_some()
        }
        Effect::Kick(kick) => {
            let code = u16::try_from(kick.code).map_or(CloseCode::Kicked, CloseCode::from);
            let close = Close::new(code, kick.reason.clone());
            registry.with(id, |connection| connection.outbox.close(close)).is_some()
        }
        Effect::SyncEnded(ended) => {
            shared.syncs.ended(id, ended.number, ended.rest.clone());
            true
        }
        // These do not come here.
        Effect::Join(_) | Effect::Leave(_) | Effect::Count(_) | Effect::StoreReport(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::{Context, Wake, Waker},
    };

    use im_sdk::{
        cluster::Cluster,
        id::{Device, UserId},
    };

    use super::*;
    use crate::{Server, batch::Batch, dev, outbox::Outbox};

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn what_may_be_left_out_closes_nobody() {
        let mut config = dev::config().unwrap();
        config.websocket = Some(([127, 0, 0, 1], 0).into());
        config.quic = None;
        let server = Server::start(config, Cluster::embedded()).await.unwrap();
        let (user, device): (UserId, Device) = ("u".parse().unwrap(), "web/d".parse().unwrap());
        let registration =
            server.shared().registry.register(user, device, u64::MAX, Outbox::new(100_000)).unwrap();
        let id = registration.connection.id.0;
        let deliver = |priority: Priority| {
            let effect = Some(Effect::Frames(Bytes::from(vec![7; 1000])));
            let connections = vec![id];
            let record =
                pb::Record { connections, effect, priority: priority.into(), ..pb::Record::default() };
            apply(&server.shared(), record, &mut Woken::default())
        };
        for _ in 0..1000 {
            assert!(deliver(Priority::Low).is_empty(), "the connection is there, whether it gets it or not");
        }
        let mut batch = Batch::default();
        let taken =
            registration.connection.outbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut batch);
        assert_eq!(taken, Poll::Ready(None), "it is not closed");
        assert!(
            (10..20).contains(&batch.iter().count()),
            "an eighth of the outbox: {}",
            batch.iter().count()
        );
        while deliver(Priority::Must).is_empty() {}
        let taken =
            registration.connection.outbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut batch);
        assert!(matches!(taken, Poll::Ready(Some(close)) if close.code == CloseCode::SlowConsumer));
    }

    #[tokio::test]
    async fn a_session_writes_while_more_comes_for_it() {
        let mut config = dev::config().unwrap();
        config.websocket = Some(([127, 0, 0, 1], 0).into());
        config.quic = None;
        let server = Server::start(config, Cluster::embedded()).await.unwrap();
        let (user, device): (UserId, Device) = ("u".parse().unwrap(), "web/d".parse().unwrap());
        let outbox = Outbox::new(1_000_000);
        let registration = server.shared().registry.register(user, device, u64::MAX, outbox).unwrap();
        let connection = &registration.connection;
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        // As a session that has nothing to do.
        let taken = connection.outbox.poll_take(&mut Context::from_waker(&waker), &mut Batch::default());
        assert_eq!(taken, Poll::Pending);
        let mut woken = Woken::default();
        let mut deliver = || {
            let effect = Effect::Frames(Bytes::from(vec![7; 1024]));
            let record = pb::Record {
                connections: vec![connection.id.0],
                effect: Some(effect),
                ..pb::Record::default()
            };
            let envelope = pb::Envelope { records: vec![record], ..pb::Envelope::default() };
            handle(&server.shared(), envelope, &mut woken);
            wakes.0.load(Ordering::Relaxed)
        };
        assert_eq!(deliver(), 0, "a little is written by who brought it, when it has all");
        let envelopes = (0..1000).take_while(|_| deliver() == 0).count();
        assert!(envelopes < 100, "a bus that brings more and more keeps nobody from writing: {envelopes}");
    }
}
