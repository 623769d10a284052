//! Routes that were read before, until Redis says that they have changed.
//!
//! Redis remembers what was read and says so once, before anything that it answers later on that connection. So a place is
//! reserved before the routes are read: if they change before the answer has been dealt with, the place is gone and the
//! answer is not kept.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::super::Route;
use crate::{
    cluster::{names::Names, redis::Watcher},
    id::{Device, UserId},
};

/// Of so many users routes are kept at most, half of which are those that were asked for last. Some 30 MB.
const MAX_USERS: usize = 128 * 1024;

/// Of a user with more devices than this they are read each time.
const MAX_DEVICES: usize = 64;

type Routes = Arc<[(Device, Route)]>;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Kept {
    names: Names,
    state: Mutex<State>,
}

/// Two generations: when the young one is full, it becomes the old one, and the old one goes. What is asked for is young.
#[derive(Debug)]
struct State {
    young: HashMap<UserId, Slot>,
    old: HashMap<UserId, Slot>,
    /// How many users a generation has.
    limit: usize,
    reads: u64,
}

#[derive(Clone, Debug)]
enum Slot {
    Known(Routes),
    /// To be filled by the read with this number.
    Reading(u64),
}

/// What is known of a user: the routes, or the number of the read that may fill the place.
pub(super) type Found = Result<Vec<(Device, Route)>, u64>;

impl Kept {
    pub(super) fn new(names: Names) -> Self {
        Self::with_limit(names, MAX_USERS)
    }

    fn with_limit(names: Names, users: usize) -> Self {
        let (young, old) = (HashMap::new(), HashMap::new());
        Self { names, state: Mutex::new(State { young, old, limit: users / 2, reads: 0 }) }
    }

    /// In the order of the users.
    pub(super) fn find(&self, users: &[UserId]) -> Vec<Found> {
        let mut state = self.lock();
        users.iter().map(|user| state.find(user)).collect()
    }

    /// Keeps what a read found, unless it has changed since the read began.
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

impl Watcher for Kept {
    fn changed(&self, key: &[u8]) {
        match std::str::from_utf8(key).ok().and_then(|key| self.names.parse_routes(key)) {
            Some(user) => self.forget(&user),
            // Nothing else is kept.
            None => self.all_changed(),
        }
    }

    fn all_changed(&self) {
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

    /// As a send asks for one user.
    fn find(kept: &Kept, user: &UserId) -> Found {
        kept.find(std::slice::from_ref(user)).remove(0)
    }

    fn key(user: &UserId) -> String {
        Names::default().routes(user)
    }

    #[test]
    fn what_was_read_is_known_until_it_changes() {
        let (kept, bob) = (Kept::new(Names::default()), user(1));
        let read = find(&kept, &bob).unwrap_err();
        kept.fill(&bob, read, &routes("s1"));
        assert_eq!(find(&kept, &bob), Ok(routes("s1")));
        kept.changed(key(&user(2)).as_bytes());
        assert_eq!(find(&kept, &bob), Ok(routes("s1")));
        kept.changed(key(&bob).as_bytes());
        assert!(find(&kept, &bob).is_err());
    }

    #[test]
    fn what_changed_while_it_was_read_is_not_kept() {
        type Change = fn(&Kept, &UserId);
        let changes: [Change; 3] = [
            |kept, bob| kept.changed(key(bob).as_bytes()),
            |kept, _| kept.changed(b"something else"),
            |kept, _| kept.all_changed(),
        ];
        for change in changes {
            let (kept, bob) = (Kept::new(Names::default()), user(1));
            let read = find(&kept, &bob).unwrap_err();
            change(&kept, &bob);
            kept.fill(&bob, read, &routes("old"));
            let again = find(&kept, &bob).unwrap_err();
            kept.fill(&bob, read, &routes("old"));
            assert!(find(&kept, &bob).is_err(), "another read's place");
            kept.fill(&bob, again, &routes("older"));
            assert!(find(&kept, &bob).is_err(), "a later read has the place");
        }
    }

    #[test]
    fn no_more_than_the_limit_is_kept_and_who_is_asked_for_stays() {
        let kept = Kept::with_limit(Names::default(), 8);
        for number in 0..100 {
            let read = find(&kept, &user(number)).unwrap_err();
            kept.fill(&user(number), read, &routes("s1"));
            assert_eq!(find(&kept, &user(0)), Ok(routes("s1")), "asked for all the time");
            let state = kept.lock();
            assert!(state.young.len() + state.old.len() <= 8);
        }
        assert!(find(&kept, &user(1)).is_err(), "asked for long ago");
    }

    #[test]
    fn many_devices_are_not_kept() {
        let (kept, bob) = (Kept::new(Names::default()), user(1));
        let read = find(&kept, &bob).unwrap_err();
        kept.fill(&bob, read, &vec![routes("s1").remove(0); MAX_DEVICES + 1]);
        assert!(find(&kept, &bob).is_err());
    }
}
