//! Which connections have joined which channels. Beside the registry and not in each connection: most have joined none,
//! and then cost nothing here. Nothing here awaits.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use im_proto::{limits, pb::Way};
use im_sdk::id::{ChannelId, ConnectionId};

use crate::registry::{ByConnection, Connection};

/// The most rooms that a connection is in: devices ask for these, while members and watched users are bounded elsewhere.
pub(crate) const MAX_ROOMS: usize = limits::MAX_ROOMS;

/// In which ways a connection is in a channel, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ways(u8);

impl Ways {
    fn of(way: Way) -> Self {
        Self(1 << (way as i32 as u8 & 7))
    }

    fn has(self, way: Way) -> bool {
        self.0 & Self::of(way).0 != 0
    }

    fn with(self, way: Way) -> Self {
        Self(self.0 | Self::of(way).0)
    }

    fn without(self, way: Way) -> Self {
        Self(self.0 & !Self::of(way).0)
    }
}

type OfConnection = HashMap<ChannelId, Ways>;

/// See the module's description. Locks are taken in the order of the fields, a channel's own last.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    connections: Mutex<ByConnection<OfConnection>>,
    /// None of them is empty.
    channels: RwLock<HashMap<ChannelId, Arc<Members>>>,
}

type Members = RwLock<ByConnection<Arc<Connection>>>;

impl Joined {
    /// Joins a connection to channels. `find` looks it up under the lock that [`Joined::forget`] takes too, so that one
    /// that is just going does not stay here. False: it is gone, or in too many rooms.
    pub(crate) fn join(
        &self,
        id: ConnectionId,
        channels: &[ChannelId],
        way: Way,
        find: impl FnOnce() -> Option<Arc<Connection>>,
    ) -> bool {
        let mut connections = self.connections();
        let Some(connection) = find() else { return false };
        if way == Way::Room && !has_room(connections.get(&id), channels) {
            return false;
        }
        if channels.is_empty() {
            return true;
        }
        let of_connection = connections.entry(id).or_default();
        for channel in channels {
            if let Some(ways) = of_connection.get_mut(channel) {
                *ways = ways.with(way);
            } else {
                let channel = self.insert(channel, &connection);
                of_connection.insert(channel, Ways::of(way));
            }
        }
        true
    }

    /// Puts a connection into a channel; returns the channel's name as it is kept, so that its text is there once.
    fn insert(&self, channel: &ChannelId, connection: &Arc<Connection>) -> ChannelId {
        let insert = |members: &Members| {
            write(members).insert(connection.id, Arc::clone(connection));
        };
        // While the lock is held, nobody removes a channel because it is empty.
        if let Some((channel, members)) = self.channels().get_key_value(channel) {
            insert(members);
            return channel.clone();
        }
        let mut channels = write(&self.channels);
        insert(channels.entry(channel.clone()).or_default());
        channel.clone()
    }

    /// Takes a connection out of channels that it is in in this way.
    pub(crate) fn leave(&self, id: ConnectionId, channels: &[ChannelId], way: Way) {
        let mut connections = self.connections();
        self.leave_under(&mut connections, id, channels, way);
    }

    /// Takes a connection out of the channels that it is in in this way, and that are not among these.
    pub(crate) fn leave_others(&self, id: ConnectionId, kept: &[ChannelId], way: Way) {
        let mut connections = self.connections();
        let Some(of_connection) = connections.get(&id) else { return };
        let kept: HashSet<&ChannelId> = kept.iter().collect();
        let others = of_connection.iter().filter(|(name, ways)| ways.has(way) && !kept.contains(name));
        let others: Vec<ChannelId> = others.map(|(channel, _)| channel.clone()).collect();
        self.leave_under(&mut connections, id, &others, way);
    }

    /// Takes everybody out of a channel who is in it in this way.
    pub(crate) fn leave_all(&self, channel: &ChannelId, way: Way) {
        let mut connections = self.connections();
        let Some(members) = self.members(channel) else { return };
        let ids: Vec<ConnectionId> = read(&members).keys().copied().collect();
        for id in ids {
            self.leave_under(&mut connections, id, std::slice::from_ref(channel), way);
        }
    }

