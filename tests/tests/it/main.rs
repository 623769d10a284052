//! End-to-end tests in one binary: real servers, back ends and devices.
//!
//! One binary links the workspace once. The tests that need a process of their own are separate: `chaos` and
//! `hostile` load the machine and measure, `run_sh` tests the script that runs the others.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a failed step of a test is a panic"
)]

mod channels;
mod cluster;
mod conversations;
mod delivery;
mod docs;
mod history;
mod logs;
mod operations;
mod security;
