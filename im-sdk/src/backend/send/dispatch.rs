//! Locates users' connected devices, hands records for them to their servers, and collects the servers' answers.

use std::{collections::HashSet, sync::Arc};

use tokio::time::Instant;

use super::{
    device::{ByServer, Located, Reach, UserDevice},
    publisher::{Delivery, Outcome, Publisher},
    server_directory::Directory,
    stale_routes::release,
};
use crate::{
    backend::tasks::Tasks,
    cluster::{Cluster, Route, RoutesError},
    id::{ChannelId, ConnectionId, Device, ServerId, UserId},
    proto::pb,
};

/// The most connections in one record, which take 128 KiB. With the rest of an envelope this stays
/// below the limit of NATS.
const MAX_CONNECTIONS: usize = 16 * 1024;

/// A record on its way to a server, and the connections that it is for.
#[derive(Debug)]
pub(in crate::backend) struct Dispatched {
    server: ServerId,
    located: Vec<Located>,
    delivery: Delivery,
}

/// The age of the routes that devices are located by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend) enum Freshness {
    /// The routes as the route store has them now.
    Current,
    /// The routes as they are cached here. A device that has just connected may be missing, so this
    /// is for transient messages.
    Cached,
    /// The routes as they are cached here, or newer than the last append. For messages that were
    /// just appended to these users' inboxes: a device that connects later reads the log.
    BehindAppend,
}

/// Locates devices, hands records for them to their servers, and collects the answers.
#[derive(Debug)]
pub(in crate::backend) struct Dispatcher {
    cluster: Cluster,
    directory: Arc<Directory>,
    publisher: Arc<Publisher>,
    tasks: Arc<Tasks>,
}

impl Dispatcher {
    pub(in crate::backend) fn new(
        cluster: Cluster,
        directory: Arc<Directory>,
        publisher: Arc<Publisher>,
        tasks: Arc<Tasks>,
    ) -> Self {
        Self { cluster, directory, publisher, tasks }
    }

    pub(in crate::backend) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(in crate::backend) fn publisher(&self) -> &Arc<Publisher> {
        &self.publisher
    }

