//! The handshake: from the first frame to `Welcome`. It authenticates the device, admits it, and displaces others by the login
//! policy.

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

use super::{Transport, TransportError};
use crate::{
    context::ServerContext,
    registry::{
        Registration,
        connection::Connection,
        outbox::{Close, Outbox},
        users::{UserLimitError, UserLimits},
    },
};

/// An admitted device: registered here and in the route store.
pub(crate) struct AdmittedDevice {
    pub(crate) registration: Registration,
    pub(crate) welcome: pb::Welcome,
    /// The device's cursors, as an encoded `Sync`.
    pub(crate) sync: Bytes,
}

/// Reads `Hello`, verifies the token, registers the route, and displaces other devices by the login policy. A draining server
/// admits no device.
pub(crate) async fn admit<L: Transport>(
    context: &Arc<ServerContext>,
    transport: &mut L,
    peer: IpAddr,
    deadline: Instant,
) -> Result<AdmittedDevice, TransportError> {
    let hello = tokio::select! {
        biased; // A device that has not sent `Hello` yet connects elsewhere.
        () = context.lifecycle.draining.cancelled() => return Err(going_away()),
        hello = read_hello(transport, deadline) => hello?,
    };
    let version = negotiate(hello.min_version..=hello.max_version)?;
    let device = hello.device.ok_or_else(|| TransportError::protocol("Hello names no device"))?;
    let device = Device::try_from(device).map_err(|error| TransportError::protocol(error.to_string()))?;
    let now = now(context).await;
    let token = context.config.verifier.verify_at(&hello.token, now);
    let token = token.map_err(|error| refuse_token(context, peer, &hello.token, error, now))?;

    let limits = &context.config.limits;
    let limits_of_user = UserLimits {
        devices: limits.max_devices_per_user,
        connects_per_second: limits.max_connects_per_second_per_user,
    };
    // Held until the connection is registered, so that the user's state is not swept meanwhile.
    let user = context.registry.users.get(&token.user);
    user.may_connect(limits_of_user, Instant::now())
        .map_err(|error| refuse_user(context, &token.user, error))?;
    let outbox = Outbox::new(limits.outbox_bytes);
    let registration = context.registry.register(token.user, device, token.expires_at, outbox);
    let registration = registration.ok_or_else(overloaded)?;
    // After the registration: either the drain finds the connection, or this check finds the drain.
    if context.lifecycle.draining.is_cancelled() {
        return Err(going_away());
    }
    claim(context, &registration, hello.resumes).await?;
    let connection = &registration.connection;
    tracing::debug!(user = %connection.user, device = %connection.device, connection = %connection.id,
        client = ?hello.client.chars().take(64).collect::<String>(), "connected");
    let welcome = welcome(context, version, &connection.user, connection.id.0);
    transport.set_frame_limit(context.config.limits.max_frame_bytes);
    let sync = pb::Sync { cursors: hello.cursors }.encode_to_vec().into();
    Ok(AdmittedDevice { registration, welcome, sync })
}

/// Returns the cluster's time, and asks the store for it only if it is unknown. If the store does not answer, no device is admitted
/// anyway.
async fn now(context: &ServerContext) -> Duration {
    match context.cluster.clock().read().await {
        Ok(now) => Duration::from_millis(now),
        Err(_) => context.now(),
    }
}

async fn read_hello<L: Transport>(transport: &mut L, deadline: Instant) -> Result<pb::Hello, TransportError> {
    let received = timeout_at(deadline.into(), poll_fn(|cx| transport.poll_receive(cx)));
    let frame = received.await.map_err(|_| hello_timeout())??.ok_or(TransportError::Lost)?;
    let frame = pb::DeviceFrame::decode(frame).map_err(frame::FrameError::from)?;
    match frame.body {
        Some(Body::Hello(hello)) => Ok(hello),
        _ => Err(TransportError::protocol("the first frame must be Hello")),
    }
}

fn hello_timeout() -> TransportError {
    TransportError::Refused(Close::new(CloseCode::HelloTimeout, "no Hello came in time"))
}

fn going_away() -> TransportError {
    TransportError::Refused(Close::new(CloseCode::GoingAway, "the server is stopping"))
}

fn overloaded() -> TransportError {
    TransportError::Refused(Close::new(
        CloseCode::Overloaded,
        "this server holds as many connections as it may",
    ))
}

fn refuse_user(context: &ServerContext, user: &UserId, error: UserLimitError) -> TransportError {
    let reason = match error {
        UserLimitError::TooManyConnections => "this user holds as many connections here as it may",
        UserLimitError::ConnectsTooOften => "this user connects too often",
    };
    context.rejections.note_user_limit(user, reason);
    TransportError::Refused(Close::new(CloseCode::Overloaded, reason))
}

/// Refuses a token and logs the reason. The device may be anybody's, or one of a whole deployment whose servers and backends
/// disagree on a key.
fn refuse_token(
    context: &ServerContext,
    peer: IpAddr,
    token: &str,
    error: TokenError,
    now: Duration,
) -> TransportError {
    let code = match error {
        TokenError::Expired => CloseCode::TokenExpired,
        _ => CloseCode::TokenInvalid,
    };
    let reason = context.config.verifier.explain_at(token, error, now, "the cluster");
    context.rejections.note_token(peer, error, &reason);
    let told = if context.config.explain_refusals { reason } else { error.to_string() };
    TransportError::Refused(Close::new(code, told))
}

