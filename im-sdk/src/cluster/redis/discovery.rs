//! Finds the Redis to use among the configured addresses: a master, or a Redis Cluster.

use std::{future::Future, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    RedisError, RedisResult,
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    io::tcp::TcpSettings,
};
use tokio::time::timeout;

use super::error_context::{RequestError, RequestResult, one_line};
use crate::cluster::{
    config::{ClusterConfig, ConnectError, without_credentials},
    diagnostics::{
        addresses,
        versions::{REDIS, redis_version},
    },
};

const SERVICE: &str = "Redis";

/// The version reported for a Redis without RESP3, which came with 6.0.
const BEFORE_RESP3: &str = "5 or older";

/// Builds the client of a Redis Cluster, if an address turns out to be one.
type ClusterSettings = fn(&ClusterConfig) -> RedisResult<ClusterClientBuilder>;

/// The deployment behind an address.
pub(super) enum Found {
    Single,
    Cluster(ClusterConnection),
}

/// Finds the first address at which a master, or a Redis Cluster, answers.
pub(super) async fn find(
    config: &ClusterConfig,
    cluster: ClusterSettings,
) -> Result<(Found, usize), ConnectError> {
    addresses::check_redis(&config.redis)?;
    let mut failure = ConnectError::NoAddress { service: SERVICE };
    // Each address gets a share of the time, so that the first one cannot use it up.
    let share = config.connect_timeout / u32::try_from(config.redis.len()).unwrap_or(u32::MAX).max(1);
    for (at, address) in config.redis.iter().enumerate() {
        match within(share, look(config, address, cluster)).await {
            Ok((found, version)) => {
                REDIS.check(without_credentials(address), &version)?;
                return Ok((found, at));
            }
            Err(source) if is_without_resp3(&*source) => {
                return Err(REDIS.refusal(without_credentials(address), BEFORE_RESP3));
            }
            Err(source) => {
                let source = addresses::reason(SERVICE, address, in_one_line(source)).await;
                failure = unreachable(address, source);
            }
        }
    }
    Err(failure)
}

/// Returns the deployment at an address, and its version.
async fn look(
    config: &ClusterConfig,
    address: &str,
    cluster: ClusterSettings,
) -> RequestResult<(Found, String)> {
    let client = Client::open(connection_info(config, address)?)?;
    let probe_config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(config.connect_timeout))
        .set_response_timeout(Some(config.connect_timeout));
    let mut probe = client.get_multiplexed_async_connection_with_config(&probe_config).await?;
    let mut asking = redis::pipe();
    asking.cmd("INFO").arg("server").cmd("INFO").arg("cluster").cmd("INFO").arg("replication");
    let (server, info, replication): (String, String, String) = asking.query_async(&mut probe).await?;
    let found = if info.contains("cluster_enabled:1") {
        Found::Cluster(cluster(config)?.build()?.get_async_connection().await?)
    } else if replication.contains("role:slave") {
        return Err(REPLICA.into());
    } else {
        Found::Single
    };
    Ok((found, redis_version(&server).to_owned()))
}

/// The reason why an address is refused.
const REPLICA: &str = "it is a replica: give the address of the master, or of all that may become one";

pub(super) fn cluster_client(config: &ClusterConfig) -> RedisResult<ClusterClientBuilder> {
    let nodes = config.redis.iter().map(|address| connection_info(config, address));
    Ok(ClusterClient::builder(nodes.collect::<RedisResult<Vec<_>>>()?)
        .tcp_settings(tcp_settings(config))
        .connection_timeout(config.connect_timeout)
        .response_timeout(config.request_timeout))
}

pub(super) fn connection_info(config: &ClusterConfig, address: &str) -> RedisResult<ConnectionInfo> {
    let info = address.into_connection_info()?;
    // With version 3 of Redis's protocol, a lost connection is noticed and replaced before the next
    // request needs it.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp_settings(config)))
}

fn tcp_settings(config: &ClusterConfig) -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    // A peer that vanished silently would otherwise keep its connection, and fail every request,
    // for a quarter of an hour.
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(config.connect_timeout);
    #[cfg(not(target_os = "linux"))]
    let _ = config;
    settings
}

pub(super) async fn within<T>(
    limit: Duration,
    request: impl Future<Output = RequestResult<T>>,
) -> RequestResult<T> {
    // Wraps the client library's own time limits, which do not cover the wait for a connection.
    timeout(limit, request).await?
}

/// Puts an error of the parser, which spans several lines, into one line.
pub(super) fn in_one_line(error: RequestError) -> RequestError {
    let is_parsers = error.downcast_ref::<RedisError>().is_some_and(|error| error.kind() == ErrorKind::Parse);
    if is_parsers { one_line(&*error).into() } else { error }
}

fn is_without_resp3(source: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let error = source.downcast_ref::<RedisError>();
    error.is_some_and(|error| error.kind() == ErrorKind::RESP3NotSupported)
}

pub(super) fn unreachable(address: &str, source: RequestError) -> ConnectError {
    ConnectError::Unreachable { service: SERVICE, address: without_credentials(address).into(), source }
}
