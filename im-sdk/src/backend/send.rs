//! HOT PATH 1: append -> locate -> group by server -> encode once -> publish.

use std::{collections::HashMap, sync::Arc};

use tokio::{sync::oneshot, time::Instant, time::timeout_at};

use super::{
    acks::Origin,
    append::Logged,
    archive::archive_all,
    check::InvalidContent,
    ids::IdError,
    im::Im,
    message::{Durability, InvalidMessage, Message, Prepared, push_frame, push_frame_len},
    presence,
    publisher::Outcome,
    receipt::{Receipt, UserDevice},
};
use crate::{
    cluster::{Archive, ArchiveError, ArchivePlace, Cluster, LogError, LogId, Once, Route, RoutesError},
    id::{ChannelId, ConnectionId, Device, InvalidId, MessageId, ServerId, UserId},
    proto::{limits::MAX_FRAME_BYTES, pb},
};

/// The most connections in one record: 128 KiB. With what else goes into an envelope it stays below what NATS takes.
const MAX_CONNECTIONS: usize = 16 * 1024;

/// What an entry takes more as part of a page of history than alone. What is logged must fit into such a page too.
pub(super) const HISTORY_OVERHEAD: usize = 64;

/// A message was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// A recipient or the sender is no valid user id.
    #[error(transparent)]
    InvalidUser(#[from] InvalidId),
    /// The channel has no valid id.
    #[error(transparent)]
    InvalidChannel(InvalidId),
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
    /// A message for chosen terminals cannot be logged: a log has no holes.
    #[error("a message for chosen terminals must be sent with Durability::Live")]
    TerminalsNeedLive,
    /// A channel's members are reached without looking at each of them.
    #[error("a message to a channel cannot be for chosen terminals")]
    TerminalsNeedUsers,
    /// A broadcast cannot be logged: there is no log of everybody.
    #[error("a broadcast must be Durability::Live")]
    BroadcastNeedsLive,
    /// What is in a log, or meant for chosen users, must not be left out.
    #[error("a priority other than Must is for Durability::Live messages to a channel or to everybody")]
    PriorityNeedsLive,
    /// The idempotency key is not one.
    #[error("an idempotency key takes 1 to 128 printable ASCII characters")]
    InvalidKey,
    /// The content is not one that devices can be given.
    #[error(transparent)]
    InvalidContent(#[from] InvalidContent),
    /// A change of a message that is not logged would reach some devices and not others.
    #[error("a change of a message must be logged: Durability::Live is not enough")]
    ChangeNeedsLog,
    /// A message is deleted for one user, in the user's inbox, also where it is in a channel.
    #[error("a message is deleted for users, not for a channel: send the deletion to the user")]
    DeletionInChannel,
    /// The idempotency key was used for another message.
    #[error("the idempotency key was used for another message")]
    Conflict,
    /// A log did not take the message. Others may have: send it again with the same idempotency key, which has one
    /// effect in every log.
    #[error("the message is not in the inbox of {user}: {source}")]
    NotLogged {
        /// Whose inbox.
        user: UserId,
        /// Why.
        source: LogError,
    },
    /// The message is in its logs and is delivered, but it is not known to be in the archive. Send it again with the same
    /// idempotency key, which has one effect in every log and in the archive.
    #[error("message {message_id} is in its logs but not known to be archived: {source}")]
    NotArchived {
        /// The id that the message got.
        message_id: MessageId,
        /// Why.
        source: ArchiveError,
    },
    /// The cluster has no archive: set `ClusterConfig::archive`. Nothing was sent.
    #[error("the message is to be archived, but the cluster has no archive: set ClusterConfig::archive")]
    NoArchive,
    /// The channel's log did not take the message: send it again with the same idempotency key.
    #[error("the message is not in the log of channel {channel}: {source}")]
    NotInChannel {
        /// Which channel.
        channel: ChannelId,
        /// Why.
        source: LogError,
    },
    /// An earlier try under this number put the message into the first log, which has been trimmed since: what it said is
    /// not known any more, and nothing was appended now.
    #[error("an earlier try is not in the log {log} any more, so that it cannot be finished")]
    Trimmed {
        /// Which log.
        log: LogId,
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
            InvalidMessage::Channel(error) => Self::InvalidChannel(error),
            InvalidMessage::NoRecipient => Self::NoRecipient,
            InvalidMessage::NoContent => Self::NoContent,
            InvalidMessage::TerminalsNeedLive => Self::TerminalsNeedLive,
            InvalidMessage::TerminalsNeedUsers => Self::TerminalsNeedUsers,
            InvalidMessage::EveryoneNeedsLive => Self::BroadcastNeedsLive,
            InvalidMessage::PriorityNeedsLive => Self::PriorityNeedsLive,
            InvalidMessage::Key => Self::InvalidKey,
            InvalidMessage::Content(error) => Self::InvalidContent(error),
            InvalidMessage::ChangeNeedsLog => Self::ChangeNeedsLog,
            InvalidMessage::DeletionInChannel => Self::DeletionInChannel,
        }
    }
}

