//! Where a generator comes from: a checkpoint of a run, or an exported folder.

use std::path::Path;

use fintan_artifact::RunDir;
use fintan_config::{Held, Subject};
use fintan_net::Network;
use fintan_train::read_sampler;

use crate::args::BatchNormMode;
use crate::commands::export::{is_export, read_export};
use crate::commands::settings_of_run::subject_of_run;
use crate::device::Opened;
use crate::failure::Failure;

/// A generator and what to call its samples.
pub(crate) struct Source {
    pub(crate) generator: Network,
    /// The step of its checkpoint; an export does not say.
    pub(crate) step: Option<u64>,
    /// The seed its grids are drawn with.
    pub(crate) seed: u64,
}

impl Source {
    pub(crate) fn open(path: &Path, step: Option<u64>, opened: &Opened) -> Result<Self, Failure> {
        if is_export(path) {
            if step.is_some() {
                return Err(Failure::input("--step belongs to a run; an exported folder holds one generator"));
            }
            let generator = read_export(&path.join("generator.safetensors"), &opened.placement)?;
            return Ok(Self { generator, step: None, seed: 0 });
        }
        let run = RunDir::open(path)?;
        let Subject::Gan(experiment) = subject_of_run(&run, &[], opened.bound(Held::Parameters))? else {
            let name = path.display();
            return Err(Failure::input(format!("`{name}` is a run of a network with a task; only GANs draw samples")));
        };
        let step = run.find_checkpoint(step)?;
        let generator = read_sampler(&run.checkpoint(step), &experiment, &opened.placement)?;
        Ok(Self { generator, step: Some(step), seed: experiment.settings.seed })
    }

    /// What statistics its batch norms take, in a word.
    pub(crate) fn batch_norm(&self, mode: BatchNormMode) -> &'static str {
        match (self.generator.architecture().is_batch_coupled(), mode) {
            (false, _) => "none",
            (true, BatchNormMode::Running) => "running",
            (true, BatchNormMode::Batch) => "batch",
        }
    }
}
