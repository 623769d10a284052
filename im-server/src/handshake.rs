//! From the first frame to `Welcome`: who is it, may it come in, and who has to make way.

use std::{
    future::poll_fn,
    net::IpAddr,
    ops::RangeInclusive,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use im_proto::{PROTOCOL_VERSIONS, close::CloseCode, frame, pb, pb::device_frame::Body};
use im_sdk::{
    cluster::{Claim, Displaced, Publication, Reclaimed, Route, RoutesError},
    id::{Device, UserId},
    token::TokenError,
};
use prost::Message as _;
use tokio::time::timeout_at;

use crate::{
    link::{Link, LinkError},
    outbox::{Close, Outbox},
    registry::Registration,
    shared::Shared,
    users::{Most, NotLetIn},
};

/// A device that was let in: registered here and in the route store.
pub(crate) struct Admitted {
    pub(crate) registration: Registration,
    pub(crate) welcome: pb::Welcome,
    /// What the device has of its logs.
    pub(crate) sync: Bytes,
}

/// Reads `Hello`, verifies the token, registers the route and displaces whom the login policy tells. A draining server
/// lets nobody in.
pub(crate) async fn admit<L: Link>(
    shared: &Arc<Shared>,
    link: &mut L,
    peer: IpAddr,
    deadline: Instant,
) -> Result<Admitted, LinkError> {
    let hello = tokio::select! {
        biased; // Who has not said hello yet does so elsewhere.
        () = shared.draining.cancelled() => return Err(going_away()),
        hello = read_hello(link, deadline) => hello?,
    };
    let version = negotiate(hello.min_version..=hello.max_version)?;
    let device = hello.device.ok_or_else(|| LinkError::protocol("Hello names no device"))?;
    let device = Device::try_from(device).map_err(|error| LinkError::protocol(error.to_string()))?;
    let now = now(shared).await;
    let token = shared.config.verifier.verify_at(&hello.token, now);
    let token = token.map_err(|error| refuse_token(shared, peer, &hello.token, error, now))?;

    let limits = &shared.config.limits;
    let most = Most {
        devices: limits.max_devices_per_user,
        connects_per_second: limits.max_connects_per_second_per_user,
    };
    // Held until the connection is registered, so that it is not forgotten.
    let user = shared.registry.users.get(&token.user);
    user.may_connect(most, Instant::now()).map_err(|why| not_let_in(shared, &token.user, why))?;
    let outbox = Outbox::new(limits.outbox_bytes);
    let registration = shared.registry.register(token.user, device, token.expires_at, outbox);
    let registration = registration.ok_or_else(overloaded)?;
    // Looked at after the registration: either the drain finds it there, or it finds the drain here.
    if shared.draining.is_cancelled() {
        return Err(going_away());
    }
    claim(shared, &registration, hello.resumes).await?;
    let connection = &registration.connection;
    tracing::debug!(user = %connection.user, device = %connection.device, connection = %connection.id,
        client = ?hello.client.chars().take(64).collect::<String>(), "connected");
    let welcome = welcome(shared, version, &connection.user, connection.id.0);
    link.set_frame_limit(shared.config.limits.max_frame_bytes);
    let sync = pb::Sync { cursors: hello.cursors }.encode_to_vec().into();
    Ok(Admitted { registration, welcome, sync })
}

/// The cluster's time, which is asked for only if it is not known. A store that does not tell lets nobody in, whatever the token.
async fn now(shared: &Shared) -> Duration {
    match shared.cluster.clock().read().await {
        Ok(now) => Duration::from_millis(now),
        Err(_) => shared.now(),
    }
}

async fn read_hello<L: Link>(link: &mut L, deadline: Instant) -> Result<pb::Hello, LinkError> {
    let received = timeout_at(deadline.into(), poll_fn(|context| link.poll_receive(context)));
    let frame = received.await.map_err(|_| hello_timeout())??.ok_or(LinkError::Lost)?;
    let frame = pb::DeviceFrame::decode(frame).map_err(frame::FrameError::from)?;
    match frame.body {
        Some(Body::Hello(hello)) => Ok(hello),
        _ => Err(LinkError::protocol("the first frame must be Hello")),
    }
}

fn hello_timeout() -> LinkError {
    LinkError::Refused(Close::new(CloseCode::HelloTimeout, "no Hello came in time"))
}

fn going_away() -> LinkError {
    LinkError::Refused(Close::new(CloseCode::GoingAway, "the server is stopping"))
}

fn overloaded() -> LinkError {
    LinkError::Refused(Close::new(CloseCode::Overloaded, "this server holds as many connections as it may"))
}

fn not_let_in(shared: &Shared, user: &UserId, why: NotLetIn) -> LinkError {
    let reason = match why {
        NotLetIn::TooMany => "this user holds as many connections here as it may",
        NotLetIn::TooOften => "this user connects too often",
    };
    shared.strangers.note_not_let_in(user, reason);
    LinkError::Refused(Close::new(CloseCode::Overloaded, reason))
}

/// Tells the device and the log why. Who cannot show a good token may be anybody, or all devices of a deployment whose servers
/// and back ends disagree on a key.
fn refuse_token(shared: &Shared, peer: IpAddr, token: &str, error: TokenError, now: Duration) -> LinkError {
    let code = match error {
        TokenError::Expired => CloseCode::TokenExpired,
        _ => CloseCode::TokenInvalid,
    };
    let reason = shared.config.verifier.explain_at(token, error, now, "the cluster");
    shared.strangers.note_token(peer, error, &reason);
    let told = if shared.config.explain_refusals { reason } else { error.to_string() };
    LinkError::Refused(Close::new(code, told))
}

/// The newest version that both speak.
fn negotiate(offered: RangeInclusive<u32>) -> Result<u32, LinkError> {
    let newest = *offered.end().min(PROTOCOL_VERSIONS.end());
    if newest >= *offered.start() && newest >= *PROTOCOL_VERSIONS.start() {
        return Ok(newest);
    }
    let (oldest, newest) = PROTOCOL_VERSIONS.into_inner();
    let reason = format!("this server speaks protocol versions {oldest} to {newest}");
    Err(LinkError::Refused(Close::new(CloseCode::UnsupportedVersion, reason)))
}

/// Registers the route and has the displaced connections closed, wherever they are. A device that `resumes` displaces no other one.
async fn claim(shared: &Arc<Shared>, registration: &Registration, resumes: bool) -> Result<(), LinkError> {
    if !shared.holds_lease() {
        return Err(no_route());
    }
    let connection = &registration.connection;
    let claim = Claim {
        user: connection.user.clone(),
        device: connection.device.clone(),
        route: Route { server: shared.id.clone(), connection: connection.id },
        policy: shared.config.login_policy,
    };
    match register(shared, &claim, resumes).await {
        Ok(Some(displaced)) => {
            connection.set_routed();
            // Their own servers find the routes gone, and take them for replaced.
            for gone in displaced.iter().filter(|displaced| displaced.device != connection.device) {
                shared.presences.try_tell(&connection.user, &gone.device, false, shared.now());
            }
            kick_all(shared, &connection.user, displaced).await;
            Ok(())
        }
        Ok(None) => {
            let reason = "another device of this user has logged in since: log in again to take its place";
            Err(LinkError::Refused(Close::new(CloseCode::Replaced, reason)))
        }
        Err(error) => {
            if let Some(times) = shared.throttles.unregistered.note() {
                tracing::warn!(user = %connection.user, times, %error, "cannot register a route");
            }
            // It may be there all the same.
            shared.release_route(connection).await;
            Err(no_route())
        }
    }
}

/// Returns whom the route has displaced; `None` if the device resumes and another one has its place.
async fn register(
    shared: &Shared,
    claim: &Claim,
    resumes: bool,
) -> Result<Option<Vec<Displaced>>, RoutesError> {
    let routes = shared.cluster.routes();
    if resumes {
        // Displaces nobody. Mostly the place is free.
        let Reclaimed::Taken(taken) = routes.reclaim(claim).await? else { return Ok(Some(Vec::new())) };
        let others: Vec<Displaced> = taken.into_iter().filter(|taken| taken.device != claim.device).collect();
        if !others.is_empty() && is_any_connected(shared, &others).await? {
            return Ok(None);
        }
    }
    routes.claim(claim).await.map(Some)
}

/// Whether a device stands behind any of these routes, which outlive servers that died.
async fn is_any_connected(shared: &Shared, taken: &[Displaced]) -> Result<bool, RoutesError> {
    let live = shared.cluster.routes().live_servers().await?;
    Ok(taken.iter().any(|Displaced { route, .. }| {
        if route.server == shared.id {
            return shared.registry.get(route.connection).is_some();
        }
        live.iter().any(|server| server.id == route.server)
    }))
}

fn no_route() -> LinkError {
    let reason = "the route could not be registered, try again";
    LinkError::Refused(Close::new(CloseCode::Internal, reason))
}

async fn kick_all(shared: &Shared, user: &UserId, displaced: Vec<Displaced>) {
    for Displaced { device, route } in displaced {
        let envelope = kick(shared, &route);
        let publication = Publication {
            subject: shared.cluster.names().server(&route.server),
            return_to: None,
            payload: envelope.encode_to_vec().into(),
        };
        // A kick that is lost leaves a connection without a route: its server's audit finds it.
        if let Err(error) = shared.cluster.bus().publish(publication).await
            && let Some(times) = shared.throttles.unkicked.note()
        {
            tracing::warn!(%user, %device, server = %route.server, times, %error, "cannot kick a displaced device");
        }
    }
}

fn kick(shared: &Shared, route: &Route) -> pb::Envelope {
    let reason = "another connection of this user took its place".to_owned();
    let kick = pb::Kick { code: CloseCode::Replaced.code().into(), reason };
    let record = pb::Record {
        connections: vec![route.connection.0],
        effect: Some(pb::record::Effect::Kick(kick)),
        ..pb::Record::default()
    };
    pb::Envelope { publisher: shared.id.to_string(), records: vec![record], ..pb::Envelope::default() }
}

fn welcome(shared: &Shared, version: u32, user: &UserId, connection: u64) -> pb::Welcome {
    let limits = &shared.config.limits;
    pb::Welcome {
        version,
        user: user.to_string(),
        connection,
        server_time_ms: i64::try_from(shared.now().as_millis()).unwrap_or(i64::MAX),
        heartbeat_ms: u32::try_from(shared.config.heartbeat.as_millis()).unwrap_or(u32::MAX),
        limits: Some(pb::Limits {
            max_frame_bytes: u32::try_from(limits.max_frame_bytes).unwrap_or(u32::MAX),
            max_inflight_publishes: limits.max_inflight_publishes,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_meet_at_the_newest_common_one() {
        let newest = *PROTOCOL_VERSIONS.end();
        assert_eq!(negotiate(1..=newest + 5).ok(), Some(newest));
        assert_eq!(negotiate(newest..=newest).ok(), Some(newest));
        for none in [0..=0, newest + 1..=newest + 2, RangeInclusive::new(2, 1), 0..=u32::MIN] {
            assert!(negotiate(none.clone()).is_err(), "{none:?}");
        }
    }
}
