//! Implementations of the cluster traits on real Redis, NATS and SQL servers.

mod conformance;
mod nats_bus;
mod redis_failover;
mod redis_routes;
mod unsupported_versions;
