//! A cache of routes, valid until Redis reports that they have changed.
//!
//! Redis remembers what was read and reports a change once, before any later reply on that
//! connection. So a slot is reserved before the routes are read. If they change before the reply
//! has been processed, the slot is gone and the reply is not cached.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    cluster::{names::Names, redis::InvalidationListener, traits::Route},
    id::{Device, UserId},
};

/// The maximum number of users with cached routes, of which half are those looked up last: some 30
/// MB.
const MAX_USERS: usize = 128 * 1024;

/// The maximum number of cached devices of a user. The routes of a user with more are read each
/// time.
const MAX_DEVICES: usize = 64;

type Routes = Arc<[(Device, Route)]>;

/// A cache of routes by user.
#[derive(Debug)]
pub(super) struct RouteCache {
    names: Names,
    state: Mutex<State>,
}

/// Two generations. When the young one is full, it becomes the old one, and the old one is dropped.
/// A lookup makes an entry young.
#[derive(Debug)]
struct State {
    young: HashMap<UserId, Slot>,
    old: HashMap<UserId, Slot>,
    /// The number of users in a generation.
    limit: usize,
    reads: u64,
}

#[derive(Clone, Debug)]
enum Slot {
    Known(Routes),
    /// Reserved for the read with this number.
    Reading(u64),
}

/// The cached routes of a user, or the number of the read that may fill the slot.
pub(super) type Found = Result<Vec<(Device, Route)>, u64>;

impl RouteCache {
    pub(super) fn new(names: Names) -> Self {
        Self::with_limit(names, MAX_USERS)
    }

    fn with_limit(names: Names, users: usize) -> Self {
        let (young, old) = (HashMap::new(), HashMap::new());
        Self { names, state: Mutex::new(State { young, old, limit: users / 2, reads: 0 }) }
    }

    /// Looks users up, in their order, and reserves slots for those that are missing.
    pub(super) fn find(&self, users: &[UserId]) -> Vec<Found> {
        let mut state = self.lock();
        users.iter().map(|user| state.find(user)).collect()
    }

    /// Caches the result of a read, unless the routes have changed since it began.
    pub(super) fn fill(&self, user: &UserId, read: u64, routes: &[(Device, Route)]) {
        if routes.len() > MAX_DEVICES {
            return;
        }
        let mut state = self.lock();
        let State { young, old, .. } = &mut *state;
        let slot = young.get_mut(user).or_else(|| old.get_mut(user));
        if let Some(slot) = slot
            && matches!(slot, Slot::Reading(number) if *number == read)
        {
            *slot = Slot::Known(routes.into());
        }
    }

    pub(super) fn forget(&self, user: &UserId) {
        let mut state = self.lock();
        state.young.remove(user);
        state.old.remove(user);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn find(&mut self, user: &UserId) -> Found {
        if let Some(Slot::Known(routes)) = self.young.get(user) {
            return Ok(routes.to_vec());
        }
        if let Some(Slot::Known(routes)) = self.old.remove(user) {
            let found = routes.to_vec();
            self.put(user, Slot::Known(routes));
            return Ok(found);
        }
        self.reads += 1;
        self.put(user, Slot::Reading(self.reads));
        Err(self.reads)
    }

    fn put(&mut self, user: &UserId, slot: Slot) {
        if self.young.len() >= self.limit {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(user.clone(), slot);
    }
}

impl InvalidationListener for RouteCache {
    fn invalidate(&self, key: &[u8]) {
        match std::str::from_utf8(key).ok().and_then(|key| self.names.parse_routes(key)) {
            Some(user) => self.forget(&user),
            // Only routes are cached, so the key is unexpected.
            None => self.invalidate_all(),
        }
    }

    fn invalidate_all(&self) {
        let mut state = self.lock();
        state.young.clear();
        state.old.clear();
    }

    fn is_empty(&self) -> bool {
        let state = self.lock();
        state.young.is_empty() && state.old.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: usize) -> UserId {
        format!("u{number}").parse().unwrap()
    }

    fn routes(server: &str) -> Vec<(Device, Route)> {
        vec![("web/tab".parse().unwrap(), format!("{server}:7").parse().unwrap())]
    }

    /// Looks one user up, as a send does.
    fn find(cache: &RouteCache, user: &UserId) -> Found {
        cache.find(std::slice::from_ref(user)).remove(0)
    }

    fn key(user: &UserId) -> String {
        Names::default().routes(user)
    }

    #[test]
    fn what_was_read_is_known_until_it_changes() {
        let (cache, bob) = (RouteCache::new(Names::default()), user(1));
        let read = find(&cache, &bob).unwrap_err();
        cache.fill(&bob, read, &routes("s1"));
        assert_eq!(find(&cache, &bob), Ok(routes("s1")));
        cache.invalidate(key(&user(2)).as_bytes());
        assert_eq!(find(&cache, &bob), Ok(routes("s1")));
        cache.invalidate(key(&bob).as_bytes());
        assert!(find(&cache, &bob).is_err());
    }

    #[test]
    fn what_changed_while_it_was_read_is_not_kept() {
        type Change = fn(&RouteCache, &UserId);
        let changes: [Change; 3] = [
            |cache, bob| cache.invalidate(key(bob).as_bytes()),
            |cache, _| cache.invalidate(b"something else"),
            |cache, _| cache.invalidate_all(),
        ];
        for change in changes {
            let (cache, bob) = (RouteCache::new(Names::default()), user(1));
            let read = find(&cache, &bob).unwrap_err();
            change(&cache, &bob);
            cache.fill(&bob, read, &routes("old"));
            let again = find(&cache, &bob).unwrap_err();
            cache.fill(&bob, read, &routes("old"));
            assert!(find(&cache, &bob).is_err(), "another read's place");
            cache.fill(&bob, again, &routes("older"));
            assert!(find(&cache, &bob).is_err(), "a later read has the place");
        }
    }

    #[test]
    fn no_more_than_the_limit_is_kept_and_who_is_asked_for_stays() {
        let cache = RouteCache::with_limit(Names::default(), 8);
        for number in 0..100 {
            let read = find(&cache, &user(number)).unwrap_err();
            cache.fill(&user(number), read, &routes("s1"));
            assert_eq!(find(&cache, &user(0)), Ok(routes("s1")), "asked for all the time");
            let state = cache.lock();
            assert!(state.young.len() + state.old.len() <= 8);
        }
        assert!(find(&cache, &user(1)).is_err(), "asked for long ago");
    }

    #[test]
    fn many_devices_are_not_kept() {
        let (cache, bob) = (RouteCache::new(Names::default()), user(1));
        let read = find(&cache, &bob).unwrap_err();
        cache.fill(&bob, read, &vec![routes("s1").remove(0); MAX_DEVICES + 1]);
        assert!(find(&cache, &bob).is_err());
    }
}
