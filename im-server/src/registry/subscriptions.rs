//! The channels that connections have joined. They are stored beside the registry and not in each connection: most connections have
//! joined no channel, and cost nothing here. Nothing here awaits.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
    time::Instant,
};

use im_proto::{limits, pb::JoinKind};
use im_sdk::id::{ChannelId, ConnectionId};
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};

use super::connection::{ByConnection, Connection};

/// The maximum number of rooms of a connection. Devices ask for rooms, while memberships and watched users are bounded elsewhere.
pub(crate) const MAX_ROOMS: usize = limits::MAX_ROOMS;

/// The kinds in which a connection has joined a channel, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct JoinKinds(u8);

impl JoinKinds {
    fn of(kind: JoinKind) -> Self {
        Self(1 << (kind as i32 as u8 & 7))
    }

    fn has(self, kind: JoinKind) -> bool {
        self.0 & Self::of(kind).0 != 0
    }

    fn with(self, kind: JoinKind) -> Self {
        Self(self.0 | Self::of(kind).0)
    }

    fn without(self, kind: JoinKind) -> Self {
        Self(self.0 & !Self::of(kind).0)
    }
}

/// The maximum number of concurrent passes of a connection, see [`Subscriptions::join`]. One backend makes one at a time.
const MAX_PASSES: usize = 4;

/// The channels of one connection.
#[derive(Debug, Default)]
struct OfConnection {
    channels: HashMap<ChannelId, InChannel>,
    /// Counts the joins of this connection.
    joins: u32,
    /// The passes that have begun, each with the number of joins before it.
    passes: Vec<(u64, u32)>,
    /// The time at which a backend last named all channels in which the connection is a member.
    confirmed: Option<Instant>,
}

/// A connection's membership of a channel.
#[derive(Debug, Default)]
struct InChannel {
    kinds: JoinKinds,
    /// The number of the last join as a member.
    joined_at: u32,
}

/// The channels by connection, and the connections by channel. Locks are taken in the order of the fields, a channel's own last.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    connections: Mutex<ByConnection<OfConnection>>,
    /// Holds no empty channel.
    channels: RwLock<HashMap<ChannelId, Arc<Members>>>,
}

type Members = RwLock<ByConnection<Arc<Connection>>>;

impl Subscriptions {
    /// Joins a connection to channels. With a `pass` that is not 0, [`Subscriptions::end_pass`] makes it leave those that are not
    /// among the channels of the pass. `find` looks the connection up under the lock that [`Subscriptions::forget`] also takes, so
    /// that a connection that leaves at the same moment is not kept here.
    ///
    /// Returns `false` if the connection is gone, or in too many rooms.
    pub(crate) fn join(
        &self,
        id: ConnectionId,
        channels: &[ChannelId],
        kind: JoinKind,
        pass: u64,
        find: impl FnOnce() -> Option<Arc<Connection>>,
    ) -> bool {
        let mut connections = self.connections();
        let Some(connection) = find() else { return false };
        if kind == JoinKind::Room && !has_room(connections.get(&id), channels) {
            return false;
        }
        if channels.is_empty() {
            return true;
        }
        let of_connection = connections.entry(id).or_default();
        of_connection.begin_pass(pass);
        of_connection.joins = of_connection.joins.wrapping_add(1);
        let joins = of_connection.joins;
        for channel in channels {
            let in_channel = match of_connection.channels.get_mut(channel) {
                Some(in_channel) => in_channel,
                None => {
                    let channel = self.insert(channel, &connection);
                    of_connection.channels.entry(channel).or_default()
                }
            };
            in_channel.kinds = in_channel.kinds.with(kind);
            if kind == JoinKind::Member {
                in_channel.joined_at = joins;
            }
        }
        true
    }

