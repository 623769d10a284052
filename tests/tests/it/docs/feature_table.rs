//! The table of features in `bindings/README.md` names tests that exist.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A column of the table: the folders of its tests, and what precedes the name of a test there.
struct Column {
    language: &'static str,
    folders: &'static [&'static str],
    before_name: &'static [&'static str],
}

/// The columns behind that of the features. Rust's names modules instead of tests.
const COLUMNS: [Column; 5] = [
    Column {
        language: "Kotlin",
        folders: &["bindings/kotlin/src/test", "bindings/kotlin/android/src/test"],
        before_name: &["fun `", "void "],
    },
    Column { language: "Python", folders: &["bindings/python/tests"], before_name: &["def test_"] },
    Column {
        language: "Rust",
        folders: &["tests/tests/it", "im-sdk/tests", "im-sdk/src", "bindings/ffi/src"],
        before_name: &[],
    },
    Column { language: "Swift", folders: &["bindings/swift/Tests"], before_name: &["@Test func "] },
    Column { language: "TypeScript", folders: &["bindings/web/test"], before_name: &["test(\""] },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Returns the rows of the table, without its header, as cells.
fn rows(document: &str) -> Vec<Vec<&str>> {
    let languages = COLUMNS.map(|column| column.language).join(" | ");
    let header = format!("| feature | {languages} |");
    let table = document.lines().skip_while(|line| *line != header).skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// Returns the files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Returns whether a file has a test of this name, or of one that begins with it if it ends in `..`.
fn has_test(file: &Path, column: &Column, name: &str) -> bool {
    // Other files than sources are no text.
    let Ok(text) = fs::read_to_string(file) else { return false };
    let (start, is_whole) = name.strip_suffix("..").map_or((name, true), |start| (start, false));
    column.before_name.iter().any(|before| {
        text.split(before).skip(1).filter_map(|rest| rest.strip_prefix(start)).any(|rest| {
            !is_whole || !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_' || next == ' ')
        })
    })
}

/// Returns whether a module such as `logs::cursors`, or `logs::*` for a folder of them, has tests.
fn has_tests(folder: &Path, module: &str) -> bool {
    let path = folder.join(module.trim_end_matches("::*").replace("::", "/"));
    let sources = if path.is_dir() { files(&path) } else { vec![path.with_extension("rs")] };
    sources.iter().any(|source| {
        let text = fs::read_to_string(source).unwrap_or_default();
        ["#[test]", "#[tokio::test", "everywhere!("].iter().any(|sign| text.contains(sign))
    })
}

/// Asserts that a cell is one of "no", with or without a reason, and what has tests.
fn check(column: &Column, cell: &str) {
    let language = column.language;
    let folders: Vec<PathBuf> = column.folders.iter().map(|folder| root().join(folder)).collect();
    let (mut sources, mut names) = (folders.iter().flat_map(|folder| files(folder)).collect::<Vec<_>>(), 0);
    for (number, part) in cell.split('`').enumerate() {
        if number % 2 == 0 {
            // A file counts up to the next semicolon.
            if part.contains(';') {
                sources = folders.iter().flat_map(|folder| files(folder)).collect();
            }
            continue;
        }
        names += 1;
        if column.before_name.is_empty() {
            assert!(folders.iter().any(|folder| has_tests(folder, part)), "{language}: {part} has no tests");
        } else if part.contains('.') && !part.ends_with("..") {
            sources = folders.iter().flat_map(|folder| files(folder)).collect();
            sources.retain(|file| file.file_name().is_some_and(|name| name == part));
            assert!(!sources.is_empty(), "{language}: there is no file {part}");
        } else {
            let found = sources.iter().any(|file| has_test(file, column, part));
            assert!(found, "{language}: there is no test {part}");
        }
    }
    let is_without = cell == "not tested" || cell.starts_with("no");
    assert!(
        names > 0 || is_without || cell.starts_with("the scenarios"),
        "{language}: {cell:?} names no test"
    );
}

#[test]
fn the_features_of_the_bindings_are_tested_where_the_table_says() {
    let document = fs::read_to_string(root().join("bindings/README.md")).unwrap();
    let rows = rows(&document);
    assert!(rows.len() > 15, "{} rows were found", rows.len());
    for row in rows {
        assert_eq!(row.len(), 1 + COLUMNS.len(), "{row:?}");
        for (column, cell) in COLUMNS.iter().zip(&row[1..]) {
            check(column, cell);
        }
    }
}
