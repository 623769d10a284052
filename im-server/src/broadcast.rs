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
        answer.reached.push(pb::Reached { record, connections, shed: 0, enough: false });
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

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use im_sdk::{
        cluster::Cluster,
        id::{Device, DeviceId, Terminal, UserId},
    };
    use tokio::time::Instant;

    use super::*;
    use crate::{Server, batch::Batch, dev, outbox::Outbox, registry::Registration};

    /// A server with connections that have an outbox and nothing behind it.
    async fn crowd(connections: usize) -> (Server, Vec<Registration>) {
        let mut config = dev::config().unwrap();
        config.websocket = Some(([127, 0, 0, 1], 0).into());
        config.quic = None;
        let server = Server::start(config, Cluster::embedded()).await.unwrap();
        let register = |_| {
            let device = Device::new(Terminal::Web, DeviceId::parse("d").unwrap());
            let user = UserId::parse("u").unwrap();
            server.shared().registry.register(user, device, u64::MAX, Outbox::new(100_000)).unwrap()
        };
        let registrations = (0..connections).map(register).collect();
        (server, registrations)
    }

    fn record() -> pb::Record {
        let effect = Some(Effect::Frames(Bytes::from_static(b"hi")));
        pb::Record { everyone: true, effect, ..pb::Record::default() }
    }

    /// How many messages each has got since it was asked last.
    fn taken(registrations: &[Registration]) -> Vec<usize> {
        let mut context = Context::from_waker(Waker::noop());
        let take = |registration: &Registration| {
            let mut batch = Batch::default();
            // Pending: it was empty.
            _ = registration.connection.outbox.poll_take(&mut context, &mut batch);
            batch.iter().count()
        };
        registrations.iter().map(take).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_gets_it_a_thousand_at_a_time() {
        const CONNECTIONS: usize = 2500;
        let (server, registrations) = crowd(CONNECTIONS).await;
        let (began, mut answer) = (Instant::now(), pb::Delivered::default());
        begin(&server.shared(), 7, record(), &mut answer);
        let connections = CONNECTIONS as u32;
        assert_eq!(answer.reached, [pb::Reached { record: 7, connections, shed: 0, enough: false }]);
        let mut each = vec![0; CONNECTIONS];
        while each.contains(&0) {
            sleep(PAUSE / 5).await;
            let now = taken(&registrations);
            assert!(now.iter().sum::<usize>() <= AT_ONCE, "{} at once", now.iter().sum::<usize>());
            each.iter_mut().zip(now).for_each(|(each, now)| *each += now);
        }
        assert_eq!(each, [1; CONNECTIONS]);
        assert!((2 * PAUSE..4 * PAUSE).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_find_no_place_are_missed_and_the_others_are_not() {
        let (server, registrations) = crowd(3).await;
        let mut answer = pb::Delivered::default();
        // Nothing else runs meanwhile.
        for number in 0..QUEUE as u32 + 3 {
            begin(&server.shared(), number, record(), &mut answer);
        }
        let missed: Vec<u32> = answer.missed.iter().map(|missed| missed.record).collect();
        assert_eq!((answer.reached.len(), missed), (QUEUE, vec![64, 65, 66]));
        sleep(PAUSE).await;
        assert_eq!(taken(&registrations), [QUEUE; 3]);
    }
}
