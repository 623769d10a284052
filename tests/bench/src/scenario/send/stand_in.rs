//! A stand-in for a server, which answers every envelope at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use im_proto::pb;
use im_sdk::{
    cluster::{BusEvent, Cluster, Publication, Subject, Subscription},
    id::ServerId,
};
use prost::{Message as _, encoding::decode_varint};

/// Lease of the stand-in, longer than any run.
const LEASE: Duration = Duration::from_secs(3600);

/// See the module's description.
pub(super) struct StandIn {
    server: ServerId,
    envelopes: Arc<AtomicU64>,
}

impl StandIn {
    /// Registers the stand-in with a lease, and starts to answer.
    pub(super) async fn start(cluster: &Cluster, server: &ServerId) -> Result<Self, String> {
        let subject = cluster.names().server(server);
        let subscription = cluster.bus().subscribe(subject).await.map_err(|error| error.to_string())?;
        let leased = cluster.routes().lease_server(server, &pb::ServerInfo::default(), LEASE, true).await;
        leased.map_err(|error| error.to_string())?;
        let envelopes = Arc::new(AtomicU64::new(0));
        tokio::spawn(answer(cluster.clone(), server.to_string(), subscription, Arc::clone(&envelopes)));
        Ok(Self { server: server.clone(), envelopes })
    }

    /// Returns the id of the server that it stands in for.
    pub(super) fn server(&self) -> &ServerId {
        &self.server
    }

    /// Returns the number of answered envelopes.
    pub(super) fn envelopes(&self) -> u64 {
        self.envelopes.load(Ordering::Relaxed)
    }
}

async fn answer(cluster: Cluster, server: String, mut subscription: Subscription, envelopes: Arc<AtomicU64>) {
    while let Some(event) = subscription.next().await {
        let BusEvent::Message(message) = event else { continue };
        let Some((number, answer_to)) = head(message.payload) else { continue };
        let Some(subject) = Subject::answer(cluster.names(), &answer_to) else { continue };
        envelopes.fetch_add(1, Ordering::Relaxed);
        let delivered = pb::Delivered { server: server.clone(), number, ..pb::Delivered::default() };
        let payload = delivered.encode_to_vec().into();
        if cluster.bus().publish(Publication { subject, return_to: None, payload }).await.is_err() {
            return;
        }
    }
}

/// Parses the fields before an envelope's records: its number and the subject of the answer.
fn head(mut envelope: Bytes) -> Option<(u64, String)> {
    let mut number = 0;
    while envelope.has_remaining() {
        match decode_varint(&mut envelope).ok()? >> 3 {
            1 => {
                let length = usize::try_from(decode_varint(&mut envelope).ok()?).ok()?;
                envelope.advance(length.min(envelope.len()));
            }
            2 => number = decode_varint(&mut envelope).ok()?,
            3 => {
                let length = usize::try_from(decode_varint(&mut envelope).ok()?).ok()?;
                let answer_to = envelope.get(..length)?.to_vec();
                return Some((number, String::from_utf8(answer_to).ok()?));
            }
            _ => return None,
        }
    }
    None
}
