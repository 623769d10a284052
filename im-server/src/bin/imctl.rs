//! `imctl`: a tool for operators.

use std::{
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::{Parser, Subcommand};
use im_sdk::id::{InvalidId, MessageId};

/// Decodes ids for operators.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints when an id was issued, by which backend, and its sequence number within that millisecond.
    Id {
        /// The message's id.
        id: String,
    },
}

fn main() -> ExitCode {
    let Command::Id { id } = Arguments::parse().command;
    match id.parse::<MessageId>() {
        Ok(id) => print_id(id),
        Err(error) => fail(&error),
    }
}

#[expect(clippy::print_stdout, reason = "this is the program's output")]
fn print_id(id: MessageId) -> ExitCode {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(id.unix_ms());
    println!("time      {}", humantime::format_rfc3339_millis(time));
    println!("node      {}", id.node().get());
    println!("sequence  {}", id.sequence());
    ExitCode::SUCCESS
}

fn fail(error: &InvalidId) -> ExitCode {
    eprintln!("imctl: {error}");
    ExitCode::FAILURE
}
