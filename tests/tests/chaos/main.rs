//! A whole deployment under load and faults: nothing is lost, duplicated or reordered.
//!
//! `TEST_PROFILE=full` in a release build runs the full load (see `tests/run.sh --full`), anything else some seconds
//! of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a panic")]

mod bus;
mod devices;
mod partial;
mod servers;
mod store;
