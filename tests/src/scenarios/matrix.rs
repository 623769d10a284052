//! The table of results in `bindings/README.md`.

use std::{collections::BTreeSet, fmt::Write as _};

use super::Failure;

/// A Markdown table between two marks: the scenarios that pass in each language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    languages: Vec<String>,
    /// The names of scenarios, with the languages in which they pass.
    rows: Vec<(String, BTreeSet<String>)>,
}

impl Matrix {
    /// Reads the table of a document. A document without one has an empty table.
    pub fn read(document: &str) -> Self {
        let table = split(document).map_or("", |(_, table, _)| table);
        let mut lines = table.lines().filter(|line| line.starts_with('|')).map(cells);
        let languages: Vec<_> = lines.next().unwrap_or_default().into_iter().skip(1).collect();
        let row = |cells: Vec<String>| {
            let mut cells = cells.into_iter();
            let name = cells.next().unwrap_or_default();
            let passing = languages.iter().zip(cells).filter(|(_, cell)| cell == PASSES);
            (name, passing.map(|(language, _)| language.clone()).collect())
        };
        let rows = lines.skip(1).map(row).collect();
        Self { languages, rows }
    }

    /// Sets the results of a language.
    pub fn set(&mut self, language: &str, results: &[(&str, bool)]) {
        if !self.languages.iter().any(|name| name == language) {
            self.languages.push(language.to_owned());
        }
        let old = std::mem::take(&mut self.rows);
        let row = |(name, passes): &(&str, bool)| {
            let mut languages =
                old.iter().find(|(row, _)| row == name).map(|(_, set)| set.clone()).unwrap_or_default();
            languages.remove(language);
            languages.extend(passes.then(|| language.to_owned()));
            ((*name).to_owned(), languages)
        };
        self.rows = results.iter().map(row).collect();
    }

    /// Returns the document with this table.
    ///
    /// # Errors
    /// Returns [`Failure`] if the document has no place for it.
    pub fn write(&self, document: &str) -> Result<String, Failure> {
        let missing = || Failure::new(format!("the document has no lines {BEGIN:?} and {END:?}"));
        let (before, _, after) = split(document).ok_or_else(missing)?;
        let mut table = format!("| scenario | {} |\n|---|", self.languages.join(" | "));
        table.push_str(&":-:|".repeat(self.languages.len()));
        table.push('\n');
        for (name, passing) in &self.rows {
            let cell = |language| if passing.contains(language) { PASSES } else { FAILS };
            let cells: Vec<_> = self.languages.iter().map(cell).collect();
            _ = writeln!(table, "| {name} | {} |", cells.join(" | "));
        }
        Ok(format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
    }
}

fn split(document: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (table, after) = rest.split_once(END)?;
    Some((before, table, after))
}

fn cells(line: &str) -> Vec<String> {
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

const BEGIN: &str = "<!-- scenarios: made by the runner -->";
const END: &str = "<!-- end of scenarios -->";

const PASSES: &str = "yes";
const FAILS: &str = "–";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_set_and_read_again() {
        let document = format!("before\n{BEGIN}\n{END}\nafter\n");
        let mut matrix = Matrix::read(&document);
        matrix.set("Rust", &[("one", true), ("two", false)]);
        matrix.set("Kotlin", &[("one", false), ("two", true), ("three", true)]);
        let written = matrix.write(&document).unwrap();
        assert!(
            written.contains("| scenario | Rust | Kotlin |\n|---|:-:|:-:|\n| one | yes | – |\n"),
            "{written}"
        );
        assert!(written.starts_with("before\n") && written.ends_with("\nafter\n"), "{written}");
        assert_eq!(Matrix::read(&written), matrix);
        assert_eq!(matrix.write(&written).unwrap(), written);
    }

    #[test]
    fn a_document_without_a_place_is_told() {
        assert!(Matrix::read("nothing").write("nothing").is_err());
    }
}
