//! Messages to everybody who is connected here. Paced, so that the writes of all connections do not come at the same moment,
//! and deliveries to single ones go on meanwhile.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use im_proto::pb::{self, record::Effect};
use tokio::{sync::mpsc, time::sleep};

use crate::{
    registry::{Connection, SHARDS},
    shared::Shared,
};

/// Broadcasts that wait, of at most a frame each. They are rare, and each takes a while.
const QUEUE: usize = 64;

/// How many connections get a message at once, and how long it is until the next ones do: 200,000 in a second, which is
/// what a machine can write.
const AT_ONCE: usize = 1000;
const PAUSE: Duration = Duration::from_millis(5);

/// The way to the task that [`run`]s them.
#[derive(Debug)]
pub(crate) struct Broadcasts {
    queue: mpsc::Sender<Broadcast>,
}

/// Ready frames for everybody.
#[derive(Debug)]
pub(crate) struct Broadcast {
    frames: Bytes,
    priority: pb::Priority,
}

impl Broadcasts {
    /// The receiver is for [`run`].
    pub(crate) fn new() -> (Self, mpsc::Receiver<Broadcast>) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (Self { queue }, receiver)
    }
}

/// Queues a record for everyone, and says in the answer how many that is now. One that finds no place is missed.
pub(crate) fn begin(shared: &Shared, record: u32, wanted: pb::Record, answer: &mut pb::Delivered) {
    let priority = wanted.priority();
    let Some(Effect::Frames(frames)) = wanted.effect else {
        return tracing::warn!("a record for everyone that is no delivery was dropped");
    };
    if shared.broadcasts.queue.try_send(Broadcast { frames, priority }).is_ok() {
        let connections = u32::try_from(shared.registry.len()).unwrap_or(u32::MAX);
        answer.reached.push(pb::Reached { record, connections, shed: 0 });
    } else {
        tracing::warn!("too many broadcasts wait: one is dropped");
        answer.missed.push(pb::Missed { record, connections: Vec::new() });
    }
}

/// Carries out one broadcast after the other. Ends with the server.
pub(crate) async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<Broadcast>) {
    while let Some(broadcast) = queue.recv().await {
        let mut left = AT_ONCE;
        for shard in 0..SHARDS {
            for part in shared.registry.in_shard(shard).chunks(AT_ONCE) {
                if part.len() > left {
                    sleep(PAUSE).await;
                    left = AT_ONCE;
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
