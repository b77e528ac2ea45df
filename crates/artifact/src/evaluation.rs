//! The evaluations in `metrics.json`: metrics of the samples of a checkpoint, and the same metrics of the data.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::lock::Lock;
use crate::run_dir::{RunDir, RunError};

/// Metrics of one checkpoint.
///
/// `metrics.json` holds them by step under `evaluations`, together with the measures from the end of training:
///
/// ```json
/// { "step": 400, "data": {..}, "samples": {..}, "std_ratio": 0.98, "nyquist_ratio": 2.1,
///   "evaluations": { "400": { "step": 400, "seed": 0, "metrics": [ { "metric": "fid", "data": 0.2, "samples": 26.1, .. } ] } } }
/// ```
///
/// ```
/// let text = r#"{
///     "step": 400, "seed": 0, "data": "shapes", "batch_norm": "none", "device": "flex", "count": 64, "metrics": [
///     { "metric": "std", "data": 0.5, "samples": 0.4, "ratio": 0.8, "count": 64, "of": "images", "source": "pixels" }
/// ] }"#;
/// let evaluation: fintan_artifact::Evaluation = serde_json::from_str(text)?;
/// assert_eq!(evaluation.metric("std").expect("it was measured").ratio, Some(0.8));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// The step of the checkpoint.
    pub step: u64,
    /// Seed of the latents.
    pub seed: u64,
    /// A description of the source of the data.
    pub data: String,
    /// Statistics used by batch norms while samples were generated: `none`, `running` or `batch`.
    pub batch_norm: String,
    /// The device on which samples and features were computed.
    pub device: String,
    /// Number of images in each set: samples, reference and held-out data.
    pub count: usize,
    /// The classifier that computed features and classes, if one was needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classifier: Option<ClassifierRecord>,
    /// The metrics, in the order in which they are shown.
    pub metrics: Vec<MetricRecord>,
    /// The classes of the samples.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassRecord>,
    /// Metrics that were asked for but have no value, with the reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedMetric>,
}

/// One metric.
///
/// ```
/// use fintan_artifact::MetricRecord;
///
/// let text = r#"{"metric":"fid","data":0.5,"samples":26.5,"count":64,"of":"images","source":"classifier"}"#;
/// let record: MetricRecord = serde_json::from_str(text)?;
/// assert_eq!((record.samples, record.ratio), (26.5, None)); // distances are not compared by ratio
/// assert_eq!(serde_json::to_string(&record)?, text);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricRecord {
    /// The [name](crate::Metric::name) of the metric.
    pub metric: String,
    /// The value for the data themselves, which is the floor; distances are between held-out and reference images.
    pub data: f64,
    /// The value for the samples; distances are to the same reference images.
    pub samples: f64,
    /// Value for the samples divided by value for the data, for metrics that are compared by ratio; `None` if the divisor is
    /// 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Number of items from which the value was computed.
    pub count: usize,
    /// The kind of these items: `images`, `pairs` or `patches`.
    pub of: String,
    /// The input of the metric: pixels, or the features of the named network.
    pub source: String,
}

/// A classifier trained on the data.
///
/// ```
/// use fintan_artifact::ClassifierRecord;
///
/// let text = r#"{ "accuracy": 0.75, "tested": 40, "trained": 400, "steps": 200, "features": 64, "classes": 10 }"#;
/// let record: ClassifierRecord = serde_json::from_str(text)?;
/// assert_eq!(record.accuracy * record.tested as f64, 30.0); // images that it classifies correctly
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierRecord {
    /// Fraction of held-out images that it classifies correctly.
    pub accuracy: f64,
    /// Number of held-out images in the accuracy.
    pub tested: usize,
    /// Number of images on which it was trained.
    pub trained: usize,
    /// Number of training steps.
    pub steps: u64,
    /// Number of its features.
    pub features: usize,
    /// Number of its classes.
    pub classes: usize,
}

/// Frequency of a class.
///
/// ```
/// use fintan_artifact::ClassRecord;
///
/// let record = ClassRecord { class: "shoe".into(), data: 0.25, samples: 30 };
/// assert_eq!(serde_json::to_string(&record)?, r#"{"class":"shoe","data":0.25,"samples":30}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassRecord {
    /// Name or label of the class.
    pub class: String,
    /// Fraction of the whole data set with this label.
    pub data: f64,
    /// Number of samples that the classifier assigns to it.
    pub samples: usize,
}

