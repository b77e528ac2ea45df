//! What a stage writes and a report reads: run directories, curves, manifests.
//!
//! Stages do not call the report. They write into a [`RunDir`], and the report reads it: so reports are made again
//! without a GPU, and any program reads the same files.

mod arrays;
mod comparison;
mod evaluation;
mod kernels;
mod lines;
mod log;
mod run_dir;
mod settings;
mod visible;

pub use arrays::{Array, Values, read_arrays, write_npz};
pub use comparison::{ComparedData, ComparedRow, ComparedRun, Comparison};
pub use evaluation::{ClassRecord, ClassifierRecord, Evaluation, MetricRecord, RefusedMetric};
pub use log::{Event, EventKind, LogLine, SupervisedLine};
pub use run_dir::{RunDir, RunError, write_whole};
pub use settings::{Settings, differing_keys, settings_of};
pub use visible::{visible, visible_json};
