//! Tangent kernels of the networks whose moments are measured.

use std::fmt::Write as _;

use burn::tensor::{DType, Tensor, TensorData};
use fintan_config::NetworkExperiment;
use fintan_moments::summary::Statistics;
use fintan_moments::{Batch, MomentsPlan, Pool, Realisation};
use fintan_net::{Mode, Placement};
use fintan_ntk::{Entries, KernelParts, KernelPlan, KernelRequest, Spectrum};
use fintan_theory::{NetworkLimit, Request};

use super::pool::needs_pool;
use super::{MomentsError, MomentsEvent};
use crate::device::Device;
use crate::error::Error;

/// Default number of inputs of a kernel.
const INPUTS: usize = 16;
/// Default number of networks.
const NETWORKS: usize = 8;

/// Statistics of tangent kernels at one depth over random networks. Each network ends with a readout of one output after that
/// depth.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let config = folder.path().join("moments.toml");
/// fs_err::write(&config, "
///     network = { input = 16, vanilla = { depth = 2, width = 8 } }
///     moments = { batch = 4, inputs.iid = {}, ntk = { depths = [2], realisations = 3 } }
/// ")?;
/// let measured = fintan::Moments::of(&config)?.realisations(4).measure()?;
/// let kernel: &fintan::KernelStatistics = &measured.kernels().expect("asked for")[0];
/// assert_eq!((kernel.depth, kernel.diagonal.n), (2, 3));
/// assert!(kernel.scaled.mean < 1.0 && kernel.limit.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct KernelStatistics {
    /// The depth: the readout follows this layer.
    pub depth: usize,
    /// The mean of the diagonal.
    pub diagonal: Statistics,
    /// The mean of Θ(x, y) / √(Θ(x, x) Θ(y, y)) over pairs.
    pub scaled: Statistics,
    /// log10 of the largest eigenvalue over the smallest.
    pub log10_condition: Statistics,
    /// These three numbers at infinite width, over the inputs of the first realisation; `None` for networks with batch norm.
    pub limit: Option<[f64; 3]>,
}

/// Computes the kernels between the first inputs of each realisation's batch. The result is `None` if no kernels are requested,
/// or if the data are not available.
pub(super) fn measure(
    plan: &MomentsPlan,
    experiment: &NetworkExperiment,
    done: &[Realisation],
    pool: Option<&Pool>,
    device: &Device,
    on_event: &mut dyn FnMut(&MomentsEvent),
) -> Result<Option<Vec<KernelStatistics>>, Error> {
    let Some(ntk) = &plan.settings().ntk else { return Ok(None) };
    if pool.is_none() && needs_pool(plan.settings()) {
        on_event(&MomentsEvent::NoDataForKernels);
        return Ok(None);
    }
    let settings = plan.settings();
    let few = if experiment.network.is_batch_coupled() { settings.batch } else { settings.batch.min(INPUTS) };
    let inputs_of_one = ntk.inputs.unwrap_or(few);
    let placement = Placement { dtype: DType::F64, ..device.placement.clone() };
    let living: Vec<u64> =
        done.iter().filter(|r| r.dead.is_none()).map(|r| r.number).take(ntk.realisations.unwrap_or(NETWORKS)).collect();
    let mut at = Vec::new();
    let (mut count, all) = (0, ntk.depths.len() * living.len());
    on_event(&MomentsEvent::Kernels { done: count, all });
    for &depth in &ntk.depths {
        let limit = NetworkLimit::new(&plan.with_readout(depth)).ok();
        let (mut found, mut at_infinite_width) = (Vec::new(), None);
        for &number in &living {
            let batch = Batch::draw(plan.settings(), experiment.network.input, experiment.settings.seed, number, pool)
                .map_err(MomentsError::Draw)?;
            let len = experiment.network.input.len();
            let values = batch.signal[..inputs_of_one * len].to_vec();
            let shape = experiment.network.input;
            let data = TensorData::new(values, [inputs_of_one, shape.height, shape.width, shape.channels]);
            let inputs = Tensor::<4>::from_data(data, (&placement.device, placement.dtype));
            let network = plan.network(number, depth, &placement);
            let problem = KernelRequest::new(network, inputs.clone(), None, Mode::Train, Entries::Full, Vec::new())?
                .without_parts()
                .with_limits(device.limits);
            let kernel = KernelParts::compute(&problem, &KernelPlan::new(&problem, None, 1e12)?);
            let (matrix, [n, _]) = kernel.matrix(&kernel.total())?;
            found.push(of(&matrix, n)?);
            // At infinite width, realisations differ only in their inputs, so one batch is enough.
            if let (Some(limit), true) = (&limit, at_infinite_width.is_none()) {
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
                let values: Vec<f64> = gram.iter().map(|kernel| kernel.ntk[0]).collect();
                at_infinite_width = Some(of(&values, n)?);
            }
            count += 1;
            on_event(&MomentsEvent::Kernels { done: count, all });
        }
        let statistics = |k: usize| Statistics::of(&found.iter().map(|numbers| numbers[k]).collect::<Vec<_>>());
        let (Some(diagonal), Some(scaled), Some(log10_condition)) = (statistics(0), statistics(1), statistics(2))
        else {
            continue;
        };
        at.push(KernelStatistics { depth, diagonal, scaled, log10_condition, limit: at_infinite_width });
    }
    if at.is_empty() {
        on_event(&MomentsEvent::NoLivingNetwork);
    }
    Ok(Some(at))
}

/// The mean of the diagonal, the mean scaled entry outside it, and log10 of the condition number.
fn of(matrix: &[f64], n: usize) -> Result<[f64; 3], Error> {
    let at = |i: usize, j: usize| matrix[i * n + j];
    let diagonal = (0..n).map(|i| at(i, i)).sum::<f64>() / n as f64;
    let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
    let scaled: f64 = pairs.map(|(i, j)| at(i, j) / (at(i, i) * at(j, j)).sqrt()).sum();
    let values = Spectrum::of(matrix, n)?.values;
    let (largest, smallest) = (values[0], values[n - 1]);
    // Eigenvalues below rounding are not resolved.
    let condition = largest / smallest.max(largest * f64::EPSILON * n as f64);
    Ok([diagonal, scaled / (n * (n - 1) / 2) as f64, condition.log10()])
}

/// Writes `ntk.csv`.
pub(super) fn table(kernels: &[KernelStatistics]) -> String {
    let mut text = String::from(
        "depth,n,diagonal,diagonal_std,scaled,scaled_std,log10_condition,log10_condition_std,limit_diagonal,limit_scaled,limit_log10_condition\n",
    );
    for at in kernels {
        let limit = at.limit.map_or_else(|| ",,".to_owned(), |[a, b, c]| format!("{a},{b},{c}"));
        let of = |s: &Statistics| format!("{},{}", s.mean, s.std);
        let KernelStatistics { depth, diagonal, scaled, log10_condition, .. } = at;
        let _ =
            writeln!(text, "{depth},{},{},{},{},{limit}", diagonal.n, of(diagonal), of(scaled), of(log10_condition));
    }
    text
}
