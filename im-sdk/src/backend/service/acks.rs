//! Acknowledgements of devices: checked against the logs, stored, and announced to the handler and
//! to waiting receipts.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use prost::Message as _;

use super::{
    Handler,
    budget::Resource,
    call::Deadline,
    context::ServiceContext,
    queue::{Job, Limits},
    responder::Responder,
};
use crate::{
    cluster::{DeviceAck, LogError, LogId, LogStore, MAX_ACKED_SEQ, Publication},
    id::{ChannelId, Device, MessageId, UserId},
    log_throttle::throttled,
    proto::{limits::MAX_ACK_CURSORS, pb},
};

/// The number of batches that are handled at once, and of devices' acknowledgements in one, each of
/// another user.
const CONCURRENCY: usize = 16;
const BATCH: usize = 256;

/// The number of waiting acknowledgements of one user. Devices repeat them, and a later one covers
/// the earlier ones.
const WAITING_PER_USER: usize = 64;

/// The time that an acknowledgement may wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// The approximate size of one claim in memory.
const CLAIM_BYTES: usize = 128;

/// The number of seqs that are looked up at once for a batch, and of its events that are handled at
/// once.
const PARALLEL: usize = 64;

/// The most acknowledgements in one message to other backends. At some 200 bytes each, this is far
/// below the limit of NATS.
const BROADCAST: usize = 1024;

/// Stores what devices acknowledge.
pub(super) struct Acks<H> {
    pub(super) context: Arc<ServiceContext>,
    pub(super) handler: Arc<H>,
}

/// A device's claim to have a log up to a seq.
pub(super) struct Claimed {
    ack: DeviceAck,
    /// The id of the message there, or `None` if the device does not know it.
    id: Option<MessageId>,
}

impl<H: Handler> Responder for Acks<H> {
    type Request = Vec<Claimed>;

    const NAME: &'static str = "acknowledgements";

    fn limits(&self) -> Limits {
        Limits {
            concurrency: CONCURRENCY,
            batch: BATCH,
            per_user: 1,
            waiting_per_user: WAITING_PER_USER,
            patience: PATIENCE,
        }
    }

    fn parse(&self, payload: Bytes) -> Vec<Job<Vec<Claimed>>> {
        let Ok(upstream) = pb::UpstreamAcks::decode(payload) else {
            throttled!(warn, "a batch of acknowledgements is not valid and was dropped");
            return Vec::new();
        };
        let job = |upstream: pb::UpstreamAck| {
            let claimed = claims(upstream);
            let (user, bytes) = (claimed.first()?.ack.user.clone(), claimed.len() * CLAIM_BYTES);
            Some(Job::new(user, claimed, bytes))
        };
        upstream.acks.into_iter().filter_map(job).collect()
    }

    async fn handle(self: Arc<Self>, requests: Vec<Vec<Claimed>>) {
        match self.store(requests.into_iter().flatten().collect()).await {
            Ok(forward) => {
                self.broadcast(&forward).await;
                self.tell(forward).await;
            }
            Err(error) => throttled!(warn, %error, "cannot store acknowledgements: they are dropped"),
        }
    }
}

impl<H: Handler> Acks<H> {
    /// Stores acknowledgements. Returns those by which a device went forward.
    async fn store(&self, claimed: Vec<Claimed>) -> Result<Vec<DeviceAck>, LogError> {
        let log = self.context.cluster.log();
        let allowed = self.allowed(claimed).await;
        let mut acks = true_claims(&**log, allowed).await?;
        let mut forward = log.note_acks(&acks).await?.into_iter();
        acks.retain(|_| forward.next().unwrap_or_default());
        Ok(acks)
    }

    /// Drops acknowledgements beyond a user's budget, which devices repeat, and those of channels
    /// that the user is not a member of, before anything else is looked up.
    async fn allowed(&self, claimed: Vec<Claimed>) -> Vec<Claimed> {
        let mut by_user: HashMap<UserId, Vec<Claimed>> = HashMap::new();
        for claimed in claimed {
            by_user.entry(claimed.ack.user.clone()).or_default().push(claimed);
        }
        let allow = async |(user, mut claimed): (UserId, Vec<Claimed>)| {
            let within = self.context.budgets.take_up_to(&user, Resource::Acks, claimed.len() as u64);
            if (within as usize) < claimed.len() {
                throttled!(info, %user, "a user acknowledges more than its budget has");
                claimed.truncate(within as usize);
            }
            self.of_members(&user, claimed).await
        };
        stream::iter(by_user).map(allow).buffer_unordered(PARALLEL).concat().await
    }

