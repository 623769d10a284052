//! Vectors for clients in other languages: random worlds, with every input of the core and its outputs.
//!
//! Each client replays the inputs through its own core, and must get the same outputs. Values that differ between languages by their nature
//! are left out: texts of errors, the numbers and the sealed origins of sends (local ids take their place), and the age of marks.

mod recorder;
mod views;
mod world;

use std::{fs, path::Path};

use self::{recorder::Recorder, views::Views, world::World};
use super::*;

/// The number of worlds, followed by the least number of steps of each.
const WORLDS: u64 = 12;
const STEPS: u32 = 160;

const LOGS: u64 = 8;
const ENTRIES: u32 = 150;

/// The largest size of a file.
const MAX_BYTES: usize = 900_000;

#[test]
fn clients_in_other_languages_have_the_vectors_of_this_core() {
    check("core.json", (1..=WORLDS).map(|seed| World::new(seed).run(STEPS)));
}

#[test]
fn clients_in_other_languages_have_the_vectors_of_these_views() {
    check("views.json", (1..=LOGS).map(|seed| Views::new(seed).run(ENTRIES)));
}

/// Compares vectors with those that are committed, or writes them.
fn check(file: &str, vectors: impl Iterator<Item = Vec<String>>) {
    // Each step has its own line, so that a review shows changes.
    let vectors: Vec<String> = vectors.map(|steps| format!("[\n{}\n]", steps.join(",\n"))).collect();
    let text = format!("[{}]\n", vectors.join(","));
    assert!(text.len() <= MAX_BYTES, "{} bytes are too many: take fewer steps", text.len());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bindings/conformance").join(file);
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    let same = committed.lines().zip(text.lines()).take_while(|(committed, made)| committed == made).count();
    assert!(
        committed == text,
        "the SDK does something else than {} says from line {} on. If that is meant, run \
         `UPDATE_VECTORS=1 cargo test -p im-sdk --all-features --lib vectors`, and mend the other clients until their tests pass",
        path.display(),
        same + 1,
    );
}