    /// Removes a connection from the channels that it joined as a member before a pass began, and not since. Does nothing if the
    /// pass is unknown.
    pub(crate) fn end_pass(&self, id: ConnectionId, pass: u64) {
        let mut connections = self.connections();
        let Some(of_connection) = connections.get_mut(&id) else { return };
        let Some(index) = of_connection.passes.iter().position(|(known, _)| *known == pass) else { return };
        let (_, before) = of_connection.passes.remove(index);
        of_connection.confirmed = Some(Instant::now());
        // The numbers wrap, so their difference decides which one is ahead.
        let is_old = |in_channel: &InChannel| {
            in_channel.kinds.has(JoinKind::Member) && before.wrapping_sub(in_channel.joined_at) < u32::MAX / 2
        };
        let old = of_connection.channels.iter().filter(|(_, in_channel)| is_old(in_channel));
        let old: Vec<ChannelId> = old.map(|(channel, _)| channel.clone()).collect();
        self.leave_under(&mut connections, id, &old, JoinKind::Member);
    }

    /// Returns whether a connection is in channels as a member or a watcher without a backend's confirmation since a time.
    pub(crate) fn is_unconfirmed(&self, id: ConnectionId, since: Instant) -> bool {
        let connections = self.connections();
        let Some(of_connection) = connections.get(&id) else { return false };
        of_connection.confirmed.is_none_or(|confirmed| confirmed < since)
            && of_connection.channels.values().any(|in_channel| {
                in_channel.kinds.has(JoinKind::Member) || in_channel.kinds.has(JoinKind::Watch)
            })
    }

    /// Returns the channels that a connection has joined in this kind.
    pub(crate) fn channels_of(&self, id: ConnectionId, kind: JoinKind) -> Vec<ChannelId> {
        let connections = self.connections();
        let channels = connections.get(&id).into_iter().flat_map(|of_connection| &of_connection.channels);
        let channels = channels.filter(|(_, in_channel)| in_channel.kinds.has(kind));
        channels.map(|(channel, _)| channel.clone()).collect()
    }

    /// Adds a connection to a channel. Returns the stored channel name, so that its text is shared.
    fn insert(&self, channel: &ChannelId, connection: &Arc<Connection>) -> ChannelId {
        let insert = |members: &Members| {
            members.write().insert(connection.id, Arc::clone(connection));
        };
        // While the lock is held, no empty channel is removed.
        if let Some((channel, members)) = self.channels().get_key_value(channel) {
            insert(members);
            return channel.clone();
        }
        let mut channels = self.channels.write();
        insert(channels.entry(channel.clone()).or_default());
        channel.clone()
    }

    /// Removes a connection from channels that it has joined in this kind.
    pub(crate) fn leave(&self, id: ConnectionId, channels: &[ChannelId], kind: JoinKind) {
        let mut connections = self.connections();
        self.leave_under(&mut connections, id, channels, kind);
    }

    /// Removes a connection from the channels that it has joined in this kind, except for these.
    pub(crate) fn leave_others(&self, id: ConnectionId, kept: &[ChannelId], kind: JoinKind) {
        let mut connections = self.connections();
        let Some(of_connection) = connections.get_mut(&id) else { return };
        if kind == JoinKind::Member {
            of_connection.confirmed = Some(Instant::now());
        }
        let kept: HashSet<&ChannelId> = kept.iter().collect();
        let is_other = |(name, in_channel): &(&ChannelId, &InChannel)| {
            in_channel.kinds.has(kind) && !kept.contains(name)
        };
        let others = of_connection.channels.iter().filter(is_other);
        let others: Vec<ChannelId> = others.map(|(channel, _)| channel.clone()).collect();
        self.leave_under(&mut connections, id, &others, kind);
    }

    /// Removes all connections from a channel that have joined it in this kind.
    pub(crate) fn leave_all(&self, channel: &ChannelId, kind: JoinKind) {
        let mut connections = self.connections();
        let Some(members) = self.members(channel) else { return };
        let ids: Vec<ConnectionId> = members.read().keys().copied().collect();
        for id in ids {
            self.leave_under(&mut connections, id, std::slice::from_ref(channel), kind);
        }
    }

