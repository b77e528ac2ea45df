//! Measured trainings as a comparison, and as a table.

use std::path::Path;

use fintan_artifact::{ComparedData, ComparedRow, ComparedRun, Comparison, Evaluation, differing_keys};
use fintan_metrics::mean_and_spread;

use super::contenders::{Place, Row};
use crate::commands::eval::short;
use crate::voice::answer;

/// Differences of a row that are shown in a terminal.
const SHOWN: usize = 6;

/// A training that was measured, with what tells its data set from others.
pub(super) struct Seen {
    pub(super) row: usize,
    pub(super) run: usize,
    pub(super) data: u64,
    pub(super) evaluation: Evaluation,
}

/// The comparison of everything that was measured, runs in the order of their rows and seeds as they were named.
pub(super) fn comparison(rows: &[Row], mut all: Vec<Seen>, out: &Path) -> Comparison {
    all.sort_by_key(|seen| (seen.row, seen.run));
    let mut metrics: Vec<String> = Vec::new();
    let mut refused: Vec<String> = Vec::new();
    let mut sets: Vec<u64> = Vec::new();
    for Seen { evaluation, data, .. } in &all {
        metrics.extend(evaluation.metrics.iter().map(|record| record.metric.clone()));
        refused.extend(evaluation.refused.iter().map(|r| format!("{}: {}", r.metric, r.reason)));
        sets.push(*data);
    }
    unique(&mut metrics);
    unique(&mut refused);
    unique(&mut sets);
    let values = |evaluation: &Evaluation, of: fn(&fintan_artifact::MetricRecord) -> f64| -> Vec<Option<f64>> {
        metrics.iter().map(|metric| evaluation.metric(metric).map(of)).collect()
    };
    let data =
        sets.iter().filter_map(|set| all.iter().find(|seen| seen.data == *set)).map(|Seen { evaluation, .. }| {
            let source = evaluation.data.clone();
            ComparedData { source, count: evaluation.count, values: values(evaluation, |record| record.data) }
        });
    let data = data.collect();
    let settings: Vec<_> = rows.iter().map(|row| &row.settings).collect();
    let keys = differing_keys(&settings);
    let rows = rows.iter().enumerate().map(|(i, row)| {
        let mine: Vec<&Seen> = all.iter().filter(|seen| seen.row == i).collect();
        let runs: Vec<ComparedRun> = mine
            .iter()
            .map(|seen| {
                let contender = &row.runs[seen.run];
                let run = match &contender.place {
                    Place::Planned { .. } => folder_name(row, contender.seed()),
                    Place::Run(path) => path.strip_prefix(out).unwrap_or(path).display().to_string(),
                };
                let Evaluation { step, .. } = seen.evaluation;
                ComparedRun {
                    run,
                    seed: contender.seed(),
                    step,
                    values: values(&seen.evaluation, |record| record.samples),
                }
            })
            .collect();
        let over_runs = (0..metrics.len()).map(|m| {
            let all: Option<Vec<f64>> = runs.iter().map(|run| run.values[m]).collect();
            all.and_then(|all| mean_and_spread(&all))
        });
        let (mean, spread) = over_runs.map(|found| (found.map(|f| f.0), found.and_then(|f| f.1))).unzip();
        let set = |key: &String| row.settings.get(key).map(|value| format!("{key} = {value}"));
        ComparedRow {
            name: row.name.clone(),
            data: mine.first().map_or(0, |seen| sets.iter().position(|set| *set == seen.data).unwrap_or(0)),
            differences: keys.iter().filter_map(set).collect(),
            mean,
            spread,
            runs,
        }
    });
    let rows = rows.collect();
    Comparison { metrics, data, rows, refused }
}

/// The folder of a run that is trained here.
pub(super) fn folder_name(row: &Row, seed: u64) -> String {
    format!("{}_seed_{seed}", super::contenders::slug(&row.name))
}

/// Keeps the first of each.
fn unique<T: PartialEq + Clone>(all: &mut Vec<T>) {
    let mut found: Vec<T> = Vec::new();
    for one in all.iter() {
        if !found.contains(one) {
            found.push(one.clone());
        }
    }
    *all = found;
}

/// The table on stdout, the data's own row first.
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

/// A deviation with as many decimals as its mean is shown with.
fn rounded_like(mean: f64, spread: f64) -> String {
    let shown = short(mean);
    match shown.split_once('.') {
        Some((_, decimals)) if !shown.contains('e') => format!("{spread:.*}", decimals.len()),
        _ => short(spread),
    }
}
