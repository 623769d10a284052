//! Devices' signals on their way to the back ends. Nobody is told what becomes of one: it may be dropped at any time.

use std::sync::Arc;

use bytes::Bytes;
use im_proto::pb;
use im_sdk::cluster::{Cluster, Publication};
use prost::Message as _;

use crate::{
    bounded::{self, Bounds},
    occurrences::Occurrences,
    registry::Connection,
    users::QueueShare,
};

/// Signals that wait to be put onto the bus; most are of some 30 bytes, an offer of a call is of some KiB.
const QUEUE: Bounds = Bounds { items: 8192, bytes: 4 * 1024 * 1024 };

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Signals {
    queue: bounded::Sender<Waiting>,
    /// Those that were dropped.
    dropped: Occurrences,
}

/// A connection, its `Signal` byte for byte, whether it is in the room that the signal names, and the user's share of the queue.
type Waiting = (Arc<Connection>, Bytes, bool, QueueShare);

impl Signals {
    /// The receiver is for [`forward`].
    pub(crate) fn new() -> (Self, bounded::Receiver<Waiting>) {
        let (queue, receiver) = bounded::channel(QUEUE);
        (Self { queue, dropped: Occurrences::default() }, receiver)
    }

    /// Queues a device's signal for the back ends. Never waits.
    pub(crate) fn try_forward(&self, connection: &Arc<Connection>, signal: Bytes, in_room: bool) {
        let bytes = signal.len();
        let share = connection.shared_by_user().try_queue(bytes);
        let queued = share.is_some_and(|share| {
            self.queue.try_send((Arc::clone(connection), signal, in_room, share), bytes)
        });
        if !queued {
            self.note_dropped();
        }
    }

    /// Counts one that goes no further.
    pub(crate) fn note_dropped(&self) {
        if let Some(times) = self.dropped.note() {
            tracing::warn!(
                times,
                all = self.dropped.all(),
                "signals are dropped: too many of one connection, or in all"
            );
        }
    }

    #[cfg(test)]
    fn dropped(&self) -> u64 {
        self.dropped.all()
    }
}

/// Puts queued signals onto the bus, as many at once as have queued up while the last message went out. Ends when every
/// [`Signals`] is gone.
pub(crate) async fn forward(cluster: Cluster, mut queue: bounded::Receiver<Waiting>) {
    while let Some(waiting) = queue.recv_batch().await {
        let signals = waiting.into_iter().map(upstream).collect();
        let publication = Publication {
            subject: cluster.names().upstream_signal(),
            // Where no back end is listening, nobody wants to know.
            return_to: None,
            payload: pb::UpstreamSignals { signals }.encode_to_vec().into(),
        };
        if let Err(error) = cluster.bus().publish(publication).await {
            tracing::warn!(%error, "cannot pass signals on to the back ends");
        }
    }
}

fn upstream((connection, signal, in_room, _): Waiting) -> pb::UpstreamSignal {
    let device = Some((&connection.device).into());
    pb::UpstreamSignal { user: connection.user.to_string(), device, signal, in_room }
}

#[cfg(test)]
mod tests {
    use im_sdk::id::{Device, DeviceId, Terminal, UserId};

    use super::*;
    use crate::{outbox::Outbox, registry::Registry};

    #[test]
    fn what_finds_no_place_is_counted() {
        let registry = Arc::new(Registry::new(1, 1));
        let device = Device::new(Terminal::Web, DeviceId::parse("d").unwrap());
        let user = UserId::parse("u").unwrap();
        let registration = registry.register(user, device, 0, Outbox::new(1000)).unwrap();
        let (signals, _queue) = Signals::new();
        let mine = (0..).find(|_| {
            signals.try_forward(&registration.connection, Bytes::from_static(b"x"), false);
            signals.dropped() > 0
        });
        assert!(mine.unwrap() < QUEUE.items / 4, "one user fills no queue");
        signals.try_forward(&registration.connection, Bytes::from_static(b"x"), false);
        assert_eq!(signals.dropped(), 2);
    }
}