/// A metric without a value.
///
/// ```
/// use fintan_artifact::RefusedMetric;
///
/// let refused = RefusedMetric { metric: "classes".into(), reason: "the data have no labels".into() };
/// let text = serde_json::to_string(&refused)?;
/// assert_eq!(text, r#"{"metric":"classes","reason":"the data have no labels"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedMetric {
    /// Its name.
    pub metric: String,
    /// The reason.
    pub reason: String,
}

impl Evaluation {
    /// The metric with this name.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<&MetricRecord> {
        self.metrics.iter().find(|record| record.metric == name)
    }

    /// Adds the results of an earlier evaluation of the same samples that this evaluation lacks.
    fn complete(&mut self, earlier: Self) {
        let same = |e: &Self| (e.step, e.seed, e.count, e.data.clone(), e.batch_norm.clone(), e.device.clone());
        if same(self) != same(&earlier) {
            return;
        }
        let missing: Vec<MetricRecord> =
            earlier.metrics.into_iter().filter(|record| self.metric(&record.metric).is_none()).collect();
        self.metrics.extend(missing);
        self.classifier = self.classifier.take().or(earlier.classifier);
        if self.classes.is_empty() {
            self.classes = earlier.classes;
        }
    }
}

/// The key of the evaluations in `metrics.json`.
const EVALUATIONS: &str = "evaluations";

