//! Tells servers that cannot reach the route store whether it answers this backend.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;

use super::{
    context::ServiceContext,
    queue::{Job, Limits},
    responder::Responder,
};
use crate::{
    id::{ServerId, UserId},
    log_throttle::throttled,
    proto::{pb, pb::record::Effect},
};

/// The number of answers at once. Each server asks every few seconds.
const CONCURRENCY: usize = 16;

/// The time that a question may wait. The server asks again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers servers.
pub(super) struct StoreChecks {
    pub(super) context: Arc<ServiceContext>,
}

impl Responder for StoreChecks {
    type Request = (ServerId, u64);

    const NAME: &'static str = "questions about the route store";

    /// A failed probe of the store is an answer too.
    const NEEDS_STORES: bool = false;

    fn limits(&self) -> Limits {
        let (per_user, waiting_per_user) = (1, 4);
        Limits { concurrency: CONCURRENCY, batch: 1, per_user, waiting_per_user, patience: PATIENCE }
    }

    fn parse(&self, payload: Bytes) -> Vec<Job<Self::Request>> {
        let bytes = payload.len();
        let check = pb::UpstreamStoreCheck::decode(payload).ok();
        let parsed = check.and_then(|check| Some((ServerId::parse(&check.server).ok()?, check.number)));
        if parsed.is_none() {
            throttled!(debug, "a server's question about the route store is not valid and was dropped");
        }
        // Servers take turns as users do. Every server's id is a valid user id.
        let job =
            |request: Self::Request| Some(Job::new(UserId::parse(request.0.as_str()).ok()?, request, bytes));
        parsed.and_then(job).into_iter().collect()
    }

    async fn handle(self: Arc<Self>, requests: Vec<Self::Request>) {
        for (server, number) in requests {
            self.report(server, number).await;
        }
    }
}

impl StoreChecks {
    async fn report(&self, server: ServerId, number: u64) {
        let context = &self.context;
        let report = match context.cluster.routes().live_servers().await {
            Ok(servers) => {
                let leased = servers.iter().any(|live| live.id == server);
                pb::StoreReport { number, reachable: true, leased }
            }
            Err(error) => {
                tracing::debug!(%server, %error, "the route store does not answer this backend, and a server asks about it");
                pb::StoreReport { number, reachable: false, leased: false }
            }
        };
        let record = pb::Record { effect: Some(Effect::StoreReport(report)), ..pb::Record::default() };
        context.publisher.submit_and_forget(&server, record).await;
    }
}
