//! Kernels measured during training, in a run directory.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::lines;
use crate::run_dir::{RunDir, RunError, step_name};

impl RunDir {
    /// The measures of kernels during training, one JSON object on each line.
    #[must_use]
    pub fn kernels(&self) -> PathBuf {
        self.root().join("ntk").join("observed.jsonl")
    }

    /// Appends a line to the measures of kernels.
    ///
    /// # Errors
    /// Errors of the file system.
    ///
    /// # Panics
    /// If `line` cannot be written as JSON.
    pub fn append_kernel(&self, line: &impl Serialize) -> Result<(), RunError> {
        lines::append(&self.kernels(), line)
    }

    /// Reads the measures of kernels.
    ///
    /// # Errors
    /// An invalid line before the last line.
    pub fn read_kernels<L: DeserializeOwned>(&self) -> Result<Vec<L>, RunError> {
        Ok(lines::read(self.kernels(), |_| true)?.into_iter().map(|(line, _)| line).collect())
    }

    /// The file with the kernel measured at `step`.
    #[must_use]
    pub fn kernel(&self, step: u64) -> PathBuf {
        self.root().join("ntk").join(format!("observed_{}.npz", step_name(step)))
    }

    /// The files of kernels, and pictures of them, for the steps selected by `wanted`.
    pub(crate) fn files_of_kernels(&self, wanted: impl Fn(u64) -> bool) -> Result<Vec<PathBuf>, RunError> {
        let folder = self.root().join("ntk");
        let mut found = Vec::new();
        if folder.is_dir() {
            for entry in fs_err::read_dir(folder)? {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let number = name.strip_prefix("observed_step_").and_then(|rest| rest.split('.').next());
                if number.and_then(|n| n.parse::<u64>().ok()).is_some_and(&wanted) {
                    found.push(path);
                }
            }
        }
        found.sort();
        Ok(found)
    }
}