/// A connection on its server, and whose device it is.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub(super) owner: UserDevice,
    pub(super) connection: ConnectionId,
}

/// Connections that live, by their servers: each server once.
pub(super) type ByServer = Vec<(ServerId, Vec<Located>)>;

/// Connections of a server that were handed something, and where it says what became of it.
#[derive(Debug)]
pub(super) struct Asked {
    server: ServerId,
    located: Vec<Located>,
    /// `None`: the way there stayed full.
    outcome: Option<oneshot::Receiver<Outcome>>,
}

/// What became of what was meant for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Reached,
    Gone,
    Unknown,
}

impl Im {
    /// Sends a message: logs it (unless it is [`Durability::Live`]), pushes it to every connected device of its recipients
    /// and its sender, and tells which ones have it queued.
    ///
    /// # Errors
    /// [`SendError`]. A message that is not in every log that it belongs into is an error, never Ok.
    pub async fn send(&self, message: Message) -> Result<Receipt, SendError> {
        let prepared = self.prepare(message)?;
        self.send_prepared(prepared, None).await
    }

    /// The same for a device's publish, which has a number that makes it one effect. It does not wait for what the servers
    /// say: the receipt tells of the logs alone. What one device publishes is handed to the servers in its order.
    pub(super) async fn send_once(&self, message: Message, once: Option<Once>) -> Result<Receipt, SendError> {
        let prepared = self.prepare(message)?;
        self.send_prepared(prepared, once).await
    }

    /// Boxed: it goes through all steps, and a future that holds it is copied when it is made.
    fn prepare(&self, message: Message) -> Result<Box<Prepared>, SendError> {
        Ok(Box::new(message.or_durability(self.inner.config.default_durability).prepare()?))
    }

    async fn send_prepared(
        &self,
        mut prepared: Box<Prepared>,
        once: Option<Once>,
    ) -> Result<Receipt, SendError> {
        let id = self.inner.ids.next()?;
        let archive = match prepared.durability {
            Durability::Archived => Some(self.inner.cluster.archive().ok_or(SendError::NoArchive)?),
            Durability::Live | Durability::Logged => None,
        };
        let receipt = match (prepared.channel.take(), prepared.durability) {
            // Boxed: what is rare and large must not make every send large.
            (Some(channel), _) => {
                Box::pin(self.send_to_channel(id, prepared, channel, once, archive)).await?
            }
            (None, Durability::Live) => self.send_live(id, prepared, once).await?,
            (None, _) => Box::pin(self.send_logged(id, prepared, once, archive)).await?,
        };
        Ok(Receipt { origin: Origin::new(self), ..receipt })
    }

    async fn send_live(
        &self,
        id: MessageId,
        prepared: Box<Prepared>,
        once: Option<Once>,
    ) -> Result<Receipt, SendError> {
        let devices = self.locate_heard(&prepared.users, |device| prepared.wants(device.terminal)).await?;
        let frame = push_frame(prepared.encode(id), 0);
        check_size(frame.len())?;
        let waits = once.is_none();
        let once = once.or_else(|| prepared.once());
        if let Some(owner) = prepared.from.as_ref().or(prepared.users.first())
            && let Some(first) = self.sent_before(LogId::Inbox(owner.clone()), id, once.as_ref()).await?
        {
            return Ok(Receipt { repeated: true, ..Receipt::new(first, Durability::Live) });
        }
        let asked = self.ask(devices, |_| pb::record::Effect::Frames(frame.clone())).await;
        let receipt = Receipt::new(id, Durability::Live);
        if !waits {
            self.sweep_beside(asked);
            return Ok(receipt);
        }
        let reached = self.answers(asked).await;
        Ok(receipt.delivered(prepared.users, reached))
    }

