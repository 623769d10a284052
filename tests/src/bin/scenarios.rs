//! Runs the scenarios of `bindings/scenarios` with drivers in some language, or is the driver in Rust.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a failed step of a test is a panic, and results are printed"
)]

use std::{fs, path::PathBuf, process::ExitCode};

use im_tests::scenarios::{Failure, Matrix, read_scenarios, run, serve_rust_driver};

const USAGE: &str = "\
usage: scenarios run --language NAME --driver COMMAND [--update] [SCENARIO]...
       scenarios driver";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((first, [])) if first == "driver" => {
            serve_rust_driver().await.map(|()| true).map_err(|error| error.to_string())
        }
        Some((first, rest)) if first == "run" => match Options::parse(rest) {
            Some(options) => run_all(&options).await.map_err(|error| error.to_string()),
            None => Err(USAGE.to_owned()),
        },
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Options {
    language: String,
    driver: String,
    update: bool,
    /// The scenarios to run; empty for all.
    names: Vec<String>,
}

impl Options {
    fn parse(arguments: &[String]) -> Option<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--language" => options.language.clone_from(arguments.next()?),
                "--driver" => options.driver.clone_from(arguments.next()?),
                "--update" => options.update = true,
                option if option.starts_with("--") => return None,
                name => options.names.push(name.to_owned()),
            }
        }
        (!options.language.is_empty() && !options.driver.is_empty()).then_some(options)
    }
}

/// Runs all of them, and updates the table. Returns `true` if all passed and the table says so.
async fn run_all(options: &Options) -> Result<bool, Failure> {
    let bindings = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../bindings"));
    let scenarios = read_scenarios(&bindings.join("scenarios"))?;
    let wanted = |name: &String| options.names.is_empty() || options.names.contains(name);
    let mut results = Vec::new();
    for scenario in scenarios.iter().filter(|scenario| wanted(&scenario.name)) {
        let outcome = run(scenario, &options.driver).await;
        match &outcome {
            Ok(()) => println!("ok      {}", scenario.name),
            Err(error) => println!("FAILED  {}\n        {error}", scenario.name),
        }
        results.push((scenario.name.as_str(), outcome.is_ok()));
    }
    let passed = results.iter().filter(|(_, passed)| *passed).count();
    println!("{passed} passed, {} failed", results.len() - passed);
    if !options.names.is_empty() {
        return Ok(passed == results.len() && passed > 0);
    }
    Ok(is_table_right(options, &bindings.join("README.md"), &results) && passed == results.len())
}

fn is_table_right(options: &Options, path: &std::path::Path, results: &[(&str, bool)]) -> bool {
    let document = fs::read_to_string(path).expect("the table");
    let mut matrix = Matrix::read(&document);
    matrix.set(&options.language, results);
    let right = matrix.write(&document).expect("a place for the table");
    if right == document {
        return true;
    }
    if options.update {
        fs::write(path, right).expect("the table");
        return true;
    }
    eprintln!("the table in {} says something else: run this with --update", path.display());
    false
}
