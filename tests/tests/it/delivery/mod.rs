//! Messages, signals and presence between back ends and devices, wherever each is connected.

mod broadcast;
mod content_kinds;
mod message_changes;
mod presence;
mod publish_outcomes;
mod quotes_and_recalls;
mod receipts;
mod repeated_publishes;
mod route_cache;
mod send_and_publish;
mod signals;
