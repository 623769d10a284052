//! Replies to envelopes, sent back to their publishers. They have a lane of their own, so that deliveries never wait for the bus.
//!
//! A dropped reply makes its publisher's sends unconfirmed.

use im_proto::pb;
use im_sdk::cluster::{Publication, Subject};
use prost::Message as _;

use crate::upstream::{
    byte_queue::Capacity,
    lane::{Encoded, Encoder, Lane, Outgoing, lane},
};

/// The entrance of the replies' lane.
#[derive(Debug)]
pub(crate) struct Replies {
    lane: Lane<(Subject, pb::Delivered)>,
}

impl Replies {
    pub(crate) fn new() -> (Self, Outgoing<ReplyEncoder>) {
        let (lane, outgoing) = lane();
        (Self { lane }, outgoing)
    }

    /// Queues a reply. Never waits.
    pub(crate) fn try_send(&self, subject: Subject, reply: pb::Delivered) {
        let bytes = reply.encoded_len();
        if !self.lane.try_send_own((subject, reply), bytes) {
            tracing::debug!("reply dropped: queue full");
        }
    }
}

/// Encodes replies, one at a time, each for its own subject. The bus's client writes several together.
#[derive(Debug)]
pub(crate) struct ReplyEncoder;

impl Encoder for ReplyEncoder {
    type Message = (Subject, pb::Delivered);
    const LANE: &'static str = "reply";
    /// Most take some 20 bytes; one that names many missing connections is large.
    const CAPACITY: Capacity = Capacity { items: 8192, bytes: 8 * 1024 * 1024 };
    const MAX_BATCH: usize = 1;

    fn encode(&self, mut messages: impl Iterator<Item = Self::Message>) -> Option<Encoded> {
        let (subject, reply) = messages.next()?;
        Some(Publication { subject, return_to: None, payload: reply.encode_to_vec().into() }.into())
    }
}
