//! Which connections have joined which channels. Beside the registry and not in each connection: most have joined none,
//! and then cost nothing here. Nothing here awaits.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use im_sdk::id::{ChannelId, ConnectionId};

use crate::registry::{ByConnection, Connection};

/// See the module's description. Locks are taken in the order of the fields, a channel's own last.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    connections: Mutex<ByConnection<HashSet<ChannelId>>>,
    /// None of them is empty.
    channels: RwLock<HashMap<ChannelId, Arc<Members>>>,
}

type Members = RwLock<ByConnection<Arc<Connection>>>;

impl Joined {
    /// Joins a connection to channels. `find` looks it up under the lock that [`Joined::forget`] takes too, so that one
    /// that is just going does not stay here. False: it is gone.
    pub(crate) fn join(
        &self,
        id: ConnectionId,
        channels: &[ChannelId],
        find: impl FnOnce() -> Option<Arc<Connection>>,
    ) -> bool {
        let mut connections = self.connections();
        let Some(connection) = find() else { return false };
        let of_connection = connections.entry(id).or_default();
        for channel in channels {
            if !of_connection.contains(channel) {
                let channel = self.insert(channel, &connection);
                of_connection.insert(channel);
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

    /// Takes a connection out of channels.
    pub(crate) fn leave(&self, id: ConnectionId, channels: &[ChannelId]) {
        let mut connections = self.connections();
        let Some(of_connection) = connections.get_mut(&id) else { return };
        for channel in channels {
            if of_connection.remove(channel) {
                self.remove(channel, id);
            }
        }
        if of_connection.is_empty() {
            connections.remove(&id);
        }
    }

    /// Forgets a connection that the registry does not have any more.
    pub(crate) fn forget(&self, id: ConnectionId) {
        let channels = self.connections().remove(&id);
        channels.into_iter().flatten().for_each(|channel| self.remove(&channel, id));
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

    fn connections(&self) -> MutexGuard<'_, ByConnection<HashSet<ChannelId>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn channels(&self) -> RwLockReadGuard<'_, HashMap<ChannelId, Arc<Members>>> {
        read(&self.channels)
    }
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
            assert!(registry.join(one.connection.id, &[red.clone(), blue.clone()]));
        }
        assert!(registry.join(other.connection.id, std::slice::from_ref(&red)));
        assert_eq!([&red, &blue, &none].map(|channel| members(&registry, channel)), [2, 1, 0]);
        registry.leave(one.connection.id, &[red.clone(), none.clone()]);
        assert_eq!([&red, &blue, &none].map(|channel| members(&registry, channel)), [1, 1, 0]);
        registry.leave(one.connection.id, &[blue]);
        registry.leave(other.connection.id, &[red]);
        assert!(is_empty(&registry.joined));
    }

    #[test]
    fn nothing_is_left_of_a_connection_that_is_gone() {
        let registry = Arc::new(Registry::new(10, 0));
        let names = channels(["red", "blue"]);
        let (user, device, outbox) = device();
        let registration = registry.register(user, device, u64::MAX, outbox).unwrap();
        let id = registration.connection.id;
        assert!(registry.join(id, &names));
        drop(registration);
        assert!(is_empty(&registry.joined));
        assert!(!registry.join(id, &names), "and it does not come back");
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
                scope.spawn(|| registry.join(id, &names));
                scope.spawn(|| drop(registration));
            });
            assert!(is_empty(&registry.joined));
        }
    }
}