    async fn send_logged(
        &self,
        id: MessageId,
        prepared: Box<Prepared>,
        once: Option<Once>,
        archive: Option<&Arc<dyn Archive>>,
    ) -> Result<Receipt, SendError> {
        let waits = once.is_none();
        let once = once.or_else(|| prepared.once());
        let message = prepared.encode(id);
        check_size(push_frame_len(&message, u64::MAX) + HISTORY_OVERHEAD)?;
        let logged = self.append(id, message, &prepared, once).await?;
        // It is in the logs, so devices get it whatever the archive says.
        let (reached, archived) = match archive {
            None => (self.push_logged(&logged, waits).await, Ok(())),
            Some(_) => {
                let place = |(user, seq): &(UserId, u64)| ArchivePlace::new(LogId::Inbox(user.clone()), *seq);
                let archived = archive_all(archive, &logged.message, logged.seqs.iter().map(place));
                // Boxed for those that are not archived.
                Box::pin(async { tokio::join!(self.push_logged(&logged, waits), archived) }).await
            }
        };
        archived.map_err(|source| SendError::NotArchived { message_id: logged.message_id, source })?;
        let mut receipt = Receipt::new(logged.message_id, prepared.durability);
        receipt.repeated = logged.repeated;
        receipt.logged = logged.seqs;
        // A sender who is no recipient has an entry as well, of which the receipt does not speak.
        let sender = prepared.from.filter(|sender| !prepared.users.contains(sender));
        let recipient = |user: &UserId| Some(user) != sender.as_ref();
        receipt.logged.retain(|(user, _)| recipient(user));
        if !waits {
            return Ok(receipt);
        }
        let reached = reached.into_iter().filter(|(located, _)| recipient(&located.owner.user)).collect();
        Ok(receipt.delivered(prepared.users, reached))
    }

    /// The message is safe: what fails from here on delays it until the device's next sync.
    async fn push_logged(&self, logged: &Logged, waits: bool) -> Vec<(Located, Reach)> {
        let asked = self.ask_logged(logged).await;
        if waits {
            return self.answers(asked).await;
        }
        self.sweep_beside(asked);
        Vec::new()
    }

    async fn ask_logged(&self, logged: &Logged) -> Vec<Asked> {
        let users: Vec<UserId> = logged.seqs.iter().map(|(user, _)| user.clone()).collect();
        let devices = match self.locate_logged(&users).await {
            Ok(devices) => devices,
            Err(error) => {
                tracing::warn!(%error, "a logged message could not be pushed");
                return Vec::new();
            }
        };
        // Encoded for who is connected.
        let frames = |seq| pb::record::Effect::Frames(push_frame(logged.message.clone(), seq));
        if logged.seqs.len() <= FEW {
            let seq =
                |user: &UserId| logged.seqs.iter().find(|(other, _)| other == user).map(|(_, seq)| *seq);
            return self.ask(devices, |user| frames(seq(user).unwrap_or_default())).await;
        }
        let seqs: HashMap<&UserId, u64> = logged.seqs.iter().map(|(user, seq)| (user, *seq)).collect();
        self.ask(devices, |user| frames(seqs.get(user).copied().unwrap_or_default())).await
    }

    /// The wanted devices that are connected to live servers, grouped by server. Routes to dead servers are swept.
    pub(super) async fn locate(
        &self,
        users: &[UserId],
        wanted: impl Fn(&Device) -> bool,
    ) -> Result<ByServer, RoutesError> {
        let routes = self.inner.cluster.routes().locate(users).await?;
        self.living(users, routes, wanted).await
    }

    /// The same from routes that may be kept here: for what is only for the moment. A device that has connected a moment ago
    /// may miss it.
    pub(super) async fn locate_heard(
        &self,
        users: &[UserId],
        wanted: impl Fn(&Device) -> bool,
    ) -> Result<ByServer, RoutesError> {
        let routes = self.inner.cluster.routes().locate_heard(users).await?;
        self.living(users, routes, wanted).await
    }

    /// Of users in whose logs a message has just come. Who connects from now on reads it there.
    async fn locate_logged(&self, users: &[UserId]) -> Result<ByServer, RoutesError> {
        let routes = self.inner.cluster.locate_behind_append(users).await?;
        self.living(users, routes, |_| true).await
    }

