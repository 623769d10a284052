//! `imctl`: what an operator asks.

use std::{
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::{Parser, Subcommand};
use im_sdk::id::{InvalidId, MessageId};

/// Answers an operator's questions.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    question: Question,
}

#[derive(Subcommand)]
enum Question {
    /// When, by which back end and as which of its millisecond's messages an id was issued.
    Id {
        /// The message's id.
        id: String,
    },
}

fn main() -> ExitCode {
    let Question::Id { id } = Arguments::parse().question;
    match id.parse::<MessageId>() {
        Ok(id) => answer(id),
        Err(error) => refuse(&error),
    }
}

#[expect(clippy::print_stdout, reason = "this is the program's output")]
fn answer(id: MessageId) -> ExitCode {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(id.unix_ms());
    println!("time      {}", humantime::format_rfc3339_millis(time));
    println!("node      {}", id.node().get());
    println!("sequence  {}", id.sequence());
    ExitCode::SUCCESS
}

fn refuse(error: &InvalidId) -> ExitCode {
    eprintln!("imctl: {error}");
    ExitCode::FAILURE
}
