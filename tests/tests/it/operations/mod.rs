//! The view of operators: configuration, deploys, drains, failures, limits.

mod backend_deploys;
mod backend_warnings;
mod bus_backpressure;
mod command_line;
mod connection_limit;
mod device_clocks;
mod diagnostics;
mod draining;
mod go_away;
mod idle_memory;
mod outages;
mod partitions;
mod quic_migration;
mod restored_devices;
mod route_audit;
mod server_failures;
mod server_list;
mod shutdown_signals;
