//! One connection, and what Redis says on it unasked.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use redis::{
    AsyncConnectionConfig, Client, PushInfo, PushKind, RedisResult, Value, aio::MultiplexedConnection,
};

use super::Shared;
use crate::cluster::{config::ClusterConfig, redis::connection_info};

/// Pipelines that wait for the client library: few are under way at once.
const PIPELINES: usize = 8;

pub(super) struct Connection {
    pub(super) link: MultiplexedConnection,
    lost: Arc<AtomicBool>,
}

impl Connection {
    pub(super) async fn open(
        config: &ClusterConfig,
        address: &str,
        shared: &Arc<Shared>,
    ) -> RedisResult<Self> {
        let client = Client::open(connection_info(config, address)?)?;
        let lost = Arc::new(AtomicBool::new(false));
        let heard = {
            let (shared, lost) = (Arc::clone(shared), Arc::clone(&lost));
            // Called by the task that hands answers out, before it hands out any that came later.
            move |push: PushInfo| {
                hear(&push, &shared, &lost);
                Ok::<(), ()>(())
            }
        };
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.connect_timeout))
            // Requests have a limit of their own.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINES)
            .set_push_sender(heard);
        let mut link = client.get_multiplexed_async_connection_with_config(&settings).await?;
        // Nobody reads behind a `WAIT`.
        let tells = shared.replicas == 0 && track(&mut link).await?;
        shared.tells.store(tells, Ordering::Release);
        Ok(Self { link, lost })
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }
}

/// Has Redis say when something changes that was read behind `CLIENT CACHING YES`. False: it does not, such as for want of a
/// right.
async fn track(link: &mut MultiplexedConnection) -> RedisResult<bool> {
    let tracking = redis::cmd("CLIENT").arg("TRACKING").arg("ON").arg("OPTIN").query_async::<()>(link).await;
    match tracking {
        Ok(()) => Ok(true),
        Err(error) if error.is_unrecoverable_error() => Err(error),
        Err(error) => {
            tracing::debug!(%error, "Redis does not tell what has changed: routes are read for each send");
            Ok(false)
        }
    }
}

fn hear(push: &PushInfo, shared: &Shared, lost: &AtomicBool) {
    match push.kind {
        PushKind::Invalidate => {
            let Some(watcher) = shared.watcher.get() else { return };
            match push.data.first() {
                Some(Value::Array(keys)) => keys.iter().for_each(|key| match key {
                    Value::BulkString(key) => watcher.changed(key),
                    Value::SimpleString(key) => watcher.changed(key.as_bytes()),
                    _ => watcher.all_changed(),
                }),
                // The database was emptied, or replaced by that of another master.
                _ => watcher.all_changed(),
            }
        }
        PushKind::Disconnection => {
            lost.store(true, Ordering::Release);
            shared.all_changed();
        }
        _ => {}
    }
}
