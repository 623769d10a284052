//! HOT PATH 1: locate -> group by server -> encode once -> publish.

use std::collections::HashMap;

use tokio::{sync::oneshot, time::Instant, time::timeout_at};

use super::{
    ids::IdError,
    im::Im,
    message::{InvalidMessage, Message},
    publisher::Outcome,
    receipt::{Receipt, UserDevice},
};
use crate::{
    cluster::{Route, RoutesError},
    id::{ConnectionId, Device, InvalidId, ServerId, UserId},
    proto::{limits::MAX_FRAME_BYTES, pb},
};

/// The most connections in one record: 128 KiB. With what else goes into an envelope it stays below what NATS takes.
const MAX_CONNECTIONS: usize = 16 * 1024;

/// A message was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// A recipient or the sender is no valid user id.
    #[error(transparent)]
    InvalidUser(#[from] InvalidId),
    /// There is nobody to send to.
    #[error("the message has no recipient")]
    NoRecipient,
    /// There is nothing to send.
    #[error("the message has no content")]
    NoContent,
    /// The encoded message is larger than a device takes.
    #[error(
        "the message takes {bytes} bytes, the limit is {limit}: send a reference instead of the thing itself"
    )]
    TooLarge {
        /// What it takes.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// No id could be issued.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The recipients' devices could not be located.
    #[error(transparent)]
    Routes(#[from] RoutesError),
}

impl From<InvalidMessage> for SendError {
    fn from(error: InvalidMessage) -> Self {
        match error {
            InvalidMessage::User(error) => Self::InvalidUser(error),
            InvalidMessage::NoRecipient => Self::NoRecipient,
            InvalidMessage::NoContent => Self::NoContent,
        }
    }
}

/// A connection on its server, and whose device it is.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub(super) owner: UserDevice,
    pub(super) connection: ConnectionId,
}

/// What became of what was meant for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Reached,
    Gone,
    Unknown,
}

impl Im {
    /// Sends a message to every connected device of its recipients and tells which ones have it queued.
    ///
    /// Messages are `Live`: nothing is kept for users who are offline.
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent then.
    pub async fn send(&self, message: Message) -> Result<Receipt, SendError> {
        let prepared = message.prepare()?;
        let message_id = self.inner.ids.next()?;
        let devices = self.locate(&prepared.users, |device| prepared.wants(device.terminal)).await?;
        let (users, frames) = prepared.frame(message_id);
        check_size(frames.len())?;
        let reached = self.deliver(devices, &pb::record::Effect::Frames(frames)).await;
        Ok(receipt(message_id, users, reached))
    }

    /// The wanted devices that are connected to live servers, grouped by server. Routes to dead servers are swept.
    pub(super) async fn locate(
        &self,
        users: &[UserId],
        wanted: impl Fn(&Device) -> bool,
    ) -> Result<HashMap<ServerId, Vec<Located>>, RoutesError> {
        let mut by_server: HashMap<ServerId, Vec<Located>> = HashMap::new();
        let mut stale = Vec::new();
        let routes = self.inner.cluster.routes().locate(users).await?;
        for (user, routes) in users.iter().zip(routes) {
            for (device, Route { server, connection }) in routes {
                if !wanted(&device) {
                    continue;
                }
                let located = Located { owner: UserDevice::new(user, device), connection };
                if self.inner.directory.lives(&server).await? {
                    by_server.entry(server).or_default().push(located);
                } else {
                    stale.push((server, located));
                }
            }
        }
        self.sweep(stale);
        Ok(by_server)
    }

    /// Has every server do something for its connections, and waits until all have answered or the time is over.
    pub(super) async fn deliver(
        &self,
        by_server: HashMap<ServerId, Vec<Located>>,
        effect: &pb::record::Effect,
    ) -> Vec<(Located, Reach)> {
        let deadline = Instant::now() + self.inner.config.send_timeout;
        let mut asked = Vec::with_capacity(by_server.len());
        for (server, located) in by_server.into_iter().flat_map(split) {
            let connections = located.iter().map(|located| located.connection.0).collect();
            let record = pb::Record { connections, effect: Some(effect.clone()) };
            let submitted = timeout_at(deadline, self.inner.publisher.submit(&server, record)).await;
            asked.push((server, located, submitted.ok()));
        }
        let mut reached = Vec::new();
        for (server, located, outcome) in asked {
            let outcome = wait(outcome, deadline).await;
            let reaches = located.into_iter().map(|located| {
                let reach = reach(&outcome, located.connection);
                (located, reach)
            });
            let reaches: Vec<_> = reaches.collect();
            self.sweep_missed(&server, &outcome, &reaches);
            reached.extend(reaches);
        }
        reached
    }