    /// Finds the wanted devices that are connected to live servers, grouped by server. Routes to
    /// dead servers are released.
    pub(in crate::backend) async fn locate(
        &self,
        users: &[UserId],
        freshness: Freshness,
        wanted: impl Fn(&Device) -> bool,
    ) -> Result<ByServer, RoutesError> {
        let cluster = &self.cluster;
        let routes = match freshness {
            Freshness::Current => cluster.routes().locate(users).await?,
            Freshness::Cached => cluster.routes().locate_cached(users).await?,
            Freshness::BehindAppend => cluster.locate_behind_append(users).await?,
        };
        self.living(users, routes, wanted).await
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
                match self.directory.known(&server) {
                    Some(true) => living.push((server, located)),
                    Some(false) => stale.push((server, located)),
                    None => unknown.push((server, located)),
                }
            }
        }
        for (server, located) in unknown {
            // Boxed: needed once for each server.
            let group = if Box::pin(self.directory.lives(&server)).await? { &mut living } else { &mut stale };
            group.push((server, located));
        }
        self.sweep(stale);
        Ok(by_server(living))
    }

    /// Has every server do something for its connections, and waits until all have answered or the
    /// time is over. Users with the same effect share a record.
    pub(in crate::backend) async fn deliver(
        &self,
        by_server: ByServer,
        effect: impl Fn(&UserId) -> pb::record::Effect,
    ) -> Vec<(Located, Reach)> {
        let dispatched = self.dispatch(by_server, |user| Some(effect(user))).await;
        self.collect(dispatched).await
    }

    /// Hands every server its records. Leaves out the devices of users without an effect.
    pub(in crate::backend) async fn dispatch(
        &self,
        by_server: ByServer,
        effect: impl Fn(&UserId) -> Option<pb::record::Effect>,
    ) -> Vec<Dispatched> {
        let deadline = self.publisher.deadline();
        let mut dispatched = Vec::with_capacity(by_server.len());
        for (server, located) in by_server {
            if let [one] = located.as_slice() {
                let Some(effect) = effect(&one.owner.user) else { continue };
                dispatched.push(self.submit(server, located, effect, deadline).await);
                continue;
            }
            for located in split(located) {
                for (effect, located) in by_effect(located, &effect) {
                    dispatched.push(self.submit(server.clone(), located, effect, deadline).await);
                }
            }
        }
        dispatched
    }

    async fn submit(
        &self,
        server: ServerId,
        located: Vec<Located>,
        effect: pb::record::Effect,
        deadline: Instant,
    ) -> Dispatched {
        let connections = located.iter().map(|located| located.connection.0).collect();
        let record = pb::Record { connections, effect: Some(effect), ..pb::Record::default() };
        let delivery = self.publisher.submit(&server, record, deadline).await;
        Dispatched { server, located, delivery }
    }

    /// Waits until all servers have answered or the time is over.
    pub(in crate::backend) async fn collect(&self, dispatched: Vec<Dispatched>) -> Vec<(Located, Reach)> {
        let mut reached = Vec::with_capacity(dispatched.len());
        for Dispatched { server, located, delivery } in dispatched {
            let outcome = delivery.await;
            let from = reached.len();
            reached.extend(located.into_iter().map(|located| {
                let reach = reach(&outcome, located.connection);
                (located, reach)
            }));
            self.sweep_missed(&server, &outcome, &reached[from..]);
        }
        reached
    }

    /// Releases the routes of connections that a live server does not have.
    fn sweep_missed(&self, server: &ServerId, outcome: &Outcome, reaches: &[(Located, Reach)]) {
        if !matches!(outcome, Outcome::Done { missed, .. } if !missed.is_empty()) {
            return;
        }
        let gone = reaches.iter().filter(|(_, reach)| *reach == Reach::Gone);
        self.sweep(gone.map(|(located, _)| (server.clone(), located.clone())).collect());
    }

    /// Returns the live servers that hold connections of a channel's members. Routes of dead
    /// servers are released.
    pub(in crate::backend) async fn servers_of(
        &self,
        channel: &ChannelId,
    ) -> Result<HashSet<ServerId>, RoutesError> {
        let mut live = HashSet::new();
        for server in self.cluster.routes().channel_servers(channel).await? {
            if self.directory.lives(&server).await? {
                live.insert(server);
            } else {
                self.sweep_channel(server, channel.clone());
            }
        }
        Ok(live)
    }

    fn sweep_channel(&self, dead: ServerId, channel: ChannelId) {
        let routes = self.cluster.routes().clone();
        self.tasks.spawn(async move {
            if let Err(error) = routes.leave_channels(&dead, std::slice::from_ref(&channel)).await {
                tracing::debug!(%channel, %error, "cannot sweep a stale route of a channel");
            }
        });
    }

    /// Hands each server the same record, in the given order.
    pub(in crate::backend) async fn dispatch_to_all(
        &self,
        servers: impl IntoIterator<Item = &ServerId>,
        record: &pb::Record,
    ) -> Vec<(ServerId, Delivery)> {
        let deadline = self.publisher.deadline();
        let mut dispatched = Vec::new();
        for server in servers {
            let delivery = self.publisher.submit(server, record.clone(), deadline).await;
            dispatched.push((server.clone(), delivery));
        }
        dispatched
    }

    /// Counts the connections of a channel's members, as the servers report them.
    pub(in crate::backend) async fn count_online(&self, channel: &ChannelId) -> Result<u64, RoutesError> {
        let servers = self.servers_of(channel).await?;
        let effect = Some(pb::record::Effect::Count(pb::Done {}));
        let record = pb::Record { channel: channel.to_string(), effect, ..pb::Record::default() };
        let mut connections = 0;
        for (_, delivery) in self.dispatch_to_all(&servers, &record).await {
            if let Outcome::Done { reached: Some(reached), .. } = delivery.await {
                connections += u64::from(reached.connections);
            }
        }
        Ok(connections)
    }

    /// Has one connection's server do something for it. Returns `false` if the server did not do it, or
    /// did not answer in time.
    pub(in crate::backend) async fn perform(
        &self,
        server: &ServerId,
        connection: u64,
        effect: pb::record::Effect,
    ) -> bool {
        let record =
            pb::Record { connections: vec![connection], effect: Some(effect), ..pb::Record::default() };
        let outcome = self.publisher.submit(server, record, self.publisher.deadline()).await.await;
        matches!(outcome, Outcome::Done { missed, .. } if missed.is_empty())
    }

    /// Collects the servers' answers in the background, to release stale routes, for a send that
    /// does not wait for them.
    pub(super) fn collect_in_background(&self, dispatched: Vec<Dispatched>) {
        if dispatched.is_empty() {
            return;
        }
        let cluster = self.cluster.clone();
        self.tasks.spawn(async move {
            for Dispatched { server, mut located, delivery } in dispatched {
                let Outcome::Done { missed, .. } = delivery.await else { continue };
                located.retain(|located| missed.contains(&located.connection));
                let stale = located.into_iter().map(|located| (server.clone(), located)).collect();
                release(&cluster, stale).await;
            }
        });
    }

    /// Releases stale routes in the background.
    fn sweep(&self, stale: Vec<(ServerId, Located)>) {
        if stale.is_empty() {
            return;
        }
        let cluster = self.cluster.clone();
        self.tasks.spawn(async move { release(&cluster, stale).await });
    }
}

