//! Prints a comparison as a table.

use fintan_artifact::Comparison;

use crate::voice::answer;
use crate::words::short;

/// Largest number of a row's differences that are shown in a terminal.
const SHOWN: usize = 6;

/// Prints the table on stdout, with the data in the first row.
pub(super) fn answer_table(comparison: &Comparison) {
    let Comparison { metrics, data, rows, refused: _ } = comparison;
    let several = data.len() > 1;
    let cell = |value: &Option<f64>| value.map_or_else(|| "-".to_owned(), short);
    let mut lines = vec![[vec![String::new()], metrics.clone()].concat()];
    for (i, set) in data.iter().enumerate() {
        let name = if several { format!("data {}", i + 1) } else { "data".to_owned() };
        lines.push([vec![name], set.values.iter().map(cell).collect()].concat());
        for row in rows.iter().filter(|row| row.data == i) {
            let cells = row.mean.iter().zip(&row.spread).map(|(mean, spread)| match spread {
                Some(spread) => format!("{} ± {}", cell(mean), rounded_like(mean.unwrap_or_default(), *spread)),
                None => cell(mean),
            });
            lines.push([vec![row.name.clone()], cells.collect()].concat());
        }
    }
    let widths: Vec<usize> =
        (0..=metrics.len()).map(|i| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0)).collect();
    for line in &lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(i, (cell, &width))| if i == 0 { format!("{cell:width$}") } else { format!("{cell:>width$}") })
            .collect();
        answer!("{}", cells.join("  ").trim_end());
    }
    answer!();
    for row in rows {
        let seeds: Vec<String> = row.runs.iter().map(|run| run.seed.to_string()).collect();
        let word = if seeds.len() == 1 { "seed" } else { "seeds" };
        answer!("{}: {word} {}", row.name, seeds.join(", "));
        for difference in row.differences.iter().take(SHOWN) {
            answer!("  {difference}");
        }
        if row.differences.len() > SHOWN {
            answer!("  and {} more", row.differences.len() - SHOWN);
        }
    }
}

/// A standard deviation with as many decimals as its mean.
fn rounded_like(mean: f64, spread: f64) -> String {
    let shown = short(mean);
    match shown.split_once('.') {
        Some((_, decimals)) if !shown.contains('e') => format!("{spread:.*}", decimals.len()),
        _ => short(spread),
    }
}
