//! The content of `compare.json`: several trainings, compared.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::run_dir::RunError;
use crate::whole::write_whole;

/// Trainings that were measured in the same way.
///
/// ```
/// use fintan_artifact::{ComparedData, Comparison};
///
/// let data = vec![ComparedData { source: "shapes".into(), count: 64, values: vec![Some(0.5)] }];
/// let comparison = Comparison { metrics: vec!["std".into()], data, rows: Vec::new(), refused: Vec::new() };
/// let folder = tempfile::tempdir()?;
/// comparison.write(folder.path())?;
/// let table = fs_err::read_to_string(folder.path().join("compare.csv"))?;
/// assert_eq!(table, "name,seed,step,std\ndata: shapes,,,0.5\n");
/// assert_eq!(Comparison::read(folder.path())?, comparison);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Names of the metrics, in the order in which they are shown.
    pub metrics: Vec<String>,
    /// The data sets of the trainings, measured by their held-out halves.
    pub data: Vec<ComparedData>,
    /// The configurations.
    pub rows: Vec<ComparedRow>,
    /// Metrics that were asked for but have no value, with the reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
}

/// A data set.
///
/// ```
/// use fintan_artifact::ComparedData;
///
/// // The second metric has no value.
/// let data = ComparedData { source: "shapes".into(), count: 64, values: vec![Some(0.5), None] };
/// assert_eq!(serde_json::to_string(&data)?, r#"{"source":"shapes","count":64,"values":[0.5,null]}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparedData {
    /// A description of its source.
    pub source: String,
    /// Number of images in each measured set.
    pub count: usize,
    /// The value of each metric for the data themselves; `None` if it has no value.
    pub values: Vec<Option<f64>>,
}

/// A configuration, trained with one or several seeds.
///
/// ```
/// use fintan_artifact::{ComparedRow, ComparedRun};
///
/// let run = |seed, value| ComparedRun { run: format!("wide-{seed}"), seed, step: 400, values: vec![Some(value)] };
/// let row = ComparedRow {
///     name: "wide".into(),
///     data: 0,
///     differences: vec!["generator.dcgan.width = 128".into()],
///     mean: vec![Some(0.75)],
///     spread: vec![Some(0.5_f64.sqrt() / 2.0)],
///     runs: vec![run(0, 0.5), run(1, 1.0)],
/// };
/// assert_eq!(serde_json::from_str::<ComparedRow>(&serde_json::to_string(&row)?)?, row);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparedRow {
    /// Its name.
    pub name: String,
    /// Its data set: an index into [`Comparison::data`].
    pub data: usize,
    /// Its settings that differ from other configurations, as `key = value`.
    pub differences: Vec<String>,
    /// Mean of each metric over the runs; `None` unless every run has a value.
    pub mean: Vec<Option<f64>>,
    /// Standard deviation over the runs; `None` for a single run.
    pub spread: Vec<Option<f64>>,
    /// Its runs.
    pub runs: Vec<ComparedRun>,
}

/// One training.
///
/// ```
/// use fintan_artifact::ComparedRun;
///
/// let run: ComparedRun = serde_json::from_str(r#"{ "run": "wide-0", "seed": 0, "step": 400, "values": [0.5, null] }"#)?;
/// assert_eq!(run.values, [Some(0.5), None]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparedRun {
    /// The directory of the run, relative to the folder of the comparison if it lies inside.
    pub run: String,
    /// Seed of weights, latents and data order.
    pub seed: u64,
    /// The step that was measured.
    pub step: u64,
    /// The value of each metric; `None` if it has no value.
    pub values: Vec<Option<f64>>,
}

impl Comparison {
    /// Reads `compare.json` of a folder.
    ///
    /// # Errors
    /// A file that is missing or damaged.
    pub fn read(folder: &Path) -> Result<Self, RunError> {
        let path = folder.join("compare.json");
        let bytes = fs_err::read(&path)?;
        serde_json::from_slice(&bytes).map_err(|e| RunError::Damaged { path, message: e.to_string() })
    }

    /// Writes `compare.json` and `compare.csv`, with one line for each data set and each run.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write(&self, folder: &Path) -> Result<(), RunError> {
        let text = serde_json::to_string_pretty(self).map_err(|e| std::io::Error::other(e.to_string()))?;
        write_whole(&folder.join("compare.json"), format!("{text}\n").as_bytes())?;
        write_whole(&folder.join("compare.csv"), self.to_csv().as_bytes())
    }

    fn to_csv(&self) -> String {
        let numbers = |text: &mut String, values: &[Option<f64>]| {
            for value in values {
                let _ = match value {
                    Some(value) => write!(text, ",{value}"),
                    None => write!(text, ","),
                };
            }
            text.push('\n');
        };
        let mut text = format!("name,seed,step,{}\n", self.metrics.join(","));
        for data in &self.data {
            let _ = write!(text, "{},,", quoted(&format!("data: {}", data.source)));
            numbers(&mut text, &data.values);
        }
        for row in &self.rows {
            for run in &row.runs {
                let _ = write!(text, "{},{},{}", quoted(&row.name), run.seed, run.step);
                numbers(&mut text, &run.values);
            }
        }
        text
    }
}

/// The text of a cell in a table with commas as separators.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = ComparedRun { run: "a_seed_0".into(), seed: 0, step: 4, values: vec![Some(0.5), None] };
        let comparison = Comparison {
            metrics: vec!["std".into(), "fid".into()],
            data: vec![ComparedData { source: "shapes".into(), count: 8, values: vec![Some(0.25), Some(1.0)] }],
            rows: vec![ComparedRow {
                name: "a, \"b\"".into(),
                data: 0,
                differences: vec!["train.steps = 4".into()],
                mean: vec![Some(0.5), None],
                spread: vec![None, None],
                runs: vec![run],
            }],
            refused: Vec::new(),
        };
        comparison.write(folder.path()).expect("written");
        assert_eq!(Comparison::read(folder.path()).expect("read"), comparison);
        let csv = fs_err::read_to_string(folder.path().join("compare.csv")).expect("read");
        assert_eq!(csv, "name,seed,step,std,fid\ndata: shapes,,,0.25,1\n\"a, \"\"b\"\"\",0,4,0.5,\n");
        fs_err::write(folder.path().join("compare.json"), "{").expect("spoilt");
        let error = Comparison::read(folder.path()).expect_err("damaged").to_string();
        assert!(error.contains("compare.json` is damaged"), "{error}");
    }
}
