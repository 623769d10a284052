//! Last-seen times inside one process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::{
    cluster::{
        time::unix_ms,
        traits::{LastSeen, LastSeenError, LastSeenStore, last_seen::oldest_ms},
    },
    id::{Terminal, UserId},
};

/// The number of users at which old times are first removed; from then on at twice as many.
const FIRST_SWEEP: usize = 1024;

/// Last-seen times inside this process, lost when it ends. Clones share them. Operations never
/// fail.
#[derive(Clone, Debug, Default)]
pub struct MemoryLastSeen {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    users: HashMap<UserId, Vec<(Terminal, u64)>>,
    /// The number of users after the last sweep.
    swept: usize,
}

impl MemoryLastSeen {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, seen: &LastSeen) {
        let times = self.users.entry(seen.user.clone()).or_default();
        let at_ms = seen.at_ms.min(unix_ms());
        match times.iter_mut().find(|(terminal, _)| *terminal == seen.terminal) {
            Some((_, at)) => *at = at_ms.max(*at),
            None => times.push((seen.terminal, at_ms)),
        }
    }

    fn sweep(&mut self, oldest: u64) {
        self.users.retain(|_, times| {
            times.retain(|(_, at)| *at >= oldest);
            !times.is_empty()
        });
        self.swept = self.users.len();
    }
}

#[async_trait]
impl LastSeenStore for MemoryLastSeen {
    async fn note_seen(&self, seen: &[LastSeen]) -> Result<(), LastSeenError> {
        let mut state = self.state();
        seen.iter().for_each(|seen| state.note(seen));
        if state.users.len() > (state.swept * 2).max(FIRST_SWEEP) {
            state.sweep(oldest_ms());
        }
        Ok(())
    }

    async fn last_seen(&self, users: &[UserId]) -> Result<Vec<Vec<(Terminal, u64)>>, LastSeenError> {
        let (state, oldest) = (self.state(), oldest_ms());
        let fresh = |user| state.users.get(user).into_iter().flatten().filter(|(_, at)| *at >= oldest);
        Ok(users.iter().map(|user| fresh(user).copied().collect()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::conformance::check_last_seen;

    #[tokio::test]
    async fn conforms() {
        check_last_seen(&MemoryLastSeen::new()).await;
    }

    #[tokio::test]
    async fn old_times_are_swept() {
        let seen = MemoryLastSeen::new();
        let of = |number: usize, at_ms| LastSeen {
            user: format!("user-{number}").parse().unwrap(),
            terminal: Terminal::Web,
            at_ms,
        };
        let old: Vec<LastSeen> = (0..FIRST_SWEEP).map(|number| of(number, 1)).collect();
        seen.note_seen(&old).await.unwrap();
        assert_eq!(seen.state().users.len(), FIRST_SWEEP);
        seen.note_seen(&[of(FIRST_SWEEP, u64::MAX)]).await.unwrap();
        assert_eq!(seen.state().users.len(), 1);
    }
}
