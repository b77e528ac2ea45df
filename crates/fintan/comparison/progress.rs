//! A comparison in the making: its data sets, its runs, and what was measured of them.

use std::collections::BTreeMap;
use std::path::Path;

use fintan_artifact::{Comparison, Evaluation, Lock, LockWarning, RunDir};
use fintan_config::{DataSource, Image};
use fintan_data::Images;

use super::table::{Measured, table};
use super::{ComparisonPlan, Contender};
use crate::error::Error;

/// The data sets of a comparison; [`ComparisonPlan::load`] loads them.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let config = folder.path().join("tiny.toml");
/// # fs_err::write(&config, "
/// #     image = { size = 16, channels = 1 }
/// #     data.shapes.count = 32
/// #     generator = { latent = 4, dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
/// #     discriminator = { dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
/// #     train = { steps = 1, batch = 4 }
/// # ")?;
/// let plan = fintan::compare([&config]).seeds([0, 1]).out(folder.path().join("out")).plan()?;
/// let mut loaded = 0;
/// let data = plan.load(|experiment| {
///     loaded += 1;
///     fintan_data::Images::load(&experiment.settings.data, &experiment.settings.image, None)
/// })?;
/// assert!(plan.contenders().all(|contender| data.of(contender).len() == 32));
/// assert_eq!(loaded, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ComparedImages {
    pub(super) all: Vec<((DataSource, Image), Images)>,
}

impl ComparedImages {
    pub(super) fn find(&self, contender: &Contender) -> Option<&Images> {
        let settings = &contender.experiment.settings;
        let found = self.all.iter().find(|((data, image), _)| (data, image) == (&settings.data, &settings.image));
        found.map(|(_, images)| images)
    }

    /// The images of the data set of a training.
    ///
    /// # Panics
    /// Panics if the training belongs to another comparison.
    #[must_use]
    pub fn of(&self, contender: &Contender) -> &Images {
        self.find(contender).expect("every data set of the comparison was loaded")
    }
}

/// A comparison in progress, whose folder and runs are locked by this process; [`ComparisonPlan::begin`] makes it.
///
/// The example at [`compare`](crate::compare) shows a whole comparison. A comparison without results is empty:
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let config = folder.path().join("tiny.toml");
/// # fs_err::write(&config, "
/// #     image = { size = 16, channels = 1 }
/// #     data.shapes.count = 32
/// #     generator = { latent = 4, dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
/// #     discriminator = { dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
/// #     train = { steps = 1, batch = 4 }
/// # ")?;
/// let plan = fintan::compare([&config]).seeds([0, 1]).out(folder.path().join("out")).plan()?;
/// let progress = plan.begin()?;
/// assert_eq!(progress.comparison().rows[0].runs.len(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ComparisonProgress<'a> {
    pub(super) plan: &'a ComparisonPlan,
    pub(super) lock: Lock,
    /// The existing runs in the folder, by row and index in the row. They are locked by this process.
    pub(super) runs: BTreeMap<(usize, usize), RunDir>,
    pub(super) measured: Vec<Measured>,
}

impl ComparisonProgress<'_> {
    /// Warnings that the lock of the folder or of a run may not be reliable.
    pub fn lock_warnings(&self) -> impl Iterator<Item = &LockWarning> {
        self.lock.warning().into_iter().chain(self.runs.values().filter_map(RunDir::lock_warning))
    }

    /// Trains a contender to its last step with `train(config, found)`, which returns the run. Its arguments are the
    /// configuration file and the existing run, if there is one. A run that the user named is not changed.
    ///
    /// # Errors
    /// The errors of `train`.
    pub fn complete<E>(
        &mut self,
        contender: &Contender,
        train: impl FnOnce(&Path, Option<RunDir>) -> Result<RunDir, E>,
    ) -> Result<(), E> {
        if let Some(config) = &contender.config {
            let place = (contender.row, contender.run);
            let run = train(config, self.runs.remove(&place))?;
            self.runs.insert(place, run);
        }
        Ok(())
    }

    /// Adds the evaluation of a training, measured against these images.
    pub fn add(&mut self, contender: &Contender, images: &Images, evaluation: Evaluation) {
        let (row, run, data) = (contender.row, contender.run, images.fingerprint());
        self.measured.push(Measured { row, run, data, evaluation });
    }

    /// The table of all evaluations so far. Runs are in the order of their rows and seeds.
    #[must_use]
    pub fn comparison(&self) -> Comparison {
        table(&self.plan.rows, &self.measured, &self.plan.out)
    }

    /// Writes the table to the folder, as `compare.json` and `compare.csv`.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write(&self) -> Result<Comparison, Error> {
        let comparison = self.comparison();
        comparison.write(&self.plan.out)?;
        Ok(comparison)
    }
}
