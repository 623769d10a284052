//! Output: reports for people, reports for programs, and progress.

use std::io::{IsTerminal as _, Write as _};

use super::options::Base;
use crate::report::{Report, table};

/// Prints the report of a run. Returns `true` if every delivery was right.
pub(super) fn show(base: &Base, report: &Report) -> Result<bool, String> {
    show_all(base, std::slice::from_ref(report))
}

/// Prints the reports of several runs. Returns `true` if every delivery was right.
pub(super) fn show_all(base: &Base, reports: &[Report]) -> Result<bool, String> {
    if base.json {
        for report in reports {
            print(&to_json(report)?)?;
        }
    } else {
        print(table(reports).trim_end())?;
    }
    Ok(reports.iter().all(Report::is_exact))
}

pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|error| format!("cannot write JSON: {error}"))
}

pub(super) fn print(text: &str) -> Result<(), String> {
    writeln!(std::io::stdout(), "{text}").map_err(|error| format!("cannot print: {error}"))
}

/// Shows the progress of a run in a line on the terminal.
pub(super) fn progress(what: &str) -> impl FnMut(f64) + use<> {
    let what = what.to_owned();
    let terminal = std::io::stderr().is_terminal();
    move |share: f64| {
        if terminal {
            let filled = "#".repeat((share.clamp(0.0, 1.0) * 30.0) as usize);
            let end = if share >= 1.0 { "\r\x1b[K" } else { "" };
            // A closed terminal needs no progress.
            _ = write!(std::io::stderr(), "\r{what} [{filled:30}]{end}");
        }
    }
}