    fn leave_under(
        &self,
        connections: &mut ByConnection<OfConnection>,
        id: ConnectionId,
        channels: &[ChannelId],
        kind: JoinKind,
    ) {
        let Some(of_connection) = connections.get_mut(&id) else { return };
        for channel in channels {
            let Entry::Occupied(mut entry) = of_connection.channels.entry(channel.clone()) else { continue };
            let in_channel = entry.get_mut();
            in_channel.kinds = in_channel.kinds.without(kind);
            if in_channel.kinds == JoinKinds::default() {
                entry.remove();
                self.remove(channel, id);
            }
        }
        if of_connection.channels.is_empty() && of_connection.passes.is_empty() {
            connections.remove(&id);
        }
    }

    /// Returns whether a connection has joined a channel in this kind.
    pub(crate) fn is_in(&self, id: ConnectionId, channel: &ChannelId, kind: JoinKind) -> bool {
        let connections = self.connections();
        let in_channel = connections.get(&id).and_then(|of| of.channels.get(channel));
        in_channel.is_some_and(|in_channel| in_channel.kinds.has(kind))
    }

    /// Returns the number of connections in a channel.
    pub(crate) fn count(&self, channel: &ChannelId) -> usize {
        self.members(channel).map_or(0, |members| members.read().len())
    }

    /// Forgets a connection that has left the registry.
    pub(crate) fn forget(&self, id: ConnectionId) {
        let of_connection = self.connections().remove(&id);
        let channels = of_connection.into_iter().flat_map(|of_connection| of_connection.channels);
        channels.for_each(|(channel, _)| self.remove(&channel, id));
    }

    fn remove(&self, channel: &ChannelId, id: ConnectionId) {
        let is_empty = match self.members(channel) {
            Some(members) => {
                let mut members = members.write();
                members.remove(&id);
                members.is_empty()
            }
            None => false,
        };
        if is_empty {
            let mut channels = self.channels.write();
            // A connection may have joined meanwhile.
            if channels.get(channel).is_some_and(|members| members.read().is_empty()) {
                channels.remove(channel);
            }
        }
    }

    /// Runs `act` on every connection of a channel. It must not take long: joins and leaves of the channel wait.
    pub(crate) fn for_each(&self, channel: &ChannelId, act: impl FnMut(&Arc<Connection>)) {
        if let Some(members) = self.members(channel) {
            members.read().values().for_each(act);
        }
    }

    /// Returns whether a channel has connections here.
    pub(crate) fn has(&self, channel: &ChannelId) -> bool {
        self.channels().contains_key(channel)
    }

    fn members(&self, channel: &ChannelId) -> Option<Arc<Members>> {
        self.channels().get(channel).cloned()
    }

    fn connections(&self) -> MutexGuard<'_, ByConnection<OfConnection>> {
        self.connections.lock()
    }

    fn channels(&self) -> RwLockReadGuard<'_, HashMap<ChannelId, Arc<Members>>> {
        self.channels.read()
    }
}

impl OfConnection {
    fn begin_pass(&mut self, pass: u64) {
        if pass == 0 || self.passes.iter().any(|(known, _)| *known == pass) {
            return;
        }
        if self.passes.len() >= MAX_PASSES {
            // The backend that began the oldest pass stopped before the pass was over.
            self.passes.remove(0);
        }
        self.passes.push((pass, self.joins));
    }
}

/// Returns whether a connection may also join these rooms.
fn has_room(of_connection: Option<&OfConnection>, rooms: &[ChannelId]) -> bool {
    let Some(of_connection) = of_connection else { return rooms.len() <= MAX_ROOMS };
    let is_room = |in_channel: &InChannel| in_channel.kinds.has(JoinKind::Room);
    let is_in = |room: &&ChannelId| of_connection.channels.get(*room).is_some_and(is_room);
    let rooms_now = of_connection.channels.values().filter(|in_channel| is_room(in_channel)).count();
    rooms_now + rooms.iter().filter(|room| !is_in(room)).count() <= MAX_ROOMS
}

#[cfg(test)]
mod tests {
    use im_sdk::id::{Device, DeviceId, Terminal, UserId};

