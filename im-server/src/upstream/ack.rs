//! Forwards devices' acknowledgements to the backends.
//!
//! A dropped acknowledgement does no harm: the device repeats it with its next sync or connection, and every later one of the same
//! log covers it.

use std::sync::Arc;

use bytes::Bytes;
use im_proto::pb;
use im_sdk::cluster::{Publication, Subject};
use prost::Message as _;

use super::{
    byte_queue::Capacity,
    lane::{Encoded, Encoder, Lane, Outgoing, lane},
};
use crate::registry::connection::Connection;

/// The entrance of the lane.
#[derive(Debug)]
pub(crate) struct Acks {
    lane: Lane<(Arc<Connection>, Bytes)>,
}

impl Acks {
    pub(crate) fn new() -> (Self, Outgoing<AckEncoder>) {
        let (lane, outgoing) = lane();
        (Self { lane }, outgoing)
    }

    /// Queues a device's `Ack`, byte for byte. Never waits.
    pub(crate) fn try_forward(&self, connection: &Arc<Connection>, ack: Bytes) {
        let bytes = ack.len();
        if !self.lane.try_send(connection.user_state(), (Arc::clone(connection), ack), bytes) {
            tracing::debug!(user = %connection.user, "acknowledgement dropped: queue full");
        }
    }
}

/// Encodes acknowledgements, many at a time. If no backend listens, they are not needed.
#[derive(Debug)]
pub(crate) struct AckEncoder {
    pub(super) subject: Subject,
}

impl Encoder for AckEncoder {
    type Message = (Arc<Connection>, Bytes);
    const LANE: &'static str = "ack";
    /// Most take some 20 bytes.
    const CAPACITY: Capacity = Capacity { items: 8192, bytes: 4 * 1024 * 1024 };
    const MAX_BATCH: usize = 512;

    fn encode(&self, messages: impl Iterator<Item = Self::Message>) -> Option<Encoded> {
        let encode = |(connection, ack): Self::Message| pb::UpstreamAck {
            user: connection.user.to_string(),
            device: Some((&connection.device).into()),
            ack,
        };
        let payload = pb::UpstreamAcks { acks: messages.map(encode).collect() }.encode_to_vec().into();
        Some(Publication { subject: self.subject.clone(), return_to: None, payload }.into())
    }
}
