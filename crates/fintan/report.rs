//! A report of runs as one page of HTML.

use std::path::{Path, PathBuf};

use fintan_artifact::{Comparison, RunDir, write_whole};
use fintan_config::{Architecture, MemoryBound, Subject};
use fintan_report::{LayerRegime, PageError, PlotError, Shown, page};
use fintan_theory::{Regime, regimes};

use crate::error::Error;
use crate::training::subject_of_run;

/// Why no page can be made of runs.
///
/// ```
/// assert_eq!(fintan::ReportError::Repeated("a".into()).to_string(), "`a` is named twice");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A comparison is named together with other runs.
    #[error("`{}` is a comparison; a page with a comparison holds no other runs", .0.display())]
    NotAlone(PathBuf),
    /// A run is named twice.
    #[error("`{}` is named twice", .0.display())]
    Repeated(PathBuf),
    /// A curve cannot be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
}

/// Runs to be shown on one page of HTML, which needs no other file.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let config = folder.path().join("line.toml");
/// # fs_err::write(&config, "
/// #     network = { input = 4, outputs = 1, fc = { widths = [8] } }
/// #     data.teacher.degree = 1
/// #     task.supervised = { goal = 'regression', train = 8, test = 8, steps = 3, optimizer.sgd.rate = 0.1 }
/// # ")?;
/// let run = fintan::train(&config).out(folder.path().join("run")).run()?;
/// let report = fintan::ReportPage::of([run.root()])?;
/// assert_eq!(report.runs(), [run.root()]);
/// report.write(&folder.path().join("report.html"))?;
/// assert!(folder.path().join("report.html").is_file());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ReportPage {
    runs: Vec<PathBuf>,
    comparison: Option<Comparison>,
}

impl ReportPage {
    /// Takes run directories of any kind, or the folder of one comparison.
    ///
    /// # Errors
    /// Fails if a comparison is named with other runs, or cannot be read.
    pub fn of(paths: impl IntoIterator<Item: AsRef<Path>>) -> Result<Self, Error> {
        let paths: Vec<PathBuf> = paths.into_iter().map(|path| path.as_ref().into()).collect();
        match (paths.iter().find(|path| path.join("compare.json").is_file()), paths.len()) {
            (None, _) => Ok(Self { runs: paths, comparison: None }),
            (Some(folder), 1) => Ok(Self::of_comparison(Comparison::read(folder)?, folder)),
            (Some(folder), _) => Err(ReportError::NotAlone(folder.clone()).into()),
        }
    }

    /// Takes the runs of a comparison: those below its folder, and those elsewhere that it names.
    #[must_use]
    pub fn of_comparison(comparison: Comparison, folder: &Path) -> Self {
        let runs = comparison.rows.iter().flat_map(|row| &row.runs);
        let below = |run: &str| if folder.join(run).is_dir() { folder.join(run) } else { PathBuf::from(run) };
        Self { runs: runs.map(|run| below(&run.run)).collect(), comparison: Some(comparison) }
    }

    /// The run directories.
    #[must_use]
    pub fn runs(&self) -> &[PathBuf] {
        &self.runs
    }

    /// Writes the page.
    ///
    /// # Errors
    /// Fails if a folder is no run or is damaged, or if a run is named twice, or with errors of the file system.
    pub fn write(&self, out: &Path) -> Result<(), Error> {
        let mut seen: Vec<PathBuf> = Vec::new();
        let mut shown = Vec::new();
        for root in &self.runs {
            let run = RunDir::open(root)?;
            let real = fs_err::canonicalize(root)?;
            if seen.contains(&real) {
                return Err(ReportError::Repeated(root.clone()).into());
            }
            seen.push(real);
            let layers = match subject_of_run(&run, &[], MemoryBound::none())? {
                Subject::Gan(experiment) => {
                    [layers("generator", &experiment.generator), layers("discriminator", &experiment.discriminator)]
                        .concat()
                }
                Subject::Network(network) => layers("network", &network.network),
            };
            shown.push(Shown { root: root.clone(), layers });
        }
        let html = page(&shown, self.comparison.as_ref()).map_err(|e| match e {
            PageError::Run(e) => Error::Run(e),
            PageError::Plot(e) => ReportError::Plot(e).into(),
        })?;
        Ok(write_whole(out, html.as_bytes())?)
    }
}

/// The linear layers and residual blocks of a network, with their regimes at infinite width.
fn layers(name: &str, network: &Architecture) -> Vec<LayerRegime> {
    let regimes = regimes(network);
    let pieces = network
        .nodes
        .iter()
        .filter(|node| node.fan_in().is_some() || matches!(node.layer, fintan_config::Layer::Residual(_)));
    let layers = pieces.zip(regimes).map(|(node, piece)| LayerRegime {
        network: name.into(),
        layer: node.layer.name().into(),
        r: piece.r,
        regime: piece.r.map(|r| Regime::of(r).word().into()),
        behind_batch_norm: piece.behind_batch_norm,
    });
    layers.collect()
}
