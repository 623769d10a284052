//! What can be measured.

mod delivery;
mod idle;
mod send;
mod storm;

pub(crate) use self::{delivery::Delivery, idle::Idle, send::Send, storm::Storm};
