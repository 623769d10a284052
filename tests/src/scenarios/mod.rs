//! Scenarios of `bindings/scenarios`, carried out by drivers in any language against a real deployment.

mod application;
mod deployment;
mod driver;
mod matrix;
mod runner;
mod rust_driver;
mod script;

use std::{fmt, fs, path::Path};

pub use self::{
    matrix::Matrix,
    runner::run,
    rust_driver::serve_rust_driver,
    script::{Scenario, Step},
};

/// The reason why a scenario failed.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// Adds the step during which it happened.
    fn during(self, what: &str) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Reads the scenarios of a folder, in the order of their files' names.
///
/// # Errors
/// Returns [`Failure`] with the file that cannot be read or is not a scenario.
pub fn read_scenarios(folder: &Path) -> Result<Vec<Scenario>, Failure> {
    let failure = |path: &Path, error: &dyn fmt::Display| Failure(format!("{}: {error}", path.display()));
    let entries = fs::read_dir(folder).map_err(|error| failure(folder, &error))?;
    let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: &Path| {
        let text = fs::read_to_string(path).map_err(|error| failure(path, &error))?;
        serde_json::from_str(&text).map_err(|error| failure(path, &error))
    };
    paths.iter().map(|path| read(path)).collect()
}
