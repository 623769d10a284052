//! Finds connections whose route got lost, as nobody reaches them: by a Redis that lost what was last written to it, a claim
//! that counted as failed and took effect, a kick that did not arrive. Slowly: a part of the connections at a time, all of
//! them within [`crate::ServerConfig::route_audit`].

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use im_proto::{
    close::CloseCode,
    frame,
    pb::{self, Way},
};
use im_sdk::{
    cluster::{Claim, Displaced, Publication, Reclaimed, Route, RoutesError},
    id::{ChannelId, ServerId, UserId},
};
use prost::Message as _;
use tokio::time::sleep;

use crate::{
    outbox::Close,
    registry::{Connection, SHARDS},
    shared::Shared,
};

/// How many users' routes are read at once.
const BATCH: usize = 256;

/// Within which time a device syncs whose route is restored. Devices are found one after another, so short.
const HINT_WINDOW_MS: u32 = 500;

/// Looks at all connections again and again. Ends with the server.
pub(crate) async fn run(shared: Arc<Shared>) {
    let share = shared.config.route_audit / SHARDS as u32;
    loop {
        for shard in 0..SHARDS {
            let connections = shared.registry.in_shard(shard);
            let batches = connections.chunks(BATCH);
            let pause = share / u32::try_from(batches.len()).unwrap_or(u32::MAX).max(1);
            if batches.len() == 0 {
                sleep(share).await;
            }
            for batch in batches {
                look_at(&shared, batch, pause).await;
            }
        }
    }
}

async fn look_at(shared: &Shared, batch: &[Arc<Connection>], pause: Duration) {
    sleep(pause).await;
    // On its way out a server needs no route.
    if shared.draining.is_cancelled() {
        return;
    }
    if let Err(error) = check(shared, batch).await {
        tracing::warn!(%error, "cannot check whether devices can still be reached");
    }
}

/// Looks at all connections at once, for when many routes may have got lost. False: the lease has run out, and some were
/// not looked at.
///
/// # Errors
/// [`RoutesError`]; some may have been looked at then.
pub(crate) async fn check_all(shared: &Shared) -> Result<bool, RoutesError> {
    for batch in shared.registry.all().chunks(BATCH) {
        check(shared, batch).await?;
    }
    Ok(shared.holds_lease())
}

async fn check(shared: &Shared, batch: &[Arc<Connection>]) -> Result<(), RoutesError> {
    let users: Vec<UserId> = batch.iter().map(|connection| connection.user.clone()).collect();
    let located = shared.cluster.routes().locate(&users).await?;
    for (connection, routes) in batch.iter().zip(located) {
        let route = route(shared, connection);
        let is_there = routes.iter().any(|(device, other)| *device == connection.device && *other == route);
        // Past its lease a server writes no route.
        if !is_there && connection.is_routed() && shared.holds_lease() {
            restore(shared, connection).await?;
        }
    }
    // A connection that was not reached when its user was removed from a channel would hear it for as long as it lives. A device
    // that syncs by itself has had them confirmed since.
    if let Some(since) = Instant::now().checked_sub(shared.config.route_audit) {
        for connection in batch {
            if shared.registry.joined.is_unconfirmed(connection.id, since) {
                ask_for_memberships(shared, connection).await;
            }
        }
    }
    Ok(())
}

/// Has a back end say anew in which channels a connection may be. What is lost on the way is asked for in the next round.
async fn ask_for_memberships(shared: &Shared, connection: &Connection) {
    let watched = shared.registry.joined.channels_of(connection.id, Way::Watch);
    let watched = watched.iter().filter_map(ChannelId::watched_user).map(|user| user.to_string());
    let request = pb::UpstreamMembership {
        server: shared.id.to_string(),
        connection: connection.id.0,
        user: connection.user.to_string(),
        device: Some((&connection.device).into()),
        watched: watched.collect(),
    };
    let publication = Publication {
        subject: shared.cluster.names().upstream_membership(),
        // Where no back end listens, nothing is sent to channels either.
        return_to: None,
        payload: request.encode_to_vec().into(),
    };
    if let Err(error) = shared.cluster.bus().publish(publication).await {
        tracing::debug!(%error, "cannot ask for the memberships of a connection");
    }
}

fn route(shared: &Shared, connection: &Connection) -> Route {
    Route { server: shared.id.clone(), connection: connection.id }
}

