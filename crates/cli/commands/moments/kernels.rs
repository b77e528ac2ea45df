//! Tangent kernels of the networks whose moments are measured.

use std::fmt::Write as _;

use burn::tensor::{DType, Tensor, TensorData};
use fintan_artifact::RunDir;
use fintan_config::NetworkExperiment;
use fintan_moments::summary::Statistics;
use fintan_moments::{Batch, Plan, Pool, Realisation};
use fintan_net::{Mode, Placement};
use fintan_ntk::{Entries, Kernel, Problem, Spectrum};
use fintan_theory::{Limit, Request};
use serde::Serialize;

use super::super::theory::write;
use crate::args::Voice;
use crate::device::Opened;
use crate::failure::Failure;
use crate::voice::tell;

/// Inputs of a kernel, where nothing is said.
const INPUTS: usize = 16;
/// Networks, where nothing is said.
const NETWORKS: usize = 8;

/// Of all depths that were asked for.
pub(super) struct Kernels {
    pub at: Vec<AtDepth>,
}

/// Kernels at one depth, over realisations.
#[derive(Debug, Clone, Serialize)]
pub(super) struct AtDepth {
    pub depth: usize,
    /// Mean of the diagonal.
    pub diagonal: Statistics,
    /// Mean of Θ(x, y) / √(Θ(x, x) Θ(y, y)) over pairs.
    pub scaled: Statistics,
    /// Largest over smallest eigenvalue; the mean is of logarithms.
    pub log10_condition: Statistics,
    /// Of infinite width, over the inputs of the first realisation: diagonal, scaled, log10 of the condition number; none
    /// under batch norm.
    pub limit: Option<[f64; 3]>,
}

/// Kernels between the first inputs of each realisation's batch.
pub(super) fn measure(
    plan: &Plan,
    experiment: &NetworkExperiment,
    done: &[Realisation],
    pool: Option<&Pool>,
    opened: &Opened,
    voice: &Voice,
) -> Result<Option<Kernels>, Failure> {
    let Some(ntk) = &plan.settings().ntk else { return Ok(None) };
    if pool.is_none() && super::needs_pool(plan.settings()) {
        tell!("the data set is not at hand: no tangent kernels");
        return Ok(None);
    }
    let settings = plan.settings();
    let few = if experiment.network.is_batch_coupled() { settings.batch } else { settings.batch.min(INPUTS) };
    let inputs_of_one = ntk.inputs.unwrap_or(few);
    let placement = Placement { dtype: DType::F64, ..opened.placement.clone() };
    let living: Vec<u64> =
        done.iter().filter(|r| r.dead.is_none()).map(|r| r.number).take(ntk.realisations.unwrap_or(NETWORKS)).collect();
    let mut at = Vec::new();
    let progress = crate::progress::Work::new(voice, "kernels", ntk.depths.len() * living.len());
    for &depth in &ntk.depths {
        let limit = Limit::new(&plan.with_readout(depth)).ok();
        let (mut found, mut limits) = (Vec::new(), Vec::new());
        for &number in &living {
            let batch = Batch::draw(plan.settings(), experiment.network.input, experiment.settings.seed, number, pool)?;
            let len = experiment.network.input.len();
            let values = batch.signal[..inputs_of_one * len].to_vec();
            let shape = experiment.network.input;
            let data = TensorData::new(values, [inputs_of_one, shape.height, shape.width, shape.channels]);
            let inputs = Tensor::<4>::from_data(data, (&placement.device, placement.dtype));
            let network = plan.network(number, depth, &placement);
            let problem = Problem::new(network, inputs.clone(), None, Mode::Train, Entries::Full, Vec::new())?.summed();
            let kernel = Kernel::compute(&problem, &fintan_ntk::Plan::new(&problem, None, 1e12)?);
            let (matrix, [n, _]) = kernel.matrix(&kernel.total())?;
            found.push(of(&matrix, n)?);
            // At infinite width only the inputs differ between realisations: one batch will do.
            if let (Some(limit), true) = (&limit, limits.is_empty()) {
                let channels_first: Vec<Vec<f64>> = inputs
                    .permute([0, 3, 1, 2])
                    .into_data()
                    .iter::<f64>()
                    .collect::<Vec<_>>()
                    .chunks(len)
                    .map(<[f64]>::to_vec)
                    .collect();
                let inputs: Vec<&[f64]> = channels_first.iter().map(Vec::as_slice).collect();
                let gram = limit.gram(&inputs, None, &Request::default())?;
                limits.push(of(&gram.iter().map(|kernel| kernel.ntk[0]).collect::<Vec<_>>(), n)?);
            }
            progress.tick(1);
        }
        let statistics = |k: usize| Statistics::of(&found.iter().map(|numbers| numbers[k]).collect::<Vec<_>>());
        let (Some(diagonal), Some(scaled), Some(log10_condition)) = (statistics(0), statistics(1), statistics(2))
        else {
            continue;
        };
        let mean = |k: usize| limits.iter().map(|numbers: &[f64; 3]| numbers[k]).sum::<f64>() / limits.len() as f64;
        let limit = (!limits.is_empty()).then(|| [0, 1, 2].map(mean));
        at.push(AtDepth { depth, diagonal, scaled, log10_condition, limit });
    }
    if at.is_empty() && !voice.quiet {
        tell!("no realisation lived: no kernels");
    }
    Ok(Some(Kernels { at }))
}

/// Mean of the diagonal, mean scaled entry off it, log10 of the condition number.
fn of(matrix: &[f64], n: usize) -> Result<[f64; 3], Failure> {
    let at = |i: usize, j: usize| matrix[i * n + j];
    let diagonal = (0..n).map(|i| at(i, i)).sum::<f64>() / n as f64;
    let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
    let scaled: f64 = pairs.map(|(i, j)| at(i, j) / (at(i, i) * at(j, j)).sqrt()).sum();
    let values = Spectrum::of(matrix, n)?.values;
    let (largest, smallest) = (values[0], values[n - 1]);
    // What lies below rounding is not resolved.
    let condition = largest / smallest.max(largest * f64::EPSILON * n as f64);
    Ok([diagonal, scaled / (n * (n - 1) / 2) as f64, condition.log10()])
}

impl Kernels {
    pub(super) fn write(&self, run: &RunDir) -> Result<(), Failure> {
        let mut text = String::from(
            "depth,n,diagonal,diagonal_std,scaled,scaled_std,log10_condition,log10_condition_std,limit_diagonal,limit_scaled,limit_log10_condition\n",
        );
        for at in &self.at {
            let limit = at.limit.map_or_else(|| ",,".to_owned(), |[a, b, c]| format!("{a},{b},{c}"));
            let of = |s: &Statistics| format!("{},{}", s.mean, s.std);
            let _ = writeln!(
                text,
                "{},{},{},{},{},{limit}",
                at.depth,
                at.diagonal.n,
                of(&at.diagonal),
                of(&at.scaled),
                of(&at.log10_condition)
            );
        }
        write(&run.root().join("ntk.csv"), text.as_bytes())
    }
}