/// Groups neighbours with the same effect. The devices of a user are neighbours.
fn by_effect(
    located: Vec<Located>,
    effect: impl Fn(&UserId) -> Option<pb::record::Effect>,
) -> Vec<(pb::record::Effect, Vec<Located>)> {
    let mut groups: Vec<(pb::record::Effect, Vec<Located>)> = Vec::new();
    for located in located {
        if let Some((_, members)) = groups.last_mut()
            && members.last().is_some_and(|last| last.owner.user == located.owner.user)
        {
            members.push(located);
            continue;
        }
        let Some(effect) = effect(&located.owner.user) else { continue };
        match groups.last_mut() {
            Some((last, members)) if *last == effect => members.push(located),
            _ => groups.push((effect, vec![located])),
        }
    }
    groups
}

/// Groups connections by server. The devices of a user on one server stay neighbours.
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

/// Splits connections into parts that fit into a record.
fn split(mut located: Vec<Located>) -> impl Iterator<Item = Vec<Located>> {
    std::iter::from_fn(move || {
        let rest = located.split_off(located.len().min(MAX_CONNECTIONS));
        let part = std::mem::replace(&mut located, rest);
        (!part.is_empty()).then_some(part)
    })
}

fn reach(outcome: &Outcome, connection: ConnectionId) -> Reach {
    match outcome {
        Outcome::Done { missed, .. } if missed.contains(&connection) => Reach::Gone,
        Outcome::Done { .. } => Reach::Reached,
        Outcome::ServerGone => Reach::Deaf,
        Outcome::Unknown => Reach::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::{
        cluster::{BusEvent, Publication, Subject, Subscription},
        proto::limits::MAX_FRAME_BYTES,
    };

    /// Runs a server that reports success for every envelope.
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

    #[tokio::test]
    async fn more_connections_than_fit_into_one_envelope_are_reached() {
        let cluster = Cluster::embedded();
        let server = ServerId::parse("s1").unwrap();
        let subscription = cluster.bus().subscribe(cluster.names().server(&server)).await.unwrap();
        tokio::spawn(obey(cluster.clone(), server.clone(), subscription));
        let im = crate::backend::Im::with_cluster(cluster).await.unwrap();
        let owner = UserDevice::new(&UserId::parse("bob").unwrap(), "web/tab".parse().unwrap());
        let located = |number| Located { owner: owner.clone(), connection: ConnectionId(number) };
        // At eight bytes each, more than the megabyte that NATS accepts.
        let crowd: Vec<_> = (0..140_000).map(located).collect();
        let frames = pb::record::Effect::Frames(vec![0; MAX_FRAME_BYTES].into());
        let reached = im.inner.dispatcher.deliver(vec![(server, crowd)], |_| frames.clone()).await;
        assert_eq!(reached.len(), 140_000);
        assert!(reached.iter().all(|(_, reach)| *reach == Reach::Reached));
    }
}