    fn leave_under(
        &self,
        connections: &mut ByConnection<OfConnection>,
        id: ConnectionId,
        channels: &[ChannelId],
        way: Way,
    ) {
        let Some(of_connection) = connections.get_mut(&id) else { return };
        for channel in channels {
            let Entry::Occupied(mut ways) = of_connection.entry(channel.clone()) else { continue };
            *ways.get_mut() = ways.get().without(way);
            if *ways.get() == Ways::default() {
                ways.remove();
                self.remove(channel, id);
            }
        }
        if of_connection.is_empty() {
            connections.remove(&id);
        }
    }

    /// Whether a connection is in a channel in this way.
    pub(crate) fn is_in(&self, id: ConnectionId, channel: &ChannelId, way: Way) -> bool {
        let connections = self.connections();
        connections.get(&id).and_then(|of| of.get(channel)).is_some_and(|ways| ways.has(way))
    }

    /// How many connections are in a channel.
    pub(crate) fn count(&self, channel: &ChannelId) -> usize {
        self.members(channel).map_or(0, |members| read(&members).len())
    }

    /// Forgets a connection that the registry does not have any more.
    pub(crate) fn forget(&self, id: ConnectionId) {
        let channels = self.connections().remove(&id);
        channels.into_iter().flatten().for_each(|(channel, _)| self.remove(&channel, id));
    }

    fn remove(&self, channel: &ChannelId, id: ConnectionId) {
        let is_empty = match self.members(channel) {
            Some(members) => {
                let mut members = write(&members);
                members.remove(&id);
                members.is_empty()
            }
            None => false,
        };
        if is_empty {
            let mut channels = write(&self.channels);
            // Somebody may have joined meanwhile.
            if channels.get(channel).is_some_and(|members| read(members).is_empty()) {
                channels.remove(channel);
            }
        }
    }

    /// Does something for every connection of a channel. It must not take long: who joins or leaves the channel waits.
    pub(crate) fn for_each(&self, channel: &ChannelId, act: impl FnMut(&Arc<Connection>)) {
        if let Some(members) = self.members(channel) {
            read(&members).values().for_each(act);
        }
    }

    /// Whether a channel has a connection here.
    pub(crate) fn has(&self, channel: &ChannelId) -> bool {
        self.channels().contains_key(channel)
    }

    fn members(&self, channel: &ChannelId) -> Option<Arc<Members>> {
        self.channels().get(channel).cloned()
    }

    fn connections(&self) -> MutexGuard<'_, ByConnection<OfConnection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn channels(&self) -> RwLockReadGuard<'_, HashMap<ChannelId, Arc<Members>>> {
        read(&self.channels)
    }
}

