//! Answers to servers that ask again which channels a connection may be in, because it was not
//! reached when its user was removed from a channel, and its device does not sync by itself. Whom
//! the connection may watch is checked as well.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;

use super::{super::context::ServiceContext, Sync, SyncError};
use crate::{
    backend::service::{
        Handler,
        queue::{Job, Limits},
        responder::Responder,
        rooms::visible,
    },
    id::{Device, ServerId, UserId},
    log_throttle::throttled,
    proto::{limits::MAX_WATCHED_USERS, pb},
};

/// The number of connections that are checked at once, of those of one user, and of waiting ones of
/// one user.
const CONCURRENCY: usize = 64;
const PER_USER: usize = 2;
const WAITING_PER_USER: usize = 32;

/// The time that a question may wait. The server asks again in the next round of its audit.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers servers that ask.
pub(in crate::backend::service) struct Memberships<H> {
    pub(in crate::backend::service) context: Arc<ServiceContext>,
    pub(in crate::backend::service) handler: Arc<H>,
}

impl<H: Handler> Responder for Memberships<H> {
    /// The connection, and the users that it watches.
    type Request = (Sync, Vec<UserId>);

    const NAME: &'static str = "questions for memberships";

    fn limits(&self) -> Limits {
        Limits {
            concurrency: CONCURRENCY,
            batch: 1,
            per_user: PER_USER,
            waiting_per_user: WAITING_PER_USER,
            patience: PATIENCE,
        }
    }

    fn parse(&self, payload: Bytes) -> Vec<Job<(Sync, Vec<UserId>)>> {
        let bytes = payload.len();
        let Some(request) = parse(&self.context, payload) else {
            throttled!(warn, "a question for memberships is not valid and was dropped");
            return Vec::new();
        };
        vec![Job::new(request.0.user.clone(), request, bytes)]
    }

    async fn handle(self: Arc<Self>, requests: Vec<(Sync, Vec<UserId>)>) {
        for (sync, watched) in requests {
            if let Err(error) = self.confirm(&sync, watched).await {
                tracing::debug!(user = %sync.user, %error, "cannot confirm memberships");
            }
        }
    }
}

impl<H: Handler> Memberships<H> {
    async fn confirm(&self, sync: &Sync, watched: Vec<UserId>) -> Result<(), SyncError> {
        if !watched.is_empty() {
            let visible = visible(&self.context, &*self.handler, &sync.user, &sync.device, watched).await?;
            sync.watch_only(&visible).await?;
        }
        sync.join().await.map(drop)
    }
}

fn parse(context: &Arc<ServiceContext>, payload: Bytes) -> Option<(Sync, Vec<UserId>)> {
    let request = pb::UpstreamMembership::decode(payload).ok()?;
    let watched = request.watched.iter().take(MAX_WATCHED_USERS).filter_map(|user| UserId::parse(user).ok());
    let sync = Sync {
        context: Arc::clone(context),
        server: ServerId::parse(&request.server).ok()?,
        connection: request.connection,
        number: 0,
        user: UserId::parse(&request.user).ok()?,
        device: Device::try_from(request.device?).ok()?,
        cursors: HashMap::new(),
        began_ms: 0,
    };
    Some((sync, watched.collect()))
}