    async fn living(
        &self,
        users: &[UserId],
        routes: Vec<Vec<(Device, Route)>>,
        wanted: impl Fn(&Device) -> bool,
    ) -> Result<ByServer, RoutesError> {
        let (mut living, mut stale) = (Vec::with_capacity(users.len()), Vec::new());
        let mut unknown = Vec::new();
        for (user, routes) in users.iter().zip(routes) {
            for (device, Route { server, connection }) in routes {
                if !wanted(&device) {
                    continue;
                }
                let located = Located { owner: UserDevice::new(user, device), connection };
                match self.inner.directory.known(&server) {
                    Some(true) => living.push((server, located)),
                    Some(false) => stale.push((server, located)),
                    None => unknown.push((server, located)),
                }
            }
        }
        for (server, located) in unknown {
            // Boxed: it happens once for each server.
            let group =
                if Box::pin(self.inner.directory.lives(&server)).await? { &mut living } else { &mut stale };
            group.push((server, located));
        }
        self.sweep(stale);
        Ok(by_server(living))
    }

    /// Has every server do something for its connections, and waits until all have answered or the time is over. Users
    /// whose effect is the same share a record.
    pub(super) async fn deliver(
        &self,
        by_server: ByServer,
        effect: impl Fn(&UserId) -> pb::record::Effect,
    ) -> Vec<(Located, Reach)> {
        let asked = self.ask(by_server, effect).await;
        self.answers(asked).await
    }

    /// Hands every server what it is to do for its connections.
    async fn ask(&self, by_server: ByServer, effect: impl Fn(&UserId) -> pb::record::Effect) -> Vec<Asked> {
        let deadline = Instant::now() + self.inner.config.send_timeout;
        let mut asked = Vec::with_capacity(by_server.len());
        for (server, located) in by_server {
            if let [one] = located.as_slice() {
                let effect = effect(&one.owner.user);
                asked.push(self.submit(server, located, effect, deadline).await);
                continue;
            }
            for located in split(located) {
                for (effect, located) in by_effect(located, &effect) {
                    asked.push(self.submit(server.clone(), located, effect, deadline).await);
                }
            }
        }
        asked
    }

    async fn submit(
        &self,
        server: ServerId,
        located: Vec<Located>,
        effect: pb::record::Effect,
        deadline: Instant,
    ) -> Asked {
        let connections = located.iter().map(|located| located.connection.0).collect();
        let record = pb::Record { connections, effect: Some(effect), ..pb::Record::default() };
        let publisher = &self.inner.publisher;
        let outcome = match publisher.submit_now(&server, record, deadline) {
            Ok(outcome) => outcome,
            // Boxed: there is nearly always room.
            Err(full) => Box::pin(publisher.submit_late(&server, full, deadline)).await,
        };
        Asked { server, located, outcome }
    }

    /// Waits until all have answered or the time is over.
    async fn answers(&self, asked: Vec<Asked>) -> Vec<(Located, Reach)> {
        let mut reached = Vec::with_capacity(asked.len());
        for Asked { server, located, outcome } in asked {
            // The publisher gives up in time.
            let outcome = match outcome {
                Some(outcome) => outcome.await.unwrap_or(Outcome::Unknown),
                None => Outcome::Unknown,
            };
            let from = reached.len();
            reached.extend(located.into_iter().map(|located| {
                let reach = reach(&outcome, located.connection);
                (located, reach)
            }));
            self.sweep_missed(&server, &outcome, &reached[from..]);
        }
        reached
    }

    /// A live server that misses a connection says so for good: its route leads nowhere.
    fn sweep_missed(&self, server: &ServerId, outcome: &Outcome, reaches: &[(Located, Reach)]) {
        if !matches!(outcome, Outcome::Done { missed, .. } if !missed.is_empty()) {
            return;
        }
        let gone = reaches.iter().filter(|(_, reach)| *reach == Reach::Gone);
        self.sweep(gone.map(|(located, _)| (server.clone(), located.clone())).collect());
    }

    /// Sweeps what the servers miss when they have answered, for a send that does not wait for that.
    fn sweep_beside(&self, asked: Vec<Asked>) {
        if asked.is_empty() {
            return;
        }
        let cluster = self.inner.cluster.clone();
        self.inner.tasks.spawn(async move {
            for Asked { server, mut located, outcome } in asked {
                let Some(outcome) = outcome else { continue };
                let Ok(Outcome::Done { missed, .. }) = outcome.await else { continue };
                located.retain(|located| missed.contains(&located.connection));
                let stale = located.into_iter().map(|located| (server.clone(), located)).collect();
                release(&cluster, stale).await;
            }
        });
    }

    /// Removes routes that lead nowhere, beside the send that met them.
    fn sweep(&self, stale: Vec<(ServerId, Located)>) {
        if stale.is_empty() {
            return;
        }
        let cluster = self.inner.cluster.clone();
        self.inner.tasks.spawn(async move { release(&cluster, stale).await });
    }
}