/// Returns the newest version that both sides speak.
fn negotiate(offered: RangeInclusive<u32>) -> Result<u32, TransportError> {
    let newest = *offered.end().min(PROTOCOL_VERSIONS.end());
    if newest >= *offered.start() && newest >= *PROTOCOL_VERSIONS.start() {
        return Ok(newest);
    }
    let (oldest, newest) = PROTOCOL_VERSIONS.into_inner();
    let reason = format!("this server speaks protocol versions {oldest} to {newest}");
    Err(TransportError::Refused(Close::new(CloseCode::UnsupportedVersion, reason)))
}

/// Registers the route and closes the displaced connections, on whatever servers they are. A device that `resumes` displaces no
/// other one.
async fn claim(
    context: &Arc<ServerContext>,
    registration: &Registration,
    resumes: bool,
) -> Result<(), TransportError> {
    if !context.lifecycle.holds_lease() {
        return Err(no_route());
    }
    let connection = &registration.connection;
    let claim = Claim {
        user: connection.user.clone(),
        device: connection.device.clone(),
        route: Route { server: context.id.clone(), connection: connection.id },
        policy: context.config.login_policy,
    };
    match register(context, &claim, resumes).await {
        Ok(Some(displaced)) => {
            connection.set_routed();
            // Reported here: the servers of the displaced devices find the routes gone, and report nothing.
            for gone in displaced.iter().filter(|displaced| displaced.device != connection.device) {
                context.upstream.presences.try_tell(&connection.user, &gone.device, false, context.now());
            }
            kick_all(context, connection, displaced).await;
            Ok(())
        }
        Ok(None) => {
            let reason = "another device of this user has logged in since: log in again to take its place";
            Err(TransportError::Refused(Close::new(CloseCode::Replaced, reason)))
        }
        Err(error) => {
            if let Some(count) = context.throttles.register_failed.note() {
                tracing::warn!(user = %connection.user, count, %error, "cannot register a route");
            }
            // The route may have been registered all the same.
            context.release_route(connection).await;
            Err(no_route())
        }
    }
}

/// Returns the displaced connections, or `None` if the device resumes and another one has taken its place.
async fn register(
    context: &ServerContext,
    claim: &Claim,
    resumes: bool,
) -> Result<Option<Vec<Displaced>>, RoutesError> {
    let routes = context.cluster.routes();
    if resumes {
        // This displaces no route. Usually the place is free.
        let Reclaimed::Taken(taken) = routes.reclaim(claim).await? else { return Ok(Some(Vec::new())) };
        let others: Vec<Displaced> = taken.into_iter().filter(|taken| taken.device != claim.device).collect();
        if !others.is_empty() && is_any_connected(context, &others).await? {
            return Ok(None);
        }
    }
    routes.claim(claim).await.map(Some)
}

/// Returns whether a device is connected behind any of these routes. Routes may outlive servers that died.
async fn is_any_connected(context: &ServerContext, taken: &[Displaced]) -> Result<bool, RoutesError> {
    let live = context.cluster.routes().live_servers().await?;
    Ok(taken.iter().any(|Displaced { route, .. }| {
        if route.server == context.id {
            return context.registry.get(route.connection).is_some();
        }
        live.iter().any(|server| server.id == route.server)
    }))
}

fn no_route() -> TransportError {
    let reason = "the route could not be registered, try again";
    TransportError::Refused(Close::new(CloseCode::Internal, reason))
}

/// Kicks the connections that this one displaces.
async fn kick_all(context: &ServerContext, by: &Connection, displaced: Vec<Displaced>) {
    for Displaced { device, route } in displaced {
        let envelope = kick(context, &route, &by.device);
        let publication = Publication {
            subject: context.cluster.names().server(&route.server),
            return_to: None,
            payload: envelope.encode_to_vec().into(),
        };
        // A lost kick leaves a connection without a route, which the route audit of its server finds.
        if let Err(error) = context.cluster.bus().publish(publication).await
            && let Some(count) = context.throttles.kick_failed.note()
        {
            tracing::warn!(user = %by.user, %device, server = %route.server, count, %error, "cannot kick a displaced device");
        }
    }
}

fn kick(context: &ServerContext, route: &Route, by: &Device) -> pb::Envelope {
    let Close { code, reason } = Close::replaced(by);
    let kick = pb::Kick { code: code.code().into(), reason };
    let record = pb::Record {
        connections: vec![route.connection.0],
        effect: Some(pb::record::Effect::Kick(kick)),
        ..pb::Record::default()
    };
    pb::Envelope { publisher: context.id.to_string(), records: vec![record], ..pb::Envelope::default() }
}

fn welcome(context: &ServerContext, version: u32, user: &UserId, connection: u64) -> pb::Welcome {
    let limits = &context.config.limits;
    pb::Welcome {
        version,
        user: user.to_string(),
        connection,
        server_time_ms: i64::try_from(context.now().as_millis()).unwrap_or(i64::MAX),
        heartbeat_ms: u32::try_from(context.config.heartbeat.as_millis()).unwrap_or(u32::MAX),
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