    use super::*;
    use crate::registry::Registry;
    use crate::registry::outbox::Outbox;

    fn channels<const N: usize>(names: [&str; N]) -> [ChannelId; N] {
        names.map(|name| ChannelId::parse(name).unwrap())
    }

    fn device() -> (UserId, Device, Outbox) {
        let device = Device::new(Terminal::Web, DeviceId::parse("d").unwrap());
        (UserId::parse("u").unwrap(), device, Outbox::new(1000))
    }

    fn members(registry: &Registry, channel: &ChannelId) -> usize {
        let mut count = 0;
        registry.for_each_in(channel, |_| count += 1);
        count
    }

    fn is_empty(joined: &Subscriptions) -> bool {
        joined.connections().is_empty() && joined.channels().is_empty()
    }

    #[test]
    fn connections_join_and_leave() {
        let registry = Arc::new(Registry::new(10, 0));
        let [red, blue, none] = channels(["red", "blue", "none"]);
        let register = || {
            let (user, device, outbox) = device();
            registry.register(user, device, u64::MAX, outbox).unwrap()
        };
        let (one, other) = (register(), register());
        for _ in 0..2 {
            // Joining again changes nothing.
            assert!(registry.join(one.connection.id, &[red.clone(), blue.clone()], JoinKind::Member));
        }
        assert!(registry.join(other.connection.id, std::slice::from_ref(&red), JoinKind::Member));
        assert_eq!([&red, &blue, &none].map(|channel| members(&registry, channel)), [2, 1, 0]);
        registry.leave(one.connection.id, &[red.clone(), none.clone()], JoinKind::Member);
        assert_eq!([&red, &blue, &none].map(|channel| members(&registry, channel)), [1, 1, 0]);
        registry.leave(one.connection.id, &[blue], JoinKind::Member);
        registry.leave(other.connection.id, &[red], JoinKind::Member);
        assert!(is_empty(&registry.subscriptions));
    }

    #[test]
    fn who_is_in_a_channel_in_several_ways_stays_until_it_has_left_in_all() {
        let registry = Arc::new(Registry::new(10, 0));
        let [red] = channels(["red"]);
        let (user, device, outbox) = device();
        let registration = registry.register(user, device, u64::MAX, outbox).unwrap();
        let id = registration.connection.id;
        for kind in [JoinKind::Member, JoinKind::Room] {
            assert!(registry.join(id, std::slice::from_ref(&red), kind));
        }
        assert_eq!(members(&registry, &red), 1, "and gets everything once");
        registry.leave(id, std::slice::from_ref(&red), JoinKind::Member);
        assert!(
            registry.subscriptions.is_in(id, &red, JoinKind::Room)
                && !registry.subscriptions.is_in(id, &red, JoinKind::Member)
        );
        assert_eq!(registry.subscriptions.count(&red), 1);
        registry.subscriptions.leave_all(&red, JoinKind::Member);
        assert_eq!(registry.subscriptions.count(&red), 1, "it is no member");
        registry.subscriptions.leave_all(&red, JoinKind::Room);
        assert!(is_empty(&registry.subscriptions));
    }

    #[test]
    fn a_set_that_is_watched_replaces_the_one_before() {
        let registry = Arc::new(Registry::new(10, 0));
        let [red, blue, green] = channels(["red", "blue", "green"]);
        let (user, device, outbox) = device();
        let registration = registry.register(user, device, u64::MAX, outbox).unwrap();
        let id = registration.connection.id;
        registry.join(id, std::slice::from_ref(&green), JoinKind::Room);
        for watched in [&[red.clone(), blue.clone()][..], &[blue.clone(), green.clone()], &[]] {
            assert!(registry.join(id, watched, JoinKind::Watch));
            registry.subscriptions.leave_others(id, watched, JoinKind::Watch);
            for channel in [&red, &blue, &green] {
                let is_in = registry.subscriptions.is_in(id, channel, JoinKind::Watch);
                assert_eq!(is_in, watched.contains(channel), "{channel}");
            }
        }
        assert_eq!([&red, &blue, &green].map(|channel| registry.subscriptions.count(channel)), [0, 0, 1]);
    }

