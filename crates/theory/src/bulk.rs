//! A network away from its borders, for inputs that are the same at all positions: one variance, and one slope.
//!
//! Here a layer maps a second moment q, a mean and the distance between two inputs; these are the same at all positions.
//!
//! | layer | q | slope of the covariance |
//! | --- | --- | --- |
//! | linear, with weights of variance w / fan-in and biases of variance b² | `w q + b²` | w |
//! | nonlinearity | `E[σ(√q Z)²]` | `E[σ'(u) σ'(v)]` |
//! | norm | `(q - mean²) / (q - mean² + ε)` | `1 / (q - mean² + ε)` |
//! | residual block | `s² (branch + shortcut)` | `s² (branch + shortcut)` |
//! | frame, pool, up-sampling, reshape | unchanged | 1 |

use fintan_config::{Node, Parametrization, Transform};

use crate::dual::Dual;
use crate::limit::LimitError;
use crate::variances::Variances;
use crate::wide::Wide;

/// The action of a layer on [`Bulk`].
#[derive(Debug, Clone)]
pub(crate) enum Rule {
    Linear { weights: f64, biases: f64 },
    Activation(Dual),
    Norm { eps: f64 },
    Residual { branch: Vec<Rule>, shortcut: Vec<Rule>, scale: f64 },
    Pass,
}

impl Rule {
    pub(crate) fn of(node: &Node, parametrization: Parametrization) -> Self {
        let all = |nodes: &[Node]| nodes.iter().map(|node| Self::of(node, parametrization)).collect();
        match node.transform() {
            Transform::Dense | Transform::Conv(_) | Transform::Deconv(_) => {
                let Variances { weights, biases, .. } = Variances::of(node, parametrization);
                Self::Linear { weights, biases }
            }
            Transform::Pointwise(activation) => Self::Activation(Dual::new(activation)),
            Transform::BatchNorm(norm) => Self::Norm { eps: norm.eps },
            Transform::LayerNorm(norm) => Self::Norm { eps: norm.eps },
            Transform::Residual { scale } => {
                Self::Residual { branch: all(&node.branch), shortcut: all(&node.shortcut), scale }
            }
            Transform::Reshape | Transform::Positions(_) => Self::Pass,
        }
    }

    /// Whether `f(a x) = a f(x)` for a > 0.
    pub(crate) fn is_homogeneous(&self) -> bool {
        match self {
            Self::Linear { biases, .. } => *biases == 0.0,
            Self::Activation(dual) => dual.is_homogeneous(),
            Self::Norm { .. } => false,
            Self::Residual { branch, shortcut, .. } => branch.iter().chain(shortcut).all(Self::is_homogeneous),
            Self::Pass => true,
        }
    }

    /// Whether at least one of its nonlinearities satisfies a condition.
    pub(crate) fn any_activation(&self, of: &impl Fn(&Dual) -> bool) -> bool {
        match self {
            Self::Activation(dual) => of(dual),
            Self::Residual { branch, shortcut, .. } => {
                branch.iter().chain(shortcut).any(|rule| rule.any_activation(of))
            }
            Self::Linear { .. } | Self::Norm { .. } | Self::Pass => false,
        }
    }

    /// The layer with other variances of weights and biases.
    pub(crate) fn with_variances(&self, weights: f64, biases: f64) -> Self {
        let all = |rules: &[Self]| rules.iter().map(|rule| rule.with_variances(weights, biases)).collect();
        match self {
            Self::Linear { .. } => Self::Linear { weights, biases },
            Self::Residual { branch, shortcut, scale } => {
                Self::Residual { branch: all(branch), shortcut: all(shortcut), scale: *scale }
            }
            Self::Activation(_) | Self::Norm { .. } | Self::Pass => self.clone(),
        }
    }

    /// The variances of weights and biases of all linear layers.
    pub(crate) fn variances(&self) -> Vec<(f64, f64)> {
        match self {
            Self::Linear { weights, biases } => vec![(*weights, *biases)],
            Self::Residual { branch, shortcut, .. } => {
                branch.iter().chain(shortcut).flat_map(Self::variances).collect()
            }
            Self::Activation(_) | Self::Norm { .. } | Self::Pass => Vec::new(),
        }
    }
}

