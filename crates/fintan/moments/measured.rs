//! What was measured of random networks.

use std::path::{Path, PathBuf};

use fintan_config::NetworkExperiment;
use fintan_moments::summary::{Fits, Row, fits, rows};
use fintan_moments::{EarlyStop, Realisation};

use super::{KernelStatistics, MomentsTheory, tables};

/// The realisations of a measurement and their statistics; [`Moments::measure`](crate::Moments::measure) makes it.
///
/// ```
/// let none = fintan::MeasuredMoments::of(Vec::new(), None);
/// assert!(none.rows().is_empty() && none.fits().is_none());
/// ```
#[derive(Debug, Clone)]
pub struct MeasuredMoments {
    pub(super) root: Option<PathBuf>,
    pub(super) realisations: Vec<Realisation>,
    pub(super) rows: Vec<Row>,
    pub(super) fits: Option<Fits>,
    pub(super) theory: MomentsTheory,
    pub(super) kernels: Option<Vec<KernelStatistics>>,
}

impl MeasuredMoments {
    /// Computes statistics over realisations. Fits are computed if the configuration uses a deep preset.
    #[must_use]
    pub fn of(realisations: Vec<Realisation>, experiment: Option<&NetworkExperiment>) -> Self {
        let preset = experiment.and_then(|experiment| experiment.settings.network.deep_preset());
        let rows = rows(&realisations, preset.map(|(unit, _)| unit));
        let fits = preset.map(|(unit, deep)| fits(&realisations, unit, deep.res_depth(unit)));
        Self { root: None, realisations, rows, fits, theory: MomentsTheory::default(), kernels: None }
    }

    /// The realisations, ordered by number.
    #[must_use]
    pub fn realisations(&self) -> &[Realisation] {
        &self.realisations
    }

    /// The statistics over realisations of every quantity at every point.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The statistics of one quantity, such as `log_sensitivity`, at a depth and a point, such as `loc3`.
    #[must_use]
    pub fn row(&self, depth: usize, loc: &str, quantity: &str) -> Option<&Row> {
        self.rows.iter().find(|row| (row.depth, row.loc.as_str(), row.quantity) == (depth, loc, quantity))
    }

    /// The laws fitted to depth, for the presets `vanilla`, `bn_ff` and `bn_res`.
    #[must_use]
    pub fn fits(&self) -> Option<&Fits> {
        self.fits.as_ref()
    }

    /// Predictions of theory for the same networks.
    #[must_use]
    pub fn theory(&self) -> &MomentsTheory {
        &self.theory
    }

    /// Tangent kernels of the networks, one entry for each depth of `moments.ntk`; `None` if no kernels are requested.
    #[must_use]
    pub fn kernels(&self) -> Option<&[KernelStatistics]> {
        self.kernels.as_deref()
    }

    /// The early stops: realisations whose signal or noise became zero or not finite, or whose inputs became equal.
    pub fn deaths(&self) -> impl Iterator<Item = &EarlyStop> {
        self.realisations.iter().filter_map(|realisation| realisation.dead.as_ref())
    }

    /// The fitted laws beside those of theory, as lines of `report.md`.
    #[must_use]
    pub fn headline(&self) -> Vec<String> {
        tables::headline(self)
    }

    /// The run directory, or `None` if nothing was written.
    #[must_use]
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }
}