    #[test]
    fn a_pass_leaves_what_was_joined_before_it_and_nothing_else() {
        let registry = Arc::new(Registry::new(10, 0));
        let [old, red, blue, later, room] = channels(["old", "red", "blue", "later", "room"]);
        let (user, device, outbox) = device();
        let registration = registry.register(user, device, u64::MAX, outbox).unwrap();
        let (id, joined) = (registration.connection.id, &registry.subscriptions);
        let join = |channel: &ChannelId, kind, pass| {
            assert!(registry.join_in_pass(id, std::slice::from_ref(channel), kind, pass));
        };
        let is_in = || [&old, &red, &blue, &later, &room].map(|channel| joined.count(channel) == 1);
        join(&old, JoinKind::Member, 0);
        join(&red, JoinKind::Member, 0);
        join(&room, JoinKind::Room, 0);
        let before = Instant::now();
        assert!(joined.is_unconfirmed(id, before));
        join(&red, JoinKind::Member, 7);
        // Another backend, which knows of one more channel, at the same time.
        join(&red, JoinKind::Member, 8);
        join(&later, JoinKind::Member, 8);
        join(&blue, JoinKind::Member, 7);
        joined.end_pass(id, 7);
        assert_eq!(is_in(), [false, true, true, true, true]);
        assert!(!joined.is_unconfirmed(id, before) && joined.is_unconfirmed(id, Instant::now()));
        joined.end_pass(id, 8);
        assert_eq!(is_in(), [false, true, true, true, true]);
        joined.end_pass(id, 7);
        assert_eq!(is_in(), [false, true, true, true, true], "a pass that is not known says nothing");
        join(&blue, JoinKind::Member, 9);
        joined.end_pass(id, 9);
        assert_eq!(is_in(), [false, false, true, false, true]);
        assert_eq!(joined.channels_of(id, JoinKind::Member), [blue]);
    }

    #[test]
    fn a_connection_is_in_so_many_rooms_and_no_more() {
        let registry = Arc::new(Registry::new(10, 0));
        let (user, device, outbox) = device();
        let registration = registry.register(user, device, u64::MAX, outbox).unwrap();
        let id = registration.connection.id;
        let name = |number: usize| ChannelId::parse(&format!("room-{number}")).unwrap();
        for number in 0..MAX_ROOMS {
            assert!(registry.join(id, &[name(number)], JoinKind::Room));
        }
        assert!(!registry.join(id, &[name(MAX_ROOMS)], JoinKind::Room));
        assert!(registry.join(id, &[name(7)], JoinKind::Room), "it is in this one already");
        assert!(registry.join(id, &[name(MAX_ROOMS)], JoinKind::Member), "groups are another matter");
    }

    #[test]
    fn nothing_is_left_of_a_connection_that_is_gone() {
        let registry = Arc::new(Registry::new(10, 0));
        let names = channels(["red", "blue"]);
        let (user, device, outbox) = device();
        let registration = registry.register(user, device, u64::MAX, outbox).unwrap();
        let id = registration.connection.id;
        assert!(registry.join(id, &names, JoinKind::Room));
        drop(registration);
        assert!(is_empty(&registry.subscriptions));
        assert!(!registry.join(id, &names, JoinKind::Room), "and it does not come back");
        assert!(is_empty(&registry.subscriptions));
    }

    #[test]
    fn joins_and_ends_at_the_same_time_leave_nothing_behind() {
        let registry = Arc::new(Registry::new(1000, 0));
        let names = channels(["red", "blue", "green"]);
        for _ in 0..500 {
            let (user, device, outbox) = device();
            let registration = registry.register(user, device, u64::MAX, outbox).unwrap();
            let id = registration.connection.id;
            std::thread::scope(|scope| {
                scope.spawn(|| registry.join(id, &names, JoinKind::Room));
                scope.spawn(|| drop(registration));
            });
            assert!(is_empty(&registry.subscriptions));
        }
    }
}