/// Two values of one channel, with equal variances.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bulk {
    /// E\[a²\], the same for both values.
    pub(crate) q: Wide,
    /// E\[a\], the same for both values.
    pub(crate) mean: Wide,
    /// ½ E\[(a - a')²\]
    pub(crate) gap: Wide,
    /// Derivative of E\[a a'\] with respect to its value at the start.
    pub(crate) slope: Wide,
    /// Derivatives of the mean and of q with respect to q at the start, if they are needed.
    pub(crate) rates: Option<[Wide; 2]>,
    pub(crate) gaussian: bool,
    /// See [`crate::limit`].
    pub(crate) fresh: bool,
}

impl Bulk {
    /// Two equal Gaussian values of variance q.
    pub(crate) fn of(q: Wide) -> Self {
        Self { q, mean: Wide::ZERO, gap: Wide::ZERO, slope: Wide::new(1.0), rates: None, gaussian: true, fresh: false }
    }

    /// Values with these variances, whose derivatives are counted from here on: the slope is 1, and rates have no part yet.
    pub(crate) fn restarted(self) -> Self {
        Self { slope: Wide::new(1.0), rates: self.rates.map(|_| [Wide::ZERO, Wide::new(1.0)]), ..self }
    }

    pub(crate) fn through(self, rules: &[Rule]) -> Result<Self, LimitError> {
        rules.iter().try_fold(self, Self::step)
    }

    /// # Errors
    /// The limits that [`crate::NetworkLimit`] refuses too: nonlinearities of values that are not Gaussian, sums of dependent
    /// branches, and quadratures that do not converge.
    pub(crate) fn step(self, rule: &Rule) -> Result<Self, LimitError> {
        let refuse = |layer, reason| Err(LimitError::Layer { layer, reason });
        Ok(match rule {
            Rule::Pass => self,
            Rule::Linear { weights, biases } => Self {
                q: self.q * *weights + Wide::new(*biases),
                mean: Wide::ZERO,
                gap: self.gap * *weights,
                slope: self.slope * *weights,
                rates: self.rates.map(|[_, q]| [Wide::ZERO, q * *weights]),
                gaussian: true,
                fresh: true,
            },
            Rule::Activation(_) if !self.gaussian => {
                return refuse("activation", crate::limit::NOT_GAUSSIAN);
            }
            Rule::Activation(dual) => self.activation(dual)?,
            Rule::Norm { eps } => {
                let variance = self.q - self.mean * self.mean;
                let over = variance + Wide::new(*eps);
                let rate = |[mean, q]: [Wide; 2]| [Wide::ZERO, (q - self.mean * mean * 2.0) * *eps / (over * over)];
                Self {
                    q: variance / over,
                    mean: Wide::ZERO,
                    gap: self.gap / over,
                    slope: self.slope / over,
                    rates: self.rates.map(rate),
                    ..self
                }
            }
            Rule::Residual { branch, shortcut, scale } => {
                let entered = Self { fresh: false, ..self };
                let (a, b) = (entered.through(branch)?, entered.through(shortcut)?);
                if !a.fresh && !b.fresh {
                    return refuse("residual", crate::limit::DEPENDENT);
                }
                let square = Wide::new(*scale) * *scale;
                Self {
                    q: (a.q + b.q) * square,
                    mean: (a.mean + b.mean) * *scale,
                    gap: (a.gap + b.gap) * square,
                    slope: (a.slope + b.slope) * square,
                    rates: a.rates.zip(b.rates).map(|(a, b)| [(a[0] + b[0]) * *scale, (a[1] + b[1]) * square]),
                    gaussian: a.gaussian && b.gaussian,
                    fresh: false,
                }
            }
        })
    }

    fn activation(self, dual: &Dual) -> Result<Self, LimitError> {
        let moments = dual.wide_moments(self.q);
        let [gap, slope] =
            if self.gap.is_zero() { [Wide::ZERO, moments.slope] } else { dual.wide_gap(self.q, self.gap)? };
        let rates = self.rates.map(|[_, q]| dual.rates(self.q).map(|rate| rate * q));
        Ok(Self {
            q: moments.second,
            mean: moments.mean,
            gap,
            slope: self.slope * slope,
            rates,
            gaussian: false,
            fresh: false,
        })
    }
}
