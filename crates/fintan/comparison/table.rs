//! The table of evaluated trainings.

use std::path::Path;

use fintan_artifact::{ComparedData, ComparedRow, ComparedRun, Comparison, Evaluation, MetricRecord, differing_keys};
use fintan_metrics::mean_and_spread;

use super::ContenderRow;

/// The evaluation of a training, with the fingerprint of its data set.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) row: usize,
    pub(super) run: usize,
    pub(super) data: u64,
    pub(super) evaluation: Evaluation,
}

/// Makes the table of all evaluations. Runs are in the order of their rows, and of the seeds as they were given.
pub(super) fn table(rows: &[ContenderRow], measured: &[Measured], out: &Path) -> Comparison {
    let mut all: Vec<&Measured> = measured.iter().collect();
    all.sort_by_key(|measured| (measured.row, measured.run));
    let mut metrics: Vec<String> = Vec::new();
    let mut refused: Vec<String> = Vec::new();
    let mut sets: Vec<u64> = Vec::new();
    for Measured { evaluation, data, .. } in &all {
        metrics.extend(evaluation.metrics.iter().map(|record| record.metric.clone()));
        refused.extend(evaluation.refused.iter().map(|r| format!("{}: {}", r.metric, r.reason)));
        sets.push(*data);
    }
    unique(&mut metrics);
    unique(&mut refused);
    unique(&mut sets);
    let values = |evaluation: &Evaluation, of: fn(&MetricRecord) -> f64| -> Vec<Option<f64>> {
        metrics.iter().map(|metric| evaluation.metric(metric).map(of)).collect()
    };
    let data = sets.iter().filter_map(|set| all.iter().find(|found| found.data == *set)).map(
        |Measured { evaluation, .. }| {
            let source = evaluation.data.clone();
            ComparedData { source, count: evaluation.count, values: values(evaluation, |record| record.data) }
        },
    );
    let data = data.collect();
    let settings: Vec<_> = rows.iter().map(|row| &row.settings).collect();
    let keys = differing_keys(&settings);
    let rows = rows.iter().enumerate().map(|(i, row)| {
        let mine: Vec<&Measured> = all.iter().filter(|measured| measured.row == i).copied().collect();
        let runs: Vec<ComparedRun> = mine
            .iter()
            .map(|Measured { run, evaluation, .. }| {
                let contender = &row.runs[*run];
                let root = contender.root();
                ComparedRun {
                    run: root.strip_prefix(out).unwrap_or(root).display().to_string(),
                    seed: contender.seed(),
                    step: evaluation.step,
                    values: values(evaluation, |record| record.samples),
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
            data: mine.first().and_then(|first| sets.iter().position(|set| *set == first.data)).unwrap_or(0),
            differences: keys.iter().filter_map(set).collect(),
            mean,
            spread,
            runs,
        }
    });
    let rows = rows.collect();
    Comparison { metrics, data, rows, refused }
}

/// Removes duplicates and keeps the first of equal entries.
fn unique<T: PartialEq + Clone>(all: &mut Vec<T>) {
    let mut found: Vec<T> = Vec::new();
    for one in all.iter() {
        if !found.contains(one) {
            found.push(one.clone());
        }
    }
    *all = found;
}