/// Whether a connection may join these rooms as well.
fn has_room(of_connection: Option<&OfConnection>, rooms: &[ChannelId]) -> bool {
    let Some(of_connection) = of_connection else { return rooms.len() <= MAX_ROOMS };
    let is_in = |room: &&ChannelId| of_connection.get(*room).is_some_and(|ways| ways.has(Way::Room));
    let rooms_now = of_connection.values().filter(|ways| ways.has(Way::Room)).count();
    rooms_now + rooms.iter().filter(|room| !is_in(room)).count() <= MAX_ROOMS
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use im_sdk::id::{Device, DeviceId, Terminal, UserId};

    use super::*;
    use crate::{outbox::Outbox, registry::Registry};

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

    fn is_empty(joined: &Joined) -> bool {
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
            assert!(registry.join(one.connection.id, &[red.clone(), blue.clone()], Way::Member));
        }
        assert!(registry.join(other.connection.id, std::slice::from_ref(&red), Way::Member));
        assert_eq!([&red, &blue, &none].map(|channel| members(&registry, channel)), [2, 1, 0]);
        registry.leave(one.connection.id, &[red.clone(), none.clone()], Way::Member);
        assert_eq!([&red, &blue, &none].map(|channel| members(&registry, channel)), [1, 1, 0]);
        registry.leave(one.connection.id, &[blue], Way::Member);
        registry.leave(other.connection.id, &[red], Way::Member);
        assert!(is_empty(&registry.joined));
    }

    #[test]
    fn who_is_in_a_channel_in_several_ways_stays_until_it_has_left_in_all() {
        let registry = Arc::new(Registry::new(10, 0));
        let [red] = channels(["red"]);
        let (user, device, outbox) = device();
        let registration = registry.register(user, device, u64::MAX, outbox).unwrap();
        let id = registration.connection.id;
        for way in [Way::Member, Way::Room] {
            assert!(registry.join(id, std::slice::from_ref(&red), way));
        }
        assert_eq!(members(&registry, &red), 1, "and gets everything once");
        registry.leave(id, std::slice::from_ref(&red), Way::Member);
        assert!(registry.joined.is_in(id, &red, Way::Room) && !registry.joined.is_in(id, &red, Way::Member));
        assert_eq!(registry.joined.count(&red), 1);
        registry.joined.leave_all(&red, Way::Member);
        assert_eq!(registry.joined.count(&red), 1, "it is no member");
        registry.joined.leave_all(&red, Way::Room);
        assert!(is_empty(&registry.joined));
    }

    #[test]
    fn a_set_that_is_watched_replaces_the_one_before() {
        let registry = Arc::new(Registry::new(10, 0));
        let [red, blue, green] = channels(["red", "blue", "green"]);
        let (user, device, outbox) = device();
        let registration = registry.register(user, device, u64::MAX, outbox).unwrap();
        let id = registration.connection.id;
        registry.join(id, std::slice::from_ref(&green), Way::Room);
        for watched in [&[red.clone(), blue.clone()][..], &[blue.clone(), green.clone()], &[]] {
            assert!(registry.join(id, watched, Way::Watch));
            registry.joined.leave_others(id, watched, Way::Watch);
            for channel in [&red, &blue, &green] {
                let is_in = registry.joined.is_in(id, channel, Way::Watch);
                assert_eq!(is_in, watched.contains(channel), "{channel}");
            }
        }
        assert_eq!([&red, &blue, &green].map(|channel| registry.joined.count(channel)), [0, 0, 1]);
    }

    #[test]
    fn a_connection_is_in_so_many_rooms_and_no_more() {
        let registry = Arc::new(Registry::new(10, 0));
        let (user, device, outbox) = device();
        let registration = registry.register(user, device, u64::MAX, outbox).unwrap();
        let id = registration.connection.id;
        let name = |number: usize| ChannelId::parse(&format!("room-{number}")).unwrap();
        for number in 0..MAX_ROOMS {
            assert!(registry.join(id, &[name(number)], Way::Room));
        }
        assert!(!registry.join(id, &[name(MAX_ROOMS)], Way::Room));
        assert!(registry.join(id, &[name(7)], Way::Room), "it is in this one already");
        assert!(registry.join(id, &[name(MAX_ROOMS)], Way::Member), "groups are another matter");
    }

    #[test]
    fn nothing_is_left_of_a_connection_that_is_gone() {
        let registry = Arc::new(Registry::new(10, 0));
        let names = channels(["red", "blue"]);
        let (user, device, outbox) = device();
        let registration = registry.register(user, device, u64::MAX, outbox).unwrap();
        let id = registration.connection.id;
        assert!(registry.join(id, &names, Way::Room));
        drop(registration);
        assert!(is_empty(&registry.joined));
        assert!(!registry.join(id, &names, Way::Room), "and it does not come back");
        assert!(is_empty(&registry.joined));
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
                scope.spawn(|| registry.join(id, &names, Way::Room));
                scope.spawn(|| drop(registration));
            });
            assert!(is_empty(&registry.joined));
        }
    }
}
