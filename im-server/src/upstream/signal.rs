//! Forwards devices' signals to the backends. A signal may be dropped at any time, without a report.

use std::sync::Arc;

use bytes::Bytes;
use im_proto::pb;
use im_sdk::cluster::{Publication, Subject};
use prost::Message as _;

use super::{
    byte_queue::Capacity,
    lane::{Encoded, Encoder, Lane, Outgoing, lane},
};
use crate::{logging::throttle::LogThrottle, registry::connection::Connection};

/// The entrance of the lane.
#[derive(Debug)]
pub(crate) struct Signals {
    lane: Lane<QueuedSignal>,
    dropped: LogThrottle,
}

/// A device's `Signal`, byte for byte.
#[derive(Debug)]
pub(crate) struct QueuedSignal {
    connection: Arc<Connection>,
    signal: Bytes,
    /// Whether the device is in the room that the signal names.
    in_room: bool,
}

impl Signals {
    pub(crate) fn new() -> (Self, Outgoing<SignalEncoder>) {
        let (lane, outgoing) = lane();
        (Self { lane, dropped: LogThrottle::default() }, outgoing)
    }

    /// Queues a device's signal. Never waits.
    pub(crate) fn try_forward(&self, connection: &Arc<Connection>, signal: Bytes, in_room: bool) {
        let bytes = signal.len();
        let queued = QueuedSignal { connection: Arc::clone(connection), signal, in_room };
        if !self.lane.try_send(connection.user_state(), queued, bytes) {
            self.note_dropped();
        }
    }

    /// Counts a dropped signal.
    pub(crate) fn note_dropped(&self) {
        if let Some(count) = self.dropped.note() {
            tracing::warn!(
                count,
                total = self.dropped.total(),
                "signals dropped: too many of one user, or in all"
            );
        }
    }
}

/// Encodes signals, many at a time. If no backend listens, they are not needed.
#[derive(Debug)]
pub(crate) struct SignalEncoder {
    pub(super) subject: Subject,
}

impl Encoder for SignalEncoder {
    type Message = QueuedSignal;
    const LANE: &'static str = "signal";
    /// Most take some 30 bytes; the offer of a call takes some KiB.
    const CAPACITY: Capacity = Capacity { items: 8192, bytes: 4 * 1024 * 1024 };
    const MAX_BATCH: usize = 512;

    fn encode(&self, messages: impl Iterator<Item = Self::Message>) -> Option<Encoded> {
        let encode = |QueuedSignal { connection, signal, in_room }| pb::UpstreamSignal {
            user: connection.user.to_string(),
            device: Some((&connection.device).into()),
            signal,
            in_room,
        };
        let payload = pb::UpstreamSignals { signals: messages.map(encode).collect() }.encode_to_vec().into();
        Some(Publication { subject: self.subject.clone(), return_to: None, payload }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn what_finds_no_place_is_counted() {
        let registration = testing::connection();
        let (signals, _outgoing) = Signals::new();
        let send = || signals.try_forward(&registration.connection, Bytes::from_static(b"x"), false);
        let sent = (0..).find(|_| {
            send();
            signals.dropped.total() > 0
        });
        assert!(sent.unwrap() < SignalEncoder::CAPACITY.items / 4, "one user fills no queue");
        send();
        assert_eq!(signals.dropped.total(), 2);
    }
}