impl RunDir {
    /// `metrics.json`
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.root().join("metrics.json")
    }

    /// All stored evaluations by step.
    ///
    /// # Errors
    /// A `metrics.json` that is damaged.
    pub fn evaluations(&self) -> Result<BTreeMap<u64, Evaluation>, RunError> {
        let damaged = |e: serde_json::Error| RunError::Damaged { path: self.metrics(), message: e.to_string() };
        match self.read_metrics()?.remove(EVALUATIONS) {
            Some(found) => serde_json::from_value(found).map_err(damaged),
            None => Ok(BTreeMap::new()),
        }
    }

    /// Writes the measures from the end of training, and keeps the evaluations.
    ///
    /// # Errors
    /// A `metrics.json` that is damaged, and errors of the file system.
    pub fn write_summary(&self, summary: Map<String, Value>) -> Result<(), RunError> {
        let _lock = self.lock_metrics()?;
        let mut whole = summary;
        if let Some(kept) = self.read_metrics()?.remove(EVALUATIONS) {
            whole.insert(EVALUATIONS.into(), kept);
        }
        self.write_metrics(&whole)
    }

    /// Adds an evaluation. It completes an earlier evaluation of the same samples, and replaces any other of the same step.
    ///
    /// # Errors
    /// A `metrics.json` that is damaged, and errors of the file system.
    pub fn add_evaluation(&self, mut evaluation: Evaluation) -> Result<(), RunError> {
        let _lock = self.lock_metrics()?;
        let mut all = self.evaluations()?;
        if let Some(earlier) = all.remove(&evaluation.step) {
            evaluation.complete(earlier);
        }
        all.insert(evaluation.step, evaluation);
        self.put_evaluations(&all)
    }

    /// The step at which training ended; `None` until `metrics.json` has the results of training.
    ///
    /// # Errors
    /// A `metrics.json` that is damaged.
    pub fn summary_step(&self) -> Result<Option<u64>, RunError> {
        Ok(self.read_metrics()?.get("step").and_then(Value::as_u64))
    }

    /// Whether `metrics.json` has measures from after step `to`, or any measures if `to` is `None`.
    pub(crate) fn has_metrics_after(&self, to: Option<u64>) -> Result<bool, RunError> {
        let is_later = |step: u64| to.is_none_or(|to| step > to);
        // Both are read in any case: contents that cannot be reverted later are found before anything is removed.
        let (summary, evaluations) = (self.summary_step()?, self.evaluations()?);
        Ok(summary.is_some_and(is_later) || evaluations.into_keys().any(is_later))
    }

    /// Removes the measures from after a step, or all measures; a resumed run measures again.
    pub(crate) fn rewind_metrics(&self, to: Option<u64>) -> Result<(), RunError> {
        let _lock = self.lock_metrics()?;
        let is_later = |step: u64| to.is_none_or(|to| step > to);
        let mut all = self.evaluations()?;
        all.retain(|&at, _| !is_later(at));
        let mut whole = self.read_metrics()?;
        if self.summary_step()?.is_some_and(is_later) {
            whole.clear();
        }
        if all.is_empty() {
            whole.remove(EVALUATIONS);
        } else {
            let kept = serde_json::to_value(&all).map_err(|e| std::io::Error::other(e.to_string()))?;
            whole.insert(EVALUATIONS.into(), kept);
        }
        match (whole.is_empty(), self.metrics().is_file()) {
            (true, true) => Ok(fs_err::remove_file(self.metrics())?),
            (true, false) => Ok(()),
            (false, _) => self.write_metrics(&whole),
        }
    }

    /// Locks `metrics.json` while it is read and written, because a run can be evaluated during training.
    fn lock_metrics(&self) -> Result<Lock, RunError> {
        Lock::moment(self.root(), ".metrics.lock")
    }

    fn put_evaluations(&self, all: &BTreeMap<u64, Evaluation>) -> Result<(), RunError> {
        let mut whole = self.read_metrics()?;
        let found = serde_json::to_value(all).map_err(|e| std::io::Error::other(e.to_string()))?;
        whole.insert(EVALUATIONS.into(), found);
        self.write_metrics(&whole)
    }

    fn read_metrics(&self) -> Result<Map<String, Value>, RunError> {
        let path = self.metrics();
        if !path.is_file() {
            return Ok(Map::new());
        }
        let text = fs_err::read(&path)?;
        serde_json::from_slice(&text).map_err(|e| RunError::Damaged { path, message: e.to_string() })
    }

    fn write_metrics(&self, whole: &Map<String, Value>) -> Result<(), RunError> {
        let text = serde_json::to_string_pretty(whole).map_err(|e| std::io::Error::other(e.to_string()))?;
        self.write("metrics.json", format!("{text}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::Draft;

    fn evaluation(step: u64, seed: u64, metrics: &[&str]) -> Evaluation {
        let record = |name: &&str| MetricRecord {
            metric: (*name).into(),
            data: 0.5,
            samples: seed as f64,
            ratio: None,
            count: 4,
            of: "images".into(),
            source: "pixels".into(),
        };
        Evaluation {
            step,
            seed,
            data: "shapes".into(),
            batch_norm: "none".into(),
            device: "flex".into(),
            count: 4,
            classifier: None,
            metrics: metrics.iter().map(record).collect(),
            classes: Vec::new(),
            refused: Vec::new(),
        }
    }

    fn names(run: &RunDir, step: u64) -> Vec<String> {
        run.evaluations().expect("read")[&step].metrics.iter().map(|m| m.metric.clone()).collect()
    }

    #[test]
    fn evaluations_are_kept_by_step_beside_the_summary() {
        let parent = tempfile::tempdir().expect("a folder");
        let run = Draft::at(&parent.path().join("a")).expect("begun").publish_run().expect("made");
        assert!(run.evaluations().expect("none").is_empty());
        run.add_evaluation(evaluation(10, 0, &["fid"])).expect("written");
        run.add_evaluation(evaluation(20, 0, &["std"])).expect("written");
        let summary = serde_json::json!({ "step": 20, "std_ratio": 0.5 });
        run.write_summary(summary.as_object().expect("an object").clone()).expect("written");
        run.add_evaluation(evaluation(20, 0, &["fid"])).expect("written");
        assert_eq!((names(&run, 10), names(&run, 20)), (vec!["fid".into()], vec!["fid".into(), "std".into()]));
        // With other latents, earlier results do not apply.
        run.add_evaluation(evaluation(20, 1, &["kid"])).expect("written");
        assert_eq!(names(&run, 20), ["kid"]);
        let text: Value = serde_json::from_slice(&fs_err::read(run.metrics()).expect("read")).expect("JSON");
        assert_eq!(text["std_ratio"], 0.5);
        run.rewind(Some(10)).expect("rewound");
        assert_eq!(run.evaluations().expect("read").into_keys().collect::<Vec<_>>(), [10]);
    }

    #[test]
    fn a_damaged_file_is_named_and_kept() {
        let parent = tempfile::tempdir().expect("a folder");
        let run = Draft::at(&parent.path().join("a")).expect("begun").publish_run().expect("made");
        run.write("metrics.json", b"{ \"evaluations\": { \"10\": 3 } }").expect("written");
        let error = run.add_evaluation(evaluation(10, 0, &["fid"])).expect_err("damaged").to_string();
        assert!(error.contains("metrics.json"), "{error}");
        assert_eq!(fs_err::read(run.metrics()).expect("read"), b"{ \"evaluations\": { \"10\": 3 } }");
    }
}