async fn restore(shared: &Shared, connection: &Connection) -> Result<(), RoutesError> {
    let mut reclaimed = reclaim(shared, connection).await?;
    if let Reclaimed::Taken(taken) = &reclaimed
        && sweep(shared, connection, taken).await?
    {
        reclaimed = reclaim(shared, connection).await?;
    }
    match reclaimed {
        Reclaimed::Restored => {
            if let Some(times) = shared.throttles.restored.note() {
                tracing::info!(user = %connection.user, device = %connection.device, times, "a lost route is restored");
            }
            // Nothing was pushed to it meanwhile.
            let hint =
                pb::frame::Body::SyncHint(pb::SyncHint { within_ms: HINT_WINDOW_MS, rolled_back: false });
            connection.outbox.try_push(frame::encode(hint));
            // It may have been passed over when its user was removed from a channel, and need not follow the hint.
            ask_for_memberships(shared, connection).await;
        }
        Reclaimed::Taken(taken) => give_way(connection, &taken),
        _ => {}
    }
    // It may have left meanwhile, and released its route before it was there again.
    if shared.registry.get(connection.id).is_none() {
        shared.release_route(connection).await;
    }
    Ok(())
}

async fn reclaim(shared: &Shared, connection: &Connection) -> Result<Reclaimed, RoutesError> {
    let claim = Claim {
        user: connection.user.clone(),
        device: connection.device.clone(),
        route: route(shared, connection),
        policy: shared.config.login_policy,
    };
    shared.cluster.routes().reclaim(&claim).await
}

/// Removes those routes that lead nowhere. True when there were any.
async fn sweep(shared: &Shared, connection: &Connection, taken: &[Displaced]) -> Result<bool, RoutesError> {
    let routes = shared.cluster.routes();
    let live: HashSet<ServerId> = routes.live_servers().await?.into_iter().map(|server| server.id).collect();
    let mut swept = false;
    for Displaced { device, route } in taken {
        let here = route.server == shared.id;
        let leads_nowhere = if here {
            shared.registry.get(route.connection).is_none()
        } else {
            !live.contains(&route.server)
        };
        if leads_nowhere {
            swept |= routes.release(&connection.user, device, route).await?;
        }
    }
    Ok(swept)
}

/// Another connection has the place, and a kick was lost.
fn give_way(connection: &Connection, taken: &[Displaced]) {
    tracing::info!(user = %connection.user, device = %connection.device, "a connection without a route is closed");
    let same_device = taken.iter().any(|taken| taken.device == connection.device);
    let close = if same_device || taken.is_empty() {
        // The device left this connection behind. Should it not have, it comes back.
        Close::new(CloseCode::Internal, "the route of this connection was lost")
    } else {
        Close::new(CloseCode::Replaced, "another connection of this user took its place")
    };
    connection.outbox.close(close);
}

#[cfg(test)]
mod tests {
    use im_sdk::{
        cluster::Cluster,
        id::Device,
        token::{TokenVerifier, VerificationKey},
    };

    use super::*;
    use crate::{Server, ServerConfig, outbox::Outbox};

    #[tokio::test]
    async fn past_its_lease_a_server_restores_no_route() {
        let key = VerificationKey::hs256("test", &[7; 32]).unwrap();
        let mut config = ServerConfig::new("s1", TokenVerifier::new("test", "test", [key]));
        config.websocket = Some(([127, 0, 0, 1], 0).into());
        let cluster = Cluster::embedded();
        let server = Server::start(config, cluster.clone()).await.unwrap();
        let (shared, user) = (server.shared(), UserId::parse("bob").unwrap());
        let device: Device = "web/tab".parse().unwrap();
        let registration =
            shared.registry.register(user.clone(), device, u64::MAX, Outbox::new(1000)).unwrap();
        registration.connection.set_routed();
        let routes = async || cluster.routes().locate(std::slice::from_ref(&user)).await.unwrap()[0].len();
        shared.set_leased_until(Instant::now());
        assert!(!check_all(&shared).await.unwrap(), "to be looked at again");
        assert_eq!(routes().await, 0);
        shared.set_leased_until(Instant::now() + Duration::from_secs(60));
        assert!(check_all(&shared).await.unwrap());
        assert_eq!(routes().await, 1);
    }
}
