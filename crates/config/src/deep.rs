//! Deep networks that repeat one unit, for measuring moments through depth (Labatie, ICML 2019, arXiv 1811.03087).

use serde::{Deserialize, Serialize};

use crate::architecture::ArchitectureError;
use crate::function::Function;
use crate::layers::batch_norm::norm_momentum;
use crate::layers::{BatchNorm, Convolution, Layer, Pad, PadMode, Residual};
use crate::nonlinearity::Activation;
use crate::parametrization::{Init, Parametrization};
use crate::shape::{Pair, Shape};

/// The unit that is repeated.
///
/// ```
/// use fintan_config::{Deep, Unit};
///
/// let deep: Deep = toml::from_str("depth = 3\nwidth = 8")?;
/// assert_eq!([Unit::BnFf, Unit::BnRes].map(|unit| deep.res_depth(unit)), [1, 2]);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Weights, nonlinearity.
    Vanilla,
    /// Weights, batch norm, nonlinearity.
    BnFf,
    /// A residual block of `res_depth` times batch norm, nonlinearity, weights.
    BnRes,
}

/// A linear embedding of the input into `width` channels, followed by `depth` units.
///
/// `parametrization` determines how weights are drawn (He by default). Under the `standard` parametrization the embedding's
/// weights are drawn from N(0, 1 / fan_in). Batch norms are not affine.
///
/// ```
/// use fintan_config::{Architecture, Deep, Parametrization, Shape, Unit};
///
/// let deep: Deep = toml::from_str("depth = 3\nwidth = 8")?;
/// let (input, parametrization) = (Shape::vector(4), Parametrization::default());
/// let network = Architecture::new(input, &deep.layers(Unit::Vanilla, input, parametrization)?, parametrization)?;
/// // An embedding, and 3 units of weights and nonlinearity.
/// assert_eq!((network.nodes.len(), network.output()), (1 + 3 * 2, Shape::vector(8)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deep {
    /// Number of units.
    pub depth: usize,
    /// Channels, the same everywhere.
    pub width: usize,
    /// Kernel size of all convolutions; for vectors 1, which means fully connected.
    #[serde(default = "one")]
    pub kernel: usize,
    /// The frame around maps: above and to the left only if `periodic`, centred if `symmetric`, `same` padding if `zero`.
    #[serde(default = "periodic")]
    pub padding: PadMode,
    /// Stride of the embedding; by default 2 for maps, 1 for vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embed_stride: Option<usize>,
    /// The nonlinearity.
    #[serde(default = "relu")]
    pub activation: Activation,
    /// Number added to the variance in batch norms; by default 0.001.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eps: Option<f64>,
    /// Number of weight layers in a unit of `bn_res`; by default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub res_depth: Option<usize>,
}

fn one() -> usize {
    1
}
fn periodic() -> PadMode {
    PadMode::Periodic
}
fn relu() -> Activation {
    Activation::raw(Function::Relu)
}

impl Deep {
    /// Number of weight layers in a unit.
    #[must_use]
    pub fn res_depth(&self, unit: Unit) -> usize {
        if unit == Unit::BnRes { self.res_depth.unwrap_or(2) } else { 1 }
    }

    /// The explicit list of layers.
    ///
    /// # Errors
    /// Settings that are out of range or belong to another unit; the key is relative to the preset.
    pub fn layers(
        &self,
        unit: Unit,
        input: Shape,
        parametrization: Parametrization,
    ) -> Result<Vec<Layer>, ArchitectureError> {
        self.check(unit, input)?;
        let embedding = matches!(parametrization, Parametrization::Standard(_)).then_some(Init::Lecun);
        let stride = self.embed_stride(input);
        let mut layers = self.weights(input, stride, embedding);
        let map =
            Shape { channels: self.width, height: input.height.div_ceil(stride), width: input.width.div_ceil(stride) };
        let activation = Layer::Activation(self.activation);
        let eps = self.eps.unwrap_or(1e-3);
        let norm = Layer::BatchNorm(BatchNorm { affine: false, eps, momentum: norm_momentum() });
        let weights = self.weights(map, 1, None);
        let unit: Vec<Layer> = match unit {
            Unit::Vanilla => [weights, vec![activation]].concat(),
            Unit::BnFf => [weights, vec![norm, activation]].concat(),
            Unit::BnRes => {
                let once = [vec![norm, activation], weights].concat();
                let layers = vec![once; self.res_depth(unit)].concat();
                vec![Layer::Residual(Residual { layers, shortcut: Vec::new(), scale: 1.0 })]
            }
        };
        layers.extend(vec![unit; self.depth].concat());
        Ok(layers)
    }

