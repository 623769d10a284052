//! `im-bench`: a load tool that verifies every delivery, and measures peers with the same client in the same run.

mod audience;
mod capacity;
mod cli;
mod compare;
mod fleet;
mod login;
mod pace;
mod plot;
mod report;
mod scenario;
mod stamp;
mod tables;
mod tally;
mod target;
mod usage;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

/// The server's allocator, which suits a back end with a high rate of sends too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run(cli::Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("im-bench: deliveries were lost, doubled, shuffled or refused; see \"verified\"");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("im-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the name of a choice on the command line.
fn name<T: ValueEnum>(choice: T) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