/// So few users are found by looking at all of them.
const FEW: usize = 8;

async fn release(cluster: &Cluster, stale: Vec<(ServerId, Located)>) {
    let mut gone = Vec::new();
    for (server, Located { owner, connection }) in stale {
        let route = Route { server, connection };
        match cluster.routes().release(&owner.user, &owner.device, &route).await {
            Ok(true) => gone.push(owner),
            Ok(false) => {}
            Err(error) => tracing::debug!(user = %owner.user, %error, "cannot sweep a stale route"),
        }
    }
    // Its server cannot say so any more.
    presence::tell_offline(cluster, gone).await;
}

/// Neighbours with the same effect together; a user's devices are neighbours.
fn by_effect(
    located: Vec<Located>,
    effect: impl Fn(&UserId) -> pb::record::Effect,
) -> Vec<(pb::record::Effect, Vec<Located>)> {
    let mut groups: Vec<(pb::record::Effect, Vec<Located>)> = Vec::new();
    for located in located {
        if let Some((_, members)) = groups.last_mut()
            && members.last().is_some_and(|last| last.owner.user == located.owner.user)
        {
            members.push(located);
            continue;
        }
        let effect = effect(&located.owner.user);
        match groups.last_mut() {
            Some((last, members)) if *last == effect => members.push(located),
            _ => groups.push((effect, vec![located])),
        }
    }
    groups
}

/// A user's devices stay neighbours, as far as they are on one server.
fn by_server(mut located: Vec<(ServerId, Located)>) -> ByServer {
    if located.len() > 1 {
        located.sort_by(|(one, _), (other, _)| one.cmp(other));
    }
    let mut groups: ByServer = Vec::new();
    for (server, located) in located {
        match groups.last_mut() {
            Some((last, members)) if *last == server => members.push(located),
            _ => groups.push((server, vec![located])),
        }
    }
    groups
}

/// Into parts that are not too large for a record.
fn split(mut located: Vec<Located>) -> impl Iterator<Item = Vec<Located>> {
    std::iter::from_fn(move || {
        let rest = located.split_off(located.len().min(MAX_CONNECTIONS));
        let part = std::mem::replace(&mut located, rest);
        (!part.is_empty()).then_some(part)
    })
}

pub(super) fn check_size(bytes: usize) -> Result<(), SendError> {
    let limit = MAX_FRAME_BYTES;
    if bytes <= limit { Ok(()) } else { Err(SendError::TooLarge { bytes, limit }) }
}

/// An answer, or that there is none.
pub(super) async fn wait(outcome: Option<oneshot::Receiver<Outcome>>, deadline: Instant) -> Outcome {
    match outcome {
        Some(outcome) => timeout_at(deadline, outcome).await.ok().and_then(Result::ok),
        None => None,
    }
    .unwrap_or(Outcome::Unknown)
}

fn reach(outcome: &Outcome, connection: ConnectionId) -> Reach {
    match outcome {
        Outcome::Done { missed, .. } if missed.contains(&connection) => Reach::Gone,
        Outcome::Done { .. } => Reach::Reached,
        Outcome::ServerGone => Reach::Gone,
        Outcome::Unknown => Reach::Unknown,
    }
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
            let answer = pb::Delivered {
                server: server.to_string(),
                number: envelope.number,
                ..pb::Delivered::default()
            };
            let subject = Subject::answer(cluster.names(), &envelope.answer_to).unwrap();
            let payload = answer.encode_to_vec().into();
            cluster.bus().publish(Publication { subject, return_to: None, payload }).await.unwrap();
        }
    }

    /// A future is copied when it is made, and what waits in it is what a sender's memory is full of.
    #[tokio::test]
    async fn a_send_is_small() {
        let im = Im::with_cluster(Cluster::embedded()).await.unwrap();
        let send = im.send(Message::new());
        assert!(std::mem::size_of_val(&send) <= 1536, "{} bytes", std::mem::size_of_val(&send));
        let prepared = im.prepare(Message::to(crate::backend::user("bob")).text("hi")).unwrap();
        let logged = im.send_logged(im.inner.ids.next().unwrap(), prepared, None, None);
        assert!(std::mem::size_of_val(&logged) <= 1536, "{} bytes", std::mem::size_of_val(&logged));
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
        let reached = im.deliver(vec![(server, crowd)], |_| frames.clone()).await;
        assert_eq!(reached.len(), 140_000);
        assert!(reached.iter().all(|(_, reach)| *reach == Reach::Reached));
    }
}
