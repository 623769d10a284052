//! Members inside one process.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::{
    cluster::traits::{MemberStore, MembersError},
    id::{ChannelId, UserId},
};

/// Members inside this process, lost when it ends. Clones share them. Operations never fail.
#[derive(Clone, Debug, Default)]
pub struct MemoryMembers {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    members: HashMap<ChannelId, BTreeSet<UserId>>,
    channels: HashMap<UserId, HashSet<ChannelId>>,
}

impl MemoryMembers {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl MemberStore for MemoryMembers {
    async fn channels(&self, user: &UserId) -> Result<Vec<ChannelId>, MembersError> {
        Ok(self.state().channels.get(user).into_iter().flatten().cloned().collect())
    }

    async fn is_member(&self, channel: &ChannelId, user: &UserId) -> Result<bool, MembersError> {
        Ok(self.state().members.get(channel).is_some_and(|members| members.contains(user)))
    }

    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, MembersError> {
        let state = self.state();
        let Some(members) = state.members.get(channel) else { return Ok(Vec::new()) };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(members.range::<UserId, _>((from, Bound::Unbounded)).take(limit).cloned().collect())
    }

    async fn add(&self, channel: &ChannelId, users: &[UserId]) -> Result<(), MembersError> {
        let mut state = self.state();
        for user in users {
            state.members.entry(channel.clone()).or_default().insert(user.clone());
            state.channels.entry(user.clone()).or_default().insert(channel.clone());
        }
        Ok(())
    }

    async fn remove(&self, channel: &ChannelId, users: &[UserId]) -> Result<(), MembersError> {
        let State { members, channels } = &mut *self.state();
        for user in users {
            if let Some(of_channel) = members.get_mut(channel) {
                of_channel.remove(user);
            }
            if let Some(of_user) = channels.get_mut(user) {
                of_user.remove(channel);
                if of_user.is_empty() {
                    channels.remove(user);
                }
            }
        }
        if members.get(channel).is_some_and(BTreeSet::is_empty) {
            members.remove(channel);
        }
        Ok(())
    }

    fn forgets_removed(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::conformance::check_members;

    #[tokio::test]
    async fn conforms() {
        check_members(&MemoryMembers::new()).await;
    }

    #[tokio::test]
    async fn nothing_is_left_of_who_was_removed() {
        let (members, team) = (MemoryMembers::new(), "team".parse().unwrap());
        let users = ["a", "b"].map(|user| user.parse().unwrap());
        members.add(&team, &users).await.unwrap();
        members.remove(&team, &users).await.unwrap();
        let state = members.state();
        assert!(state.members.is_empty() && state.channels.is_empty());
    }
}
