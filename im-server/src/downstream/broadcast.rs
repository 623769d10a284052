//! Messages to everybody who is connected here. They are paced, so that the writes of all connections do not come at the same
//! moment, and deliveries to single connections continue meanwhile.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use im_proto::pb::{self, record::Effect};
use tokio::{sync::mpsc, time::sleep};

use super::Downstream;
use crate::registry::{Registry, SHARDS, connection::Connection};

/// The maximum number of queued broadcasts, each of at most one frame. They are rare, and each takes a while.
const QUEUE: usize = 64;

/// The number of connections that get a message at once, and the pause before the next ones. Together they allow 200,000 in a
/// second, which is as much as a machine can write.
const CHUNK: usize = 1000;
const CHUNK_PAUSE: Duration = Duration::from_millis(5);

/// The queue of the task that [`run`]s broadcasts.
#[derive(Debug)]
pub(crate) struct Broadcasts {
    queue: mpsc::Sender<Broadcast>,
}

/// Encoded frames for everybody.
#[derive(Debug)]
pub(super) struct Broadcast {
    frames: Bytes,
    priority: pb::Priority,
}

impl Broadcasts {
    pub(super) fn new() -> (Self, mpsc::Receiver<Broadcast>) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (Self { queue }, receiver)
    }
}

impl Downstream {
    /// Queues a record for everybody, and reports the current number of connections in the reply. If the queue is full, the record
    /// is missed.
    pub(super) fn begin_broadcast(&self, index: u32, record: pb::Record, reply: &mut pb::Delivered) {
        let priority = record.priority();
        let Some(Effect::Frames(frames)) = record.effect else {
            return tracing::warn!("record dropped: only frames go to everybody");
        };
        if self.broadcasts.queue.try_send(Broadcast { frames, priority }).is_ok() {
            let connections = u32::try_from(self.registry.len()).unwrap_or(u32::MAX);
            reply.reached.push(pb::Reached { record: index, connections, shed: 0, enough: false });
        } else {
            tracing::warn!("broadcast dropped: queue full");
            reply.missed.push(pb::Missed { record: index, connections: Vec::new() });
        }
    }
}

/// Carries out broadcasts one after the other. Ends with the server.
pub(super) async fn run(registry: Arc<Registry>, mut queue: mpsc::Receiver<Broadcast>) {
    while let Some(broadcast) = queue.recv().await {
        let mut left = CHUNK;
        for shard in 0..SHARDS {
            for part in registry.in_shard(shard).chunks(CHUNK) {
                if part.len() > left {
                    sleep(CHUNK_PAUSE).await;
                    left = CHUNK;
                }
                left = left.saturating_sub(part.len());
                push_all(part, &broadcast);
            }
        }
    }
}

fn push_all(connections: &[Arc<Connection>], broadcast: &Broadcast) {
    for connection in connections {
        connection.outbox.try_push_at(broadcast.frames.clone(), broadcast.priority);
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use tokio::time::Instant;

    use super::*;
    use crate::{
        Server,
        registry::{Registration, frame_batch::FrameBatch, outbox::Outbox},
        testing,
    };

    /// Starts a server with connections that have an outbox and nothing behind it.
    async fn crowd(connections: usize) -> (Server, Vec<Registration>) {
        let server = testing::server().await;
        let registry = &server.context().registry;
        let register = |_| testing::register_with(registry, "u", Outbox::new(100_000));
        let registrations = (0..connections).map(register).collect();
        (server, registrations)
    }

    fn record() -> pb::Record {
        let effect = Some(Effect::Frames(Bytes::from_static(b"hi")));
        pb::Record { everyone: true, effect, ..pb::Record::default() }
    }

    /// Returns how many messages each connection has got since the last call.
    fn taken(registrations: &[Registration]) -> Vec<usize> {
        let mut cx = Context::from_waker(Waker::noop());
        let take = |registration: &Registration| {
            let mut batch = FrameBatch::default();
            // Pending: it was empty.
            _ = registration.connection.outbox.poll_take(&mut cx, &mut batch);
            batch.iter().count()
        };
        registrations.iter().map(take).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_gets_it_a_thousand_at_a_time() {
        const CONNECTIONS: usize = 2500;
        let (server, registrations) = crowd(CONNECTIONS).await;
        let (began, mut reply) = (Instant::now(), pb::Delivered::default());
        server.context().downstream.begin_broadcast(7, record(), &mut reply);
        let connections = CONNECTIONS as u32;
        assert_eq!(reply.reached, [pb::Reached { record: 7, connections, shed: 0, enough: false }]);
        let mut each = vec![0; CONNECTIONS];
        while each.contains(&0) {
            sleep(CHUNK_PAUSE / 5).await;
            let now = taken(&registrations);
            assert!(now.iter().sum::<usize>() <= CHUNK, "{} at once", now.iter().sum::<usize>());
            each.iter_mut().zip(now).for_each(|(each, now)| *each += now);
        }
        assert_eq!(each, [1; CONNECTIONS]);
        assert!((2 * CHUNK_PAUSE..4 * CHUNK_PAUSE).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_find_no_place_are_missed_and_the_others_are_not() {
        let (server, registrations) = crowd(3).await;
        let mut reply = pb::Delivered::default();
        // Nothing else runs meanwhile.
        for number in 0..QUEUE as u32 + 3 {
            server.context().downstream.begin_broadcast(number, record(), &mut reply);
        }
        let missed: Vec<u32> = reply.missed.iter().map(|missed| missed.record).collect();
        assert_eq!((reply.reached.len(), missed), (QUEUE, vec![64, 65, 66]));
        sleep(CHUNK_PAUSE).await;
        assert_eq!(taken(&registrations), [QUEUE; 3]);
    }
}
