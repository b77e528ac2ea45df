//! The kinds of layers, one file for each.
//!
//! Each kind defines its settings, their checks, its output shape, its parameters and what it computes. Other crates do not
//! match on kinds of layers: they use [`Layer::properties`] and [`Layer::transform`].

mod activation;
mod avg_pool;
pub(crate) mod batch_norm;
pub(crate) mod convolution;
mod dense;
mod flatten;
mod global_average_pool;
pub(crate) mod layer_norm;
mod pad;
mod position_map;
mod reshape;
mod residual;
mod upsample;

use serde::{Deserialize, Serialize};

use crate::architecture::ArchitectureError;
use crate::citations::Citation;
use crate::nonlinearity::Activation;
use crate::parametrization::Init;
use crate::place::{Place, Placed};
use crate::shape::{Pair, Shape};
pub use avg_pool::AvgPool;
pub use batch_norm::BatchNorm;
pub use convolution::Convolution;
pub use dense::Dense;
pub use layer_norm::{LayerNorm, NormAxes};
pub use pad::{Pad, PadMode};
pub use position_map::{AxisMap, PositionMap, Window};
pub use residual::Residual;
pub use upsample::Upsample;

/// Declares the layers: the name of each, and the file that defines it.
macro_rules! layers {
    ($($(#[$doc:meta])* $Layer:ident($Settings:ty) is $name:literal, defined by $settings:pat => $definition:expr;)+) => {
        /// One layer, as it is written in `[[network.layers]]`.
        ///
        /// ```
        /// use fintan_config::{Architecture, Layer, Parametrization, Shape};
        ///
        /// let layers: [Layer; 1] = [toml::from_str("conv = { out = 8, kernel = 3 }")?];
        /// assert_eq!(layers[0].name(), "conv");
        /// let network = Architecture::new(Shape::image(3, 6, 6), &layers, Parametrization::default())?;
        /// assert_eq!(network.output(), Shape::image(8, 4, 4));
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum Layer {
            $($(#[$doc])* #[serde(rename = $name)] $Layer($Settings),)+
        }

        impl Layer {
            /// The layer's name in a configuration.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$Layer(_) => $name,)+
                }
            }

            /// Passes the definition of the layer's kind to `ask`.
            pub(crate) fn define<R>(&self, ask: impl FnOnce(&dyn Definition) -> R) -> R {
                match self {
                    $(Self::$Layer($settings) => ask(&$definition),)+
                }
            }
        }
    };
}

layers! {
    /// A fully connected layer.
    Dense(Dense) is "dense", defined by dense => *dense;
    /// A convolution (cross-correlation, as everywhere in the field).
    Conv(Convolution) is "conv", defined by settings => convolution::Conv(settings);
    /// A transposed convolution.
    Deconv(Convolution) is "deconv", defined by settings => convolution::Deconv(settings);
    /// A frame around a map.
    Pad(Pad) is "pad", defined by pad => *pad;
    /// Nearest-neighbour up-sampling: every position becomes a block of equal positions.
    Upsample(Upsample) is "upsample", defined by upsample => *upsample;
    /// The mean over windows of a map.
    AvgPool(AvgPool) is "avg_pool", defined by pool => *pool;
    /// A pointwise nonlinearity.
    Activation(Activation) is "activation", defined by activation => *activation;
    /// Batch normalization.
    BatchNorm(BatchNorm) is "batch_norm", defined by norm => *norm;
    /// Layer normalization.
    LayerNorm(LayerNorm) is "layer_norm", defined by norm => *norm;
    /// A change of the shape that keeps the values, in channel, row, column order.
    Reshape(Shape) is "reshape", defined by shape => reshape::Reshape(*shape);
    /// An image as a vector, in channel, row, column order.
    Flatten(Empty) is "flatten", defined by Empty {} => flatten::Flatten;
    /// The mean over all positions.
    GlobalAveragePool(Empty) is "global_average_pool", defined by Empty {} => global_average_pool::GlobalAveragePool;
    /// A residual block: `y = scale · (branch(x) + shortcut(x))`.
    Residual(Residual) is "residual", defined by block => residual::Block(block);
}

pub(crate) fn yes() -> bool {
    true
}

pub(crate) fn norm_eps() -> f64 {
    1e-5
}

/// The settings of a layer without settings: `{}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// The definition of a kind of layer.
pub(crate) trait Definition {
    /// The properties that other crates ask for.
    fn properties(&self) -> Properties;

    /// Its publications.
    fn citations(&self) -> &'static [Citation];

    /// Its settings that count rows and columns, by name. They are checked against bounds before anything is computed from
    /// them.
    fn sizes(&self) -> Vec<(&'static str, Pair)>;

    /// Checks the settings, and returns the shape of the output.
    fn place(&self, place: &mut Place) -> Result<Placed, ArchitectureError>;

    /// Its parameters for these input and output shapes.
    fn parameters(&self, input: Shape, output: Shape) -> Parameters;

    /// What it computes on an input of this shape.
    fn transform(&self, input: Shape) -> Transform;
}

/// The definition of a kind of layer that moves, repeats or averages values.
///
/// Such a layer has no parameters and no publications. Every other kind implements [`Definition`] itself, where neither has
/// a default.
pub(crate) trait FixedMap {
    /// See [`Definition::properties`].
    fn properties(&self) -> Properties;

    /// See [`Definition::sizes`].
    fn sizes(&self) -> Vec<(&'static str, Pair)>;

    /// See [`Definition::place`].
    fn place(&self, place: &mut Place) -> Result<Placed, ArchitectureError>;

    /// See [`Definition::transform`].
    fn transform(&self, input: Shape) -> Transform;
}

impl<M: FixedMap> Definition for M {
    fn properties(&self) -> Properties {
        FixedMap::properties(self)
    }

    fn citations(&self) -> &'static [Citation] {
        &[]
    }

    fn sizes(&self) -> Vec<(&'static str, Pair)> {
        FixedMap::sizes(self)
    }

    fn place(&self, place: &mut Place) -> Result<Placed, ArchitectureError> {
        FixedMap::place(self, place)
    }

    fn parameters(&self, _: Shape, _: Shape) -> Parameters {
        Parameters::None
    }

    fn transform(&self, input: Shape) -> Transform {
        FixedMap::transform(self, input)
    }
}

/// Properties of a layer. Other code asks for them instead of matching on the kind of layer.
///
/// ```
/// let upsample: fintan_config::Layer = toml::from_str("upsample = { factor = 2 }")?;
/// let properties = upsample.properties();
/// assert!(properties.moves_values && !properties.is_linear); // it has no weights
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own with the answer yes or no")]
pub struct Properties {
    /// It multiplies by a matrix of trainable weights and adds biases.
    pub is_linear: bool,
    /// It applies a nonlinear function to each value separately.
    pub is_pointwise: bool,
    /// It divides by a standard deviation.
    pub is_norm: bool,
    /// A sample's output depends on the other samples of the batch.
    pub couples_batch: bool,
    /// `f(a x) = a f(x)` for every a > 0, if trainable biases are left out.
    pub is_homogeneous: bool,
    /// Every output value is an input value or 0.
    pub moves_values: bool,
    /// It takes means over positions.
    pub averages_positions: bool,
    /// The pullback needs the layer's input.
    pub keeps_input: bool,
}

impl Properties {
    /// All properties false; the base for the constants below and for the layers.
    const NONE: Self = Self {
        is_linear: false,
        is_pointwise: false,
        is_norm: false,
        couples_batch: false,
        is_homogeneous: false,
        moves_values: false,
        averages_positions: false,
        keeps_input: false,
    };

    /// A linear layer.
    const LINEAR: Self = Self { is_linear: true, is_homogeneous: true, keeps_input: true, ..Self::NONE };

    /// A layer that moves or repeats values without changing them.
    const MOVES: Self = Self { moves_values: true, is_homogeneous: true, ..Self::NONE };

    /// A layer that takes means over positions.
    const AVERAGES: Self = Self { averages_positions: true, is_homogeneous: true, ..Self::NONE };
}

/// Parameters of a layer.
///
/// ```
/// use fintan_config::{Architecture, Layer, Parameters, Parametrization, Shape};
///
/// let network = Architecture::new(Shape::vector(4), &[Layer::Dense(3.into())], Parametrization::default())?;
/// let dense = Parameters::Linear { weights: 12, biases: 3, fan_in: 4.0, sites: 1, init: None };
/// assert_eq!(network.nodes[0].parameters, dense);
/// # Ok::<(), fintan_config::ArchitectureError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Parameters {
    /// The layer has none.
    None,
    /// Weights and biases of a linear layer.
    Linear {
        /// Number of weights.
        weights: usize,
        /// Number of biases.
        biases: usize,
        /// Number of weights that reach one output value, away from the border.
        fan_in: f64,
        /// Number of positions that share the weights.
        sites: usize,
        /// How the weights are drawn, if the layer sets it.
        init: Option<Init>,
    },
    /// Scales and shifts of a norm.
    Affine {
        /// Number of scales, which is also the number of shifts.
        count: usize,
    },
}

/// The map that a layer computes.
///
/// There are fewer maps than layers: `pad`, `upsample`, `avg_pool` and `global_average_pool` are all a [`PositionMap`].
///
/// ```
/// use fintan_config::{Layer, Shape, Transform};
///
/// let pool: Layer = toml::from_str("global_average_pool = {}")?;
/// let Transform::Positions(map) = pool.transform(Shape::image(1, 2, 2)) else { panic!("a map of positions") };
/// assert!(map.axes[0].is_mean() && map.axes[1].is_mean());
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Transform {
    /// `y = W x + b` on vectors.
    Dense,
    /// A convolution.
    Conv(Convolution),
    /// A transposed convolution.
    Deconv(Convolution),
    /// A nonlinearity applied to each value separately.
    Pointwise(Activation),
    /// Batch normalization.
    BatchNorm(BatchNorm),
    /// Layer normalization.
    LayerNorm(LayerNorm),
    /// A change of the shape that keeps the values, in channel, row, column order.
    Reshape,
    /// A fixed linear map of positions, the same for every channel.
    Positions(PositionMap),
    /// `scale · (branch(x) + shortcut(x))`, with the branch and the shortcut of the [`Node`](crate::Node).
    Residual {
        /// The factor.
        scale: f64,
    },
}

impl Layer {
    /// The properties of the layer.
    ///
    /// ```
    /// use fintan_config::{Activation, Function, Layer};
    ///
    /// let relu = Layer::Activation(Activation::raw(Function::Relu)).properties();
    /// assert!(relu.is_pointwise && relu.is_homogeneous && !relu.couples_batch);
    /// ```
    #[must_use]
    pub fn properties(&self) -> Properties {
        self.define(|definition| definition.properties())
    }

    /// Publications of the layer. A residual block has none; the layers inside it have their own.
    #[must_use]
    pub fn citations(&self) -> &'static [Citation] {
        self.define(|definition| definition.citations())
    }

    /// What the layer computes on samples of shape `input`.
    #[must_use]
    pub fn transform(&self, input: Shape) -> Transform {
        self.define(|definition| definition.transform(input))
    }

    /// The layer's nonlinearity; `None` if the layer is not an `activation`.
    #[must_use]
    pub fn activation(&self) -> Option<&Activation> {
        if let Self::Activation(activation) = self { Some(activation) } else { None }
    }

    /// Sets the number of output features or channels of a linear layer, or of every linear layer in a residual block.
    pub fn set_outputs(&mut self, out: usize) {
        if let Self::Dense(dense) = self {
            dense.out = out;
        } else if let Self::Conv(convolution) | Self::Deconv(convolution) = self {
            convolution.out = out;
        } else if let Self::Residual(block) = self {
            block.layers.iter_mut().chain(&mut block.shortcut).for_each(|layer| layer.set_outputs(out));
        }
    }

    /// The settings of a residual block, with branch and shortcut; `None` for other layers.
    #[must_use]
    pub fn residual(&self) -> Option<&Residual> {
        if let Self::Residual(block) = self { Some(block) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_maps_have_no_parameters_and_no_publications() {
        let pair = Pair([2, 2]);
        let (image, vector) = (Shape::image(3, 4, 4), Shape::vector(48));
        let pool = AvgPool { window: pair, stride: None, padding: Pair([0, 0]), count_padding: true };
        let fixed = [
            Layer::Pad(Pad { before: pair, after: pair, mode: PadMode::Zero }),
            Layer::Upsample(Upsample { factor: pair }),
            Layer::AvgPool(pool),
            Layer::Reshape(vector),
            Layer::Flatten(Empty {}),
            Layer::GlobalAveragePool(Empty {}),
        ];
        for layer in fixed {
            assert_eq!(layer.define(|definition| definition.parameters(image, image)), Parameters::None, "{layer:?}");
            assert!(layer.citations().is_empty() && layer.properties().is_homogeneous, "{layer:?}");
        }
        let dense = Layer::Dense(Dense::from(2));
        assert_ne!(dense.define(|definition| definition.parameters(vector, vector)), Parameters::None);
    }

    #[test]
    fn sizes_of_fixed_maps_are_those_that_count_rows_and_columns() {
        let names = |layer: &Layer| layer.define(|d| d.sizes().into_iter().map(|(name, _)| name).collect::<Vec<_>>());
        let pair = Pair([2, 3]);
        assert_eq!(names(&Layer::Pad(Pad { before: pair, after: pair, mode: PadMode::Zero })), ["before", "after"]);
        assert_eq!(names(&Layer::Upsample(Upsample { factor: pair })), ["factor"]);
        assert!(names(&Layer::Flatten(Empty {})).is_empty());
    }
}
