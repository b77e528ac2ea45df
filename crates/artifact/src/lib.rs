//! Run directories, logs and manifests: files that the stages write and the report reads.
//!
//! Stages do not call the report. They write into a [`RunDir`], and the report reads it. So a report can be made again
//! without a GPU, and other programs can read the same files.

mod arrays;
mod comparison;
mod draft;
mod environment;
mod evaluation;
mod kernels;
mod lines;
mod lock;
mod log;
mod metric;
mod rewind;
mod run_dir;
mod settings;
mod visible;
mod whole;
mod writer;

pub use arrays::{read_arrays, write_npz};
pub use comparison::{ComparedData, ComparedRow, ComparedRun, Comparison};
pub use draft::{Draft, is_free};
pub use environment::{Change, Environment, Rewind};
pub use evaluation::{ClassRecord, ClassifierRecord, Evaluation, MetricRecord, RefusedMetric};
pub use fintan_arrays::{Array, ArrayError, ArrayFile, ArrayValues, Element};
pub use lock::{Lock, LockWarning};
pub use log::{Event, EventKind, LogLine, SupervisedLine, number};
pub use metric::{Metric, MetricBasis};
pub use rewind::Undo;
pub use run_dir::{RunDir, RunError};
pub use settings::{FlatSettings, differing_keys, settings_of};
pub use visible::{visible, visible_json};
pub use whole::write_whole;
pub use writer::Writer;
