//! Runs the scenarios of all languages with the Rust driver.

use std::path::Path;

use im_tests::{
    binary,
    scenarios::{read_scenarios, run},
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../bindings/scenarios");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_passes_in_rust() {
    let driver = format!("{} driver", binary("scenarios").display());
    let table = std::fs::read_to_string(Path::new(FOLDER).join("../README.md")).unwrap();
    let scenarios = read_scenarios(Path::new(FOLDER)).unwrap();
    assert!(!scenarios.is_empty());
    for scenario in scenarios {
        run(&scenario, &driver).await.unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
        let row = table.lines().find(|line| line.starts_with(&format!("| {} |", scenario.name)));
        assert!(row.is_some(), "bindings/README.md has no row for {:?}", scenario.name);
    }
}
