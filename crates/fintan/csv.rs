//! Tables of numbers as CSV.

use std::fmt::Write as _;

/// A table of numbers with a header line, as CSV.
pub(crate) fn numbers(head: &str, rows: impl Iterator<Item = Vec<f64>>) -> String {
    cells(head, rows.map(|row| row.iter().map(f64::to_string).collect()))
}

/// A table of strings with a header line, as CSV.
pub(crate) fn cells(head: &str, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = format!("{head}\n");
    for row in rows {
        let _ = writeln!(text, "{}", row.join(","));
    }
    text
}
