//! Markdown tables of runs that were saved as JSON, for RESULTS.md.

use std::path::PathBuf;

use crate::{
    report::{Ratio, Report, Rows},
    scenario::SendReport,
};

/// Formats a table for each file: a row for each number, a column for each run, and the ratios below.
///
/// # Errors
/// Fails if a file cannot be read, or a line in it is neither a run nor a ratio.
pub(crate) fn markdown(files: &[PathBuf]) -> Result<String, String> {
    let mut text = String::new();
    for file in files {
        let read = std::fs::read_to_string(file);
        let read = read.map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let title = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let table = table(&read).map_err(|error| format!("{}: {error}", file.display()))?;
        text += &format!("### {title}\n\n{table}\n");
    }
    Ok(text)
}

fn table(lines: &str) -> Result<String, String> {
    let (mut runs, mut ratios) = (Vec::new(), Vec::new());
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        if let Ok(ratio) = serde_json::from_str::<Ratio>(line) {
            ratios.push(ratio);
            continue;
        }
        runs.push(rows(line).map_err(|error| format!("a line is neither a run nor a ratio: {error}"))?);
    }
    let mut text = crate::report::grid(&runs)
        .iter()
        .enumerate()
        .map(|(number, row)| {
            let rule = if number == 0 { format!("|{}\n", " --- |".repeat(row.len())) } else { String::new() };
            format!("| {} |\n{rule}", row.join(" | "))
        })
        .collect::<String>();
    if !ratios.is_empty() {
        text += "\n";
    }
    for Ratio { ratio, target, to, value } in &ratios {
        text += &format!("- {target} to {to}, {ratio}: {value:.2}\n");
    }
    Ok(text)
}

fn rows(line: &str) -> serde_json::Result<Rows> {
    if let Ok(send) = serde_json::from_str::<SendReport>(line) {
        return Ok(send.rows());
    }
    serde_json::from_str::<Report>(line).map(|report| report.rows())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn runs_become_columns_and_ratios_lines() {
        let run = |target: &str, rate| Report {
            scenario: "unicast".into(),
            target: target.into(),
            delivered_per_s: Some(rate),
            ..Report::default()
        };
        let ratio =
            Ratio { ratio: "delivered_per_s".into(), target: "im".into(), to: "uws".into(), value: 1.256 };
        let lines = [
            serde_json::to_string(&run("im", 1234.0)).unwrap(),
            serde_json::to_string(&run("uws", 10.0)).unwrap(),
            serde_json::to_string(&ratio).unwrap(),
        ];
        let table = table(&lines.join("\n")).unwrap();
        assert!(table.starts_with("| scenario | unicast | unicast |\n| --- | --- | --- |\n"), "{table}");
        assert!(table.contains("| delivered/s | 1,234 | 10 |\n"), "{table}");
        assert!(table.ends_with("- im to uws, delivered_per_s: 1.26\n"), "{table}");
        assert!(super::table("{}").is_err());
        let send = serde_json::to_string(&SendReport::default()).unwrap();
        assert!(super::table(&send).unwrap().contains("| sends/s | 0 |\n"));
    }
}
