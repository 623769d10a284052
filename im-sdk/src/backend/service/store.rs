//! Tells servers that cannot reach the route store whether it answers here.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::responder::Responder;
use crate::{
    backend::im::Im,
    id::ServerId,
    proto::{pb, pb::record::Effect},
};

/// How many are answered at once: no more than there are servers ask, each of them every few seconds.
const CONCURRENCY: usize = 16;

/// Answers servers.
pub(super) struct StoreChecks {
    pub(super) im: Im,
}

impl Responder for StoreChecks {
    type Request = (ServerId, u64);

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }

    fn parse(&self, payload: Bytes) -> Vec<Self::Request> {
        let check = pb::UpstreamStoreCheck::decode(payload).ok();
        let parsed = check.and_then(|check| Some((ServerId::parse(&check.server).ok()?, check.number)));
        if parsed.is_none() {
            tracing::debug!("a server's question about the route store is not valid");
        }
        parsed.into_iter().collect()
    }

    async fn handle(self: Arc<Self>, (server, number): Self::Request) {
        let inner = &self.im.inner;
        let report = match inner.cluster.routes().live_servers().await {
            Ok(servers) => {
                let leased = servers.iter().any(|live| live.id == server);
                pb::StoreReport { number, reachable: true, leased }
            }
            Err(error) => {
                tracing::debug!(%server, %error, "a server asks for the route store, which does not answer here");
                pb::StoreReport { number, reachable: false, leased: false }
            }
        };
        let record = pb::Record { effect: Some(Effect::StoreReport(report)), ..pb::Record::default() };
        inner.publisher.submit_and_forget(&server, record).await;
    }
}
