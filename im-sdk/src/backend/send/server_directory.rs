//! The live servers as this process knows them. The list is read once a second, and at once when a
//! route names an unknown server.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    cluster::{Cluster, RegisteredServer, RoutesError},
    id::ServerId,
    proto::pb::ServerInfo,
};

/// The number of dead servers that are remembered. Ids are never used again, so forgetting one
/// costs a request, not correctness.
const MAX_DEAD: usize = 10_000;

/// Knows which servers live.
#[derive(Debug)]
pub(in crate::backend) struct Directory {
    cluster: Cluster,
    state: Mutex<State>,
    /// Held while reading, so that many senders with the same new server read once, and no older
    /// list overwrites a newer one. A live server would be taken for dead otherwise, and its
    /// devices' routes released.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    live: Arc<HashMap<ServerId, ServerInfo>>,
    dead: HashSet<ServerId>,
}

impl Directory {
    pub(in crate::backend) fn new(cluster: Cluster) -> Self {
        Self { cluster, state: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// Returns the live servers of the last list.
    pub(in crate::backend) fn live(&self) -> Arc<HashMap<ServerId, ServerInfo>> {
        Arc::clone(&self.lock().live)
    }

    /// Returns whether a server lives. Reads the list again if the server is unknown.
    pub(in crate::backend) async fn lives(&self, server: &ServerId) -> Result<bool, RoutesError> {
        if let Some(known) = self.known(server) {
            return Ok(known);
        }
        let _asking = self.asking.lock().await;
        if let Some(known) = self.known(server) {
            return Ok(known);
        }
        self.ask().await?;
        Ok(self.known(server).unwrap_or_else(|| self.bury(server)))
    }

    /// Reads the list of live servers. Servers that are missing since the last one are dead for
    /// good.
    pub(in crate::backend) async fn refresh(&self) -> Result<(), RoutesError> {
        let _asking = self.asking.lock().await;
        self.ask().await
    }

    /// The caller holds `asking`.
    async fn ask(&self) -> Result<(), RoutesError> {
        let servers = self.cluster.routes().live_servers().await?;
        let live = servers.into_iter().map(|RegisteredServer { id, info }| (id, info)).collect();
        let mut state = self.lock();
        let gone: Vec<_> =
            state.live.keys().filter(|id| !HashMap::contains_key(&live, *id)).cloned().collect();
        state.live = Arc::new(live);
        gone.into_iter().for_each(|id| state.bury(id));
        Ok(())
    }

    /// Returns whether a server lives, if that is known.
    pub(in crate::backend) fn known(&self, server: &ServerId) -> Option<bool> {
        let state = self.lock();
        if state.live.contains_key(server) {
            return Some(true);
        }
        state.dead.contains(server).then_some(false)
    }

    fn bury(&self, server: &ServerId) -> bool {
        self.lock().bury(server.clone());
        false
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bury(&mut self, server: ServerId) {
        if self.dead.len() >= MAX_DEAD {
            self.dead.clear();
        }
        self.dead.insert(server);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_question_at_a_time() {
        let directory = Directory::new(Cluster::embedded());
        let asking = directory.asking.lock().await;
        // The route store in process answers at once.
        assert!(directory.refresh().now_or_never().is_none(), "an answer is on its way already");
        drop(asking);
        assert!(directory.refresh().now_or_never().is_some());
    }
}
