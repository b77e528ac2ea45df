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

pub use arrays::{read_arrays, write_npz};
pub use comparison::{ComparedData, ComparedRow, ComparedRun, Comparison};
pub use evaluation::{ClassRecord, ClassifierRecord, Evaluation, MetricRecord, RefusedMetric};
pub use fintan_arrays::{Array, ArrayError, ArrayFile, Element, Values};
pub use log::{Event, EventKind, LogLine, SupervisedLine};
pub use run_dir::{RunDir, RunError, write_whole};
pub use settings::{Settings, differing_keys, settings_of};