    /// A live server that misses a connection says so for good: its route leads nowhere.
    fn sweep_missed(&self, server: &ServerId, outcome: &Outcome, reaches: &[(Located, Reach)]) {
        if !matches!(outcome, Outcome::Done { .. }) {
            return;
        }
        let gone = reaches.iter().filter(|(_, reach)| *reach == Reach::Gone);
        self.sweep(gone.map(|(located, _)| (server.clone(), located.clone())).collect());
    }

    /// Removes routes that lead nowhere, beside the send that met them.
    fn sweep(&self, stale: Vec<(ServerId, Located)>) {
        if stale.is_empty() {
            return;
        }
        let routes = self.inner.cluster.routes().clone();
        self.inner.tasks.spawn(async move {
            for (server, Located { owner, connection }) in stale {
                let route = Route { server, connection };
                if let Err(error) = routes.release(&owner.user, &owner.device, &route).await {
                    tracing::debug!(user = %owner.user, %error, "cannot sweep a stale route");
                }
            }
        });
    }
}

/// Into parts that are not too large for a record.
fn split((server, mut located): (ServerId, Vec<Located>)) -> impl Iterator<Item = (ServerId, Vec<Located>)> {
    std::iter::from_fn(move || {
        let rest = located.split_off(located.len().min(MAX_CONNECTIONS));
        let part = std::mem::replace(&mut located, rest);
        (!part.is_empty()).then(|| (server.clone(), part))
    })
}

pub(super) fn check_size(bytes: usize) -> Result<(), SendError> {
    let limit = MAX_FRAME_BYTES;
    if bytes <= limit { Ok(()) } else { Err(SendError::TooLarge { bytes, limit }) }
}

async fn wait(outcome: Option<oneshot::Receiver<Outcome>>, deadline: Instant) -> Outcome {
    match outcome {
        Some(outcome) => timeout_at(deadline, outcome).await.ok().and_then(Result::ok),
        None => None,
    }
    .unwrap_or(Outcome::Unknown)
}

fn reach(outcome: &Outcome, connection: ConnectionId) -> Reach {
    match outcome {
        Outcome::Done { missed } if missed.contains(&connection) => Reach::Gone,
        Outcome::Done { .. } => Reach::Reached,
        Outcome::ServerGone => Reach::Gone,
        Outcome::Unknown => Reach::Unknown,
    }
}

fn receipt(message_id: crate::id::MessageId, users: Vec<UserId>, reached: Vec<(Located, Reach)>) -> Receipt {
    let (mut pushed, mut unconfirmed) = (Vec::new(), Vec::new());
    for (located, reach) in reached {
        match reach {
            Reach::Reached => pushed.push(located.owner),
            Reach::Unknown => unconfirmed.push(located.owner),
            Reach::Gone => {}
        }
    }
    let heard_of: std::collections::HashSet<&UserId> =
        pushed.iter().chain(&unconfirmed).map(|device: &UserDevice| &device.user).collect();
    let offline = users.into_iter().filter(|user| !heard_of.contains(user)).collect();
    Receipt { message_id, pushed, offline, unconfirmed }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::cluster::{BusEvent, Cluster, Publication, Subject, Subscription};

    /// A server that does whatever it is told.
    async fn obey(cluster: Cluster, server: ServerId, mut subscription: Subscription) {
        while let Some(BusEvent::Message(message)) = subscription.next().await {
            let envelope = pb::Envelope::decode(message.payload).unwrap();
            let answer =
                pb::Delivered { server: server.to_string(), number: envelope.number, missed: Vec::new() };
            let subject = Subject::answer(cluster.names(), &envelope.answer_to).unwrap();
            let payload = answer.encode_to_vec().into();
            cluster.bus().publish(Publication { subject, return_to: None, payload }).await.unwrap();
        }
    }

    #[tokio::test]
    async fn more_connections_than_fit_into_one_envelope_are_reached() {
        let cluster = Cluster::embedded();
        let server = ServerId::parse("s1").unwrap();
        let subscription = cluster.bus().subscribe(cluster.names().server(&server)).await.unwrap();
        tokio::spawn(obey(cluster.clone(), server.clone(), subscription));
        let im = Im::with_cluster(cluster).await.unwrap();
        let owner = UserDevice::new(&UserId::parse("bob").unwrap(), "web/tab".parse().unwrap());
        let located = |number| Located { owner: owner.clone(), connection: ConnectionId(number) };
        // At eight bytes each, more than the megabyte that NATS takes.
        let crowd: Vec<_> = (0..140_000).map(located).collect();
        let frames = pb::record::Effect::Frames(vec![0; MAX_FRAME_BYTES].into());
        let reached = im.deliver(HashMap::from([(server, crowd)]), &frames).await;
        assert_eq!(reached.len(), 140_000);
        assert!(reached.iter().all(|(_, reach)| *reach == Reach::Reached));
    }
}
