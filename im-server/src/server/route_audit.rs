//! Finds connections whose route was lost, so that messages do not reach them: Redis lost its last writes, a claim counted as
//! failed and took effect, or a kick did not arrive. The audit is slow: it checks a part of the connections at a time, and all of
//! them within [`crate::ServerConfig::route_audit`].

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use im_proto::{
    close::CloseCode,
    frame,
    pb::{self, JoinKind},
};
use im_sdk::{
    cluster::{Claim, Displaced, Publication, Reclaimed, Route, RoutesError},
    id::{ChannelId, ServerId, UserId},
};
use prost::Message as _;
use tokio::time::sleep;

use crate::{
    context::ServerContext,
    registry::{SHARDS, connection::Connection, outbox::Close},
};

/// The number of users whose routes are read at once.
const BATCH: usize = 256;

/// The time within which a device syncs after its route is restored. It may be short, since devices are found one after another.
const HINT_WINDOW_MS: u32 = 500;

/// Audits all connections again and again. Ends with the server.
pub(super) async fn run(context: Arc<ServerContext>) {
    let share = context.config.route_audit / SHARDS as u32;
    loop {
        for shard in 0..SHARDS {
            let connections = context.registry.in_shard(shard);
            let batches = connections.chunks(BATCH);
            let pause = share / u32::try_from(batches.len()).unwrap_or(u32::MAX).max(1);
            if batches.len() == 0 {
                sleep(share).await;
            }
            for batch in batches {
                check_after(&context, batch, pause).await;
            }
        }
    }
}

async fn check_after(context: &ServerContext, batch: &[Arc<Connection>], pause: Duration) {
    sleep(pause).await;
    // A draining server needs no routes.
    if context.lifecycle.draining.is_cancelled() {
        return;
    }
    if let Err(error) = check(context, batch).await {
        tracing::warn!(%error, "cannot audit routes");
    }
}

/// Audits all connections at once, for when many routes may be lost. Returns `false` if the lease has run out, so that some routes
/// were not restored.
///
/// [`RoutesError`]; some connections may have been audited.
/// [`RoutesError`]; some may have been audited then.
pub(super) async fn check_all(context: &ServerContext) -> Result<bool, RoutesError> {
    for batch in context.registry.all().chunks(BATCH) {
        check(context, batch).await?;
    }
    Ok(context.lifecycle.holds_lease())
}

async fn check(context: &ServerContext, batch: &[Arc<Connection>]) -> Result<(), RoutesError> {
    let users: Vec<UserId> = batch.iter().map(|connection| connection.user.clone()).collect();
    let located = context.cluster.routes().locate(&users).await?;
    for (connection, routes) in batch.iter().zip(located) {
        let route = route(context, connection);
        let is_there = routes.iter().any(|(device, other)| *device == connection.device && *other == route);
        // Without its lease, a server writes no routes.
        if !is_there && connection.is_routed() && context.lifecycle.holds_lease() {
            restore(context, connection).await?;
        }
    }
    // A connection that was not reached when its user was removed from a channel would receive the channel's messages for as long
    // as it lives. Devices that have synced by themselves have had their memberships confirmed since.
    if let Some(since) = Instant::now().checked_sub(context.config.route_audit) {
        for connection in batch {
            if context.registry.subscriptions.is_unconfirmed(connection.id, since) {
                ask_for_memberships(context, connection).await;
            }
        }
    }
    Ok(())
}

/// Asks a backend for the channels in which a connection may be. The next round repeats lost requests.
async fn ask_for_memberships(context: &ServerContext, connection: &Connection) {
    let watched = context.registry.subscriptions.channels_of(connection.id, JoinKind::Watch);
    let watched = watched.iter().filter_map(ChannelId::watched_user).map(|user| user.to_string());
    let request = pb::UpstreamMembership {
        server: context.id.to_string(),
        connection: connection.id.0,
        user: connection.user.to_string(),
        device: Some((&connection.device).into()),
        watched: watched.collect(),
    };
    let publication = Publication {
        subject: context.cluster.names().upstream_membership(),
        // If no backend listens, no messages are sent to channels either.
        return_to: None,
        payload: request.encode_to_vec().into(),
    };
    if let Err(error) = context.cluster.bus().publish(publication).await {
        tracing::debug!(%error, "cannot ask for the memberships of a connection");
    }
}

