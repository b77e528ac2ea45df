//! The kernels of two inputs, each with itself and with the other, propagated through a network together.

use fintan_config::Shape;

use super::signal::Signal;
use super::{LimitError, Request, Step, Walk, enter};
use crate::depth::condition;
use crate::dual::GaussianPair;
use crate::wide::Wide;

/// The kernels of two inputs, averaged over the positions of the output.
///
/// ```
/// # use fintan_config::{Activation, Architecture, Beta, Function, Layer, Parametrization, Scaling, Shape};
/// # let relu = Layer::Activation(Activation::raw(Function::Relu).with_scaling(Scaling::Standardized));
/// # let layers = [Layer::Dense(8.into()), relu, Layer::Dense(1.into())];
/// # let network = Architecture::new(Shape::vector(4), &layers, Parametrization::Ntk(Beta { beta: 0.0 }))?;
/// use fintan_theory::Family;
///
/// // `network` is dense, standardized ReLU, dense, with β = 0. The two inputs are orthogonal.
/// let sweep = Family::of(&network)?.expect("hidden layers").sweep(&[std::f64::consts::FRAC_PI_2], 1)?.expect("inputs");
/// let relation = &sweep.relations[0][0];
/// assert!((relation.own_ntk[0].value() - 2.0).abs() < 1e-9);
/// assert!((relation.scaled() - 0.5 / std::f64::consts::PI).abs() < 1e-9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Relation {
    /// Σ(x, x) and Σ(y, y).
    pub variance: [Wide; 2],
    /// Σ(x, y)
    pub covariance: Wide,
    /// Θ(x, x) and Θ(y, y).
    pub own_ntk: [Wide; 2],
    /// Θ(x, y)
    pub ntk: Wide,
    /// 1 - c of the outputs, with full precision if they are nearly equal.
    pub one_minus_correlation: f64,
    /// Σ(x, x) at each position, up to a power of two.
    pub(crate) by_position: Vec<f64>,
}

impl Relation {
    /// ϑ = Θ(x, y) / √(Θ(x, x) Θ(y, y)), for Θ of any size.
    #[must_use]
    pub fn scaled(&self) -> f64 {
        self.ntk.over(self.own_ntk[0].sqrt() * self.own_ntk[1].sqrt())
    }

    /// Correlation c of the outputs.
    #[must_use]
    pub fn correlation(&self) -> f64 {
        1.0 - self.one_minus_correlation
    }

    /// Condition number of the kernel of n inputs whose pairs all have this relation; infinite if its smallest eigenvalue is
    /// below rounding.
    #[must_use]
    pub fn condition_number(&self, n: usize) -> f64 {
        condition(self.scaled(), n)
    }
}

/// The signals of two inputs at one point of a network.
#[derive(Debug, Clone)]
pub(super) struct Trio {
    own: [Signal; 2],
    cross: Signal,
}

impl Trio {
    /// The signals at the input; `all` selects all pairs of positions instead of each position with itself.
    pub(super) fn enter(input: Shape, [x, y]: [&[f64]; 2], all: bool) -> Result<Self, LimitError> {
        Ok(Self { own: [enter(input, x, x, all)?, enter(input, y, y, all)?], cross: enter(input, x, y, all)? })
    }

    /// `many`: whether there are enough inputs for series.
    pub(super) fn through(self, steps: &[Step], all: bool, many: bool) -> Result<Self, LimitError> {
        let request = Request::default();
        let alone = |signal: Signal| {
            let mut walk = Walk { request: &request, pooled: &Default::default(), many, pools: 0, met: Vec::new() };
            Ok::<_, LimitError>((walk.through(steps, signal, all)?, walk.met))
        };
        let [x, y] = self.own;
        let ((x, behind_x), (y, behind_y)) = (alone(x)?, alone(y)?);
        let pooled = [behind_x, behind_y];
        let mut walk = Walk { request: &request, pooled: &pooled, many, pools: 0, met: Vec::new() };
        Ok(Self { own: [x, y], cross: walk.through(steps, self.cross, all)? })
    }

    pub(super) fn relation(&self) -> Result<Relation, LimitError> {
        let positions = self.cross.positions();
        let mean = |of: &dyn Fn(usize) -> f64| (0..positions).map(of).sum::<f64>() / positions as f64;
        let covariance = |signal: &Signal| signal.product(mean(&|p| signal.covariance.at(p, p)), [0, 1]);
        let ntk = |signal: &Signal| {
            let sum = signal.summed();
            Wide::scaled(mean(&|p| sum.at(p, p)), signal.tangent_scale)
        };
        let [x, y] = &self.own;
        // Computed from the stored values, whose sizes are similar.
        let second = |side: usize| self.cross.second[side].iter().sum::<f64>() / positions as f64;
        let gap = mean(&|p| self.cross.gap.at(p, p));
        let apart = GaussianPair { q1: second(0), q2: second(1), gap }.one_minus_correlation();
        let found = Relation {
            variance: [covariance(x), covariance(y)],
            covariance: covariance(&self.cross),
            own_ntk: [ntk(x), ntk(y)],
            ntk: ntk(&self.cross),
            one_minus_correlation: apart,
            by_position: (0..positions).map(|p| x.covariance.at(p, p)).collect(),
        };
        for (what, value) in [
            ("the variance", found.variance[0] + found.variance[1]),
            ("the covariance", found.covariance),
            ("the tangent kernel", found.own_ntk[0] + found.own_ntk[1] + found.ntk),
        ] {
            if !value.is_finite() {
                return Err(LimitError::NotFinite { what, log10: value.log10() });
            }
        }
        // The output of such a network does not depend on its parameters.
        if !found.own_ntk.iter().all(|own| own.is_positive()) {
            return Err(LimitError::NotFinite { what: "the scaled tangent kernel", log10: f64::NAN });
        }
        Ok(found)
    }
}
