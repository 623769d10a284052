//! What devices acknowledge: checked against the logs, stored, and told to the handler and to whoever waits for it.

use std::{
    collections::{HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use prost::Message as _;

use super::{Handler, responder::Responder};
use crate::{
    backend::im::Im,
    cluster::{DeviceAck, LogError, LogId, LogStore, MAX_ACKED_SEQ, Publication},
    id::{Device, MessageId, UserId},
    proto::{limits::MAX_ACK_CURSORS, pb},
};

/// How many batches are handled at once; further ones wait on the bus.
const CONCURRENCY: usize = 16;

/// How many places of logs are looked up at once for a batch, and how many of its events are handled at once.
const PARALLEL: usize = 64;

/// The most acknowledgements in one message to other back ends. At some 200 bytes each, far below what NATS takes.
const BROADCAST: usize = 1024;

/// Stores what devices acknowledge.
pub(super) struct Acks<H> {
    pub(super) im: Im,
    pub(super) handler: Arc<H>,
}

/// What a device says that it has.
pub(super) struct Claimed {
    ack: DeviceAck,
    /// The id of the message there; `None`: it does not know.
    id: Option<MessageId>,
}

impl<H: Handler> Responder for Acks<H> {
    type Request = Vec<Claimed>;

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }

    fn parse(&self, payload: Bytes) -> Vec<Vec<Claimed>> {
        let Ok(upstream) = pb::UpstreamAcks::decode(payload) else {
            tracing::warn!("a batch of acknowledgements is not valid and was dropped");
            return Vec::new();
        };
        vec![upstream.acks.into_iter().flat_map(claims).collect()]
    }

    async fn handle(self: Arc<Self>, claimed: Vec<Claimed>) {
        match self.store(claimed).await {
            Ok(forward) => {
                self.broadcast(&forward).await;
                self.tell(forward).await;
            }
            Err(error) => tracing::warn!(%error, "acknowledgements could not be stored and are dropped"),
        }
    }
}

impl<H: Handler> Acks<H> {
    /// Those by which a device went forward.
    async fn store(&self, claimed: Vec<Claimed>) -> Result<Vec<DeviceAck>, LogError> {
        let log = self.im.inner.cluster.log();
        let mut acks = true_claims(&**log, claimed).await?;
        let mut forward = log.note_acks(&acks).await?.into_iter();
        acks.retain(|_| forward.next().unwrap_or_default());
        Ok(acks)
    }

    /// To the back ends with somebody who waits for it. What is lost they find in the store a little later.
    async fn broadcast(&self, acks: &[DeviceAck]) {
        let cluster = &self.im.inner.cluster;
        for part in acks.chunks(BROADCAST) {
            let acks = pb::UpstreamAcks { acks: part.iter().map(stored).collect() };
            let subject = cluster.names().acks_stored();
            let payload = acks.encode_to_vec().into();
            if let Err(error) = cluster.bus().publish(Publication { subject, return_to: None, payload }).await
            {
                tracing::debug!(%error, "cannot tell other back ends what devices acknowledged");
            }
        }
    }

    async fn tell(&self, acks: Vec<DeviceAck>) {
        let tell = async |ack| {
            if AssertUnwindSafe(self.handler.acked(ack)).catch_unwind().await.is_err() {
                tracing::error!("the handler of acknowledgements panicked");
            }
        };
        stream::iter(acks).for_each_concurrent(PARALLEL, tell).await;
    }
}

/// How back ends tell each other.
fn stored(ack: &DeviceAck) -> pb::UpstreamAck {
    let channel = match &ack.log {
        LogId::Inbox(_) => String::new(),
        LogId::Channel(channel) => channel.to_string(),
    };
    let cursors = vec![pb::Cursor { channel, seq: ack.seq, id: 0 }];
    pb::UpstreamAck {
        user: ack.user.to_string(),
        device: Some((&ack.device).into()),
        ack: pb::Ack { cursors }.encode_to_vec().into(),
    }
}

/// What one device says, of each log the furthest. What makes no sense is passed over.
fn claims(upstream: pb::UpstreamAck) -> Vec<Claimed> {
    let user = UserId::parse(&upstream.user).ok();
    let device = upstream.device.and_then(|device| Device::try_from(device).ok());
    let (Some(user), Some(device), Ok(ack)) = (user, device, pb::Ack::decode(upstream.ack)) else {
        return Vec::new();
    };
    let mut furthest: HashMap<LogId, Claimed> = HashMap::new();
    for cursor in ack.cursors.into_iter().take(MAX_ACK_CURSORS) {
        let Some(log) = log_of(&user, &cursor.channel) else { continue };
        let further = furthest.get(&log).is_none_or(|known| known.ack.seq < cursor.seq);
        if further && (1..=MAX_ACKED_SEQ).contains(&cursor.seq) {
            let ack = DeviceAck::new(user.clone(), device.clone(), log.clone(), cursor.seq);
            furthest.insert(log, Claimed { ack, id: MessageId::from_u64(cursor.id) });
        }
    }
    furthest.into_values().collect()
}

/// The log that a device of this user means.
fn log_of(user: &UserId, channel: &str) -> Option<LogId> {
    if channel.is_empty() {
        return Some(LogId::Inbox(user.clone()));
    }
    channel.parse().ok().map(LogId::Channel)
}

/// Leaves out what cannot be: a place beyond the end of the log, and one at which the log has another message, which is
/// what a device says that has not heard yet that the log was rolled back.
async fn true_claims(log: &dyn LogStore, claimed: Vec<Claimed>) -> Result<Vec<DeviceAck>, LogError> {
    let places: HashSet<(LogId, u64)> =
        claimed.iter().map(|claimed| (claimed.ack.log.clone(), claimed.ack.seq)).collect();
    let look = async |(place, seq): (LogId, u64)| {
        let found = log.id_at(&place, seq).await;
        ((place, seq), found)
    };
    let ids: HashMap<_, _> = stream::iter(places).map(look).buffer_unordered(PARALLEL).collect().await;
    // Trimmed, or yet to come.
    let unknown = ids.iter().filter(|(_, found)| matches!(found, Ok(None))).map(|((log, _), _)| log.clone());
    let unknown: Vec<LogId> = unknown.collect::<HashSet<_>>().into_iter().collect();
    let ends = log.ends(&unknown).await?;
    let lasts: HashMap<LogId, u64> = unknown.into_iter().zip(ends.iter().map(|ends| ends.last)).collect();
    let is_true = |claimed: &Claimed| match ids.get(&(claimed.ack.log.clone(), claimed.ack.seq)) {
        Some(Ok(Some(id))) => claimed.id.is_none_or(|claimed| claimed == *id),
        Some(Ok(None)) => lasts.get(&claimed.ack.log).is_some_and(|last| claimed.ack.seq <= *last),
        Some(Err(error)) => {
            tracing::warn!(log = %claimed.ack.log, %error, "an acknowledgement cannot be checked and is dropped");
            false
        }
        None => false,
    };
    Ok(claimed.into_iter().filter(is_true).map(|claimed| claimed.ack).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Cluster, NewEntry};

    const DEVICE: &str = "web/tab";

    fn upstream(cursors: Vec<pb::Cursor>) -> pb::UpstreamAck {
        let device: Device = DEVICE.parse().unwrap();
        let ack = pb::Ack { cursors }.encode_to_vec().into();
        pb::UpstreamAck { user: "bob".into(), device: Some((&device).into()), ack }
    }

    fn cursor(channel: &str, seq: u64, id: u64) -> pb::Cursor {
        pb::Cursor { channel: channel.into(), seq, id }
    }

    async fn truth(cluster: &Cluster, cursors: Vec<pb::Cursor>) -> Vec<(String, u64)> {
        let acks = true_claims(&**cluster.log(), claims(upstream(cursors))).await.unwrap();
        acks.into_iter().map(|ack| (ack.log.to_string(), ack.seq)).collect()
    }

    #[tokio::test]
    async fn only_what_the_log_has_is_true() {
        let cluster = Cluster::embedded();
        let inbox = LogId::Inbox("bob".parse().unwrap());
        let id = |number| MessageId::from_u64((u64::MAX >> 1) - number).unwrap();
        for number in 1..=5 {
            cluster.log().append(&inbox, NewEntry::new(id(number), Bytes::new())).await.unwrap();
        }
        let right = |seq| cursor("", seq, id(seq).as_u64());
        assert_eq!(truth(&cluster, vec![right(3)]).await, [("u:bob".into(), 3)]);
        assert_eq!(truth(&cluster, vec![right(3), right(5), right(4)]).await, [("u:bob".into(), 5)]);
        assert_eq!(
            truth(&cluster, vec![cursor("", 4, 0)]).await,
            [("u:bob".into(), 4)],
            "the id is not known"
        );
        for wrong in [cursor("", 3, 4711), cursor("", 6, 0), cursor("", 0, 0), cursor("", 1 << 63, 1)] {
            assert_eq!(truth(&cluster, vec![wrong.clone()]).await, [], "{wrong:?}");
        }
        for wrong in [cursor("", u64::MAX, u64::MAX), cursor("{", 1, 0), cursor("nobody", 1, 0)] {
            assert_eq!(truth(&cluster, vec![wrong, right(2)]).await, [("u:bob".into(), 2)]);
        }
    }
}