fn route(context: &ServerContext, connection: &Connection) -> Route {
    Route { server: context.id.clone(), connection: connection.id }
}

async fn restore(context: &ServerContext, connection: &Connection) -> Result<(), RoutesError> {
    let mut reclaimed = reclaim(context, connection).await?;
    if let Reclaimed::Taken(taken) = &reclaimed
        && remove_stale(context, connection, taken).await?
    {
        reclaimed = reclaim(context, connection).await?;
    }
    match reclaimed {
        Reclaimed::Restored => {
            if let Some(count) = context.throttles.route_restored.note() {
                tracing::info!(user = %connection.user, device = %connection.device, count, "lost route restored");
            }
            // Messages did not reach the device while the route was lost.
            let hint =
                pb::frame::Body::SyncHint(pb::SyncHint { within_ms: HINT_WINDOW_MS, rolled_back: false });
            connection.outbox.try_push(frame::encode(hint));
            // The connection may have been missed when its user was removed from a channel, and the device need not follow the
            // hint.
            ask_for_memberships(context, connection).await;
        }
        Reclaimed::Taken(taken) => give_way(connection, &taken),
        _ => {}
    }
    // The connection may have left meanwhile, and released its route before it was restored.
    if context.registry.get(connection.id).is_none() {
        context.release_route(connection).await;
    }
    Ok(())
}

async fn reclaim(context: &ServerContext, connection: &Connection) -> Result<Reclaimed, RoutesError> {
    let claim = Claim {
        user: connection.user.clone(),
        device: connection.device.clone(),
        route: route(context, connection),
        policy: context.config.login_policy,
    };
    context.cluster.routes().reclaim(&claim).await
}

/// Removes stale routes. Returns `true` if there were any.
async fn remove_stale(
    context: &ServerContext,
    connection: &Connection,
    taken: &[Displaced],
) -> Result<bool, RoutesError> {
    let routes = context.cluster.routes();
    let live: HashSet<ServerId> = routes.live_servers().await?.into_iter().map(|server| server.id).collect();
    let mut removed = false;
    for Displaced { device, route } in taken {
        let here = route.server == context.id;
        let leads_nowhere = if here {
            context.registry.get(route.connection).is_none()
        } else {
            !live.contains(&route.server)
        };
        if leads_nowhere {
            removed |= routes.release(&connection.user, device, route).await?;
        }
    }
    Ok(removed)
}

/// Closes a connection that another one has displaced, after the kick was lost.
fn give_way(connection: &Connection, taken: &[Displaced]) {
    tracing::info!(user = %connection.user, device = %connection.device, "connection without a route closed");
    let same_device = taken.iter().any(|taken| taken.device == connection.device);
    let close = match taken.first() {
        Some(other) if !same_device => Close::replaced(&other.device),
        // The device has left this connection behind. If it has not, it reconnects.
        _ => Close::new(CloseCode::Internal, "the route of this connection was lost"),
    };
    connection.outbox.close(close);
}

#[cfg(test)]
mod tests {
    use im_sdk::{cluster::Cluster, id::Device};

    use super::*;
    use crate::{registry::outbox::Outbox, testing};

    #[tokio::test]
    async fn past_its_lease_a_server_restores_no_route() {
        let cluster = Cluster::embedded();
        let server = testing::server_on(cluster.clone()).await;
        let (context, user) = (server.context(), UserId::parse("bob").unwrap());
        let device: Device = "web/tab".parse().unwrap();
        let registration =
            context.registry.register(user.clone(), device, u64::MAX, Outbox::new(1000)).unwrap();
        registration.connection.set_routed();
        let routes = async || cluster.routes().locate(std::slice::from_ref(&user)).await.unwrap()[0].len();
        context.lifecycle.set_leased_until(Instant::now());
        assert!(!check_all(&context).await.unwrap(), "to be audited again");
        assert_eq!(routes().await, 0);
        context.lifecycle.set_leased_until(Instant::now() + Duration::from_secs(60));
        assert!(check_all(&context).await.unwrap());
        assert_eq!(routes().await, 1);
    }
}