    /// Keeps acknowledgements of the inbox, and of channels that the user is a member of.
    async fn of_members(&self, user: &UserId, mut claimed: Vec<Claimed>) -> Vec<Claimed> {
        let channels = claimed.iter().filter_map(|claimed| match &claimed.ack.log {
            LogId::Inbox(_) => None,
            LogId::Channel(channel) => Some(channel.clone()),
        });
        let channels: Vec<ChannelId> = channels.collect::<HashSet<_>>().into_iter().collect();
        if channels.is_empty() {
            return claimed;
        }
        let is_member = match self.context.cluster.members().is_member_of(user, &channels).await {
            Ok(is_member) => is_member,
            Err(error) => {
                throttled!(warn, %user, %error, "cannot check acknowledgements of channels: they are dropped");
                vec![false; channels.len()]
            }
        };
        let of: HashSet<ChannelId> =
            channels.into_iter().zip(is_member).filter_map(|(channel, is)| is.then_some(channel)).collect();
        claimed.retain(|claimed| match &claimed.ack.log {
            LogId::Inbox(_) => true,
            LogId::Channel(channel) => of.contains(channel),
        });
        claimed
    }

    /// Announces acknowledgements to backends with waiting receipts. If one is lost, they find it
    /// in the store later.
    async fn broadcast(&self, acks: &[DeviceAck]) {
        let cluster = &self.context.cluster;
        for part in acks.chunks(BROADCAST) {
            let acks = pb::UpstreamAcks { acks: part.iter().map(stored).collect() };
            let subject = cluster.names().acks_stored();
            let payload = acks.encode_to_vec().into();
            if let Err(error) = cluster.bus().publish(Publication { subject, return_to: None, payload }).await
            {
                tracing::debug!(%error, "cannot announce acknowledgements to other backends");
            }
        }
    }

    async fn tell(&self, acks: Vec<DeviceAck>) {
        let tell = async |ack: DeviceAck| {
            let user = ack.user.clone();
            let call = Deadline::new(self.context.settings.handler_timeout, "acked", &user);
            // The acknowledgement is stored, whatever the handler returns. A failure is in the log.
            let _ = call.run(|| self.handler.acked(ack)).await;
        };
        stream::iter(acks).for_each_concurrent(PARALLEL, tell).await;
    }
}

/// Encodes an acknowledgement for other backends.
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

/// Returns the furthest claim for each log. Invalid ones are dropped.
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

/// Returns the log that a device of this user means.
fn log_of(user: &UserId, channel: &str) -> Option<LogId> {
    if channel.is_empty() {
        return Some(LogId::Inbox(user.clone()));
    }
    channel.parse().ok().map(LogId::Channel)
}

/// Drops impossible claims: seqs beyond the end of the log, and seqs at which the log has another
/// message. A device claims those that does not know of a rollback yet.
async fn true_claims(log: &dyn LogStore, claimed: Vec<Claimed>) -> Result<Vec<DeviceAck>, LogError> {
    let places: HashSet<(LogId, u64)> =
        claimed.iter().map(|claimed| (claimed.ack.log.clone(), claimed.ack.seq)).collect();
    let look = async |(place, seq): (LogId, u64)| {
        let found = log.id_at(&place, seq).await;
        ((place, seq), found)
    };
    let ids: HashMap<_, _> = stream::iter(places).map(look).buffer_unordered(PARALLEL).collect().await;
    // Trimmed, or not yet appended.
    let unknown = ids.iter().filter(|(_, found)| matches!(found, Ok(None))).map(|((log, _), _)| log.clone());
    let unknown: Vec<LogId> = unknown.collect::<HashSet<_>>().into_iter().collect();
    let ends = log.ends(&unknown).await?;
    let lasts: HashMap<LogId, u64> = unknown.into_iter().zip(ends.iter().map(|ends| ends.last)).collect();
    let is_true = |claimed: &Claimed| match ids.get(&(claimed.ack.log.clone(), claimed.ack.seq)) {
        Some(Ok(Some(id))) => claimed.id.is_none_or(|claimed| claimed == *id),
        Some(Ok(None)) => lasts.get(&claimed.ack.log).is_some_and(|last| claimed.ack.seq <= *last),
        Some(Err(error)) => {
            throttled!(warn, log = %claimed.ack.log, %error, "cannot check an acknowledgement: it is dropped");
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