    /// Stride of the embedding.
    #[must_use]
    pub fn embed_stride(&self, input: Shape) -> usize {
        self.embed_stride.unwrap_or(if input.is_vector() { 1 } else { 2 })
    }

    /// A linear layer whose output size is the input size divided by `stride`.
    fn weights(&self, map: Shape, stride: usize, init: Option<Init>) -> Vec<Layer> {
        let (out, k) = (self.width, self.kernel);
        if map.is_vector() && k == 1 {
            return vec![Layer::Dense(crate::layers::Dense { out, init })];
        }
        let frame = [map.height, map.width].map(|len| match self.padding {
            PadMode::Periodic => [k - 1, 0],
            PadMode::Symmetric => [(k - 1) / 2; 2],
            PadMode::Zero => {
                let all = ((len.div_ceil(stride) - 1) * stride + k).saturating_sub(len);
                [all / 2, all - all / 2]
            }
        });
        let [before, after] = [0, 1].map(|side| Pair(frame.map(|ends| ends[side])));
        let convolution = Convolution {
            out,
            kernel: k.into(),
            stride: stride.into(),
            padding: 0.into(),
            output_padding: 0.into(),
            init,
        };
        let pad =
            (before != 0.into() || after != 0.into()).then_some(Layer::Pad(Pad { before, after, mode: self.padding }));
        pad.into_iter().chain([Layer::Conv(convolution)]).collect()
    }

    fn check(&self, unit: Unit, input: Shape) -> Result<(), ArchitectureError> {
        let fail = |key: &str, message: String| Err(ArchitectureError { key: key.into(), message, help: None });
        let &Self { depth, width, kernel, padding, embed_stride, activation: _, eps, res_depth } = self;
        for (key, value) in [
            ("depth", Some(depth)),
            ("width", Some(width)),
            ("kernel", Some(kernel)),
            ("embed_stride", embed_stride),
            ("res_depth", res_depth),
        ] {
            if value == Some(0) {
                return fail(key, format!("`{key}` must be at least 1, got 0"));
            }
        }
        for (key, value, most) in [
            ("depth", depth, 100_000),
            ("width", width, 1 << 20),
            ("kernel", kernel, 1 << 10),
            // Noise grows by about a fifth in each layer and is rescaled only after each unit.
            ("res_depth", res_depth.unwrap_or(1), 100),
        ] {
            if value > most {
                return fail(key, format!("`{key}` must be at most {most}, got {value}"));
            }
        }
        if let Some(eps) = eps {
            if unit == Unit::Vanilla {
                return fail("eps", "`eps` belongs to `bn_ff` and `bn_res`".into());
            }
            if !(eps >= 0.0 && eps.is_finite()) {
                return fail("eps", format!("`eps` must be at least 0, got {eps}"));
            }
        }
        if res_depth.is_some() && unit != Unit::BnRes {
            return fail("res_depth", "`res_depth` belongs to `bn_res`".into());
        }
        if padding == PadMode::Symmetric && kernel.is_multiple_of(2) {
            return fail("kernel", format!("`kernel` must be odd with `padding = \"symmetric\"`, got {kernel}"));
        }
        let stride = self.embed_stride(input);
        if input.is_vector() && (kernel > 1 || stride > 1) {
            let key = if kernel > 1 { "kernel" } else { "embed_stride" };
            return fail(key, format!("`{key}` must be 1 for vectors (`network.input` is {input})"));
        }
        for len in [input.height, input.width] {
            if !len.is_multiple_of(stride) {
                return fail(
                    "embed_stride",
                    format!("`embed_stride` {stride} must divide the size of the input ({len})"),
                );
            }
            if kernel > 1 && len / stride == 1 && !input.is_vector() {
                return fail("kernel", format!("`kernel` must be 1 where the map is a single position, got {kernel}"));
            }
            if kernel > len / stride && padding != PadMode::Zero {
                let message = format!(
                    "`kernel` {kernel} is larger than its map ({}), which `{}` padding does not allow",
                    len / stride,
                    if padding == PadMode::Periodic { "periodic" } else { "symmetric" }
                );
                return fail("kernel", message);
            }
        }
        Ok(())
    }
}
