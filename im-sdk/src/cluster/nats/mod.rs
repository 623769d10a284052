//! The bus on NATS, and the archive's queue in JetStream.

mod bus;
mod events;
mod jetstream;
mod outage;

pub use self::{bus::NatsBus, jetstream::JetStreamArchiveQueue};
